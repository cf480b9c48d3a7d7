// Pooling of images in blocks of channels; members of the families in blocked.h and
// blocked_gradients.h. `planes` of a pool's shape counts blocks.
#pragma once

#include <stdint.h>

#include "kernels/blocked.h"

namespace rushlight::RUSHLIGHT_ISA {

template <class T>
void blocked_max_pool(const Run& run, const PoolShape& s, const T* src, T* dst);
template <class T>
void blocked_max_pool_backward(const Run& run, const PoolShape& s, const T* src, const T* dst,
                               const T* diff_dst, T* diff_src);
template <class T>
void blocked_avg_pool(const Run& run, const PoolShape& s, const T* src, T* dst);
template <class T>
void blocked_mean(const Run& run, const ReorderShape& s, const T* src, T* dst);
template <class T>
void blocked_mean_backward(const Run& run, const ReorderShape& s, const T* diff_dst, T* diff_src);

#define RUSHLIGHT_BLOCKED_POOLING(prefix, T)                                                \
  prefix template void blocked_max_pool<T>(const Run&, const PoolShape&, const T*, T*);     \
  prefix template void blocked_max_pool_backward<T>(const Run&, const PoolShape&, const T*, \
                                                    const T*, const T*, T*);                \
  prefix template void blocked_avg_pool<T>(const Run&, const PoolShape&, const T*, T*);     \
  prefix template void blocked_mean<T>(const Run&, const ReorderShape&, const T*, T*);      \
  prefix template void blocked_mean_backward<T>(const Run&, const ReorderShape&, const T*, T*);
RUSHLIGHT_BLOCKED_POOLING(extern, float)
RUSHLIGHT_BLOCKED_POOLING(extern, double)

}  // namespace rushlight::RUSHLIGHT_ISA
