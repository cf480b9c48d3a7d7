// Sums whose order depends on the length alone: short runs in the element type, added up in double.
#pragma once

#include <stdint.h>

#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

// Elements summed in the element type before the total goes to double.
constexpr int64_t kSumRun = 2048;

template <class T>
RUSHLIGHT_INLINE T sum_run(const T* p, int64_t n) {
  using V = Native<T>;
  V acc[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  int64_t i = 0;
  for (; i + 4 * V::lanes <= n; i += 4 * V::lanes) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) acc[v] += V::load(p + i + v * V::lanes);
  }
  for (; i + V::lanes <= n; i += V::lanes) acc[0] += V::load(p + i);
  if (i < n) acc[1] += V::load_partial(p + i, n - i);
  return sum((acc[0] + acc[1]) + (acc[2] + acc[3]));
}

template <class T>
inline T dot(const T* x, const T* y, int64_t n) {
  using V = Native<T>;
  V acc = V::zero();
  int64_t k = 0;
  for (; k + V::lanes <= n; k += V::lanes) acc = fma(V::load(x + k), V::load(y + k), acc);
  if (k < n) acc = fma(V::load_partial(x + k, n - k), V::load_partial(y + k, n - k), acc);
  return sum(acc);
}

template <class T>
inline double sum_elements(const T* p, int64_t n) {
  double total = 0;
  for (int64_t i = 0; i < n; i += kSumRun) {
    total += static_cast<double>(sum_run(p + i, n - i < kSumRun ? n - i : kSumRun));
  }
  return total;
}

// total[j] = sum over `rows` of p[row * ld + j] for j < count; count <= MAX_COLUMNS.
template <class T, int MAX_COLUMNS>
inline void sum_columns(const T* p, int64_t rows, int64_t ld, int count, T* total) {
  constexpr int64_t run = 256;  // rows summed in the element type
  double sums[MAX_COLUMNS] = {};
  for (int64_t r0 = 0; r0 < rows; r0 += run) {
    T part[MAX_COLUMNS] = {};
    const int64_t end = r0 + run < rows ? r0 + run : rows;
    for (int64_t r = r0; r < end; ++r) {
      for (int j = 0; j < count; ++j) part[j] += p[r * ld + j];
    }
    for (int j = 0; j < count; ++j) sums[j] += static_cast<double>(part[j]);
  }
  for (int j = 0; j < count; ++j) total[j] = static_cast<T>(sums[j]);
}

}  // namespace rushlight::RUSHLIGHT_ISA
