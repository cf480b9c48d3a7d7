// Matrix products whose sums run over pixels or tiles, of operands that hold a block of channels in
// the lanes of a vector: the gradients to weight.
#pragma once

#include <stdint.h>

#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

// Blocks of channels, `stride` apart, each [k][lanes].
template <class T>
struct LanePanels {
  const T* data;
  int64_t stride;
};

// Rows of C that are summed together with two vectors; with one vector, twice as many.
template <class T>
constexpr int product_rows = RUSHLIGHT_VECTOR_BYTES == 64 ? 8 : 4;

// The sums of ROWS rows of VECTORS vectors, in registers.
template <int ROWS, int VECTORS, class T>
struct ProductTile {
  using V = Native<T>;
  V acc[ROWS][VECTORS];

  RUSHLIGHT_INLINE void clear() {
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; ++v) acc[r][v] = V::zero();
    }
  }

  // Adds a[k][r] * b[v][k] for `count` neighbouring vectors of a, and vectors of b that lie
  // `b_step` apart, those of one block and the next b_stride.
  RUSHLIGHT_INLINE void add(int64_t count, const T* a, const T* b, int64_t b_step,
                            int64_t b_stride) {
    for (int64_t k = 0; k < count; ++k, a += V::lanes, b += b_step) {
      V row[VECTORS];
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; ++v) row[v] = V::load(b + v * b_stride);
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; ++r) {
        const V value = V::broadcast(a[r]);
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; ++v) acc[r][v] = fma(value, row[v], acc[r][v]);
      }
    }
  }

  // c[ROWS][VECTORS * lanes] (+)= the sums.
  RUSHLIGHT_INLINE void store(bool add_to, T* c, int64_t ldc) {
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; ++v) {
        T* to = c + r * ldc + v * V::lanes;
        if (add_to) acc[r][v] += V::load(to);
        acc[r][v].store(to);
      }
    }
  }
};

template <int ROWS, int VECTORS>
struct TileSize {
  static constexpr int rows = ROWS, vectors = VECTORS;
};

// Calls body(TileSize, row, vector) for the tiles that make up `rows` rows, as many at most as a
// vector has lanes for each block, of `vectors` vectors.
template <class T, class Body>
RUSHLIGHT_INLINE void for_each_tile(int64_t rows, int64_t vectors, const Body& body) {
  constexpr int lanes = Native<T>::lanes;
  constexpr int with_two = product_rows<T> < lanes ? product_rows<T> : lanes;
  constexpr int with_one = 2 * product_rows<T> < lanes ? 2 * product_rows<T> : lanes;
  int64_t v = 0;
  for (; v + 2 <= vectors; v += 2) {
    for (int64_t r = 0; r < rows; r += with_two) body(TileSize<with_two, 2>{}, r, v);
  }
  if (v == vectors) return;
  for (int64_t r = 0; r < rows; r += with_one) body(TileSize<with_one, 1>{}, r, v);
}

// c[ROWS][VECTORS * lanes] (+)= sum over k of a[k][r] * b[v][k], a and b standing at the first.
template <int ROWS, int VECTORS, class T>
__attribute__((noinline)) void add_product_tile(int64_t k, const T* a, const LanePanels<T>& b,
                                                bool add, T* c, int64_t ldc) {
  ProductTile<ROWS, VECTORS, T> tile;
  tile.clear();
  tile.add(k, a, b.data, Native<T>::lanes, b.stride);
  tile.store(add, c, ldc);
}

// c[rows][vectors * lanes] (+)= a^T * b. C has room for as many rows as a has lanes.
template <class T>
void add_outer_products(int64_t k, int64_t rows, int64_t vectors, const LanePanels<T>& a,
                        const LanePanels<T>& b, bool add, T* c, int64_t ldc) {
  constexpr int lanes = Native<T>::lanes;
  for_each_tile<T>(rows, vectors, [&](auto size, int64_t r, int64_t v) {
    const T* panel = a.data + r / lanes * a.stride + r % lanes;
    add_product_tile<size.rows, size.vectors>(k, panel, {b.data + v * b.stride, b.stride}, add,
                                              c + r * ldc + v * lanes, ldc);
  });
}

}  // namespace rushlight::RUSHLIGHT_ISA
