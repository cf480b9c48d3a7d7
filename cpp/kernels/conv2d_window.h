// Which part of the image a row of outputs sees under one tap.
#pragma once

#include <stdint.h>

#include "kernels/conv2d.h"
#include "kernels/integers.h"
#include "simd/vec.h"

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

RUSHLIGHT_INLINE int64_t source_row(const Conv2dShape& s, int64_t oy, int64_t ky) {
  return oy * s.stride_h - s.padding_h + ky * s.dilation_h;
}
RUSHLIGHT_INLINE int64_t source_col(const Conv2dShape& s, int64_t ox, int64_t kx) {
  return ox * s.stride_w - s.padding_w + kx * s.dilation_w;
}

// Whether every channel is convolved alone.
inline bool is_depthwise(const Conv2dShape& s) {
  return s.groups > 1 && s.groups == s.ic && s.groups == s.oc;
}

// The convolution of stride 1 that makes diff_src of diff_dst, with filters turned around.
inline Conv2dShape mirrored(const Conv2dShape& s) {
  Conv2dShape m = s;
  m.ic = s.oc, m.ih = s.oh, m.iw = s.ow;
  m.oc = s.ic, m.oh = s.ih, m.ow = s.iw;
  m.padding_h = s.dilation_h * (s.kh - 1) - s.padding_h;
  m.padding_w = s.dilation_w * (s.kw - 1) - s.padding_w;
  return m;
}

// Copies a row of any length in whole vectors, the last of which may overlap the one before. What
// lies `ahead`, often in a page of its own, is fetched meanwhile.
template <class T>
RUSHLIGHT_INLINE void copy_row(const T* from, int64_t count, int64_t ahead, T* to) {
  using V = Native<T>;
  using Half = Vec<T, (V::lanes > 1 ? V::lanes / 2 : 1)>;
  constexpr int64_t line = 64 / int64_t{sizeof(T)};
  for (int64_t i = 0; i < count; i += line) __builtin_prefetch(from + i + ahead);
  if (count >= V::lanes) {
    for (int64_t i = 0; i < count - V::lanes; i += V::lanes) V::load(from + i).store(to + i);
    V::load(from + count - V::lanes).store(to + count - V::lanes);
  } else if (count >= Half::lanes) {
    Half::load(from).store(to);
    Half::load(from + count - Half::lanes).store(to + count - Half::lanes);
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = from[i];
  }
}

}  // namespace rushlight::RUSHLIGHT_ISA
