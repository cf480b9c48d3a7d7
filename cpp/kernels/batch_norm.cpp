#include "kernels/batch_norm.h"

#include <math.h>

#include "kernels/batch_norm_sums.h"
#include "kernels/batch_norm_values.h"
#include "kernels/family.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

template <bool SHORT>
struct PlanesAre {
  static constexpr bool short_planes = SHORT;
};

// Calls body(PlanesAre, block) for blocks of channels, in parallel.
template <class Body>
void for_each_block(const Run& run, const BatchNormShape& s, const Body& body) {
  const int64_t step = ChannelBlock::together(s);
  const auto all = [&](auto planes) {
    parallel(run, ceil_div(s.c, step), [&](int64_t block, int) {
      const int64_t first = block * step;
      body(planes, ChannelBlock{s, first, smaller(step, s.c - first)});
    });
  };
  ChannelBlock::is_short(s) ? all(PlanesAre<true>{}) : all(PlanesAre<false>{});
}

// What it takes to write a block's output: y = (x - mean) * scale + shift, and for the gradient
// dx = (dy - shift - (x - mean) * slope) * scale.
template <class T>
struct Coefficients {
  Values<T> mean, scale, shift, slope;
};

// Calls body(V{}, offset, j) for all vectors of a block: j counts within its elements of one image.
// The next image's are fetched meanwhile: of `from`, which is read, and `to`, which is written.
template <class T, class Body>
RUSHLIGHT_INLINE void for_each_element(const ChannelBlock& b, const T* from, const T* more, T* to,
                                       const Body& body) {
  for (int64_t i = 0; i < b.s.n; ++i) {
    const int64_t at = b.at(i), next = at + b.ahead(i);
    for_each_vector<T>(0, b.length(), [&](auto v, int64_t j) {
      __builtin_prefetch(from + next + j);
      if (more != from) __builtin_prefetch(more + next + j);
      __builtin_prefetch(to + next + j, 1);
      body(v, at + j, j);
    });
  }
}

template <bool SHORT, class T>
void normalize(const ChannelBlock& b, const Coefficients<T>& k, const Limits<T>& limits,
               const T* src, T* dst) {
  for_each_element(b, src, src, dst, [&](auto v, int64_t at, int64_t j) {
    using V = decltype(v);
    const V centred = V::load(src + at) - value_at<SHORT, V>(k.mean, j);
    const V y = fma(centred, value_at<SHORT, V>(k.scale, j), value_at<SHORT, V>(k.shift, j));
    clamp(y, V::broadcast(limits.low), V::broadcast(limits.high)).store(dst + at);
  });
}

template <bool SHORT, class T, class Passes>
void write_diff_src(const ChannelBlock& b, const Coefficients<T>& k, const T* src,
                    const T* diff_dst, const Passes& passes, T* diff_src) {
  for_each_element(b, src, diff_dst, diff_src, [&](auto v, int64_t at, int64_t j) {
    using V = decltype(v);
    const V centred = V::load(src + at) - value_at<SHORT, V>(k.mean, j);
    const V passed = passes.template pass<SHORT>(centred, V::load(diff_dst + at), j);
    const V direct = passed - value_at<SHORT, V>(k.shift, j);
    ((direct - centred * value_at<SHORT, V>(k.slope, j)) * value_at<SHORT, V>(k.scale, j))
        .store(diff_src + at);
  });
}

// The mean of each channel's first elements: values are summed around it, so that what they have in
// common costs no digits.
template <bool SHORT, class T>
void find_centres(const ChannelBlock& b, const T* src, T* centres) {
  constexpr int64_t most = 1024;
  const int64_t count = b.s.n == 0 ? 0 : smaller(most, b.s.spatial);
  if (count == 0) return zero_run(centres, b.channels);
  const T* from = src + b.first * b.s.spatial;
  if constexpr (SHORT) {
    fold(b, from, centres);
  } else {
    *centres = sum_run(from, count);
  }
  for (int64_t c = 0; c < b.channels; ++c) centres[c] /= static_cast<T>(count);
}

// Mean and rstd of a block's channels, by what src holds of them.
template <bool SHORT, class T>
void find_statistics(const ChannelBlock& b, const T* src, double eps,
                     const RunningStatistics<T>& running, T* mean, T* rstd) {
  PerChannel<T> centres{};
  find_centres<SHORT>(b, src, centres);
  Values<T> around{};
  spread<SHORT>(b, centres, around);
  Totals totals{};
  sum_channels<Deviations, SHORT>(b, src, src, around, AllPasses{}, totals);
  note_moments(b.channels, totals.first, totals.second, centres, values_per_channel(b.s), eps,
               b.first, running, mean, rstd);
}

template <class T>
void batch_norm_train(const Run& run, const BatchNormShape& s, const T* src, const T* weight,
                      const T* bias, T* running_mean, T* running_var, double momentum, double eps,
                      const Limits<T>& limits, T* dst, T* mean, T* rstd) {
  const RunningStatistics<T> running{running_mean, running_var, momentum};
  for_each_block(run, s, [&](auto planes, const ChannelBlock& b) {
    constexpr bool is_short = decltype(planes)::short_planes;
    find_statistics<is_short>(b, src, eps, running, mean, rstd);
    Coefficients<T> k;
    PerChannel<T> values;
    spread<is_short>(b, mean + b.first, k.mean);
    note_scales(b.channels, weight, rstd, b.first, values);
    spread<is_short>(b, values, k.scale);
    note_values(b.channels, bias, b.first, values);
    spread<is_short>(b, values, k.shift);
    normalize<is_short>(b, k, limits, src, dst);
  });
}

template <class T>
void batch_norm_eval(const Run& run, const BatchNormShape& s, const T* src, const T* weight,
                     const T* bias, const T* running_mean, const T* running_var, double eps,
                     const Limits<T>& limits, T* dst, T* mean, T* rstd) {
  for_each_block(run, s, [&](auto planes, const ChannelBlock& b) {
    constexpr bool is_short = decltype(planes)::short_planes;
    Coefficients<T> k{};  // around zero
    PerChannel<T> scale, shift;
    const int64_t c = b.first;
    note_factors(b.channels, at(weight, c), at(bias, c), running_mean + c, running_var + c, eps,
                 scale, shift);
    spread<is_short>(b, scale, k.scale);
    spread<is_short>(b, shift, k.shift);
    note_running(b.channels, running_mean + c, running_var + c, eps, mean + c, rstd + c);
    normalize<is_short>(b, k, limits, src, dst);
  });
}

// The gradients of one block of channels, of which some may be null. Sets shift and slope of `k`.
template <bool SHORT, class T, class Passes>
void backward_block(const ChannelBlock& b, Coefficients<T>& k, const T* src, const T* rstd,
                    const T* diff_dst, bool training, const Passes& passes, T* diff_src,
                    T* diff_weight, T* diff_bias) {
  Totals totals{};
  if (training || diff_weight != nullptr || diff_bias != nullptr) {
    sum_channels<Gradients, SHORT>(b, src, diff_dst, k.mean, passes, totals);
  }
  PerChannel<T> shift, slope;
  note_gradients(b.channels, totals.first, totals.second, values_per_channel(b.s), training,
                 b.first, rstd, diff_weight, diff_bias, shift, slope);
  spread<SHORT>(b, shift, k.shift);
  spread<SHORT>(b, slope, k.slope);
  if (diff_src != nullptr) write_diff_src<SHORT>(b, k, src, diff_dst, passes, diff_src);
}

template <class T>
void batch_norm_backward(const Run& run, const BatchNormShape& s, const T* src, const T* weight,
                         const T* mean, const T* rstd, const T* diff_dst, bool training,
                         const NormClamp<T>* clamp, T* diff_src, T* diff_weight, T* diff_bias) {
  for_each_block(run, s, [&](auto planes, const ChannelBlock& b) {
    constexpr bool is_short = decltype(planes)::short_planes;
    Coefficients<T> k;
    PerChannel<T> values;
    spread<is_short>(b, mean + b.first, k.mean);
    note_scales(b.channels, weight, rstd, b.first, values);
    spread<is_short>(b, values, k.scale);
    const auto with = [&](const auto& passes) {
      backward_block<is_short>(b, k, src, rstd, diff_dst, training, passes, diff_src, diff_weight,
                               diff_bias);
    };
    if (clamp == nullptr) return with(AllPasses{});
    Values<T> lift;
    note_values(b.channels, clamp->bias, b.first, values);
    spread<is_short>(b, values, lift);
    with(ClampPasses<T>{k.scale, lift, clamp->limits.low, clamp->limits.high});
  });
}

}  // namespace

RUSHLIGHT_DEFINE_FAMILY(BatchNormKernels, batch_norm, batch_norm_train<T>, batch_norm_eval<T>,
                        batch_norm_backward<T>, note_factors<T>)

}  // namespace rushlight::RUSHLIGHT_ISA
