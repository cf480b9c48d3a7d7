// How batch norm walks through its images, and the two sums over each channel that it needs.
//
// A channel's planes lie far apart, each in pages of its own, where no machine foresees the next
// one: it is fetched while the one before is read. Short planes are taken with those of
// neighbouring channels, so that vectors and cache lines are filled.
#pragma once

#include <stdint.h>

#include "kernels/batch_norm.h"
#include "kernels/integers.h"
#include "kernels/packers.h"
#include "kernels/reduce.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

constexpr int64_t kShortPlane = 64;      // and shorter: elements
constexpr int64_t kTinyPlane = 8;        // shorter still
constexpr int64_t kMostTogether = 64;    // channels
constexpr int64_t kMostElements = 1024;  // of one image's block of channels

// Neighbouring channels that a task owns; one, unless planes are short.
struct ChannelBlock {
  const BatchNormShape& s;
  int64_t first, channels;

  static bool is_short(const BatchNormShape& s) { return s.spatial <= kShortPlane; }
  static int64_t together(const BatchNormShape& s) {
    return !is_short(s) ? 1 : s.spatial < kTinyPlane ? kMostTogether : kMostElements / kShortPlane;
  }

  int64_t length() const { return channels * s.spatial; }  // neighbouring elements of one image
  int64_t stride() const { return s.c * s.spatial; }       // from image to image
  int64_t at(int64_t image) const { return image * stride() + first * s.spatial; }
  // From an element to one that is worth fetching now.
  int64_t ahead(int64_t image) const {
    constexpr int64_t longest = 4096;
    return image + 1 < s.n && length() <= longest ? stride() : 0;
  }
};

// A value for every channel, or for every element of a block of short planes.
template <class T>
using Values = T[kMostElements];

template <bool SHORT, class V, class T>
RUSHLIGHT_INLINE V value_at(const T* values, int64_t j) {
  return SHORT ? V::load(values + j) : V::broadcast(*values);
}

// A value for every channel of a block.
template <class T>
using PerChannel = T[kMostTogether];

// values = those of the channels, for every element where planes are short.
template <bool SHORT, class T>
RUSHLIGHT_INLINE void spread(const ChannelBlock& b, const T* of_channels, T* values) {
  const int64_t spatial = SHORT ? b.s.spatial : 1;
  if (spatial < kTinyPlane) {  // the longer loop inside
    for (int64_t j = 0; j < spatial; ++j) {
      for (int64_t c = 0; c < b.channels; ++c) values[c * spatial + j] = of_channels[c];
    }
    return;
  }
  for (int64_t c = 0; c < b.channels; ++c) {
    for (int64_t j = 0; j < spatial; ++j) values[c * spatial + j] = of_channels[c];
  }
}

// The sums over the elements of each channel, of short planes.
template <class T>
RUSHLIGHT_INLINE void fold(const ChannelBlock& b, const T* values, T* of_channels) {
  const int64_t spatial = b.s.spatial;
  if (spatial >= kTinyPlane) {
    for (int64_t c = 0; c < b.channels; ++c) {
      of_channels[c] = sum_run(values + c * spatial, spatial);
    }
    return;
  }
  zero_run(of_channels, b.channels);
  for (int64_t j = 0; j < spatial; ++j) {
    for (int64_t c = 0; c < b.channels; ++c) of_channels[c] += values[c * spatial + j];
  }
}

// What is summed: over x, its distance from a centre and the square of that; over x and dy, dy and
// its product with the distance.
struct Deviations {
  template <class V>
  static RUSHLIGHT_INLINE void add(V x, V, V centre, V& first, V& second) {
    const V d = x - centre;
    first += d;
    second = fma(d, d, second);
  }
};
struct Gradients {
  template <class V>
  static RUSHLIGHT_INLINE void add(V x, V dy, V centre, V& first, V& second) {
    first += dy;
    second = fma(dy, x - centre, second);
  }
};

// What of the gradient at an element passes on, `centred` being its distance from the mean: all, or
// nothing where a clamp behind the batch norm had reached a limit.
struct AllPasses {
  template <bool SHORT, class V>
  RUSHLIGHT_INLINE V pass(V, V dy, int64_t) const {
    return dy;
  }
};
template <class T>
struct ClampPasses {
  const T *scale, *shift;  // of the batch norm: the result is computed again, to the same bits
  T low, high;

  template <bool SHORT, class V>
  RUSHLIGHT_INLINE V pass(V centred, V dy, int64_t j) const {
    const V y = fma(centred, value_at<SHORT, V>(scale, j), value_at<SHORT, V>(shift, j));
    const auto stopped = (y.raw <= V::broadcast(low).raw) | (y.raw >= V::broadcast(high).raw);
    return {stopped ? V::zero().raw : dy.raw};
  }
};

// The two sums of each channel of a block.
struct Totals {
  PerChannel<double> first, second;
};

// Sums over one stretch of a plane, which stay in registers.
template <class T>
struct PlaneSums {
  using V = Native<T>;
  static constexpr int count = 4;
  V first[count], second[count];
  Vec<T, 1> first_rest, second_rest;

  RUSHLIGHT_INLINE void clear() {
#pragma GCC unroll 4
    for (int v = 0; v < count; ++v) first[v] = second[v] = V::zero();
    first_rest = second_rest = Vec<T, 1>::zero();
  }

  template <class Terms, class Passes>
  RUSHLIGHT_INLINE void add(const T* x, const T* dy, int64_t ahead, int64_t n, T centre,
                            const Passes& passes) {
    const auto term = [&](auto v, int64_t at, auto& one, auto& two) __attribute__((always_inline)) {
      using W = decltype(v);
      const W middle = W::broadcast(centre), from = W::load(x + at);
      Terms::add(from, passes.template pass<false>(from - middle, W::load(dy + at), 0), middle, one,
                 two);
    };
    int64_t i = 0;
    for (; i + count * V::lanes <= n; i += count * V::lanes) {
#pragma GCC unroll 4
      for (int v = 0; v < count; ++v) {
        const int64_t at = i + v * V::lanes;
        __builtin_prefetch(x + ahead + at);
        if (dy != x) __builtin_prefetch(dy + ahead + at);
        term(V{}, at, first[v], second[v]);
      }
    }
    for (; i + V::lanes <= n; i += V::lanes) term(V{}, i, first[0], second[0]);
    for (; i < n; ++i) term(Vec<T, 1>{}, i, first_rest, second_rest);
  }

  RUSHLIGHT_INLINE void flush(Totals& totals) const {
    const V a = (first[0] + first[1]) + (first[2] + first[3]);
    const V b = (second[0] + second[1]) + (second[2] + second[3]);
    *totals.first += static_cast<double>(sum(a) + sum(first_rest));
    *totals.second += static_cast<double>(sum(b) + sum(second_rest));
  }
};

// The sums over a channel whose planes are long.
template <class Terms, class T, class Passes>
void sum_long(const ChannelBlock& b, const T* x, const T* dy, T centre, const Passes& passes,
              Totals& totals) {
  constexpr int64_t chunk = 4096;  // summed in the element type before the totals go to double
  PlaneSums<T> sums;
  sums.clear();
  int64_t filled = 0;
  for (int64_t i = 0; i < b.s.n; ++i) {
    for (int64_t p = 0; p < b.s.spatial; p += chunk) {
      const int64_t n = smaller(chunk, b.s.spatial - p), at = b.at(i) + p;
      sums.template add<Terms>(x + at, dy + at, b.ahead(i), n, centre, passes);
      filled += n;
      if (filled < chunk) continue;
      sums.flush(totals);
      sums.clear();
      filled = 0;
    }
  }
  sums.flush(totals);
}

// The sums over each channel of a block whose planes are short.
template <class Terms, class T, class Passes>
void sum_short(const ChannelBlock& b, const T* x, const T* dy, const T* centre,
               const Passes& passes, Totals& totals) {
  constexpr int64_t chunk = 64;  // images summed in the element type
  Values<T> first, second;
  PerChannel<T> folded;
  const auto add = [&](const T* sums, double* to) {
    fold(b, sums, folded);
    for (int64_t c = 0; c < b.channels; ++c) to[c] += static_cast<double>(folded[c]);
  };
  for (int64_t begin = 0; begin < b.s.n; begin += chunk) {
    zero_run(first, b.length());
    zero_run(second, b.length());
    for (int64_t i = begin; i < smaller(b.s.n, begin + chunk); ++i) {
      const T *from = x + b.at(i), *gradient = dy + b.at(i);
      const int64_t ahead = b.ahead(i);
      for_each_vector<T>(0, b.length(), [&](auto v, int64_t j) {
        using V = decltype(v);
        __builtin_prefetch(from + ahead + j);
        if (dy != x) __builtin_prefetch(gradient + ahead + j);
        V one = V::load(first + j), two = V::load(second + j);
        const V x_j = V::load(from + j), middle = V::load(centre + j);
        const V passed = passes.template pass<true>(x_j - middle, V::load(gradient + j), j);
        Terms::add(x_j, passed, middle, one, two);
        one.store(first + j);
        two.store(second + j);
      });
    }
    add(first, totals.first);
    add(second, totals.second);
  }
}

// The sums over each channel of a block, around a centre per channel.
template <class Terms, bool SHORT, class T, class Passes>
void sum_channels(const ChannelBlock& b, const T* x, const T* dy, const T* centre,
                  const Passes& passes, Totals& totals) {
  if constexpr (SHORT) {
    sum_short<Terms>(b, x, dy, centre, passes, totals);
  } else {
    sum_long<Terms>(b, x, dy, *centre, passes, totals);
  }
}

}  // namespace rushlight::RUSHLIGHT_ISA
