#pragma once

#include <stdint.h>

#include "kernels/parallel.h"

// One line per activation: its name, and the struct that computes it.
#define RUSHLIGHT_POINTWISE(X) \
  X(elu, Elu)                  \
  X(exp, Exp)                  \
  X(gelu, Gelu)                \
  X(gelu_tanh, GeluTanh)       \
  X(hardsigmoid, Hardsigmoid)  \
  X(hardswish, Hardswish)      \
  X(hardtanh, Hardtanh)        \
  X(leaky_relu, LeakyRelu)     \
  X(sigmoid, Sigmoid)          \
  X(silu, Silu)                \
  X(tanh, Tanh)

namespace rushlight {

// A function of each element with up to two settings, `a` and `b`. The gradient is taken `at` the
// argument or the result, as the function's struct says. dst may be src, and diff_src diff_dst.
template <class T>
struct PointwiseFunction {
  void (*forward)(const Run& run, int64_t n, double a, double b, const T* src, T* dst);
  void (*backward)(const Run& run, int64_t n, double a, double b, const T* at, const T* diff_dst,
                   T* diff_src);
  void (*in_place)(T* values, int64_t n, double a, double b);  // for epilogues
};

template <class T>
struct PointwiseKernels {
#define RUSHLIGHT_FUNCTION(name, Name) PointwiseFunction<T> name;
  RUSHLIGHT_POINTWISE(RUSHLIGHT_FUNCTION)
#undef RUSHLIGHT_FUNCTION
};

}  // namespace rushlight
