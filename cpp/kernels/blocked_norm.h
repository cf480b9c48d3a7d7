// Batch norm on images in blocks of channels; see blocked.h and batch_norm.h.
#pragma once

#include <stdint.h>

#include "kernels/batch_norm.h"

namespace rushlight {

// Of `norm` src, dst and the gradients to them are blocked. The workspace serves all three.
template <class T>
struct BlockedNormKernels {
  int64_t (*workspace)(const BatchNormShape& shape);  // bytes
  BatchNormKernels<T> norm;
};

}  // namespace rushlight
