// Which algorithm computes a convolution or its gradient to src: by the shape alone, so that every
// number of threads gives the same bits.
#pragma once

#include <stdint.h>

#include "kernels/chwn.h"
#include "kernels/conv2d.h"
#include "kernels/conv2d_blocked.h"
#include "kernels/cycles.h"
#include "kernels/direct.h"
#include "kernels/gemm.h"
#include "kernels/integers.h"
#include "kernels/strided_src.h"
#include "kernels/winograd.h"

namespace rushlight::RUSHLIGHT_ISA {

enum class Direction { forward, backward_src };

// Depthwise kernels copy as many rows as the taps span: taps that lie absurdly far apart are left
// to the matrix product.
inline bool spans_little(const Conv2dShape& s) {
  constexpr double most = 4194304;  // elements
  const double rows = static_cast<double>((s.kh - 1) * s.dilation_h + s.padding_h + 4);
  const double cols = static_cast<double>((s.kw - 1) * s.dilation_w + s.padding_w + s.iw);
  return rows * cols <= most;
}

inline bool is_strided(const Conv2dShape& s) {
  return s.stride_h > 1 || s.stride_w > 1;
}

template <class T>
bool accepts(const Conv2dShape& s, ConvAlgorithm algorithm, Direction direction) {
  switch (algorithm) {
    case ConvAlgorithm::direct:
      return direction == Direction::forward ? direct_accepts(s)
                                             : is_strided(s) && strided_src_accepts(s);
    case ConvAlgorithm::depthwise:
      return s.ic == s.groups && spans_little(s);
    case ConvAlgorithm::winograd2:
    case ConvAlgorithm::winograd4: {
      const bool plain = s.kh == 3 && s.kw == 3 && s.stride_h == 1 && s.stride_w == 1 &&
                         s.dilation_h == 1 && s.dilation_w == 1;
      // The gradient is a convolution with padding 2 - p.
      const bool mirrors =
          direction == Direction::forward || (s.padding_h <= 2 && s.padding_w <= 2);
      return plain && mirrors;
    }
    case ConvAlgorithm::blocked:
      return direction == Direction::forward ? by_blocks_accepts<T>(s)
                                             : by_blocks_backward_accepts<T>(s);
    case ConvAlgorithm::chwn:
      return chwn_accepts(s);
    default:
      return true;
  }
}

// The sizes of one group's convolution, or of that which gives its gradient; pointers are null.
template <class T>
WinogradProblem<T> winograd_problem(const Conv2dShape& s, Direction direction) {
  const int64_t ic = s.ic / s.groups, oc = s.oc / s.groups;
  WinogradProblem<T> p{};
  p.n = s.n;
  if (direction == Direction::forward) {
    p.ic = ic, p.ih = s.ih, p.iw = s.iw, p.oc = oc, p.oh = s.oh, p.ow = s.ow;
    p.padding_h = s.padding_h, p.padding_w = s.padding_w;
    p.row_stride = 9 * ic, p.channel_stride = 9;
    p.src_image = s.ic * s.ih * s.iw, p.dst_image = s.oc * s.oh * s.ow;
  } else {
    p.ic = oc, p.ih = s.oh, p.iw = s.ow, p.oc = ic, p.oh = s.ih, p.ow = s.iw;
    p.padding_h = 2 - s.padding_h, p.padding_w = 2 - s.padding_w;
    p.row_stride = 9, p.channel_stride = 9 * ic, p.rotated = true;
    p.src_image = s.oc * s.oh * s.ow, p.dst_image = s.ic * s.ih * s.iw;
  }
  return p;
}

RUSHLIGHT_INLINE int winograd_tile(ConvAlgorithm algorithm) {
  return algorithm == ConvAlgorithm::winograd2 ? 2 : algorithm == ConvAlgorithm::winograd4 ? 4 : 0;
}

// About the cycles of the matrix product on one core, in the units of winograd_cost.
template <class T>
double gemm_cost(const WinogradProblem<T>& p, int64_t kernel) {
  const double pixels = static_cast<double>(p.n * p.oh * p.ow);
  const double vectors = static_cast<double>(ceil_div(p.n * p.oh * p.ow, Native<T>::lanes));
  const double taps = static_cast<double>(kernel * p.ic), oc = static_cast<double>(p.oc);
  // Packing; columns that are not the image itself cost more.
  const double per_weight = 2, per_pixel = kernel == 1 ? 0.2 : 1.5;
  return taps * static_cast<double>(round_up(p.oc, tile_rows)) * vectors * kCyclesPerFma +
         taps * (oc * per_weight + pixels * per_pixel);
}

// The same of a product that makes the columns of the gradient to src, which are then added up.
template <class T>
double strided_gemm_cost(const Conv2dShape& s) {
  constexpr double per_column = 4, per_pixel = 1.5;
  constexpr int64_t lanes = Native<T>::lanes;
  const int64_t columns = s.ic / s.groups * s.kh * s.kw, oc = s.oc / s.groups;
  const double pixels = static_cast<double>(s.n * round_up(s.oh * s.ow, lanes));
  const double products = static_cast<double>(oc * ceil_div(round_up(columns, tile_rows), lanes));
  return pixels * (products * kCyclesPerFma + static_cast<double>(columns) * per_column +
                   static_cast<double>(oc) * per_pixel);
}

// Groups of so few outputs that a matrix product is not worth its packing.
inline bool has_small_groups(const Conv2dShape& s) {
  constexpr int64_t few_outputs = 4;
  return s.groups > 1 && s.oc <= few_outputs * s.groups;
}

constexpr int64_t kTinyImage = 8;  // pixels; measured

// Whether the planes of a depthwise convolution are so short, of at most `longest` pixels, and its
// images so many, that vectors are better filled with images.
template <class T>
bool depthwise_by_images(const Conv2dShape& s, int64_t longest) {
  return 2 * s.n >= Native<T>::lanes && larger(s.ih * s.iw, s.oh * s.ow) <= longest &&
         chwn_accepts(s);
}

// Pixels up to which the planes of a depthwise convolution are short enough for blocks of channels;
// measured.
template <class T>
int64_t short_plane(const Conv2dShape& s) {
  constexpr int64_t lanes = Native<T>::lanes;
  const bool fills_blocks = 10 * s.ic >= 9 * round_up(s.ic, lanes);
  if constexpr (RUSHLIGHT_VECTOR_BYTES == 64) {
    const bool has_work = !is_strided(s) || s.kw > 3;
    return fills_blocks && has_work ? 3136 : is_strided(s) ? 64 : 256;
  } else {
    // Turning channels to lanes costs as much as for longer vectors, and gains less.
    if (!fills_blocks) return 64;
    return !is_strided(s) ? 256 : s.kw > 3 ? 3136 : 1024;
  }
}

// Of those for groups of one input channel; measured.
template <class T>
ConvAlgorithm choose_depthwise(const Conv2dShape& s, Direction direction) {
  if (depthwise_by_images<T>(s, kTinyImage)) return ConvAlgorithm::chwn;
  const bool is_short = larger(s.ih * s.iw, s.oh * s.ow) <= short_plane<T>(s);
  if (is_short && s.ic >= Native<T>::lanes && accepts<T>(s, ConvAlgorithm::blocked, direction)) {
    return ConvAlgorithm::blocked;
  }
  if (direction == Direction::backward_src && depthwise_by_images<T>(s, 2 * kTinyImage)) {
    return ConvAlgorithm::chwn;
  }
  return ConvAlgorithm::depthwise;
}

// The forced algorithm where it can, else the cheapest.
template <class T>
ConvAlgorithm choose_algorithm(const Conv2dShape& s, Direction direction) {
  constexpr int64_t few_channels = 16;
  const bool forced = s.algorithm != ConvAlgorithm::automatic;
  if (forced && accepts<T>(s, s.algorithm, direction)) return s.algorithm;
  if (has_small_groups(s) && accepts<T>(s, ConvAlgorithm::depthwise, direction)) {
    return choose_depthwise<T>(s, direction);
  }
  if (s.n * s.oc * s.oh * s.ow == 0) return ConvAlgorithm::gemm;
  const WinogradProblem<T> problem = winograd_problem<T>(s, direction);
  ConvAlgorithm best = ConvAlgorithm::gemm;
  const bool strided_back = direction == Direction::backward_src && is_strided(s);
  // All costs are those of one group.
  const double groups = static_cast<double>(s.groups);
  double least = strided_back ? strided_gemm_cost<T>(s) : gemm_cost(problem, s.kh * s.kw);
  const auto consider = [&](ConvAlgorithm algorithm, double cost) {
    if (cost >= least) return;
    best = algorithm;
    least = cost;
  };
  if (accepts<T>(s, ConvAlgorithm::blocked, direction)) {
    const double cost =
        direction == Direction::forward ? by_blocks_cost<T>(s) : by_blocks_backward_cost<T>(s);
    consider(ConvAlgorithm::blocked, cost / groups);
  }
  if (accepts<T>(s, ConvAlgorithm::chwn, direction)) {
    consider(ConvAlgorithm::chwn, chwn_cost<T>(s, direction == Direction::backward_src));
  }
  if (accepts<T>(s, ConvAlgorithm::direct, direction)) {
    consider(ConvAlgorithm::direct,
             strided_back ? strided_src_cost<T>(s) : direct_cost<T>(s) / groups);
  }
  const int64_t fewest = smaller(s.ic, s.oc) / s.groups;
  if (s.may_use_winograd && fewest >= few_channels &&
      accepts<T>(s, ConvAlgorithm::winograd4, direction)) {
    consider(ConvAlgorithm::winograd2, winograd_cost(problem, 2));
    consider(ConvAlgorithm::winograd4, winograd_cost(problem, 4));
  }
  return best;
}

}  // namespace rushlight::RUSHLIGHT_ISA
