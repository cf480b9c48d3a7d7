#pragma once

#include <stdint.h>

#include "kernels/parallel.h"

namespace rushlight {

// src [n, c, spatial].
struct BatchNormShape {
  int64_t n, c, spatial;
};

// The smallest and the largest value of a clamp behind a batch norm; NaN for none.
template <class T>
struct Limits {
  T low, high;
};

// What stood behind a batch norm: diff_dst is then the gradient to clamp(dst, low, high), and
// passes where dst is not at a limit.
template <class T>
struct NormClamp {
  const T* bias;  // of the batch norm, may be null
  Limits<T> limits;
};

// weight and bias may be null: 1 and 0. mean and rstd hold c elements.
template <class T>
struct BatchNormKernels {
  // running_mean and running_var may be null; they stay as they are if src is empty.
  void (*train)(const Run& run, const BatchNormShape& shape, const T* src, const T* weight,
                const T* bias, T* running_mean, T* running_var, double momentum, double eps,
                const Limits<T>& limits, T* dst, T* mean, T* rstd);
  void (*eval)(const Run& run, const BatchNormShape& shape, const T* src, const T* weight,
               const T* bias, const T* running_mean, const T* running_var, double eps,
               const Limits<T>& limits, T* dst, T* mean, T* rstd);
  // Each diff_* may be null: not wanted. `training` tells whether mean and rstd depend on src, and
  // `clamp`, which may be null then, what the result of `train` went through.
  void (*backward)(const Run& run, const BatchNormShape& shape, const T* src, const T* weight,
                   const T* mean, const T* rstd, const T* diff_dst, bool training,
                   const NormClamp<T>* clamp, T* diff_src, T* diff_weight, T* diff_bias);
  // What eval does to `count` channels: dst = scale * src + shift.
  void (*factors)(int64_t count, const T* weight, const T* bias, const T* mean, const T* var,
                  double eps, T* scale, T* shift);
};

}  // namespace rushlight
