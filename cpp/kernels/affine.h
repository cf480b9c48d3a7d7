#pragma once

#include <stdint.h>

#include "kernels/epilogue.h"
#include "kernels/parallel.h"

namespace rushlight {

// src and dst [n, c, spatial].
struct AffineShape {
  int64_t n, c, spatial;
};

// An epilogue without a product before it: a batch norm of fixed statistics, an addition with a
// relu behind it, or both.
template <class T>
struct AffineKernels {
  // dst may be src or the residual itself.
  void (*forward)(const Run& run, const AffineShape& shape, const T* src,
                  const Epilogue<T>& epilogue, T* dst);
};

}  // namespace rushlight
