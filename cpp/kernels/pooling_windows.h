// Which elements of the input each window of a pooling covers.
#pragma once

#include <stdint.h>

#include "kernels/pooling.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

// The taps of one window along one axis: begin, begin + step, ... below end, all inside the input.
struct Taps {
  int64_t begin, end, step;
  int64_t padded;  // elements that the window covers, padding included
};

struct Axis {
  int64_t size, kernel, stride, padding, dilation;

  Taps taps(int64_t o) const {
    const int64_t start = o * stride - padding;
    const int64_t stop = start + (kernel - 1) * dilation + 1;
    // The average counts padding, but not what ceil_mode reaches beyond it.
    const int64_t padded = (stop < size + padding ? stop : size + padding) - start;
    const int64_t skipped = start < 0 ? (-start - 1) / dilation + 1 : 0;
    return {start + skipped * dilation, stop < size ? stop : size, dilation, padded};
  }
};

struct AdaptiveAxis {
  int64_t size, out;

  Taps taps(int64_t o) const {
    const int64_t begin = o * size / out;
    const int64_t end = ((o + 1) * size + out - 1) / out;
    return {begin, end, 1, end - begin};
  }
};

template <class AxisType>
struct Windows {
  AxisType rows, cols;
};

inline Windows<Axis> fixed_windows(const PoolShape& s) {
  return {{s.ih, s.kh, s.stride_h, s.padding_h, s.dilation_h},
          {s.iw, s.kw, s.stride_w, s.padding_w, s.dilation_w}};
}
inline Windows<AdaptiveAxis> adaptive_windows(const PoolShape& s) {
  return {{s.ih, s.oh}, {s.iw, s.ow}};
}

// Calls body(position in the output plane, row taps, column taps).
template <class AxisType, class Body>
RUSHLIGHT_INLINE void for_each_window(const PoolShape& s, const Windows<AxisType>& windows,
                                      const Body& body) {
  for (int64_t oy = 0; oy < s.oh; ++oy) {
    const Taps y = windows.rows.taps(oy);
    for (int64_t ox = 0; ox < s.ow; ++ox) body(oy * s.ow + ox, y, windows.cols.taps(ox));
  }
}

}  // namespace rushlight::RUSHLIGHT_ISA
