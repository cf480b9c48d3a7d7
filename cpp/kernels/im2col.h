// The columns of a convolution, read straight from the image into panels: the matrix
// [ic / groups * kh * kw, oh * ow] is never materialised.
#pragma once

#include <stdint.h>

#include "kernels/conv2d.h"
#include "kernels/conv2d_window.h"
#include "kernels/gemm.h"
#include "kernels/packers.h"

namespace rushlight::RUSHLIGHT_ISA {

// A tap: the row k of the column matrix as channel and kernel position, stepped without divisions.
struct Tap {
  int64_t c, ky, kx;

  Tap(const Conv2dShape& s, int64_t k) : c(k / (s.kh * s.kw)), ky(k / s.kw % s.kh), kx(k % s.kw) {}

  RUSHLIGHT_INLINE void next(const Conv2dShape& s) {
    if (++kx < s.kw) return;
    kx = 0;
    if (++ky < s.kh) return;
    ky = 0;
    ++c;
  }
};

// Neighbouring outputs of one row of an image.
struct PixelRun {
  int64_t image, oy, ox, count;
};

// Calls body(run, offset) for the runs that make up outputs [first, first + count), which may span
// images.
template <class Body>
RUSHLIGHT_INLINE void for_each_run(const Conv2dShape& s, int64_t first, int64_t count,
                                   const Body& body) {
  int64_t image = first / (s.oh * s.ow), oy = first / s.ow % s.oh, ox = first % s.ow;
  for (int64_t done = 0; done < count;) {
    const int64_t length = smaller(s.ow - ox, count - done);
    body(PixelRun{image, oy, ox, length}, done);
    done += length;
    ox = 0;
    if (++oy < s.oh) continue;
    oy = 0;
    ++image;
  }
}

// The pixels of one run under one tap, `channel_data` being the tap's channel: outside the image
// they are zero.
template <bool UNIT_STRIDE, class T>
RUSHLIGHT_INLINE void copy_pixels(const Conv2dShape& s, const T* channel_data, const Tap& tap,
                                  const PixelRun& run, T* to) {
  const int64_t y = source_row(s, run.oy, tap.ky);
  if (y < 0 || y >= s.ih) return zero_run(to, run.count);
  const int64_t x0 = source_col(s, run.ox, tap.kx);
  const Inside in(x0, UNIT_STRIDE ? 1 : s.stride_w, run.count, s.iw);
  if (in.low == in.high) return zero_run(to, run.count);
  const T* row = channel_data + y * s.iw;
  zero_run(to, in.low);
  if (UNIT_STRIDE) {
    copy_run(to + in.low, row + (x0 + in.low), in.high - in.low);
  } else {
    const T* from = row + (x0 + in.low * s.stride_w);
    if (s.stride_w == 2) {
      copy_every_second(to + in.low, from, in.high - in.low);
    } else {
      for (int64_t j = in.low; j < in.high; ++j, from += s.stride_w) to[j] = *from;
    }
  }
  zero_run(to + in.high, run.count - in.high);
}

// Panels of outputs: outer is the pixel, counted over all images, k the tap.
template <class T>
struct Im2colPacker {
  const Conv2dShape& s;
  const T* src;  // the group's channels of the first image

  bool reads_along_outer() const { return true; }

  template <int WIDTH>
  void pack(T* panel, int64_t first, int count, int64_t k0, int64_t kc) const {
    for_each_run(s, first, count, [&](const PixelRun& run, int64_t offset) {
      if (s.stride_w == 1) {
        pack_run<WIDTH, true>(panel + offset, run, k0, kc);
      } else {
        pack_run<WIDTH, false>(panel + offset, run, k0, kc);
      }
    });
    zero_columns<WIDTH>(panel, count, kc);
  }

 private:
  template <int WIDTH, bool UNIT_STRIDE>
  void pack_run(T* to, const PixelRun& run, int64_t k0, int64_t kc) const {
    const T* image = src + run.image * s.ic * s.ih * s.iw;
    Tap tap(s, k0);
    for (int64_t k = 0; k < kc; ++k, to += WIDTH, tap.next(s)) {
      copy_pixels<UNIT_STRIDE>(s, image + tap.c * s.ih * s.iw, tap, run, to);
    }
  }
};

// The transpose: outer is the tap, k the pixel.
template <class T>
struct TransposedIm2colPacker {
  const Conv2dShape& s;
  const T* src;  // the group's channels of one image

  bool reads_along_outer() const { return false; }

  template <int WIDTH>
  void pack(T* panel, int64_t first, int count, int64_t k0, int64_t kc) const {
    // Rows of pixels are copied in short lengths and then turned, while they are in the first-level
    // cache.
    constexpr int64_t length = 64;
    T rows[WIDTH * length];
    for (int64_t k = 0; k < kc; k += length) {
      const int64_t pixels = smaller(length, kc - k);
      Tap tap(s, first);
      for (int w = 0; w < count; ++w, tap.next(s)) {
        for_each_run(s, k0 + k, pixels, [&](const PixelRun& run, int64_t offset) {
          T* to = rows + w * length + offset;
          if (s.stride_w == 1) {
            copy_pixels<true>(s, src + tap.c * s.ih * s.iw, tap, run, to);
          } else {
            copy_pixels<false>(s, src + tap.c * s.ih * s.iw, tap, run, to);
          }
        });
      }
      const MatrixPacker<T> turn{rows, length, 1};
      turn.template pack<WIDTH>(panel + k * WIDTH, 0, count, 0, pixels);
    }
  }
};

// Adds columns [taps, pixels first .. first + count) of `channels` channels to the image: the
// adjoint of im2col.
template <class T>
void add_columns(const Conv2dShape& s, int64_t channels, int64_t first, int64_t count,
                 const T* columns, int64_t ld, T* diff_src) {
  Tap tap(s, 0);
  for (int64_t k = 0; k < channels * s.kh * s.kw; ++k, columns += ld, tap.next(s)) {
    for_each_run(s, first, count, [&](const PixelRun& run, int64_t offset) {
      const int64_t y = source_row(s, run.oy, tap.ky);
      if (y < 0 || y >= s.ih) return;
      const int64_t x0 = source_col(s, run.ox, tap.kx);
      const Inside in(x0, s.stride_w, run.count, s.iw);
      if (in.low == in.high) return;
      T* to = diff_src + (tap.c * s.ih + y) * s.iw + (x0 + in.low * s.stride_w);
      const T* from = columns + offset + in.low;
      const int64_t inside = in.high - in.low;
      if (s.stride_w == 1) {
        for (int64_t j = 0; j < inside; ++j) to[j] += from[j];
      } else {
        for (int64_t j = 0; j < inside; ++j) to[j * s.stride_w] += from[j];
      }
    });
  }
}

}  // namespace rushlight::RUSHLIGHT_ISA
