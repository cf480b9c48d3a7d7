#pragma once

#include <stdint.h>

#include "kernels/epilogue.h"
#include "kernels/parallel.h"
#include "kernels/prepared_weight.h"

namespace rushlight {

// src [rows, ic], weight [oc, ic], dst [rows, oc].
struct LinearShape {
  int64_t rows, ic, oc;
};

template <class T>
struct LinearKernels {
  // What forward reads in place of the weight where it was prepared before the call.
  PreparedWeight (*prepared)(const LinearShape& shape);
  void (*prepare)(const Run& run, const LinearShape& shape, const T* weight, T* to);
  int64_t (*forward_workspace)(const LinearShape& shape, bool is_prepared, int slots);  // bytes
  // `prepared` is null where the weight was not prepared; channels are the output features.
  void (*forward)(const Run& run, const LinearShape& shape, const T* src, const T* weight,
                  const T* prepared, const Epilogue<T>& epilogue, T* dst);
  int64_t (*backward_workspace)(const LinearShape& shape, int slots);  // bytes, enough for each
  void (*backward_src)(const Run& run, const LinearShape& shape, const T* weight, const T* diff_dst,
                       T* diff_src);
  void (*backward_weight)(const Run& run, const LinearShape& shape, const T* src, const T* diff_dst,
                          T* diff_weight);
  void (*backward_bias)(const Run& run, const LinearShape& shape, const T* diff_dst, T* diff_bias);
};

}  // namespace rushlight
