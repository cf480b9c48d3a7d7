#pragma once

#include <stdint.h>

namespace rushlight {

enum class Reduction { none, mean, sum };

// src [n, c, spatial], target [n, spatial], weight [c] or null.
struct NllLossShape {
  int64_t n, c, spatial;
  int64_t ignore_index;
  Reduction reduction;
};

// Both return the index of the first target that is out of range, and -1 if there is none.
template <class T>
struct NllLossKernels {
  // loss holds one element, or with Reduction::none as many as target.
  int64_t (*forward)(const NllLossShape& shape, const T* src, const int64_t* target,
                     const T* weight, T* loss, double* total_weight);
  int64_t (*backward)(const NllLossShape& shape, const T* diff_dst, const int64_t* target,
                      const T* weight, double total_weight, T* diff_src);
};

}  // namespace rushlight
