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

// Rows of an image as windows of three see them: one outside is a pixel of zeros that is read again
// and again.
template <class T>
struct WindowRows {
  using V = Native<T>;
  static constexpr T zeros[V::lanes] = {};

  const T* rows[3];
  int64_t steps[3], width;

  WindowRows(const T* image, int64_t height, int64_t width, int64_t first, int64_t distance)
      : width(width) {
    for (int k = 0; k < 3; ++k) {
      const int64_t y = first + k * distance;
      const bool inside = y >= 0 && y < height;
      rows[k] = inside ? image + y * width * V::lanes : zeros;
      steps[k] = inside ? V::lanes : 0;
    }
  }
  RUSHLIGHT_INLINE void load(int64_t x, V* column) const {
#pragma GCC unroll 3
    for (int k = 0; k < 3; ++k) column[k] = V::load(rows[k] + x * steps[k]);
  }
  RUSHLIGHT_INLINE void load_if_inside(int64_t x, V* column) const {
    if (x >= 0 && x < width) return load(x, column);
#pragma GCC unroll 3
    for (int k = 0; k < 3; ++k) column[k] = V::zero();
  }
};

// Windows of 3x3 taps that lie side by side: all nine sums stay in registers, and of a window's
// columns those that the next one sees too.
bool has_window_sums(const Conv2dShape& s) {
  return s.kh == 3 && s.kw == 3 && s.dilation_h == 1 && s.dilation_w == 1 && s.stride_w <= 2;
}

template <int STRIDE, class T>
RUSHLIGHT_INLINE void add_window_row(const Conv2dShape& s, const WindowRows<T>& from, const T* diff,
                                     Native<T> (*acc)[3]) {
  using V = Native<T>;
  V columns[3][3];
  const auto keep = [&]() __attribute__((always_inline)) {
#pragma GCC unroll 3
    for (int k = 0; k < 3; ++k) {
      if constexpr (STRIDE == 1) columns[0][k] = columns[1][k];
      columns[STRIDE == 1 ? 1 : 0][k] = columns[2][k];
    }
  };
  const auto add = [&](int64_t ox) __attribute__((always_inline)) {
    const V d = V::load(diff + ox * V::lanes);
#pragma GCC unroll 3
    for (int kx = 0; kx < 3; ++kx) {
#pragma GCC unroll 3
      for (int ky = 0; ky < 3; ++ky) acc[ky][kx] = fma(d, columns[kx][ky], acc[ky][kx]);
    }
    keep();
  };
  // What a window sees that the one before did not.
  constexpr int fresh = STRIDE == 1 ? 2 : 1;
  const Inside inside(-s.padding_w + fresh, STRIDE, s.ow, s.iw - (2 - fresh));
#pragma GCC unroll 3
  for (int kx = 0; kx < fresh; ++kx) from.load_if_inside(kx - s.padding_w, columns[kx]);
  const auto edge = [&](int64_t begin, int64_t end) __attribute__((always_inline)) {
    for (int64_t ox = begin; ox < end; ++ox) {
#pragma GCC unroll 3
      for (int kx = fresh; kx < 3; ++kx) {
        from.load_if_inside(ox * STRIDE - s.padding_w + kx, columns[kx]);
      }
      add(ox);
    }
  };
  edge(0, inside.low);
  for (int64_t ox = inside.low; ox < inside.high; ++ox) {
#pragma GCC unroll 2
    for (int kx = fresh; kx < 3; ++kx) from.load(ox * STRIDE - s.padding_w + kx, columns[kx]);
    add(ox);
  }
  edge(larger(inside.low, inside.high), s.ow);
}

// The sums of all taps over some images of one block, `step` elements apart.
template <int STRIDE, class T>
void add_windows(const Conv2dShape& s, const T* src, int64_t src_step, const T* diff,
                 int64_t diff_step, int64_t images, T* sums) {
  using V = Native<T>;
  V acc[3][3] = {};
  for (int64_t image = 0; image < images; ++image, src += src_step, diff += diff_step) {
    for (int64_t oy = 0; oy < s.oh; ++oy) {
      const WindowRows<T> rows(src, s.ih, s.iw, source_row(s, oy, 0), 1);
      add_window_row<STRIDE>(s, rows, diff + oy * s.ow * V::lanes, acc);
    }
  }
#pragma GCC unroll 9
  for (int tap = 0; tap < 9; ++tap) acc[tap / 3][tap % 3].store(sums + tap * V::lanes);
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
    const int64_t src_plane = s.ih * s.iw * lanes, dst_plane = s.oh * s.ow * lanes;
    const int64_t images = smaller(plan.per_part, s.n - first), plane = first * plan.blocks + block;
    const T *x = src + plane * src_plane, *dy = diff_dst + plane * dst_plane;
    if (has_window_sums(s)) {
      const auto add = s.stride_w == 1 ? add_windows<1, T> : add_windows<2, T>;
      return add(s, x, plan.blocks * src_plane, dy, plan.blocks * dst_plane, images, to);
    }
    zero_run(to, plan.sums());
    for (int64_t i = 0; i < images; ++i) {
      add_image(s, x + i * plan.blocks * src_plane, dy + i * plan.blocks * dst_plane, to);
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

// Windows of 3x3 taps two steps apart, which begin in the padding: of four neighbouring pixels of
// diff_src one lies under one tap, two under two and one under four, of the same four outputs.
bool has_quads(const Conv2dShape& s) {
  return s.kh == 3 && s.kw == 3 && s.dilation_h == 1 && s.dilation_w == 1 && s.stride_h == 2 &&
         s.stride_w == 2 && s.padding_h == 1 && s.padding_w == 1;
}

// Rows y and y + 1 of diff_src, from `to` on, of which the second may not exist.
template <class T>
void make_quads(const Conv2dShape& s, const Native<T> (&w)[3][3], const T* diff, int64_t y, T* to) {
  using V = Native<T>;
  const int64_t row = s.iw * V::lanes;
  const bool two = y + 1 < s.ih;
  const WindowRows<T> rows(diff, s.oh, s.ow, y / 2, 1);  // the third is not used
  V near[3], far[3];
  rows.load_if_inside(0, near);
  for (int64_t x = 0; x < s.iw; x += 2, to += 2 * V::lanes) {
    rows.load_if_inside(x / 2 + 1, far);
    const bool last = x + 1 == s.iw;
    (w[1][1] * near[0]).store(to);
    if (!last) fma(w[1][0], far[0], w[1][2] * near[0]).store(to + V::lanes);
    if (two) {
      fma(w[0][1], near[1], w[2][1] * near[0]).store(to + row);
      const V upper = fma(w[2][0], far[0], w[2][2] * near[0]);
      const V lower = fma(w[0][0], far[1], w[0][2] * near[1]);
      if (!last) (upper + lower).store(to + row + V::lanes);
    }
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k) near[k] = far[k];
  }
}

// Rows of diff_src from an even one on.
template <class T>
void make_all_quads(const Conv2dShape& s, const T* weight, const T* diff, int64_t first,
                    int64_t end, T* to) {
  using V = Native<T>;
  V w[3][3];
#pragma GCC unroll 9
  for (int tap = 0; tap < 9; ++tap) w[tap / 3][tap % 3] = V::load(weight + tap * V::lanes);
  for (int64_t y = first; y < end; y += 2, to += 2 * s.iw * V::lanes) make_quads(s, w, diff, y, to);
}

}  // namespace

template <class T>
void blocked_depthwise_src(const Run& run, const Conv2dShape& s, const T* prepared,
                           const T* diff_dst, T* diff_src) {
  constexpr int64_t lanes = Native<T>::lanes, band_pixels = 512;
  const int64_t blocks = ceil_div(s.ic, lanes), band = round_up(larger(1, band_pixels / s.iw), 2);
  const int64_t bands = ceil_div(s.ih, band);
  parallel(run, s.n * blocks * bands, [&](int64_t task, int) {
    const int64_t plane = task / bands, first = task % bands * band;
    const T* weight = prepared + plane % blocks * s.kh * s.kw * lanes;
    const T* diff = diff_dst + plane * s.oh * s.ow * lanes;
    const int64_t end = smaller(s.ih, first + band);
    T* to = diff_src + (plane * s.ih + first) * s.iw * lanes;
    if (has_quads(s)) return make_all_quads(s, weight, diff, first, end, to);
    for (int64_t y = first; y < end; ++y, to += s.iw * lanes) make_row(s, weight, diff, y, to);
  });
}

RUSHLIGHT_BLOCKED_DEPTHWISE_GRADIENTS(, float)
RUSHLIGHT_BLOCKED_DEPTHWISE_GRADIENTS(, double)

}  // namespace rushlight::RUSHLIGHT_ISA
