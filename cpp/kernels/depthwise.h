// Convolutions whose groups have a single input channel: a matrix product would have one column of
// weights to work with, so these go along the rows of the image instead. Each task owns whole
// planes of its result.
#pragma once

#include <stdint.h>

#include "kernels/conv2d.h"
#include "kernels/conv2d_window.h"
#include "kernels/integers.h"
#include "kernels/parallel.h"
#include "kernels/reduce.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

// Calls body(tap, output row, source row, first source column, part of the row that is inside) for
// every pair of an output row and a tap that meets the image.
template <class Body>
RUSHLIGHT_INLINE void for_each_tap_row(const Conv2dShape& s, const Body& body) {
  for (int64_t oy = 0; oy < s.oh; ++oy) {
    for (int64_t ky = 0; ky < s.kh; ++ky) {
      const int64_t y = source_row(s, oy, ky);
      if (y < 0 || y >= s.ih) continue;
      for (int64_t kx = 0; kx < s.kw; ++kx) {
        const int64_t x0 = source_col(s, 0, kx);
        const Inside in(x0, s.stride_w, s.ow, s.iw);
        if (in.low == in.high) continue;
        body(ky * s.kw + kx, oy, y, x0 + in.low * s.stride_w, in);
      }
    }
  }
}

template <class T>
void depthwise_forward(const Run& run, const Conv2dShape& s, const T* src, const T* weight,
                       const T* bias, T* dst) {
  const int64_t multiplier = s.oc / s.groups;
  parallel(run, s.n * s.oc, [&](int64_t plane, int) {
    const int64_t image = plane / s.oc, o = plane % s.oc;
    const T* from = src + (image * s.ic + o / multiplier) * s.ih * s.iw;
    const T* taps = weight + o * s.kh * s.kw;
    T* to = dst + plane * s.oh * s.ow;
    const T start = bias == nullptr ? T{0} : bias[o];
    for (int64_t i = 0; i < s.oh * s.ow; ++i) to[i] = start;
    for_each_tap_row(s, [&](int64_t tap, int64_t oy, int64_t y, int64_t x, const Inside& in) {
      const T* row = from + y * s.iw + x;
      T* out = to + oy * s.ow + in.low;
      const T w = taps[tap];
      const int64_t count = in.high - in.low;
      if (s.stride_w == 1) {
        for (int64_t j = 0; j < count; ++j) out[j] += w * row[j];
      } else {
        for (int64_t j = 0; j < count; ++j) out[j] += w * row[j * s.stride_w];
      }
    });
  });
}

template <class T>
void depthwise_backward_src(const Run& run, const Conv2dShape& s, const T* weight,
                            const T* diff_dst, T* diff_src) {
  const int64_t multiplier = s.oc / s.groups;
  parallel(run, s.n * s.ic, [&](int64_t plane, int) {
    const int64_t image = plane / s.ic, c = plane % s.ic;
    T* to = diff_src + plane * s.ih * s.iw;
    for (int64_t i = 0; i < s.ih * s.iw; ++i) to[i] = 0;
    for (int64_t o = c * multiplier; o < (c + 1) * multiplier; ++o) {
      const T* from = diff_dst + (image * s.oc + o) * s.oh * s.ow;
      const T* taps = weight + o * s.kh * s.kw;
      for_each_tap_row(s, [&](int64_t tap, int64_t oy, int64_t y, int64_t x, const Inside& in) {
        const T* row = from + oy * s.ow + in.low;
        T* out = to + y * s.iw + x;
        const T w = taps[tap];
        const int64_t count = in.high - in.low;
        if (s.stride_w == 1) {
          for (int64_t j = 0; j < count; ++j) out[j] += w * row[j];
        } else {
          for (int64_t j = 0; j < count; ++j) out[j * s.stride_w] += w * row[j];
        }
      });
    }
  });
}

// Sum of dy[j] * x[j * stride].
template <class T>
T strided_dot(const T* dy, const T* x, int64_t stride, int64_t count) {
  if (stride == 1) return dot(dy, x, count);
  T total = 0;
  for (int64_t j = 0; j < count; ++j) total += dy[j] * x[j * stride];
  return total;
}

template <class T>
void depthwise_backward_weight(const Run& run, const Conv2dShape& s, const T* src,
                               const T* diff_dst, T* diff_weight) {
  const int64_t multiplier = s.oc / s.groups, kernel = s.kh * s.kw;
  parallel(run, s.oc * kernel, [&](int64_t task, int) {
    const int64_t o = task / kernel, ky = task % kernel / s.kw, kx = task % s.kw;
    const int64_t x0 = source_col(s, 0, kx);
    const Inside in(x0, s.stride_w, s.ow, s.iw);
    double total = 0;
    for (int64_t image = 0; image < s.n && in.low < in.high; ++image) {
      const T* dy = diff_dst + (image * s.oc + o) * s.oh * s.ow + in.low;
      const T* x = src + (image * s.ic + o / multiplier) * s.ih * s.iw + x0 + in.low * s.stride_w;
      for (int64_t oy = 0; oy < s.oh; ++oy) {
        const int64_t y = source_row(s, oy, ky);
        if (y < 0 || y >= s.ih) continue;
        const T part = strided_dot(dy + oy * s.ow, x + y * s.iw, s.stride_w, in.high - in.low);
        total += static_cast<double>(part);
      }
    }
    diff_weight[task] = static_cast<T>(total);
  });
}

}  // namespace rushlight::RUSHLIGHT_ISA
