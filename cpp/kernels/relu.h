#pragma once

#include <stdint.h>

#include "kernels/parallel.h"

namespace rushlight {

template <class T>
struct ReluKernels {
  // src and dst may be the same array.
  void (*forward)(const Run& run, int64_t n, const T* src, T* dst);
  void (*backward)(const Run& run, int64_t n, const T* dst, const T* diff_dst, T* diff_src);
};

}  // namespace rushlight
