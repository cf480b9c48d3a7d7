#pragma once

#include <stdint.h>

#include "kernels/parallel.h"

namespace rushlight {

// src [outer, c, inner]: the softmax runs over c.
struct SoftmaxShape {
  int64_t outer, c, inner;
};

template <class T>
struct LogSoftmaxKernels {
  void (*forward)(const Run& run, const SoftmaxShape& shape, const T* src, T* dst);
  void (*backward)(const Run& run, const SoftmaxShape& shape, const T* dst, const T* diff_dst,
                   T* diff_src);
};

}  // namespace rushlight
