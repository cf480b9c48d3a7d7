// The gradient of a strided convolution to its source, phase by phase: source pixels that lie a
// stride apart see the same taps, so each phase is a small convolution of diff_dst with stride 1,
// and nothing is multiplied by zero.
#pragma once

#include <stdint.h>

#include "kernels/conv2d.h"
#include "kernels/parallel.h"

namespace rushlight::RUSHLIGHT_ISA {

bool strided_src_accepts(const Conv2dShape& s);

template <class T>
int64_t strided_src_workspace(const Conv2dShape& s, int slots);  // bytes
template <class T>
void strided_src(const Run& run, const Conv2dShape& s, const T* weight, const T* diff_dst,
                 T* diff_src);

// About the processor cycles that it takes on one core, to be compared with gemm_cost.
template <class T>
double strided_src_cost(const Conv2dShape& s);

#define RUSHLIGHT_STRIDED_SRC(prefix, T)                                                       \
  prefix template int64_t strided_src_workspace<T>(const Conv2dShape&, int);                   \
  prefix template void strided_src<T>(const Run&, const Conv2dShape&, const T*, const T*, T*); \
  prefix template double strided_src_cost<T>(const Conv2dShape&);
RUSHLIGHT_STRIDED_SRC(extern, float)
RUSHLIGHT_STRIDED_SRC(extern, double)

}  // namespace rushlight::RUSHLIGHT_ISA
