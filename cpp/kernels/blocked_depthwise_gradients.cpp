// The gradients of depthwise convolutions on blocked images: every product is a vector of channels
// times a vector. Both go through the outputs that a tap sees inside the image, row by row.
#include "kernels/blocked_conv.h"
#include "kernels/blocked_weight.h"
#include "kernels/conv2d_window.h"
#include "kernels/packers.h"
#include "kernels/red_zone.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

// A task owns one block of channels and a part of the images.
template <class T>
struct DepthwiseWeightPlan {
  static constexpr int64_t lanes = Native<T>::lanes;

  int64_t blocks, taps, parts, per_part;

  explicit DepthwiseWeightPlan(const Conv2dShape& s)
      : blocks(ceil_div(s.ic, lanes)), taps(s.kh * s.kw) {
    constexpr int64_t wanted_tasks = 32;
    per_part = ceil_div(s.n, smaller(s.n, ceil_div(wanted_tasks, blocks)));
    parts = ceil_div(s.n, per_part);
  }

  int64_t sums() const { return taps * lanes; }
};

// KERNEL neighbouring taps of one row of the window.
template <int KERNEL, class T>
RUSHLIGHT_INLINE void add_row(const T* diff, const T* src, int64_t src_step, int64_t tap_step,
                              int64_t count, Native<T>* acc) {
  using V = Native<T>;
  for (int64_t x = 0; x < count; ++x, diff += V::lanes, src += src_step) {
    const V d = V::load(diff);
#pragma GCC unroll 8
    for (int k = 0; k < KERNEL; ++k) acc[k] = fma(d, V::load(src + k * tap_step), acc[k]);
  }
}

// The sums of KERNEL taps from `kx` on of row `ky` of the window, over one image; `src` and `diff`
// are one block of it.
template <int KERNEL, class T>
void add_taps(const Conv2dShape& s, const T* src, const T* diff, int64_t ky, int64_t kx, T* sums) {
  using V = Native<T>;
  const int64_t step = s.stride_w * V::lanes, tap_step = s.dilation_w * V::lanes;
  // Outputs for which all of the taps lie inside, and before and behind them those for which some
  // do.
  const Inside first(source_col(s, 0, kx), s.stride_w, s.ow, s.iw);
  const Inside last(source_col(s, 0, kx + KERNEL - 1), s.stride_w, s.ow, s.iw);
  const int64_t low = larger(first.low, last.low);
  const int64_t high = larger(low, smaller(first.high, last.high));
  const Inside rows(source_row(s, 0, ky), s.stride_h, s.oh, s.ih);
  V acc[KERNEL];
#pragma GCC unroll 8
  for (int k = 0; k < KERNEL; ++k) acc[k] = V::load(sums + k * V::lanes);
  for (int64_t oy = rows.low; oy < rows.high; ++oy) {
    const T* row = src + source_row(s, oy, ky) * s.iw * V::lanes;
    const T* d = diff + oy * s.ow * V::lanes;
    const auto at = [&](int64_t ox) { return row + source_col(s, ox, kx) * V::lanes; };
    add_row<KERNEL>(d + low * V::lanes, at(low), step, tap_step, high - low, acc);
    if constexpr (KERNEL > 1) {
#pragma GCC unroll 8
      for (int k = 0; k < KERNEL; ++k) {
        const Inside some(source_col(s, 0, kx + k), s.stride_w, s.ow, s.iw);
        const int64_t left = smaller(low, some.high), right = larger(high, some.low);
        add_row<1>(d + some.low * V::lanes, at(some.low) + k * tap_step, step, 0, left - some.low,
                   acc + k);
        add_row<1>(d + right * V::lanes, at(right) + k * tap_step, step, 0, some.high - right,
                   acc + k);
      }
    }
  }
#pragma GCC unroll 8
  for (int k = 0; k < KERNEL; ++k) acc[k].store(sums + k * V::lanes);
}

template <class T>
void add_image(const Conv2dShape& s, const T* src, const T* diff, T* sums) {
  constexpr int64_t lanes = Native<T>::lanes;
  for (int64_t ky = 0; ky < s.kh; ++ky) {
    int64_t kx = 0;
    T* to = sums + ky * s.kw * lanes;
    for (; kx + 5 <= s.kw; kx += 5) add_taps<5>(s, src, diff, ky, kx, to + kx * lanes);
    for (; kx + 3 <= s.kw; kx += 3) add_taps<3>(s, src, diff, ky, kx, to + kx * lanes);
    for (; kx < s.kw; ++kx) add_taps<1>(s, src, diff, ky, kx, to + kx * lanes);
  }
}

}  // namespace

template <class T>
int64_t blocked_depthwise_weight_workspace(const Conv2dShape& s) {
  const DepthwiseWeightPlan<T> plan(s);
  return (plan.parts * plan.blocks * plan.sums() + red_zone<T>)*int64_t{sizeof(T)};
}

template <class T>
void blocked_depthwise_weight(const Run& run, const Conv2dShape& s, const T* src, const T* diff_dst,
                              T* diff_weight) {
  constexpr int64_t lanes = Native<T>::lanes;
  const DepthwiseWeightPlan<T> plan(s);
  const int64_t all = plan.parts * plan.blocks * plan.sums();
  T* sums = guarded(static_cast<T*>(run.workspace), all);
  parallel(run, plan.parts * plan.blocks, [&](int64_t task, int) {
    const int64_t block = task % plan.blocks, first = task / plan.blocks * plan.per_part;
    T* to = sums + task * plan.sums();
    zero_run(to, plan.sums());
    for (int64_t image = first; image < smaller(s.n, first + plan.per_part); ++image) {
      const int64_t plane = image * plan.blocks + block;
      add_image(s, src + plane * s.ih * s.iw * lanes, diff_dst + plane * s.oh * s.ow * lanes, to);
    }
  });
  for (int64_t c = 0; c < s.ic; ++c) {
    for (int64_t tap = 0; tap < plan.taps; ++tap) {
      const T* from = sums + (c / lanes * plan.taps + tap) * lanes + c % lanes;
      T total = *from;
      for (int64_t part = 1; part < plan.parts; ++part) {
        total += from[part * plan.blocks * plan.sums()];
      }
      diff_weight[c * plan.taps + tap] = total;
    }
  }
}

namespace {

// One row of diff_src: what each row of diff_dst that touches it adds, tap by tap.
template <class T>
void make_row(const Conv2dShape& s, const T* weight, const T* diff, int64_t y, T* to) {
  using V = Native<T>;
  for (int64_t x = 0; x < s.iw; ++x) V::zero().store(to + x * V::lanes);
  for (int64_t ky = 0; ky < s.kh; ++ky) {
    const int64_t reach = y + s.padding_h - ky * s.dilation_h;
    if (reach < 0 || reach % s.stride_h != 0 || reach / s.stride_h >= s.oh) continue;
    const T* row = diff + reach / s.stride_h * s.ow * V::lanes;
    for (int64_t kx = 0; kx < s.kw; ++kx) {
      const Inside xs(source_col(s, 0, kx), s.stride_w, s.ow, s.iw);
      const V w = V::load(weight + (ky * s.kw + kx) * V::lanes);
      const T* from = row + xs.low * V::lanes;
      T* at = to + source_col(s, xs.low, kx) * V::lanes;
      for (int64_t ox = xs.low; ox < xs.high; ++ox) {
        fma(w, V::load(from), V::load(at)).store(at);
        from += V::lanes;
        at += s.stride_w * V::lanes;
      }
    }
  }
}

}  // namespace

template <class T>
void blocked_depthwise_src(const Run& run, const Conv2dShape& s, const T* prepared,
                           const T* diff_dst, T* diff_src) {
  constexpr int64_t lanes = Native<T>::lanes, band_pixels = 512;
  const int64_t blocks = ceil_div(s.ic, lanes), band = larger(1, band_pixels / s.iw);
  const int64_t bands = ceil_div(s.ih, band);
  parallel(run, s.n * blocks * bands, [&](int64_t task, int) {
    const int64_t plane = task / bands, first = task % bands * band;
    const T* weight = prepared + plane % blocks * s.kh * s.kw * lanes;
    const T* diff = diff_dst + plane * s.oh * s.ow * lanes;
    for (int64_t y = first; y < smaller(s.ih, first + band); ++y) {
      make_row(s, weight, diff, y, diff_src + (plane * s.ih + y) * s.iw * lanes);
    }
  });
}

RUSHLIGHT_BLOCKED_DEPTHWISE_GRADIENTS(, float)
RUSHLIGHT_BLOCKED_DEPTHWISE_GRADIENTS(, double)

}  // namespace rushlight::RUSHLIGHT_ISA
