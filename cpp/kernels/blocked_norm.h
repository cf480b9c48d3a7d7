// Batch norm on images in blocks of channels; see blocked.h and batch_norm.h.
#pragma once

#include <stdint.h>

#include "kernels/batch_norm.h"

namespace rushlight {

// As BatchNormKernels, of which src, dst and the gradients to them are blocked here. The workspace
// serves all three.
template <class T>
struct BlockedNormKernels {
  int64_t (*workspace)(const BatchNormShape& shape);  // bytes
  void (*train)(const Run& run, const BatchNormShape& shape, const T* src, const T* weight,
                const T* bias, T* running_mean, T* running_var, double momentum, double eps, T* dst,
                T* mean, T* rstd);
  void (*eval)(const Run& run, const BatchNormShape& shape, const T* src, const T* weight,
               const T* bias, const T* running_mean, const T* running_var, double eps, T* dst,
               T* mean, T* rstd);
  void (*backward)(const Run& run, const BatchNormShape& shape, const T* src, const T* weight,
                   const T* mean, const T* rstd, const T* diff_dst, bool training,
                   const NormClamp<T>* clamp, T* diff_src, T* diff_weight, T* diff_bias);
};

}  // namespace rushlight
