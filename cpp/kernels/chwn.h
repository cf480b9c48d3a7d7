// Convolution in the layout CHWN, [channels][h][w][images]: the lanes of a vector are images of the
// batch, so that planes of a few pixels fill the vectors, padding costs nothing, and weights are
// read as they lie. For the deep layers of networks in training.
#pragma once

#include <stdint.h>

#include "kernels/conv2d.h"
#include "kernels/epilogue.h"
#include "kernels/parallel.h"

namespace rushlight::RUSHLIGHT_ISA {

// One group, or as many as there are channels.
bool chwn_accepts(const Conv2dShape& s);

// Products that are summed before they are added to those before: many short sums are more exact
// than a long one.
constexpr int64_t kChwnStretch = 512;

// Workspaces are in bytes.
template <class T>
int64_t chwn_forward_workspace(const Conv2dShape& s, int slots);
template <class T>
void chwn_forward(const Run& run, const Conv2dShape& s, const T* src, const T* weight,
                  const Epilogue<T>& epilogue, T* dst, int64_t stretch = kChwnStretch);

template <class T>
int64_t chwn_backward_src_workspace(const Conv2dShape& s, int slots);
template <class T>
void chwn_backward_src(const Run& run, const Conv2dShape& s, const T* weight, const T* diff_dst,
                       T* diff_src);

// About the cycles of one core for either, to be compared with gemm_cost.
template <class T>
double chwn_cost(const Conv2dShape& s, bool backward);

// The gradient to the weight where every channel is a group.
template <class T>
int64_t chwn_depthwise_weight_workspace(const Conv2dShape& s, int slots);
template <class T>
void chwn_depthwise_weight(const Run& run, const Conv2dShape& s, const T* src, const T* diff_dst,
                           T* diff_weight);

#define RUSHLIGHT_CHWN(prefix, T)                                                               \
  prefix template int64_t chwn_forward_workspace<T>(const Conv2dShape&, int);                   \
  prefix template void chwn_forward<T>(const Run&, const Conv2dShape&, const T*, const T*,      \
                                       const Epilogue<T>&, T*, int64_t);                        \
  prefix template int64_t chwn_backward_src_workspace<T>(const Conv2dShape&, int);              \
  prefix template void chwn_backward_src<T>(const Run&, const Conv2dShape&, const T*, const T*, \
                                            T*);                                                \
  prefix template double chwn_cost<T>(const Conv2dShape&, bool);                                \
  prefix template int64_t chwn_depthwise_weight_workspace<T>(const Conv2dShape&, int);          \
  prefix template void chwn_depthwise_weight<T>(const Run&, const Conv2dShape&, const T*,       \
                                                const T*, T*);
RUSHLIGHT_CHWN(extern, float)
RUSHLIGHT_CHWN(extern, double)

}  // namespace rushlight::RUSHLIGHT_ISA
