// Between rows of channels and pixels of blocks of channels: squares of a vector's lanes, turned in
// registers.
#pragma once

#include <stdint.h>

#include "kernels/channel_lanes.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

// Reads `channels` rows of at most as many pixels as a vector has lanes, and writes pixels.
template <class T>
RUSHLIGHT_INLINE void turn_to_pixels(const T* from, int64_t row, int64_t channels, int64_t pixels,
                                     T* to) {
  using V = Native<T>;
  const bool whole = pixels == V::lanes;
  if (whole && channels >= V::lanes) return turn_square(from, row, to, V::lanes);
  V v[V::lanes];
  for (int64_t c = 0; c < V::lanes; ++c) {
    const T* p = from + c * row;
    __builtin_prefetch(p + kTurnAhead * V::lanes);
    v[c] = c >= channels ? V::zero() : whole ? V::load(p) : V::load_partial(p, pixels);
  }
  transpose(v);
  for (int64_t i = 0; i < pixels; ++i) v[i].store(to + i * V::lanes);
}

// The same for a run of `count` pixels.
template <class T>
RUSHLIGHT_INLINE void turn_all_to_pixels(const T* from, int64_t row, int64_t channels,
                                         int64_t count, T* to) {
  constexpr int64_t lanes = Native<T>::lanes;
  for (int64_t i = 0; i < count; i += lanes) {
    const int64_t pixels = count - i < lanes ? count - i : lanes;
    turn_to_pixels(from + i, row, channels, pixels, to + i * lanes);
  }
}

template <class T>
RUSHLIGHT_INLINE void turn_to_rows(const T* from, int64_t pixels, int64_t channels, T* to,
                                   int64_t row) {
  using V = Native<T>;
  if (pixels == V::lanes && channels >= V::lanes) return turn_square(from, V::lanes, to, row);
  V v[V::lanes];
  for (int64_t i = 0; i < V::lanes; ++i) {
    v[i] = i < pixels ? V::load(from + i * V::lanes) : V::zero();
  }
  transpose(v);
  for (int64_t c = 0; c < channels; ++c) {
    if (pixels == V::lanes) {
      v[c].store(to + c * row);
    } else {
      v[c].store_partial(to + c * row, pixels);
    }
  }
}

// The same for `pixels` of a block.
template <class T>
RUSHLIGHT_INLINE void turn_all_to_rows(const T* from, int64_t pixels, int64_t channels, T* to,
                                       int64_t row) {
  constexpr int64_t lanes = Native<T>::lanes;
  for (int64_t i = 0; i < pixels; i += lanes) {
    const int64_t count = pixels - i < lanes ? pixels - i : lanes;
    turn_to_rows(from + i * lanes, count, channels, to + i, row);
  }
}

}  // namespace rushlight::RUSHLIGHT_ISA
