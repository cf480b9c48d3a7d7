#include "kernels/blocked_gradients.h"

#include "kernels/blocked_conv.h"
#include "kernels/blocked_pooling.h"
#include "kernels/blocked_strided_src.h"
#include "kernels/blocked_weight.h"
#include "kernels/conv2d_sizes.h"
#include "kernels/conv2d_window.h"
#include "kernels/direct_weight.h"
#include "kernels/family.h"
#include "kernels/gemm.h"
#include "kernels/red_zone.h"
#include "kernels/winograd_weight.h"

namespace rushlight::RUSHLIGHT_ISA {

RUSHLIGHT_DECLARE_FAMILY(BlockedKernels, blocked)

namespace {

// Not by a product of all sizes, which need not fit into 64 bits.
bool is_empty(const Conv2dShape& s) {
  return s.n == 0 || s.ic == 0 || s.oc == 0 || s.ih == 0 || s.iw == 0 || s.oh == 0 || s.ow == 0;
}

// ---- to src: of stride 1 a convolution of diff_dst with the filters turned around and the
// channels exchanged, else one for every phase of the image

bool is_mirrored(const Conv2dShape& s) {
  const Conv2dShape m = mirrored(s);
  return !is_strided(s) && m.padding_h >= 0 && m.padding_w >= 0;
}

template <class T>
bool src_accepts(const Conv2dShape& s) {
  if (is_empty(s)) return false;
  if (is_depthwise(s)) return blocked_algorithm<T>(s, false) != BlockedAlgorithm::none;
  if (s.groups > 1) return false;
  if (is_strided(s)) return blocked_strided_src_accepts<T>(s);
  return is_mirrored(s) && blocked_algorithm<T>(mirrored(s), false) != BlockedAlgorithm::none;
}

template <class T>
int64_t src_weights(const Conv2dShape& s) {
  const Conv2dShape m = is_mirrored(s) ? mirrored(s) : s;
  return blocked_kernels<T>.prepared(m, false).bytes;
}

template <class T>
int64_t src_workspace(const Conv2dShape& s, int slots) {
  if (is_strided(s) && !is_depthwise(s)) return blocked_strided_src_workspace<T>(s, slots);
  const int64_t weights = aligned_bytes(src_weights<T>(s)) + red_zone<T> * int64_t{sizeof(T)};
  return weights + (is_mirrored(s) ? blocked_kernels<T>.workspace(mirrored(s), false, slots) : 0);
}

template <class T>
void src_gradient(const Run& run, const Conv2dShape& s, const T* weight, const T* diff_dst,
                  T* diff_src) {
  if (is_strided(s) && !is_depthwise(s)) {
    return blocked_strided_src(run, s, weight, diff_dst, diff_src);
  }
  const int64_t bytes = src_weights<T>(s);
  T* prepared = guarded(static_cast<T*>(run.workspace), bytes / int64_t{sizeof(T)});
  if (!is_mirrored(s)) {
    blocked_depthwise_prepare(s, weight, false, prepared);
    const T* filters = prepared;
    return blocked_depthwise_src(run, s, filters, diff_dst, diff_src);
  }
  const Conv2dShape m = mirrored(s);
  const int64_t taps = s.kh * s.kw;
  const FilterOrder turned{taps, s.ic * taps, true};
  blocked_prepare_filters(run, m, false, weight, turned, prepared);
  const Run rest{run.slots, static_cast<char*>(run.workspace) + aligned_bytes(bytes) +
                                red_zone<T> * int64_t{sizeof(T)}};
  blocked_kernels<T>.conv2d(rest, m, false, diff_dst, prepared, Epilogue<T>{}, diff_src);
}

// ---- to weight

template <class T>
WinogradWeightProblem<T> weight_problem(const Conv2dShape& s) {
  constexpr int64_t lanes = Native<T>::lanes;
  WinogradWeightProblem<T> p{};
  p.n = s.n, p.ic = s.ic, p.ih = s.ih, p.iw = s.iw, p.oc = s.oc, p.oh = s.oh, p.ow = s.ow;
  p.padding_h = s.padding_h, p.padding_w = s.padding_w;
  p.src_image = round_up(s.ic, lanes) * s.ih * s.iw;
  p.dst_image = round_up(s.oc, lanes) * s.oh * s.ow;
  p.blocked = true;
  return p;
}

// The tile of Winograd's products where they are cheaper than direct ones, else 0.
template <class T>
int weight_tile(const Conv2dShape& s) {
  const bool filter =
      s.kh == 3 && s.kw == 3 && !is_strided(s) && s.dilation_h == 1 && s.dilation_w == 1;
  if (!filter || !s.may_use_winograd) return 0;
  const WinogradWeightProblem<T> problem = weight_problem<T>(s);
  const double two = winograd_weight_cost(problem, 2), four = winograd_weight_cost(problem, 4);
  if (blocked_weight_cost<T>(s) <= (two < four ? two : four)) return 0;
  return two < four ? 2 : 4;
}

template <class T>
bool weight_accepts(const Conv2dShape& s, bool plain_src) {
  if (is_empty(s)) return false;
  if (plain_src) return s.groups == 1 && direct_weight_accepts(s);
  return s.groups == 1 || is_depthwise(s);
}

template <class T>
int64_t weight_workspace(const Conv2dShape& s, bool plain_src, int slots) {
  if (plain_src) return direct_weight_workspace<T>(s, slots);
  if (is_depthwise(s)) return blocked_depthwise_weight_workspace<T>(s);
  if (const int tile = weight_tile<T>(s)) {
    return winograd_weight_workspace(weight_problem<T>(s), tile, slots);
  }
  return blocked_weight_workspace<T>(s, slots);
}

template <class T>
void weight_gradient(const Run& run, const Conv2dShape& s, bool plain_src, const T* src,
                     const T* diff_dst, T* diff_weight) {
  if (plain_src) return direct_weight(run, s, src, diff_dst, true, diff_weight);
  if (is_depthwise(s)) return blocked_depthwise_weight(run, s, src, diff_dst, diff_weight);
  if (const int tile = weight_tile<T>(s)) {
    WinogradWeightProblem<T> p = weight_problem<T>(s);
    p.src = src, p.diff_dst = diff_dst, p.diff_weight = diff_weight;
    return winograd_weight(run, p, tile);
  }
  blocked_weight(run, s, src, diff_dst, diff_weight);
}

// ---- to bias

template <class T>
void bias_gradient(const Run& run, const Conv2dShape& s, const T* diff_dst, T* diff_bias) {
  using V = Native<T>;
  constexpr int64_t longest = 256;
  const int64_t blocks = ceil_div(s.oc, V::lanes), plane = s.oh * s.ow;
  parallel(run, blocks, [&](int64_t block, int) {
    double totals[V::lanes] = {};
    for (int64_t image = 0; image < s.n; ++image) {
      const T* from = diff_dst + (image * blocks + block) * plane * V::lanes;
      for (int64_t begin = 0; begin < plane; begin += longest) {
        V sum = V::zero();
        for (int64_t i = begin; i < smaller(plane, begin + longest); ++i) {
          sum += V::load(from + i * V::lanes);
        }
        T values[V::lanes];
        sum.store(values);
        for (int i = 0; i < V::lanes; ++i) totals[i] += static_cast<double>(values[i]);
      }
    }
    const int64_t first = block * V::lanes;
    for (int64_t o = first; o < smaller(s.oc, first + V::lanes); ++o) {
      diff_bias[o] = static_cast<T>(totals[o - first]);
    }
  });
}

}  // namespace

RUSHLIGHT_DEFINE_FAMILY(BlockedGradientKernels, blocked_gradients, src_accepts<T>, src_workspace<T>,
                        src_gradient<T>, weight_accepts<T>, weight_workspace<T>, weight_gradient<T>,
                        bias_gradient<T>, blocked_max_pool_backward<T>, blocked_mean_backward<T>)

}  // namespace rushlight::RUSHLIGHT_ISA
