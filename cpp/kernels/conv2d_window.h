// Which part of the image a row of outputs sees under one tap.
#pragma once

#include <stdint.h>

#include "kernels/conv2d.h"
#include "kernels/integers.h"

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

}  // namespace rushlight::RUSHLIGHT_ISA
