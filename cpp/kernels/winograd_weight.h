// The gradient to weight of a 3x3 convolution with stride and dilation 1 by the adjoint of
// Winograd's minimal filtering: every step of the forward transposed.
#pragma once

#include <stdint.h>

#include "kernels/parallel.h"

namespace rushlight::RUSHLIGHT_ISA {

// One group of a convolution. Both images may lie in blocks of channels, if there is one group.
template <class T>
struct WinogradWeightProblem {
  int64_t n, ic, ih, iw;
  int64_t oc, oh, ow;
  int64_t padding_h, padding_w;
  const T* src;
  int64_t src_image;  // elements from image to image
  const T* diff_dst;
  int64_t dst_image;
  T* diff_weight;  // [oc, ic, 3, 3]
  bool blocked;
};

// `tile` is 2 or 4, as in winograd.h. The workspace is in bytes and depends on the sizes alone.
template <class T>
int64_t winograd_weight_workspace(const WinogradWeightProblem<T>& problem, int tile, int slots);
template <class T>
void winograd_weight(const Run& run, const WinogradWeightProblem<T>& problem, int tile);

// About the processor cycles that it takes on one core.
template <class T>
double winograd_weight_cost(const WinogradWeightProblem<T>& problem, int tile);

#define RUSHLIGHT_WINOGRAD_WEIGHT(prefix, T)                                                       \
  prefix template int64_t winograd_weight_workspace<T>(const WinogradWeightProblem<T>&, int, int); \
  prefix template void winograd_weight<T>(const Run&, const WinogradWeightProblem<T>&, int);       \
  prefix template double winograd_weight_cost<T>(const WinogradWeightProblem<T>&, int);

RUSHLIGHT_WINOGRAD_WEIGHT(extern, float)
RUSHLIGHT_WINOGRAD_WEIGHT(extern, double)

}  // namespace rushlight::RUSHLIGHT_ISA
