// What the machine can do at best, measured with the same vectors and threads as the kernels: the
// yardsticks of the benchmarks.
#pragma once

#include <stdint.h>

#include "kernels/parallel.h"

namespace rushlight {

template <class T>
struct ProbeKernels {
  // Computes at least `count` multiply-adds in registers; `sums` has room for one element a chunk.
  void (*multiply_adds)(const Run& run, int64_t count, T* sums);
  void (*copy)(const Run& run, int64_t n, const T* src, T* dst);
  // Reads everything once; `sums` has room for one element a chunk.
  void (*read)(const Run& run, int64_t n, const T* src, T* sums);
};

constexpr int64_t kProbeChunks = 64;

}  // namespace rushlight
