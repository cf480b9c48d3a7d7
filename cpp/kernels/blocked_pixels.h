// Tiles of pixels of one block of channels, for Winograd's transforms.
#pragma once

#include <stdint.h>

#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

// One block of channels of an image.
template <class T>
struct BlockPlane {
  using V = Native<T>;

  const T* pixels;
  int64_t height, width;

  // COUNT neighbouring pixels from (y, x) on; zeros outside. The pixels `below` rows further down,
  // which the next row of tiles needs, are fetched meanwhile: but for the first `known`.
  template <int COUNT>
  RUSHLIGHT_INLINE void load(int64_t y, int64_t x, int64_t below, int known, V* to) const {
    if (y < 0 || y >= height) {
#pragma GCC unroll 6
      for (int j = 0; j < COUNT; ++j) to[j] = V::zero();
      return;
    }
    const T* row = pixels + (y * width + x) * V::lanes;
#pragma GCC unroll 6
    for (int j = 0; j < COUNT; ++j) {
      if (j >= known) __builtin_prefetch(row + (below * width + j) * V::lanes);
    }
    if (x >= 0 && x + COUNT <= width) {
#pragma GCC unroll 6
      for (int j = 0; j < COUNT; ++j) to[j] = V::load(row + j * V::lanes);
      return;
    }
    // Small images have tiles at an edge more than others: addresses are chosen, not branches.
    static constexpr T zeros[V::lanes] = {};
#pragma GCC unroll 6
    for (int j = 0; j < COUNT; ++j) {
      const bool exists = x + j >= 0 && x + j < width;
      to[j] = V::load(exists ? row + j * V::lanes : zeros);
    }
  }
};

}  // namespace rushlight::RUSHLIGHT_ISA
