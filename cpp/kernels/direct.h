// Convolution straight from the rows of the source, for any window: no column matrix is built.
#pragma once

#include <stdint.h>

#include "kernels/conv2d.h"
#include "kernels/epilogue.h"
#include "kernels/parallel.h"

namespace rushlight::RUSHLIGHT_ISA {

bool direct_accepts(const Conv2dShape& s);

// Elements of the prepared weight, which depend on the weight's shape and the groups alone.
template <class T>
int64_t direct_weights(const Conv2dShape& s);
template <class T>
void direct_prepare(const Run& run, const Conv2dShape& s, const T* weight, T* to);

// Bytes. `prepared` may be null.
template <class T>
int64_t direct_workspace(const Conv2dShape& s, bool is_prepared, int slots);
template <class T>
void direct_forward(const Run& run, const Conv2dShape& s, const T* src, const T* weight,
                    const T* prepared, const Epilogue<T>& epilogue, T* dst);

// About the processor cycles that it takes on one core, to be compared with gemm_cost.
template <class T>
double direct_cost(const Conv2dShape& s);

#define RUSHLIGHT_DIRECT(prefix, T)                                                          \
  prefix template int64_t direct_weights<T>(const Conv2dShape&);                             \
  prefix template void direct_prepare<T>(const Run&, const Conv2dShape&, const T*, T*);      \
  prefix template int64_t direct_workspace<T>(const Conv2dShape&, bool, int);                \
  prefix template void direct_forward<T>(const Run&, const Conv2dShape&, const T*, const T*, \
                                         const T*, const Epilogue<T>&, T*);                  \
  prefix template double direct_cost<T>(const Conv2dShape&);
RUSHLIGHT_DIRECT(extern, float)
RUSHLIGHT_DIRECT(extern, double)

}  // namespace rushlight::RUSHLIGHT_ISA
