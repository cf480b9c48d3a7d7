// Winograd's minimal filtering for 3x3 convolutions with stride and dilation 1: tiles of 2x2 or 4x4
// outputs, 16 or 36 small matrix products in place of one large one.
#pragma once

#include <stdint.h>

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
  const T* bias;           // or null
  T* dst;
  int64_t dst_image;
};

// `tile` is 2 or 4: the outputs of a tile along an axis. A workspace is in bytes and depends on the
// sizes alone.
template <class T>
int64_t winograd_workspace(const WinogradProblem<T>& problem, int tile, int slots);
template <class T>
void winograd(const Run& run, const WinogradProblem<T>& problem, int tile);

// Of a vector, by the width that machines have: those with wider vectors start fewer of them.
constexpr double kCyclesPerFma = RUSHLIGHT_VECTOR_BYTES == 64 ? 1 : 0.5;

// About the processor cycles that it takes on one core, to be compared with gemm_cost.
template <class T>
double winograd_cost(const WinogradProblem<T>& problem, int tile);

extern template int64_t winograd_workspace<float>(const WinogradProblem<float>&, int, int);
extern template int64_t winograd_workspace<double>(const WinogradProblem<double>&, int, int);
extern template void winograd<float>(const Run&, const WinogradProblem<float>&, int);
extern template void winograd<double>(const Run&, const WinogradProblem<double>&, int);
extern template double winograd_cost<float>(const WinogradProblem<float>&, int);
extern template double winograd_cost<double>(const WinogradProblem<double>&, int);

}  // namespace rushlight::RUSHLIGHT_ISA
