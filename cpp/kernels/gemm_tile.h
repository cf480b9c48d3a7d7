// The innermost part of every matrix product: one register tile, and a block of tiles from packed
// panels.
//
// An A panel holds `tile_rows` rows as [k][tile_rows], a B panel `tile_cols` columns as
// [k][tile_cols]; both are padded with zeros, so that the tile itself knows no edges. Only the
// write to C does.
#pragma once

#include <stdint.h>

#include "kernels/epilogue.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

constexpr int tile_rows = RUSHLIGHT_TILE_ROWS;
constexpr int tile_vectors = 2;
template <class T>
constexpr int tile_cols = tile_vectors * Native<T>::lanes;

// A window on C and what to do to it. The columns may be the pixels of several images, whose planes
// do not follow one another: then c stands at column 0 and `col` counts from there.
template <class T>
struct Output {
  T* c;
  int64_t ldc;
  bool accumulate;           // add to what stands in C
  Epilogue<T> epilogue;      // its pointers stand at the window's first channel and beside c
  int64_t plane = 0;         // columns of one image, 0 if all columns lie in one row
  int64_t plane_stride = 0;  // from image to image
  int64_t col = 0;           // of the window; used with planes only
  bool channels_are_columns = false;  // else rows

  RUSHLIGHT_INLINE Output at(int64_t row, int64_t column) const {
    Output window = *this;
    const int64_t elements = row * ldc + (plane == 0 ? column : 0);
    window.c += elements;
    window.col += column;
    window.epilogue = epilogue.at(channels_are_columns ? column : row, elements);
    return window;
  }

  // The part from column `offset` on, as a window inside one image; `room` becomes its width. With
  // planes, channels are rows.
  RUSHLIGHT_INLINE Output inside(int64_t offset, int64_t* room) const {
    const int64_t image = (col + offset) / plane, pixel = (col + offset) % plane;
    const int64_t elements = image * plane_stride + pixel;
    *room = plane - pixel;
    return {c + elements, ldc, accumulate, epilogue.at(0, elements)};
  }

  // The values of the channels of c[i][j ...].
  template <class V>
  RUSHLIGHT_INLINE V of_channel(const T* values, int64_t i, int64_t j) const {
    return channels_are_columns ? V::load(values + j) : V::broadcast(values[i]);
  }
};

// Stores a tile of sums whose elements [i][v] belong at c[row + i][col + v * V::lanes]. What the
// window asks for is decided once per step and not per vector, so that the tile stays in registers.
template <int ROWS, int VECTORS, class V, class T>
RUSHLIGHT_INLINE void store_vectors(V (&x)[ROWS][VECTORS], const Output<T>& out, int64_t row,
                                    int64_t col) {
  const Epilogue<T>& e = out.epilogue;
  const auto each = [&](const auto& step) __attribute__((always_inline)) {
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; ++v) step(x[i][v], i, v * V::lanes);
    }
  };
  const int64_t ldc = out.ldc, first = row * ldc + col;
  T* c = out.c + first;
  if (out.accumulate) each([&](V& y, int i, int j) { y += V::load(c + i * ldc + j); });
  if (e.scale != nullptr || e.shift != nullptr) {
    each([&](V& y, int i, int j) {
      y = scale_and_shift(y, e, [&](const T* values) {
        return out.template of_channel<V>(values, row + i, col + j);
      });
    });
  }
  if (e.residual != nullptr) {
    const T* residual = e.residual + first;
    each([&](V& y, int i, int j) { y += V::load(residual + i * ldc + j); });
  }
  if (e.activation != Activation::none) each([&](V& y, int, int) { y = activate(y, e); });
  each([&](V& y, int i, int j) { y.store(c + i * ldc + j); });
}

// Tiles that hang over the edge of C, or over that of an image, go through memory of their own.
template <class T>
__attribute__((noinline)) void store_edge(const T* tile, int64_t ld, const Output<T>& out,
                                          int64_t row, int64_t col, int rows, int64_t cols) {
  for (int i = 0; i < rows; ++i) {
    for_each_vector<T>(0, cols, [&](auto v, int64_t j) {
      decltype(v) x[1][1] = {{decltype(v)::load(tile + i * ld + j)}};
      store_vectors(x, out, row + i, col + j);
    });
  }
}

// The same for the first rows of a tile whose columns are all there.
template <int VECTORS, class V, class T>
__attribute__((noinline)) void store_some_rows(const T* tile, const Output<T>& out, int64_t row,
                                               int64_t col, int rows) {
  for (int i = 0; i < rows; ++i, tile += VECTORS * V::lanes) {
    V x[1][VECTORS];
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; ++v) x[0][v] = V::load(tile + v * V::lanes);
    store_vectors(x, out, row + i, col);
  }
}

// The part of C that some tiles cover, from (row, col) on.
struct TilePlace {
  int64_t row, col;
  int64_t rows;
  int cols;
};

// How far ahead of its use A is fetched: machines foresee no more than a page of it, and panels
// that few columns use come from beyond the second-level cache. Tiles of shorter vectors leave the
// machine no time for one more instruction.
constexpr bool kFetchesAhead = RUSHLIGHT_VECTOR_BYTES == 64;
template <class T>
constexpr int64_t kFetchedAhead = 2048 / int64_t{sizeof(T)};

// Columns of B as a tile reads them: those of a packed panel, or where they lie.
template <class T>
struct Columns {
  const T* first;
  int64_t step;  // from one k to the next

  static RUSHLIGHT_INLINE Columns packed(const T* panel) { return {panel, tile_cols<T>}; }
};

// The sums of ROWS rows and VECTORS vectors of one block of K, in registers.
template <int ROWS, int VECTORS, class V, class T>
RUSHLIGHT_INLINE void multiply_in_registers(int64_t k, const T* a, const Columns<T>& columns,
                                            V (&acc)[ROWS][VECTORS]) {
  const T* b = columns.first;
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; ++v) acc[i][v] = V::zero();
  }
  for (int64_t p = 0; p < k; ++p, a += tile_rows, b += columns.step) {
    if constexpr (kFetchesAhead) __builtin_prefetch(a + kFetchedAhead<T>);
    V b_row[VECTORS];
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; ++v) b_row[v] = V::load(b + v * V::lanes);
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
      const V a_value = V::broadcast(a[i]);
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; ++v) acc[i][v] = fma(a_value, b_row[v], acc[i][v]);
    }
  }
}

// C[place] (+)= A panels * columns of B, panel of A after panel, computing the first ROWS rows and
// VECTORS vectors of each; the place is at most that wide.
template <int ROWS, int VECTORS, class V, class T>
__attribute__((noinline)) void multiply_rows(int64_t k, const T* a, const Columns<T>& b,
                                             const Output<T>& out, const TilePlace& place) {
  const int64_t end = place.row + place.rows;
  for (int64_t row = place.row; row < end; row += ROWS, a += k * tile_rows) {
    const T* c = out.c + row * out.ldc + place.col;
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
      // C is needed when the sums are done: by then it has come nearer.
      __builtin_prefetch(c + i * out.ldc, 1);
      __builtin_prefetch(c + i * out.ldc + place.cols - 1, 1);
    }
    V acc[ROWS][VECTORS];
    multiply_in_registers(k, a, b, acc);
    const int rows = static_cast<int>(end - row < ROWS ? end - row : ROWS);
    const bool fills_columns = place.cols == VECTORS * V::lanes;
    if (rows == ROWS && fills_columns) {
      store_vectors(acc, out, row, place.col);
      continue;
    }
    T tile[ROWS * VECTORS * V::lanes];
    store_vectors(acc, Output<T>{tile, VECTORS * V::lanes, false, {}}, 0, 0);
    if (fills_columns) {
      store_some_rows<VECTORS, V>(tile, out, row, place.col, rows);
    } else {
      store_edge(tile, VECTORS * V::lanes, out, row, place.col, rows, place.cols);
    }
  }
}

// The last columns of a matrix seldom fill a tile: one vector may do, and where vectors are 64
// bytes long, half of one, which costs half as much.
template <int ROWS, class T>
RUSHLIGHT_INLINE void multiply_columns(int64_t k, const T* a, const Columns<T>& b,
                                       const Output<T>& out, const TilePlace& place) {
  using V = Native<T>;
  if constexpr (RUSHLIGHT_VECTOR_BYTES == 64) {
    using Half = Vec<T, V::lanes / 2>;
    if (place.cols <= Half::lanes) return multiply_rows<ROWS, 1, Half>(k, a, b, out, place);
  }
  if (place.cols <= V::lanes) return multiply_rows<ROWS, 1, V>(k, a, b, out, place);
  multiply_rows<ROWS, tile_vectors, V>(k, a, b, out, place);
}

// C[place] (+)= A panels * columns of B for a place of one panel's width and any number of rows.
// The last rows of a matrix seldom fill a tile: a third of one, or two, may do.
template <class T>
RUSHLIGHT_INLINE void multiply_tiles(int64_t k, const T* a, const Columns<T>& b,
                                     const Output<T>& out, TilePlace place) {
  constexpr int third = (tile_rows + 2) / 3;
  const int64_t whole = (place.rows + tile_rows - 1 - 2 * third) / tile_rows * tile_rows;
  const int64_t left = place.rows - whole;
  if (whole > 0) {
    multiply_columns<tile_rows>(k, a, b, out,
                                {place.row, place.col, left < 0 ? place.rows : whole, place.cols});
  }
  if (left <= 0) return;
  place.row += whole, place.rows = left, a += whole * k;
  if (left <= third) return multiply_columns<third>(k, a, b, out, place);
  multiply_columns<2 * third>(k, a, b, out, place);
}

// The same for a window whose columns belong to several images.
template <class T>
__attribute__((noinline)) void multiply_tiles_of_images(int64_t k, const T* a, const Columns<T>& b,
                                                        const Output<T>& out,
                                                        const TilePlace& place) {
  T tile[tile_rows * tile_cols<T>];
  for (int64_t i = 0; i < place.rows; i += tile_rows, a += k * tile_rows) {
    const int64_t rows = place.rows - i < tile_rows ? place.rows - i : int64_t{tile_rows};
    const Output<T> window = out.at(place.row + i, place.col);
    multiply_tiles(k, a, b, Output<T>{tile, tile_cols<T>, false, {}}, {0, 0, rows, place.cols});
    int64_t room;
    for (int64_t j = 0; j < place.cols; j += room) {
      const Output<T> part = window.inside(j, &room);
      const int64_t left = place.cols - j;
      store_edge(tile + j, tile_cols<T>, part, 0, 0, static_cast<int>(rows),
                 room < left ? room : left);
    }
  }
}

// Rows of A that stay in the second-level cache while the columns of B pass by.
constexpr int64_t kMaxBlockM = RUSHLIGHT_VECTOR_BYTES == 64 ? 240 : 120;

// C[rows, columns from j on] (+)= A * columns of B, for `rows` rows from m0 on.
template <class T>
RUSHLIGHT_INLINE void multiply_panel(int64_t m0, int64_t rows, int64_t j, int cols, int64_t k,
                                     const T* a, const Columns<T>& b, const Output<T>& out) {
  if (out.plane == 0) return multiply_tiles(k, a, b, out, {m0, j, rows, cols});
  int64_t room;
  const Output<T> image = out.at(0, j).inside(0, &room);
  if (cols <= room) return multiply_tiles(k, a, b, image, {m0, 0, rows, cols});
  multiply_tiles_of_images(k, a, b, out, {m0, j, rows, cols});
}

// C[m, n] (+)= A[m, k] * B[k, n] for packed panels of one block of K.
template <class T>
void multiply_panels(int64_t m, int64_t n, int64_t k, const T* a, const T* b,
                     const Output<T>& out) {
  for (int64_t m0 = 0; m0 < m; m0 += kMaxBlockM) {
    const int64_t rows = m - m0 < kMaxBlockM ? m - m0 : kMaxBlockM;
    for (int64_t j = 0; j < n; j += tile_cols<T>) {
      const int cols = static_cast<int>(n - j < tile_cols<T> ? n - j : tile_cols<T>);
      multiply_panel(m0, rows, j, cols, k, a + m0 * k, Columns<T>::packed(b + j * k), out);
    }
  }
}

}  // namespace rushlight::RUSHLIGHT_ISA
