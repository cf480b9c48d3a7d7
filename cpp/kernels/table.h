// The table of kernels: one object per instruction set, read by the runtime and the bindings.
#pragma once

#include <stdint.h>

#include "kernels/affine.h"
#include "kernels/arithmetic.h"
#include "kernels/batch_norm.h"
#include "kernels/blocked.h"
#include "kernels/blocked_gradients.h"
#include "kernels/blocked_norm.h"
#include "kernels/conv2d.h"
#include "kernels/linear.h"
#include "kernels/log_softmax.h"
#include "kernels/matmul.h"
#include "kernels/nll_loss.h"
#include "kernels/optim.h"
#include "kernels/pointwise.h"
#include "kernels/pooling.h"
#include "kernels/probe.h"
#include "kernels/relu.h"
#include "kernels/summation.h"

// One line per family of operations: the struct of function pointers and its name in the table.
#define RUSHLIGHT_FAMILIES(X)                  \
  X(AffineKernels, affine)                     \
  X(ArithmeticKernels, arithmetic)             \
  X(BatchNormKernels, batch_norm)              \
  X(BlockedKernels, blocked)                   \
  X(BlockedGradientKernels, blocked_gradients) \
  X(BlockedNormKernels, blocked_norm)          \
  X(Conv2dKernels, conv2d)                     \
  X(LinearKernels, linear)                     \
  X(LogSoftmaxKernels, log_softmax)            \
  X(MatmulKernels, matmul)                     \
  X(NllLossKernels, nll_loss)                  \
  X(OptimKernels, optim)                       \
  X(PointwiseKernels, pointwise)               \
  X(PoolingKernels, pooling)                   \
  X(ProbeKernels, probe)                       \
  X(ReluKernels, relu)                         \
  X(SummationKernels, summation)

namespace rushlight {

// Instructions that a table was compiled with, as its own compiler flags say.
enum Feature : uint32_t {
  kFeatureAvx2 = 1u << 0,
  kFeatureFma = 1u << 1,
  kFeatureAvx512 = 1u << 2,  // F, DQ, BW and VL together
  kFeatureSse3To42 = 1u << 3,
  kFeatureNeon = 1u << 4,
};

template <class T>
struct Kernels {
#define RUSHLIGHT_MEMBER(Family, name) const Family<T>* name;
  RUSHLIGHT_FAMILIES(RUSHLIGHT_MEMBER)
#undef RUSHLIGHT_MEMBER
};

struct KernelTable {
  const char* name;
  const char* macros;  // instruction set macros that the compiler had set
  uint32_t features;   // what a machine must have to run this table
  int vector_bytes;
  bool fma;
  bool test_only;  // chosen by name only
  Kernels<float> f32;
  Kernels<double> f64;
};

}  // namespace rushlight
