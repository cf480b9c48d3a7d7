// The algorithms of convolutions on blocked images; see blocked.h. Sizes are in elements.
#pragma once

#include <stdint.h>

#include "kernels/blocked.h"
#include "kernels/blocked_weights.h"
#include "kernels/integers.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

// How a source lies: padded is blocked with its padding around it.
enum class DirectSource { blocked, plain, padded };
inline DirectSource source_of(bool plain_src) {
  return plain_src ? DirectSource::plain : DirectSource::blocked;
}

template <class T>
int64_t blocked_direct_weights(const Conv2dShape& s);
template <class T>
void blocked_direct_prepare(const Run& run, const Conv2dShape& s, bool plain_src, const T* weight,
                            const FilterOrder& order, T* to);
// With `plain_dst` bands of results are turned into a plain image while they are in a cache; there
// must be no residual then.
template <class T>
int64_t blocked_direct_workspace(const Conv2dShape& s, DirectSource source, bool plain_dst,
                                 int slots);
template <class T>
void blocked_direct(const Run& run, const Conv2dShape& s, DirectSource source, const T* src,
                    const T* prepared, const Epilogue<T>& epilogue, T* dst, bool plain_dst);

// Images that are padded once, as they are turned into blocks, so that no task copies what it
// reads. Whether a shape has padding that is worth it, elements, and the turning.
bool worth_padding(const Conv2dShape& s);
template <class T>
int64_t padded_size(const Conv2dShape& s);
template <class T>
void to_padded(const Run& run, const Conv2dShape& s, const T* src, T* dst);

// How many bands of about `band` rows an image is cut into: one or an even number, so that the
// halves of two threads are the same rows in every layer.
inline int64_t even_bands(int64_t rows, int64_t band) {
  if (band >= rows) return 1;
  const int64_t bands = ceil_div(rows, band);
  return bands + bands % 2;
}

// Rows `top` and following of one group of output channels, where a convolution is pointwise; dst
// holds these rows only, block after block.
template <class T>
void blocked_pointwise_rows(const Conv2dShape& s, const T* src, const T* prepared,
                            const Epilogue<T>& epilogue, int64_t group, int64_t top, int64_t rows,
                            T* dst);

// How BlockedKernels' conv2d computes a shape.
template <class T>
BlockedAlgorithm blocked_algorithm(const Conv2dShape& s, bool plain_src);

template <class T>
int64_t blocked_depthwise_weights(const Conv2dShape& s);
template <class T>
void blocked_depthwise_prepare(const Conv2dShape& s, const T* weight, bool rotated, T* to);
template <class T>
void blocked_depthwise(const Run& run, const Conv2dShape& s, const T* src, const T* prepared,
                       const Epilogue<T>& epilogue, T* dst);

// Output rows from `first` to `end` of one block of channels. src stands at row `top` of the block,
// dst and what the epilogue reads at row `first`.
template <class T>
void blocked_depthwise_rows(const Conv2dShape& s, const T* src, int64_t top, const T* weight,
                            const Epilogue<T>& epilogue, int64_t first, int64_t end, T* dst);

// From a plain image to a plain one; there must be no residual.
template <class T>
int64_t blocked_depthwise_plain_workspace(const Conv2dShape& s, int slots);
template <class T>
void blocked_depthwise_plain(const Run& run, const Conv2dShape& s, const T* src, const T* prepared,
                             const Epilogue<T>& epilogue, T* dst);

// See BlockedKernels. Two convolutions on blocked images: `between` and `epilogue` stand behind the
// sums of the first and of the second.
template <class T>
bool blocked_pairs(const Conv2dShape& first, const Conv2dShape& second);
template <class T>
int64_t blocked_pair_workspace(const Conv2dShape& first, const Conv2dShape& second, int slots);
template <class T>
void blocked_pair(const Run& run, const Conv2dShape& first, const Conv2dShape& second, const T* src,
                  const T* pointwise, const Epilogue<T>& between, const T* depthwise,
                  const Epilogue<T>& epilogue, T* dst);

// BlockedKernels' prepare for filters that lie in any order, groups aside.
template <class T>
void blocked_prepare_filters(const Run& run, const Conv2dShape& s, bool plain_src, const T* weight,
                             const FilterOrder& order, T* to);

// About the cycles of one core, without those for the weight's preparation.
template <class T>
double blocked_cost(const Conv2dShape& s, bool plain_src);

// `outputs` of a tile in each direction, 2 or 4.
template <class T>
int64_t blocked_winograd_weights(const Conv2dShape& s, int outputs);
template <class T>
void blocked_winograd_prepare(const Run& run, const Conv2dShape& s, int outputs, const T* weight,
                              const FilterOrder& order, T* to);
template <class T>
int64_t blocked_winograd_workspace(const Conv2dShape& s, int outputs, int slots);
template <class T>
void blocked_winograd(const Run& run, const Conv2dShape& s, int outputs, const T* src,
                      const T* prepared, const Epilogue<T>& epilogue, T* dst);

}  // namespace rushlight::RUSHLIGHT_ISA
