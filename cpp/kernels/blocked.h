// The layout in which whole nets keep images between convolutions: channels in blocks of as many
// as a vector has lanes, [n][blocks][h][w][lanes]. A pixel of a block is one vector, so every
// kernel works on whole vectors whatever the size, the stride or the padding of the image.
//
// Lanes past the last channel hold any finite values; weights that meet them are zero.
#pragma once

#include <stdint.h>

#include "kernels/conv2d.h"
#include "kernels/epilogue.h"
#include "kernels/parallel.h"
#include "kernels/pooling.h"
#include "kernels/prepared_weight.h"

namespace rushlight {

// Images of so few channels are read as they lie.
constexpr int64_t kFewChannels = 4;

enum class BlockedAlgorithm { none, direct, depthwise, grouped, winograd2, winograd4 };

// One side plain, [n, c, spatial], the other blocked.
struct ReorderShape {
  int64_t n, c, spatial;
};

// Scale and shift of epilogues have a value for every lane of every block.
template <class T>
struct BlockedKernels {
  int lanes;
  // None where it takes a plain convolution. A plain src is for the few channels of an image.
  BlockedAlgorithm (*algorithm)(const Conv2dShape& shape, bool plain_src);
  PreparedWeight (*prepared)(const Conv2dShape& shape, bool plain_src);
  void (*prepare)(const Run& run, const Conv2dShape& shape, bool plain_src, const T* weight, T* to);
  int64_t (*workspace)(const Conv2dShape& shape, bool plain_src, int slots);  // bytes
  void (*conv2d)(const Run& run, const Conv2dShape& shape, bool plain_src, const T* src,
                 const T* prepared, const Epilogue<T>& epilogue, T* dst);
  // Whether a pointwise convolution and the depthwise one behind it are computed together.
  // `between` stands behind the first's sums, and has no residual.
  bool (*pairs)(const Conv2dShape& first, const Conv2dShape& second);
  int64_t (*pair_workspace)(const Conv2dShape& first, const Conv2dShape& second,
                            int slots);  // bytes
  void (*pair)(const Run& run, const Conv2dShape& first, const Conv2dShape& second, const T* src,
               const T* pointwise, const Epilogue<T>& between, const T* depthwise,
               const Epilogue<T>& epilogue, T* dst);
  // `planes` of the shape counts blocks.
  void (*max_pool)(const Run& run, const PoolShape& shape, const T* src, T* dst);
  void (*avg_pool)(const Run& run, const PoolShape& shape, const T* src, T* dst);
  // dst is plain, [n, c].
  void (*mean)(const Run& run, const ReorderShape& shape, const T* src, T* dst);
  void (*to_blocked)(const Run& run, const ReorderShape& shape, const T* src, T* dst);
  void (*to_plain)(const Run& run, const ReorderShape& shape, const T* src, T* dst);
  // dst may be src or the residual itself.
  void (*affine)(const Run& run, const ReorderShape& shape, const T* src,
                 const Epilogue<T>& epilogue, T* dst);
};

}  // namespace rushlight
