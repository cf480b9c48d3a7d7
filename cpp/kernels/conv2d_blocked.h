// Convolution of plain images by way of blocks of channels; see blocked.h.
#pragma once

#include <stdint.h>

#include "kernels/conv2d.h"
#include "kernels/epilogue.h"
#include "kernels/parallel.h"
#include "kernels/prepared_weight.h"

namespace rushlight::RUSHLIGHT_ISA {

template <class T>
bool by_blocks_accepts(const Conv2dShape& s);

template <class T>
PreparedWeight by_blocks_prepared(const Conv2dShape& s);
template <class T>
void by_blocks_prepare(const Run& run, const Conv2dShape& s, const T* weight, T* to);

// Bytes. `prepared` may be null.
template <class T>
int64_t by_blocks_workspace(const Conv2dShape& s, bool is_prepared, int slots);
template <class T>
void by_blocks_forward(const Run& run, const Conv2dShape& s, const T* src, const T* weight,
                       const T* prepared, const Epilogue<T>& epilogue, T* dst);

// The gradient to src of a convolution of stride 1: a convolution of diff_dst with the filters
// turned around and the channels exchanged.
template <class T>
bool by_blocks_backward_accepts(const Conv2dShape& s);
template <class T>
int64_t by_blocks_backward_workspace(const Conv2dShape& s, int slots);
template <class T>
void by_blocks_backward(const Run& run, const Conv2dShape& s, const T* weight, const T* diff_dst,
                        T* diff_src);
template <class T>
double by_blocks_backward_cost(const Conv2dShape& s);

// About the processor cycles that it takes on one core, to be compared with gemm_cost.
template <class T>
double by_blocks_cost(const Conv2dShape& s);

#define RUSHLIGHT_BY_BLOCKS(prefix, T)                                                           \
  prefix template bool by_blocks_accepts<T>(const Conv2dShape&);                                 \
  prefix template PreparedWeight by_blocks_prepared<T>(const Conv2dShape&);                      \
  prefix template void by_blocks_prepare<T>(const Run&, const Conv2dShape&, const T*, T*);       \
  prefix template int64_t by_blocks_workspace<T>(const Conv2dShape&, bool, int);                 \
  prefix template void by_blocks_forward<T>(const Run&, const Conv2dShape&, const T*, const T*,  \
                                            const T*, const Epilogue<T>&, T*);                   \
  prefix template double by_blocks_cost<T>(const Conv2dShape&);                                  \
  prefix template bool by_blocks_backward_accepts<T>(const Conv2dShape&);                        \
  prefix template int64_t by_blocks_backward_workspace<T>(const Conv2dShape&, int);              \
  prefix template void by_blocks_backward<T>(const Run&, const Conv2dShape&, const T*, const T*, \
                                             T*);                                                \
  prefix template double by_blocks_backward_cost<T>(const Conv2dShape&);
RUSHLIGHT_BY_BLOCKS(extern, float)
RUSHLIGHT_BY_BLOCKS(extern, double)

}  // namespace rushlight::RUSHLIGHT_ISA
