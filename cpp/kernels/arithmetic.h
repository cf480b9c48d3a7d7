#pragma once

#include <stdint.h>

#include "kernels/parallel.h"

namespace rushlight {

// The index space of a result that its operands are broadcast to, collapsed as far as it goes:
// sizes from the outermost to the innermost dimension, and the steps of each operand in elements,
// 0 where it is repeated. In the innermost dimension a step is 0 or 1. The result is contiguous.
struct BroadcastShape {
  static constexpr int max_dims = 32;

  int ndim;  // at least 1
  int64_t size[max_dims];
  int64_t a_step[max_dims];
  int64_t b_step[max_dims];
};

template <class T>
struct ArithmeticKernels {
  using Binary = void (*)(const Run& run, const BroadcastShape& shape, const T* a, const T* b,
                          T* dst);
  // dst may be a or b itself, element by element.
  Binary add, sub, mul, div;
  // Repeats a; b is not used.
  Binary expand;
};

}  // namespace rushlight
