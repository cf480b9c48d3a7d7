#pragma once

#include <stdint.h>

#include "kernels/parallel.h"

namespace rushlight {

struct SgdSettings {
  bool first_step;  // the momentum buffer holds nothing yet
  double lr, momentum, dampening, weight_decay;
  bool nesterov, maximize;
};

struct AdamSettings {
  double step_size;  // lr over the first bias correction
  double root;       // square root of the second bias correction
  double lr, beta1, beta2, eps, weight_decay;
  bool decoupled;  // AdamW: the decay acts on the parameter, not on the gradient
  bool maximize;
};

// All arrays hold n elements and are changed in place, except grad.
template <class T>
struct OptimKernels {
  // momentum_buffer may be null: plain gradient descent.
  void (*sgd)(const Run& run, int64_t n, const SgdSettings& settings, const T* grad, T* param,
              T* momentum_buffer);
  // max_exp_avg_sq is null without amsgrad.
  void (*adam)(const Run& run, int64_t n, const AdamSettings& settings, const T* grad, T* param,
               T* exp_avg, T* exp_avg_sq, T* max_exp_avg_sq);
};

}  // namespace rushlight
