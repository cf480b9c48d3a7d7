#pragma once

#include <stdint.h>

#include "kernels/parallel.h"

namespace rushlight {

// dst[batch, m, n] = a[batch, m, k] * b[batch, k, n]; strides of a and b in elements, of any sign.
struct MatmulShape {
  int64_t batch, m, n, k;
  int64_t a_batch_stride, a_row_stride, a_col_stride;
  int64_t b_batch_stride, b_row_stride, b_col_stride;
};

template <class T>
struct MatmulKernels {
  int64_t (*workspace)(const MatmulShape& shape, int slots);  // bytes
  void (*forward)(const Run& run, const MatmulShape& shape, const T* a, const T* b, T* dst);
};

}  // namespace rushlight
