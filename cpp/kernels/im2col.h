// The columns of a convolution, read straight from the image into panels: the matrix
// [ic / groups * kh * kw, oh * ow] is never materialised.
#pragma once

#include <stdint.h>

#include "kernels/conv2d.h"
#include "kernels/gemm.h"
#include "kernels/packers.h"

namespace rushlight::RUSHLIGHT_ISA {

// The part [low, high) of a run of outputs whose taps x0 + j * stride lie inside [0, size).
struct Inside {
  int64_t low, high;

  RUSHLIGHT_INLINE Inside(int64_t x0, int64_t stride, int64_t count, int64_t size)
      : low(0), high(count) {
    // The whole run inside is the usual case, and needs no division.
    if (x0 < 0) low = smaller(count, stride == 1 ? -x0 : ceil_div(-x0, stride));
    if (x0 + (count - 1) * stride >= size) {
      const int64_t room = size - x0;
      high = room <= 0 ? 0 : smaller(count, stride == 1 ? room : ceil_div(room, stride));
    }
    if (high < low) high = low;
  }
};

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

// Neighbouring outputs of one row.
struct PixelRun {
  int64_t oy, ox, count;
};

// Calls body(run, offset) for the runs that make up outputs [first, first + count).
template <class Body>
RUSHLIGHT_INLINE void for_each_run(const Conv2dShape& s, int64_t first, int64_t count,
                                   const Body& body) {
  int64_t oy = first / s.ow, ox = first % s.ow;
  for (int64_t done = 0; done < count;) {
    const int64_t length = smaller(s.ow - ox, count - done);
    body(PixelRun{oy, ox, length}, done);
    done += length;
    ox = 0;
    ++oy;
  }
}

RUSHLIGHT_INLINE int64_t source_row(const Conv2dShape& s, int64_t oy, int64_t ky) {
  return oy * s.stride_h - s.padding_h + ky * s.dilation_h;
}
RUSHLIGHT_INLINE int64_t source_col(const Conv2dShape& s, int64_t ox, int64_t kx) {
  return ox * s.stride_w - s.padding_w + kx * s.dilation_w;
}

// Panels of outputs: outer is the pixel, k the tap.
template <class T>
struct Im2colPacker {
  const Conv2dShape& s;
  const T* src;  // the group's channels of one image

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
    Tap tap(s, k0);
    for (int64_t k = 0; k < kc; ++k, to += WIDTH, tap.next(s)) {
      const int64_t y = source_row(s, run.oy, tap.ky);
      if (y < 0 || y >= s.ih) {
        zero_run(to, run.count);
        continue;
      }
      const int64_t x0 = source_col(s, run.ox, tap.kx);
      const int64_t stride = UNIT_STRIDE ? 1 : s.stride_w;
      const Inside in(x0, stride, run.count, s.iw);
      const T* row = src + (tap.c * s.ih + y) * s.iw;
      if (UNIT_STRIDE && in.high - in.low == WIDTH) {
        memcpy(to, row + x0, sizeof(T) * WIDTH);
        continue;
      }
      zero_run(to, in.low);
      copy_inside<UNIT_STRIDE>(to, row, x0, in);
      zero_run(to + in.high, run.count - in.high);
    }
  }

  template <bool UNIT_STRIDE>
  RUSHLIGHT_INLINE void copy_inside(T* to, const T* row, int64_t x0, const Inside& in) const {
    if (in.low == in.high) return;
    if (UNIT_STRIDE) {
      copy_run(to + in.low, row + x0 + in.low, in.high - in.low);
    } else {
      const T* from = row + x0;
      for (int64_t j = in.low; j < in.high; ++j) to[j] = from[j * s.stride_w];
    }
  }
};

// The transpose: outer is the tap, k the pixel.
template <class T>
struct TransposedIm2colPacker {
  const Conv2dShape& s;
  const T* src;  // the group's channels of one image

  template <int WIDTH>
  void pack(T* panel, int64_t first, int count, int64_t k0, int64_t kc) const {
    Tap tap(s, first);
    for (int w = 0; w < count; ++w, tap.next(s)) {
      for_each_run(s, k0, kc, [&](const PixelRun& run, int64_t offset) {
        pack_run<WIDTH>(panel + offset * WIDTH + w, run, tap);
      });
    }
    zero_columns<WIDTH>(panel, count, kc);
  }

 private:
  template <int WIDTH>
  RUSHLIGHT_INLINE void pack_run(T* to, const PixelRun& run, const Tap& tap) const {
    const int64_t y = source_row(s, run.oy, tap.ky);
    const int64_t x0 = source_col(s, run.ox, tap.kx);
    const bool row_inside = y >= 0 && y < s.ih;
    const Inside in(x0, s.stride_w, row_inside ? run.count : 0, s.iw);
    int64_t j = 0;
    for (; j < in.low; ++j) to[j * WIDTH] = 0;
    if (in.low < in.high) {
      const T* from = src + (tap.c * s.ih + y) * s.iw + x0;
      for (; j < in.high; ++j) to[j * WIDTH] = from[j * s.stride_w];
    }
    for (; j < run.count; ++j) to[j * WIDTH] = 0;
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
      T* to = diff_src + (tap.c * s.ih + y) * s.iw + x0;
      const T* from = columns + offset;
      if (s.stride_w == 1) {
        for (int64_t j = in.low; j < in.high; ++j) to[j] += from[j];
      } else {
        for (int64_t j = in.low; j < in.high; ++j) to[j * s.stride_w] += from[j];
      }
    });
  }
}

}  // namespace rushlight::RUSHLIGHT_ISA
