// Convolutions whose groups have a single input channel: a matrix product would have one column of
// weights to work with, so these go along the rows of the image instead, all taps in registers.
// Each task owns whole planes of its result.
//
// What a task reads is first copied, band of rows by band, into padded planes: zeros stand outside
// the image, and columns are split into `stride_w` phases, so that every tap is a contiguous load.
#pragma once

#include <stdint.h>

#include "kernels/conv2d.h"
#include "kernels/conv2d_window.h"
#include "kernels/epilogue.h"
#include "kernels/integers.h"
#include "kernels/packers.h"
#include "kernels/parallel.h"
#include "kernels/red_zone.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

// The padded copy of a band of rows: [phases][rows][row].
struct PaddedBand {
  int64_t phases, row;
  int64_t outputs;  // rows of outputs of a whole band
  int64_t rows;     // that they read

  PaddedBand(int64_t phases, int64_t row, int64_t all_outputs, int64_t stride, int64_t reach)
      : phases(phases), row(row) {
    constexpr int64_t wanted = 12288;  // elements: most of a first-level cache
    const int64_t fitting = wanted / (phases * row) - reach - 1;
    outputs = smaller(all_outputs, larger(4, fitting / stride + 1));
    rows = (outputs - 1) * stride + reach + 1;
  }

  int64_t size() const { return phases * rows * row; }
};

// Copies rows [y0, y0 + band.rows) of a plane [height, width], `left` columns of zeros before it.
template <class T>
void fill_band(const PaddedBand& band, const T* plane, int64_t height, int64_t width, int64_t y0,
               int64_t left, T* padded) {
  for (int64_t phase = 0; phase < band.phases; ++phase) {
    const int64_t x0 = phase - left;
    const Inside in(x0, band.phases, band.row, width);
    for (int64_t y = y0; y < y0 + band.rows; ++y, padded += band.row) {
      if (y < 0 || y >= height || in.low == in.high) {
        zero_run(padded, band.row);
        continue;
      }
      const T* from = plane + y * width + x0 + in.low * band.phases;
      const int64_t count = in.high - in.low;
      zero_run(padded, in.low);
      if (band.phases == 1) {
        copy_run(padded + in.low, from, count);
      } else if (band.phases == 2) {
        copy_every_second(padded + in.low, from, count);
      } else {
        for (int64_t j = 0; j < count; ++j) padded[in.low + j] = from[j * band.phases];
      }
      zero_run(padded + in.high, band.row - in.high);
    }
  }
}

constexpr int kMostTaps = 9;

// Taps that are computed together: where each reads in the padded copy, for the first output.
template <class T>
struct TapList {
  int count = 0;
  int64_t offset[kMostTaps];
  T weight[kMostTaps];
};

// One row of outputs: to[x] = sum of weight * from[offset + x], on top of what stands in `to` if
// `add` is set, and then through `epilogue` if that is not null.
template <int TAPS, class T>
RUSHLIGHT_INLINE void add_taps(const TapList<T>& taps, const T* from, bool add,
                               const Epilogue<T>* epilogue, int64_t count, T* to) {
  using V = Native<T>;
  V weight[TAPS];
#pragma GCC unroll 9
  for (int t = 0; t < TAPS; ++t) weight[t] = V::broadcast(taps.weight[t]);
  for (int64_t x = 0; x < count; x += V::lanes) {
    const int64_t left = count - x;
    const bool full = left >= V::lanes;
    V acc = V::zero();
    if (add) acc = full ? V::load(to + x) : V::load_partial(to + x, left);
#pragma GCC unroll 9
    for (int t = 0; t < TAPS; ++t) {
      acc = fma(weight[t], V::load(from + taps.offset[t] + x), acc);
    }
    if (epilogue != nullptr) {
      acc = scale_and_shift(acc, *epilogue);
      if (const T* residual = epilogue->residual) {
        acc += full ? V::load(residual + x) : V::load_partial(residual + x, left);
      }
      acc = activate(acc, *epilogue);
    }
    if (full) {
      acc.store(to + x);
    } else {
      acc.store_partial(to + x, left);
    }
  }
}

template <class T>
void add_tap_row(const TapList<T>& taps, const T* from, bool add, const Epilogue<T>* epilogue,
                 int64_t count, T* to) {
  switch (taps.count) {
#define RUSHLIGHT_TAPS(n) \
  case n:                 \
    return add_taps<n>(taps, from, add, epilogue, count, to);
    RUSHLIGHT_TAPS(0)
    RUSHLIGHT_TAPS(1)
    RUSHLIGHT_TAPS(2)
    RUSHLIGHT_TAPS(3)
    RUSHLIGHT_TAPS(4)
    RUSHLIGHT_TAPS(5)
    RUSHLIGHT_TAPS(6)
    RUSHLIGHT_TAPS(7)
    RUSHLIGHT_TAPS(8)
    RUSHLIGHT_TAPS(9)
#undef RUSHLIGHT_TAPS
  }
}

// The source of a channel as it is read.
template <class T>
PaddedBand source_band(const Conv2dShape& s) {
  const int64_t reach = (s.kw - 1) * s.dilation_w / s.stride_w;
  return {s.stride_w, round_up(s.ow, Native<T>::lanes) + reach, s.oh, s.stride_h,
          (s.kh - 1) * s.dilation_h};
}

// Where a tap reads for output (0, 0).
inline int64_t tap_offset(const Conv2dShape& s, const PaddedBand& band, int64_t tap) {
  const int64_t y = tap / s.kw * s.dilation_h, x = tap % s.kw * s.dilation_w;
  return (x % s.stride_w * band.rows + y) * band.row + x / s.stride_w;
}

template <class T>
TapList<T> taps_from(const Conv2dShape& s, const PaddedBand& band, const T* weight, int64_t first) {
  TapList<T> taps;
  for (int64_t t = first; t < s.kh * s.kw && taps.count < kMostTaps; ++t, ++taps.count) {
    taps.offset[taps.count] = tap_offset(s, band, t);
    taps.weight[taps.count] = weight[t];
  }
  return taps;
}

template <class T>
void depthwise_forward(const Run& run, const Conv2dShape& s, const T* src, const T* weight,
                       const Epilogue<T>& epilogue, T* dst) {
  const int64_t multiplier = s.oc / s.groups;
  const PaddedBand band = source_band<T>(s);
  parallel(run, s.n * s.oc, [&](int64_t plane, int slot) {
    T* padded = slot_region(static_cast<T*>(run.workspace), band.size(), slot);
    const int64_t image = plane / s.oc, o = plane % s.oc;
    const T* from = src + (image * s.ic + o / multiplier) * s.ih * s.iw;
    for (int64_t oy = 0; oy < s.oh; oy += band.outputs) {
      fill_band(band, from, s.ih, s.iw, source_row(s, oy, 0), s.padding_w, padded);
      for (int64_t t = 0; t < s.kh * s.kw; t += kMostTaps) {
        const TapList<T> taps = taps_from(s, band, weight + o * s.kh * s.kw, t);
        const bool last = t + kMostTaps >= s.kh * s.kw;
        for (int64_t y = 0; y < smaller(band.outputs, s.oh - oy); ++y) {
          const int64_t row = (plane * s.oh + oy + y) * s.ow;
          const Epilogue<T> of_row = epilogue.at(o, row);
          add_tap_row(taps, padded + y * s.stride_h * band.row, t > 0, last ? &of_row : nullptr,
                      s.ow, dst + row);
        }
      }
    }
  });
}

// Bytes.
template <class T>
int64_t depthwise_workspace(const Conv2dShape& s, int slots) {
  return slots * (source_band<T>(s).size() + red_zone<T>)*int64_t{sizeof(T)};
}

}  // namespace rushlight::RUSHLIGHT_ISA
