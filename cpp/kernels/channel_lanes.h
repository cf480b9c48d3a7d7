// Planes of neighbouring channels turned so that each lane of a vector holds a channel: what the
// gradients to weight need, whose sums run over the pixels.
#pragma once

#include <stdint.h>

#include "kernels/integers.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

// Vectors of each plane that are fetched ahead of those that are turned.
constexpr int kTurnAhead = 4;

// v[i][j] becomes v[j][i]: shuffling the first half of the vectors with the second, as cards are
// shuffled, turns the matrix by one bit of the indices.
template <class T, int LANES>
RUSHLIGHT_INLINE void transpose(Vec<T, LANES>* v) {
  if constexpr (LANES > 1) {
    Vec<T, LANES> w[LANES];
#pragma GCC unroll 4
    for (int bit = 1; bit < LANES; bit *= 2) {
#pragma GCC unroll 8
      for (int i = 0; i < LANES / 2; ++i) {
        w[2 * i] = interleave_low(v[i], v[i + LANES / 2]);
        w[2 * i + 1] = interleave_high(v[i], v[i + LANES / 2]);
      }
#pragma GCC unroll 16
      for (int i = 0; i < LANES; ++i) v[i] = w[i];
    }
  }
}

// A vector's lanes of rows, `row` apart, of as many elements each, turned: to[element][row].
template <class T>
RUSHLIGHT_INLINE void turn_square(const T* from, int64_t row, T* to, int64_t to_row) {
  using V = Native<T>;
  V v[V::lanes];
#pragma GCC unroll 16
  for (int i = 0; i < V::lanes; ++i) {
    // Many rows are read at once, each from a page of its own: no machine foresees that.
    __builtin_prefetch(from + i * row + kTurnAhead * V::lanes);
    v[i] = V::load(from + i * row);
  }
  transpose(v);
#pragma GCC unroll 16
  for (int i = 0; i < V::lanes; ++i) v[i].store(to + i * to_row);
}

// A window on the planes of up to a vector's lanes of channels. What lies outside the planes, and
// lanes without a channel, are zero.
template <class T>
struct LaneWindow {
  const T* planes;
  int64_t plane_stride;    // from channel to channel
  int64_t height, width;   // of a plane
  int64_t channels;        // of which the first lanes are taken
  int64_t y0 = 0, x0 = 0;  // of the window, may be negative
  int64_t rows = 0, cols = 0;

  // Writes the window as [rows][cols][lanes].
  void load(T* to) const {
    const int64_t top = smaller(rows, larger(0, -y0)), left = smaller(cols, larger(0, -x0));
    const int64_t bottom = larger(top, smaller(rows, height - y0));
    const int64_t right = larger(left, smaller(cols, width - x0));
    if (bottom == top || right == left) return clear(to, rows * cols);
    clear(to, top * cols);
    clear(to + bottom * cols * V::lanes, (rows - bottom) * cols);
    for (int64_t y = top; y < bottom && right - left < cols; ++y) {
      T* row = to + y * cols * V::lanes;
      clear(row, left);
      clear(row + right * V::lanes, cols - right);
    }
    T* first = to + (top * cols + left) * V::lanes;
    const T* from = planes + (y0 + top) * width + x0 + left;
    if (right - left == width) return turn(from, (bottom - top) * width, first);
    for (int64_t y = top; y < bottom; ++y, first += cols * V::lanes, from += width) {
      turn(from, right - left, first);
    }
  }

 private:
  using V = Native<T>;

  static RUSHLIGHT_INLINE void clear(T* to, int64_t count) {
    for (int64_t i = 0; i < count; ++i) V::zero().store(to + i * V::lanes);
  }

  // Turns `count` neighbouring pixels, which may run through several whole rows of the planes.
  void turn(const T* from, int64_t count, T* to) const {
    int64_t pixel = 0;
    for (; pixel + V::lanes <= count; pixel += V::lanes) turn_block(from, pixel, V::lanes, to);
    if (pixel == count) return;
    // The last vector overlaps the one before it if there is one.
    if (count >= V::lanes) return turn_block(from, count - V::lanes, V::lanes, to);
    turn_block(from, 0, count, to);
  }

  RUSHLIGHT_INLINE void turn_block(const T* from, int64_t pixel, int64_t count, T* to) const {
    int64_t left = width - pixel % width;
    to += (pixel / width * cols + pixel % width) * V::lanes;
    if (count == V::lanes && channels >= V::lanes && left >= V::lanes) {
      return turn_square(from + pixel, plane_stride, to, V::lanes);
    }
    V v[V::lanes];
#pragma GCC unroll 16
    for (int c = 0; c < V::lanes; ++c) {
      const T* p = from + c * plane_stride + pixel;
      __builtin_prefetch(p + kTurnAhead * V::lanes);
      v[c] = c >= channels ? V::zero() : count < V::lanes ? V::load_partial(p, count) : V::load(p);
    }
    transpose(v);
#pragma GCC unroll 16
    for (int i = 0; i < V::lanes; ++i) {
      if (i >= count) break;
      v[i].store(to);
      to += V::lanes;
      if (--left > 0) continue;
      left = width;
      to += (cols - width) * V::lanes;
    }
  }
};

// The way back: [count][lanes] become `count` neighbouring pixels of each of `channels` planes.
template <class T>
void store_lanes(const T* from, int64_t count, int64_t channels, int64_t plane_stride, T* planes) {
  using V = Native<T>;
  for (int64_t pixel = 0; pixel < count; pixel += V::lanes) {
    // The last vector overlaps the one before it if there is one.
    if (pixel + V::lanes > count && count >= V::lanes) pixel = count - V::lanes;
    const int64_t whole = smaller(V::lanes, count - pixel);
    if (whole == V::lanes && channels >= V::lanes) {
      turn_square(from + pixel * V::lanes, V::lanes, planes + pixel, plane_stride);
      continue;
    }
    V v[V::lanes];
#pragma GCC unroll 16
    for (int i = 0; i < V::lanes; ++i) {
      v[i] = i < whole ? V::load(from + (pixel + i) * V::lanes) : V::zero();
    }
    transpose(v);
#pragma GCC unroll 16
    for (int c = 0; c < V::lanes; ++c) {
      if (c >= channels) break;
      T* to = planes + c * plane_stride + pixel;
      if (whole == V::lanes) {
        v[c].store(to);
      } else {
        v[c].store_partial(to, whole);
      }
    }
  }
}

}  // namespace rushlight::RUSHLIGHT_ISA
