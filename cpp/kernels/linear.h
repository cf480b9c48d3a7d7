#pragma once

#include <stdint.h>

#include "kernels/parallel.h"

namespace rushlight {

// src [rows, ic], weight [oc, ic], bias [oc] or null, dst [rows, oc].
struct LinearShape {
  int64_t rows, ic, oc;
};

template <class T>
struct LinearKernels {
  int64_t (*forward_workspace)(const LinearShape& shape, int slots);  // bytes
  void (*forward)(const Run& run, const LinearShape& shape, const T* src, const T* weight,
                  const T* bias, T* dst);
  int64_t (*backward_workspace)(const LinearShape& shape, int slots);  // bytes, enough for each
  void (*backward_src)(const Run& run, const LinearShape& shape, const T* weight, const T* diff_dst,
                       T* diff_src);
  void (*backward_weight)(const Run& run, const LinearShape& shape, const T* src, const T* diff_dst,
                          T* diff_weight);
  void (*backward_bias)(const Run& run, const LinearShape& shape, const T* diff_dst, T* diff_bias);
};

}  // namespace rushlight
