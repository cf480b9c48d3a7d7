#pragma once

#include <stdint.h>

#include "kernels/parallel.h"

namespace rushlight {

// A loop over dimensions, from the outermost to the innermost.
struct Loop {
  static constexpr int max_dims = 32;

  int ndim = 0;
  int64_t size[max_dims];
  int64_t step[max_dims];  // in elements
};

// A contiguous array whose dimensions are kept or summed, collapsed as far as it goes. The
// innermost one stands apart.
struct SumShape {
  Loop kept, summed;   // all dimensions but the innermost
  int64_t length;      // of the innermost dimension
  bool inner_is_kept;  // whether the innermost dimension is kept
  double divisor;      // what the sums are divided by
};

template <class T>
struct SummationKernels {
  int64_t (*workspace)(const SumShape& shape);  // bytes
  void (*sum)(const Run& run, const SumShape& shape, const T* src, T* dst);
};

}  // namespace rushlight
