// Gradients to the weight on blocked images: products of vectors of channels, summed over the
// pixels; see blocked_gradients.h. Workspaces are in bytes.
#pragma once

#include <stdint.h>

#include "kernels/conv2d.h"
#include "kernels/parallel.h"

namespace rushlight::RUSHLIGHT_ISA {

// Of a convolution of one group.
template <class T>
int64_t blocked_weight_workspace(const Conv2dShape& s, int slots);
template <class T>
void blocked_weight(const Run& run, const Conv2dShape& s, const T* src, const T* diff_dst,
                    T* diff_weight);
// About the processor cycles that it takes on one core.
template <class T>
double blocked_weight_cost(const Conv2dShape& s);

// Of a depthwise convolution, with its gradient to src for any stride.
template <class T>
int64_t blocked_depthwise_weight_workspace(const Conv2dShape& s);
template <class T>
void blocked_depthwise_weight(const Run& run, const Conv2dShape& s, const T* src, const T* diff_dst,
                              T* diff_weight);
template <class T>
void blocked_depthwise_src(const Run& run, const Conv2dShape& s, const T* prepared,
                           const T* diff_dst, T* diff_src);

#define RUSHLIGHT_BLOCKED_WEIGHT(prefix, T)                                                       \
  prefix template int64_t blocked_weight_workspace<T>(const Conv2dShape&, int);                   \
  prefix template void blocked_weight<T>(const Run&, const Conv2dShape&, const T*, const T*, T*); \
  prefix template double blocked_weight_cost<T>(const Conv2dShape&);
#define RUSHLIGHT_BLOCKED_DEPTHWISE_GRADIENTS(prefix, T)                                     \
  prefix template int64_t blocked_depthwise_weight_workspace<T>(const Conv2dShape&);         \
  prefix template void blocked_depthwise_weight<T>(const Run&, const Conv2dShape&, const T*, \
                                                   const T*, T*);                            \
  prefix template void blocked_depthwise_src<T>(const Run&, const Conv2dShape&, const T*,    \
                                                const T*, T*);
RUSHLIGHT_BLOCKED_WEIGHT(extern, float)
RUSHLIGHT_BLOCKED_WEIGHT(extern, double)
RUSHLIGHT_BLOCKED_DEPTHWISE_GRADIENTS(extern, float)
RUSHLIGHT_BLOCKED_DEPTHWISE_GRADIENTS(extern, double)

}  // namespace rushlight::RUSHLIGHT_ISA
