// The gradients of convolutions and pooling on images in blocks of channels; see blocked.h.
#pragma once

#include <stdint.h>

#include "kernels/blocked.h"
#include "kernels/conv2d.h"

namespace rushlight {

// diff_dst and diff_src are blocked, and src where it is not said to be plain. Workspaces are in
// bytes.
template <class T>
struct BlockedGradientKernels {
  bool (*src_accepts)(const Conv2dShape& shape);
  int64_t (*src_workspace)(const Conv2dShape& shape, int slots);
  void (*src)(const Run& run, const Conv2dShape& shape, const T* weight, const T* diff_dst,
              T* diff_src);
  bool (*weight_accepts)(const Conv2dShape& shape, bool plain_src);
  int64_t (*weight_workspace)(const Conv2dShape& shape, bool plain_src, int slots);
  void (*weight)(const Run& run, const Conv2dShape& shape, bool plain_src, const T* src,
                 const T* diff_dst, T* diff_weight);
  void (*bias)(const Run& run, const Conv2dShape& shape, const T* diff_dst, T* diff_bias);
  // `planes` of the shape counts blocks. Of pixels that are alike the first gets the gradient.
  void (*max_pool)(const Run& run, const PoolShape& shape, const T* src, const T* dst,
                   const T* diff_dst, T* diff_src);
  // diff_dst is plain, [n, c].
  void (*mean)(const Run& run, const ReorderShape& shape, const T* diff_dst, T* diff_src);
};

}  // namespace rushlight
