// Winograd's minimal filtering for 3x3 convolutions with stride and dilation 1: tiles of 2x2 or 4x4
// outputs, 16 or 36 small matrix products in place of one large one.
#pragma once

#include <stdint.h>

#include "kernels/epilogue.h"
#include "kernels/parallel.h"

namespace rushlight::RUSHLIGHT_ISA {

// One group of a convolution, or of its gradient to src, which is one with other weights.
template <class T>
struct WinogradProblem {
  int64_t n, ic, ih, iw;
  int64_t oc, oh, ow;
  int64_t padding_h, padding_w;
  const T* src;
  int64_t src_image;  // elements from image to image
  const T* weight;
  int64_t row_stride;      // of the weight, from output to output channel
  int64_t channel_stride;  // from input to input channel
  bool rotated;            // the weight's taps run backwards
  const T* prepared;       // the transformed weight, or null
  Epilogue<T> epilogue;
  T* dst;
  int64_t dst_image;
};

// `tile` is 2 or 4: the outputs of a tile along an axis. A workspace is in bytes and depends on the
// sizes alone.
template <class T>
int64_t winograd_workspace(const WinogradProblem<T>& problem, int tile, bool is_prepared,
                           int slots);
template <class T>
void winograd(const Run& run, const WinogradProblem<T>& problem, int tile);

// The transformed weight: its elements, which depend on the numbers of channels alone, and itself.
template <class T>
int64_t winograd_weights(const WinogradProblem<T>& problem, int tile);
template <class T>
void winograd_prepare(const Run& run, const WinogradProblem<T>& problem, int tile, T* to);

// About the processor cycles that it takes on one core, to be compared with gemm_cost.
template <class T>
double winograd_cost(const WinogradProblem<T>& problem, int tile);

#define RUSHLIGHT_WINOGRAD(prefix, T)                                                       \
  prefix template int64_t winograd_workspace<T>(const WinogradProblem<T>&, int, bool, int); \
  prefix template void winograd<T>(const Run&, const WinogradProblem<T>&, int);             \
  prefix template int64_t winograd_weights<T>(const WinogradProblem<T>&, int);              \
  prefix template void winograd_prepare<T>(const Run&, const WinogradProblem<T>&, int, T*); \
  prefix template double winograd_cost<T>(const WinogradProblem<T>&, int);
RUSHLIGHT_WINOGRAD(extern, float)
RUSHLIGHT_WINOGRAD(extern, double)

}  // namespace rushlight::RUSHLIGHT_ISA
