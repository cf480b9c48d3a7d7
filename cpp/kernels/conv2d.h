#pragma once

#include <stdint.h>

#include "kernels/epilogue.h"
#include "kernels/parallel.h"
#include "kernels/prepared_weight.h"

namespace rushlight {

enum class ConvAlgorithm {
  automatic,
  gemm,
  direct,
  depthwise,
  winograd2,
  winograd4,
  blocked,
  chwn
};

// src [n, ic, ih, iw], weight [oc, ic / groups, kh, kw], dst [n, oc, oh, ow].
struct Conv2dShape {
  int64_t n, ic, ih, iw;
  int64_t oc, oh, ow;
  int64_t kh, kw;
  int64_t stride_h, stride_w;
  int64_t padding_h, padding_w;
  int64_t dilation_h, dilation_w;
  int64_t groups;
  ConvAlgorithm
      algorithm;          // where it accepts the shape; else, and if automatic, the kernels choose
  bool may_use_winograd;  // when they choose
};

template <class T>
struct Conv2dKernels {
  bool (*accepts)(const Conv2dShape& shape, ConvAlgorithm algorithm);  // forward
  ConvAlgorithm (*algorithm)(const Conv2dShape& shape);                // what forward uses
  // What forward reads in place of the weight where it was prepared before the call.
  PreparedWeight (*prepared)(const Conv2dShape& shape);
  void (*prepare)(const Run& run, const Conv2dShape& shape, const T* weight, T* to);
  int64_t (*forward_workspace)(const Conv2dShape& shape, bool is_prepared, int slots);  // bytes
  // `prepared` is null where the weight was not prepared.
  void (*forward)(const Run& run, const Conv2dShape& shape, const T* src, const T* weight,
                  const T* prepared, const Epilogue<T>& epilogue, T* dst);
  int64_t (*backward_src_workspace)(const Conv2dShape& shape, int slots);  // bytes
  void (*backward_src)(const Run& run, const Conv2dShape& shape, const T* weight, const T* diff_dst,
                       T* diff_src);
  int64_t (*backward_weight_workspace)(const Conv2dShape& shape, int slots);  // bytes
  void (*backward_weight)(const Run& run, const Conv2dShape& shape, const T* src, const T* diff_dst,
                          T* diff_weight);
  void (*backward_bias)(const Run& run, const Conv2dShape& shape, const T* diff_dst, T* diff_bias);
};

}  // namespace rushlight
