// The algorithms of convolutions on blocked images; see blocked.h. Sizes are in elements.
#pragma once

#include <stdint.h>

#include "kernels/blocked.h"
#include "kernels/blocked_weights.h"
#include "kernels/integers.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

template <class T>
int64_t blocked_direct_weights(const Conv2dShape& s);
template <class T>
void blocked_direct_prepare(const Run& run, const Conv2dShape& s, bool plain_src, const T* weight,
                            const FilterOrder& order, T* to);
// With `plain_dst` bands of results are turned into a plain image while they are in a cache; there
// must be no residual then.
template <class T>
int64_t blocked_direct_workspace(const Conv2dShape& s, bool plain_src, bool plain_dst, int slots);
template <class T>
void blocked_direct(const Run& run, const Conv2dShape& s, bool plain_src, const T* src,
                    const T* prepared, const Epilogue<T>& epilogue, T* dst, bool plain_dst);

// How many bands of about `band` rows an image is cut into: one or an even number, so that the
// halves of two threads are the same rows in every layer.
inline int64_t even_bands(int64_t rows, int64_t band) {
  if (band >= rows) return 1;
  const int64_t bands = ceil_div(rows, band);
  return bands + bands % 2;
}

// Whether BlockedKernels' conv2d is blocked_direct for a shape.
template <class T>
bool blocked_is_direct(const Conv2dShape& s, bool plain_src);

template <class T>
int64_t blocked_depthwise_weights(const Conv2dShape& s);
template <class T>
void blocked_depthwise_prepare(const Conv2dShape& s, const T* weight, T* to);
template <class T>
void blocked_depthwise(const Run& run, const Conv2dShape& s, const T* src, const T* prepared,
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
