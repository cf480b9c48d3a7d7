// Gradients of convolutions whose groups have a single input channel: every lane of a vector holds
// a channel, so that planes of any size fill the vectors. Planes are turned on the way in and out.
#pragma once

#include <stdint.h>

#include "kernels/channel_lanes.h"
#include "kernels/conv2d.h"
#include "kernels/conv2d_window.h"
#include "kernels/integers.h"
#include "kernels/parallel.h"

namespace rushlight::RUSHLIGHT_ISA {

constexpr int kLaneTaps = 9;  // that are computed together
constexpr int64_t kLaneWindowBytes = 24576;

RUSHLIGHT_INLINE int64_t floor_div(int64_t a, int64_t b) {
  return a >= 0 ? a / b : -ceil_div(-a, b);
}

// Along one axis: what a run of pixels of the source reads of the gradient.
struct GradientAxis {
  int64_t size, stride, padding, reach;  // reach: of the taps, in pixels of the source

  int64_t first(int64_t from) const { return floor_div(from + padding - reach, stride); }
  int64_t count(int64_t from, int64_t to) const {
    return to == from ? 0 : (to - 1 + padding) / stride - first(from) + 1;
  }
};

// What both gradients share, from the sizes alone.
template <class T>
struct DepthwisePlan {
  static constexpr int64_t lanes = Native<T>::lanes;
  static constexpr int64_t most_parts = 16;

  int64_t multiplier, kernel, blocks;
  GradientAxis down, across;
  int64_t src_rows, src_strips;  // of a strip of the gradient to src
  int64_t dst_rows, dst_strips;  // of a strip of the gradient to weight
  int64_t parts, part_images;    // partial sums of the gradient to weight

  explicit DepthwisePlan(const Conv2dShape& s)
      : multiplier(s.oc / s.groups),
        kernel(s.kh * s.kw),
        blocks(ceil_div(s.groups, lanes)),
        down{s.ih, s.stride_h, s.padding_h, (s.kh - 1) * s.dilation_h},
        across{s.iw, s.stride_w, s.padding_w, (s.kw - 1) * s.dilation_w} {
    const int64_t fitting = kLaneWindowBytes / (lanes * int64_t{sizeof(T)});
    src_strips = strips(s.ih, fitting / larger(1, s.iw + across.count(0, s.iw)));
    src_rows = ceil_div(s.ih, src_strips);
    const int64_t row = s.stride_h * window_cols(s) + s.ow;
    dst_strips = strips(s.oh, fitting / larger(1, row));
    dst_rows = ceil_div(s.oh, dst_strips);
    const int64_t tasks = larger(1, blocks * multiplier);
    parts = larger(1, smaller(s.n, ceil_div(most_parts, tasks)));
    part_images = ceil_div(s.n, parts);
  }

  static int64_t strips(int64_t rows, int64_t fitting) {
    return larger(1, ceil_div(rows, larger(4, fitting)));
  }

  // The window on the source that a strip of the gradient to weight reads.
  int64_t window_rows(const Conv2dShape& s) const {
    return (dst_rows - 1) * s.stride_h + down.reach + 1;
  }
  int64_t window_cols(const Conv2dShape& s) const {
    return (s.ow - 1) * s.stride_w + across.reach + 1;
  }

  // Elements of a slot, and of what all slots share.
  int64_t src_local(const Conv2dShape& s) const {
    const int64_t rows = src_rows + down.reach / s.stride_h + 2;
    return (rows * across.count(0, s.iw) + src_rows * s.iw) * lanes;
  }
  int64_t weights() const { return blocks * multiplier * kernel * lanes; }
  int64_t weight_local(const Conv2dShape& s) const {
    return (window_rows(s) * window_cols(s) + dst_rows * s.ow) * lanes;
  }
};

// Taps that lie absurdly far apart would need windows of absurd size.
template <class T>
bool depthwise_gradients_fit(const Conv2dShape& s) {
  constexpr double most = 4194304;  // elements of a window
  const double rows =
      static_cast<double>((s.kh - 1) * s.dilation_h + 2 * s.padding_h + 8 * s.stride_h);
  const double cols =
      static_cast<double>((s.kw - 1) * s.dilation_w + 2 * s.padding_w + s.iw + s.ow);
  return rows * cols * Native<T>::lanes <= most;
}

// weights[block][i][tap][lane]: of output i of each channel.
template <class T>
void turn_weights(const Run& run, const Conv2dShape& s, const DepthwisePlan<T>& plan,
                  const T* weight, T* to) {
  parallel(run, plan.blocks, [&](int64_t block, int) {
    T* out = to + block * plan.multiplier * plan.kernel * plan.lanes;
    for (int64_t i = 0; i < plan.multiplier * plan.kernel; ++i, out += plan.lanes) {
      for (int64_t lane = 0; lane < plan.lanes; ++lane) {
        const int64_t c = block * plan.lanes + lane;
        out[lane] = c < s.groups ? weight[c * plan.multiplier * plan.kernel + i] : T{0};
      }
    }
  });
}

// Taps that are computed together: where each reads, for the first pixel, and its weight's index.
struct LaneTapList {
  int count = 0;
  int64_t offset[kLaneTaps];
  int64_t tap[kLaneTaps];
};

// to[j * step] = (or +=) sum over the taps of weight * from[offset + j], in vectors.
template <int TAPS, class T>
RUSHLIGHT_INLINE void sum_lane_taps(const LaneTapList& taps, const T* weights, const T* from,
                                    bool add, int64_t count, int64_t step, T* to) {
  using V = Native<T>;
  V weight[TAPS];
  const T* tap[TAPS];
#pragma GCC unroll 9
  for (int t = 0; t < TAPS; ++t) {
    weight[t] = V::load(weights + taps.tap[t] * V::lanes);
    tap[t] = from + taps.offset[t] * V::lanes;
  }
  for (int64_t j = 0; j < count; ++j, to += step * V::lanes) {
    V acc = add ? V::load(to) : V::zero();
#pragma GCC unroll 9
    for (int t = 0; t < TAPS; ++t) acc = fma(weight[t], V::load(tap[t] + j * V::lanes), acc);
    acc.store(to);
  }
}

template <class T>
void sum_lane_tap_row(const LaneTapList& taps, const T* weights, const T* from, bool add,
                      int64_t count, int64_t step, T* to) {
  switch (taps.count) {
#define RUSHLIGHT_TAPS(n) \
  case n:                 \
    return sum_lane_taps<n>(taps, weights, from, add, count, step, to);
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
    default:
      break;
  }
  if (add) return;
  for (int64_t j = 0; j < count; ++j) {
    Native<T>::zero().store(to + j * step * Native<T>::lanes);
  }
}

// One row of the source, all columns of one phase: pixel x sees output (x + padding - tap) / stride
// of every tap that the stride divides.
template <class T>
void depthwise_phase_row(const Conv2dShape& s, const LaneWindow<T>& gradient, const T* window,
                         const T* weights, int64_t y, int64_t x0, bool add, T* row) {
  const int64_t top = y + s.padding_h, left = x0 + s.padding_w;
  const int64_t count = ceil_div(s.iw - x0, s.stride_w);
  LaneTapList taps;
  bool more = add;
  for (int64_t t = 0; t < s.kh * s.kw; ++t) {
    const int64_t dy = top - t / s.kw * s.dilation_h, dx = left - t % s.kw * s.dilation_w;
    if (dy % s.stride_h != 0 || dx % s.stride_w != 0) continue;
    taps.offset[taps.count] =
        (dy / s.stride_h - gradient.y0) * gradient.cols + dx / s.stride_w - gradient.x0;
    taps.tap[taps.count++] = t;
    if (taps.count < kLaneTaps) continue;
    sum_lane_tap_row(taps, weights, window, more, count, s.stride_w, row + x0 * Native<T>::lanes);
    taps.count = 0;
    more = true;
  }
  if (taps.count == 0 && more) return;
  sum_lane_tap_row(taps, weights, window, more, count, s.stride_w, row + x0 * Native<T>::lanes);
}

template <class T>
void depthwise_backward_src(const Run& run, const Conv2dShape& s, const T* weight,
                            const T* diff_dst, T* diff_src) {
  if (s.ih * s.iw == 0) return;
  constexpr int64_t lanes = Native<T>::lanes;
  const DepthwisePlan<T> plan(s);
  T* weights = static_cast<T*>(run.workspace);
  T* local = weights + plan.weights();
  turn_weights(run, s, plan, weight, weights);
  parallel(run, s.n * plan.blocks * plan.src_strips, [&](int64_t task, int slot) {
    const int64_t y0 = task % plan.src_strips * plan.src_rows, plane = s.ih * s.iw;
    const int64_t block = task / plan.src_strips % plan.blocks;
    const int64_t image = task / plan.src_strips / plan.blocks, c = block * lanes;
    const int64_t y1 = smaller(s.ih, y0 + plan.src_rows);
    if (y0 >= y1) return;
    T* result = local + slot * plan.src_local(s);
    T* window = result + plan.src_rows * s.iw * lanes;
    LaneWindow<T> gradient{nullptr, plan.multiplier * s.oh * s.ow, s.oh, s.ow, s.groups - c};
    gradient.y0 = plan.down.first(y0), gradient.rows = plan.down.count(y0, y1);
    gradient.x0 = plan.across.first(0), gradient.cols = plan.across.count(0, s.iw);
    if (plan.multiplier == 0) zero_run(result, (y1 - y0) * s.iw * lanes);
    for (int64_t i = 0; i < plan.multiplier; ++i) {
      gradient.planes = diff_dst + (image * s.oc + c * plan.multiplier + i) * s.oh * s.ow;
      gradient.load(window);
      const T* taps = weights + (block * plan.multiplier + i) * plan.kernel * lanes;
      for (int64_t y = y0; y < y1; ++y) {
        for (int64_t x = 0; x < smaller(s.stride_w, s.iw); ++x) {
          depthwise_phase_row(s, gradient, window, taps, y, x, i > 0,
                              result + (y - y0) * s.iw * lanes);
        }
      }
    }
    store_lanes(result, (y1 - y0) * s.iw, s.groups - c, plane,
                diff_src + (image * s.ic + c) * plane + y0 * s.iw);
  });
}

// sums[t] += sum over the rows of outputs of gradient * source under tap t.
template <class T>
void sum_lane_products(const Conv2dShape& s, const int64_t* offset, int64_t cols, int64_t rows,
                       const T* gradient, const T* source, double* sums) {
  using V = Native<T>;
  V acc[kLaneTaps];
  const T* tap[kLaneTaps];
#pragma GCC unroll 9
  for (int t = 0; t < kLaneTaps; ++t) {
    acc[t] = V::zero();
    tap[t] = source + offset[t] * V::lanes;
  }
  for (int64_t y = 0; y < rows; ++y) {
    int64_t at = y * s.stride_h * cols * V::lanes;
    for (int64_t x = 0; x < s.ow; ++x, at += s.stride_w * V::lanes, gradient += V::lanes) {
      const V dy = V::load(gradient);
#pragma GCC unroll 9
      for (int t = 0; t < kLaneTaps; ++t) acc[t] = fma(dy, V::load(tap[t] + at), acc[t]);
    }
  }
  for (int t = 0; t < kLaneTaps; ++t) {
    T lane[V::lanes];
    acc[t].store(lane);
    for (int i = 0; i < V::lanes; ++i) sums[t * V::lanes + i] += static_cast<double>(lane[i]);
  }
}

// One block of channels, output i of each, and one part of the images: part[tap][lane].
template <class T>
void depthwise_weight_part(const Conv2dShape& s, const DepthwisePlan<T>& plan, int64_t block,
                           int64_t i, int64_t part, const T* src, const T* diff_dst, T* local,
                           T* to) {
  constexpr int64_t lanes = Native<T>::lanes;
  const int64_t c = block * lanes, cols = plan.window_cols(s);
  T* gradients = local + plan.window_rows(s) * cols * lanes;
  for (int64_t first = 0; first < plan.kernel; first += kLaneTaps) {
    int64_t offset[kLaneTaps];
    const int64_t count = smaller(kLaneTaps, plan.kernel - first);
    for (int64_t t = 0; t < kLaneTaps; ++t) {  // those beyond the count are never used
      const int64_t tap = first + (t < count ? t : 0);
      offset[t] = tap / s.kw * s.dilation_h * cols + tap % s.kw * s.dilation_w;
    }
    double sums[kLaneTaps * lanes] = {};
    const int64_t end = smaller(s.n, (part + 1) * plan.part_images);
    for (int64_t image = part * plan.part_images; image < end; ++image) {
      LaneWindow<T> source{src + (image * s.ic + c) * s.ih * s.iw, s.ih * s.iw, s.ih, s.iw,
                           s.groups - c};
      LaneWindow<T> gradient{diff_dst + (image * s.oc + c * plan.multiplier + i) * s.oh * s.ow,
                             plan.multiplier * s.oh * s.ow, s.oh, s.ow, s.groups - c};
      source.x0 = -s.padding_w, source.cols = cols;
      gradient.x0 = 0, gradient.cols = s.ow;
      for (int64_t y = 0; y < s.oh; y += plan.dst_rows) {
        gradient.y0 = y, gradient.rows = smaller(plan.dst_rows, s.oh - y);
        source.y0 = source_row(s, y, 0);
        source.rows = (gradient.rows - 1) * s.stride_h + plan.down.reach + 1;
        source.load(local);
        gradient.load(gradients);
        sum_lane_products(s, offset, cols, gradient.rows, gradients, local, sums);
      }
    }
    for (int64_t j = 0; j < count * lanes; ++j) to[first * lanes + j] = static_cast<T>(sums[j]);
  }
}

template <class T>
void depthwise_backward_weight(const Run& run, const Conv2dShape& s, const T* src,
                               const T* diff_dst, T* diff_weight) {
  constexpr int64_t lanes = Native<T>::lanes;
  const DepthwisePlan<T> plan(s);
  if (s.oc == 0) return;
  const int64_t each = plan.kernel * lanes, pieces = plan.blocks * plan.multiplier;
  T* partial = static_cast<T*>(run.workspace);
  T* local = partial + plan.parts * plan.weights();
  parallel(run, plan.parts * pieces, [&](int64_t task, int slot) {
    const int64_t piece = task % pieces;
    depthwise_weight_part(s, plan, piece / plan.multiplier, piece % plan.multiplier, task / pieces,
                          src, diff_dst, local + slot * plan.weight_local(s),
                          partial + task * each);
  });
  for (int64_t o = 0; o < s.oc; ++o) {
    const int64_t c = o / plan.multiplier;
    const int64_t piece = c / lanes * plan.multiplier + o % plan.multiplier;
    for (int64_t t = 0; t < plan.kernel; ++t) {
      double total = 0;
      for (int64_t part = 0; part < plan.parts; ++part) {
        total +=
            static_cast<double>(partial[(part * pieces + piece) * each + t * lanes + c % lanes]);
      }
      diff_weight[o * plan.kernel + t] = static_cast<T>(total);
    }
  }
}

// Bytes.
template <class T>
int64_t depthwise_backward_src_workspace(const Conv2dShape& s, int slots) {
  if (s.ih * s.iw == 0) return 0;
  const DepthwisePlan<T> plan(s);
  return (plan.weights() + slots * plan.src_local(s)) * int64_t{sizeof(T)};
}
template <class T>
int64_t depthwise_backward_weight_workspace(const Conv2dShape& s, int slots) {
  const DepthwisePlan<T> plan(s);
  return (plan.parts * plan.weights() + slots * plan.weight_local(s)) * int64_t{sizeof(T)};
}

}  // namespace rushlight::RUSHLIGHT_ISA
