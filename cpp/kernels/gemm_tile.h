// The innermost part of every matrix product: one register tile, and a block of tiles from packed
// panels.
//
// An A panel holds `tile_rows` rows as [k][tile_rows], a B panel `tile_cols` columns as
// [k][tile_cols]; both are padded with zeros, so that the tile itself knows no edges. Only the
// write to C does.
#pragma once

#include <stdint.h>

#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

constexpr int tile_rows = RUSHLIGHT_TILE_ROWS;
constexpr int tile_vectors = 2;
template <class T>
constexpr int tile_cols = tile_vectors * Native<T>::lanes;

// Added to C with the last block of K. Null pointers add nothing.
template <class T>
struct Epilogue {
  const T* row_shift = nullptr;  // one value per row of C
  const T* col_shift = nullptr;  // one value per column of C

  RUSHLIGHT_INLINE Epilogue at(int64_t row, int64_t col) const {
    return {row_shift == nullptr ? nullptr : row_shift + row,
            col_shift == nullptr ? nullptr : col_shift + col};
  }
};

// A window on C and what to do to it.
template <class T>
struct Output {
  T* c;
  int64_t ldc;
  bool accumulate;  // add to what stands in C
  Epilogue<T> epilogue;

  RUSHLIGHT_INLINE Output at(int64_t row, int64_t col) const {
    return {c + row * ldc + col, ldc, accumulate, epilogue.at(row, col)};
  }
};

template <int ROWS, class T>
RUSHLIGHT_INLINE void store_tile(const Native<T> (&acc)[ROWS][tile_vectors], const Output<T>& out) {
  using V = Native<T>;
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < tile_vectors; ++v) {
      T* c = out.c + i * out.ldc + v * V::lanes;
      V x = acc[i][v];
      if (out.accumulate) x += V::load(c);
      if (out.epilogue.row_shift != nullptr) x += V::broadcast(out.epilogue.row_shift[i]);
      if (out.epilogue.col_shift != nullptr) x += V::load(out.epilogue.col_shift + v * V::lanes);
      x.store(c);
    }
  }
}

// Tiles that hang over the edge of C go through memory of their own.
template <class T>
__attribute__((noinline)) void store_edge(const T* tile, const Output<T>& out, int rows, int cols) {
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < cols; ++j) {
      T* c = out.c + i * out.ldc + j;
      T x = tile[i * tile_cols<T> + j];
      if (out.accumulate) x += *c;
      if (out.epilogue.row_shift != nullptr) x += out.epilogue.row_shift[i];
      if (out.epilogue.col_shift != nullptr) x += out.epilogue.col_shift[j];
      *c = x;
    }
  }
}

// C[rows, cols] (+)= A panel * B panel, computing the first ROWS rows of the panel; rows <= ROWS.
template <int ROWS, class T>
__attribute__((noinline)) void multiply_rows(int64_t k, const T* a, const T* b,
                                             const Output<T>& out, int rows, int cols) {
  using V = Native<T>;
  V acc[ROWS][tile_vectors];
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < tile_vectors; ++v) acc[i][v] = V::zero();
  }
  for (int64_t p = 0; p < k; ++p, a += tile_rows, b += tile_cols<T>) {
    V b_row[tile_vectors];
#pragma GCC unroll 2
    for (int v = 0; v < tile_vectors; ++v) b_row[v] = V::load(b + v * V::lanes);
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
      const V a_value = V::broadcast(a[i]);
#pragma GCC unroll 2
      for (int v = 0; v < tile_vectors; ++v) acc[i][v] = fma(a_value, b_row[v], acc[i][v]);
    }
  }
  if (rows == ROWS && cols == tile_cols<T>) {
    store_tile<ROWS, T>(acc, out);
    return;
  }
  T tile[ROWS * tile_cols<T>];
  store_tile<ROWS, T>(acc, {tile, tile_cols<T>, false, {}});
  store_edge(tile, out, rows, cols);
}

// The last rows of a matrix seldom fill a tile: a third of one, or two, may do.
template <class T>
RUSHLIGHT_INLINE void multiply_tile(int64_t k, const T* a, const T* b, const Output<T>& out,
                                    int rows, int cols) {
  constexpr int third = (tile_rows + 2) / 3;
  if (rows <= third) return multiply_rows<third>(k, a, b, out, rows, cols);
  if (rows <= 2 * third) return multiply_rows<2 * third>(k, a, b, out, rows, cols);
  multiply_rows<tile_rows>(k, a, b, out, rows, cols);
}

// C[m, n] (+)= A[m, k] * B[k, n] for packed panels of one block of K.
template <class T>
void multiply_panels(int64_t m, int64_t n, int64_t k, const T* a, const T* b,
                     const Output<T>& out) {
  for (int64_t j = 0; j < n; j += tile_cols<T>) {
    const int cols = static_cast<int>(n - j < tile_cols<T> ? n - j : tile_cols<T>);
    for (int64_t i = 0; i < m; i += tile_rows) {
      const int rows = static_cast<int>(m - i < tile_rows ? m - i : tile_rows);
      multiply_tile(k, a + i * k, b + j * k, out.at(i, j), rows, cols);
    }
  }
}

}  // namespace rushlight::RUSHLIGHT_ISA
