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

// c[ROWS][VECTORS * lanes] (+)= sum over k of a[k][r] * b[v][k], a and b standing at the first.
template <int ROWS, int VECTORS, class T>
__attribute__((noinline)) void add_product_tile(int64_t k, const T* a, const LanePanels<T>& b,
                                                bool add, T* c, int64_t ldc) {
  using V = Native<T>;
  V acc[ROWS][VECTORS];
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; ++v) acc[r][v] = V::zero();
  }
  const T* from = b.data;
  for (int64_t p = 0; p < k; ++p, a += V::lanes, from += V::lanes) {
    V b_row[VECTORS];
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; ++v) b_row[v] = V::load(from + v * b.stride);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
      const V value = V::broadcast(a[r]);
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; ++v) acc[r][v] = fma(value, b_row[v], acc[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; ++v) {
      T* to = c + r * ldc + v * V::lanes;
      if (add) acc[r][v] += V::load(to);
      acc[r][v].store(to);
    }
  }
}

// c[rows][vectors * lanes] (+)= a^T * b. C has room for as many rows as a has lanes.
template <class T>
void add_outer_products(int64_t k, int64_t rows, int64_t vectors, const LanePanels<T>& a,
                        const LanePanels<T>& b, bool add, T* c, int64_t ldc) {
  constexpr int lanes = Native<T>::lanes;
  constexpr int with_two = product_rows<T> < lanes ? product_rows<T> : lanes;
  constexpr int with_one = 2 * product_rows<T> < lanes ? 2 * product_rows<T> : lanes;
  const auto panel = [&](int64_t row) { return a.data + row / lanes * a.stride + row % lanes; };
  int64_t v = 0;
  for (; v + 2 <= vectors; v += 2) {
    const LanePanels<T> pair{b.data + v * b.stride, b.stride};
    for (int64_t r = 0; r < rows; r += with_two) {
      add_product_tile<with_two, 2>(k, panel(r), pair, add, c + r * ldc + v * lanes, ldc);
    }
  }
  if (v == vectors) return;
  const LanePanels<T> last{b.data + v * b.stride, b.stride};
  for (int64_t r = 0; r < rows; r += with_one) {
    add_product_tile<with_one, 1>(k, panel(r), last, add, c + r * ldc + v * lanes, ldc);
  }
}

}  // namespace rushlight::RUSHLIGHT_ISA
