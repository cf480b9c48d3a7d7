#pragma once

#include <stdint.h>

#include "kernels/parallel.h"

namespace rushlight {

// Elements that one thread updates before it asks for more.
constexpr int64_t kOptimChunk = 16384;

// A parameter in a step. Its arrays hold n elements and are changed in place, except grad.
template <class T>
struct OptimItem {
  int64_t n;
  int64_t first_chunk;  // how many chunks the items before it have
  const T* grad;
  T* param;
  T* state[3];  // as the kernels below name them; null where the settings keep none
  // What follows from the number of steps that this parameter has taken:
  double rate;  // the learning rate, corrected (Adam, Adagrad)
  double root;  // square root of the second bias correction (Adam)
  bool fresh;   // the state holds nothing yet (SGD)
};

// All parameters of a group, which share their settings.
template <class T>
struct OptimItems {
  const OptimItem<T>* items;
  int64_t count;
  int64_t chunks;
};

// What the gradient goes through first, whatever the optimizer.
struct DescentSettings {
  double weight_decay;  // this times the parameter is added to the gradient
  bool maximize;
};

struct SgdSettings {
  DescentSettings descent;
  double lr, momentum, dampening;
  bool nesterov;
};

struct AdamSettings {
  DescentSettings descent;  // decay 0 with a decoupled one
  double shrink;            // factor on the parameter: below 1 with decoupled decay (AdamW)
  double beta1, beta2, eps;
};

struct RmspropSettings {
  DescentSettings descent;
  double lr, alpha, eps, momentum;
};

struct AdagradSettings {
  DescentSettings descent;
  double eps;
};

struct AdadeltaSettings {
  DescentSettings descent;
  double lr, rho, eps;
};

template <class T>
struct OptimKernels {
  // state: momentum_buffer or null.
  void (*sgd)(const Run& run, const OptimItems<T>& items, const SgdSettings& settings);
  // state: exp_avg, exp_avg_sq, max_exp_avg_sq or null.
  void (*adam)(const Run& run, const OptimItems<T>& items, const AdamSettings& settings);
  // state: square_avg, grad_avg or null, momentum_buffer or null.
  void (*rmsprop)(const Run& run, const OptimItems<T>& items, const RmspropSettings& settings);
  // state: sum.
  void (*adagrad)(const Run& run, const OptimItems<T>& items, const AdagradSettings& settings);
  // state: square_avg, acc_delta.
  void (*adadelta)(const Run& run, const OptimItems<T>& items, const AdadeltaSettings& settings);
};

}  // namespace rushlight
