// The gradient to src of a convolution with a stride, on images in blocks of channels: the pixels
// of src that see the same taps form a phase, and the gradient of a phase is a convolution of
// diff_dst with those taps. Workspaces are in bytes.
#pragma once

#include <stdint.h>

#include "kernels/conv2d.h"
#include "kernels/parallel.h"

namespace rushlight::RUSHLIGHT_ISA {

// Of one group.
template <class T>
bool blocked_strided_src_accepts(const Conv2dShape& s);
template <class T>
int64_t blocked_strided_src_workspace(const Conv2dShape& s, int slots);
template <class T>
void blocked_strided_src(const Run& run, const Conv2dShape& s, const T* weight, const T* diff_dst,
                         T* diff_src);

#define RUSHLIGHT_BLOCKED_STRIDED_SRC(prefix, T)                                                  \
  prefix template bool blocked_strided_src_accepts<T>(const Conv2dShape&);                        \
  prefix template int64_t blocked_strided_src_workspace<T>(const Conv2dShape&, int);              \
  prefix template void blocked_strided_src<T>(const Run&, const Conv2dShape&, const T*, const T*, \
                                              T*);
RUSHLIGHT_BLOCKED_STRIDED_SRC(extern, float)
RUSHLIGHT_BLOCKED_STRIDED_SRC(extern, double)

}  // namespace rushlight::RUSHLIGHT_ISA
