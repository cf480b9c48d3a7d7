#pragma once

#include <stdint.h>

#include "kernels/parallel.h"

namespace rushlight {

// src [planes, ih, iw], dst [planes, oh, ow].
struct PoolShape {
  int64_t planes, ih, iw, oh, ow;
  int64_t kh, kw;
  int64_t stride_h, stride_w;
  int64_t padding_h, padding_w;
  int64_t dilation_h, dilation_w;
  bool count_include_pad;
  int64_t divisor;  // 0: the number of elements of the window
};

// The adaptive kernels read only planes, ih, iw, oh and ow. Indices are flat in the input plane; -1
// marks a window that holds no element of the input.
template <class T>
struct PoolingKernels {
  void (*max)(const Run& run, const PoolShape& shape, const T* src, T* dst, int64_t* indices);
  void (*adaptive_max)(const Run& run, const PoolShape& shape, const T* src, T* dst,
                       int64_t* indices);
  // Serves both. Returns the position of the first index that lies outside the plane, and -1 if
  // there is none.
  int64_t (*max_backward)(const Run& run, const PoolShape& shape, const T* diff_dst,
                          const int64_t* indices, T* diff_src);
  void (*avg)(const Run& run, const PoolShape& shape, const T* src, T* dst);
  void (*avg_backward)(const Run& run, const PoolShape& shape, const T* diff_dst, T* diff_src);
  void (*adaptive_avg)(const Run& run, const PoolShape& shape, const T* src, T* dst);
  void (*adaptive_avg_backward)(const Run& run, const PoolShape& shape, const T* diff_dst,
                                T* diff_src);
};

}  // namespace rushlight
