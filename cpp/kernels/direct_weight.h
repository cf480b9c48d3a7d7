// The gradient of a convolution to its weight without columns and without panels: vectors hold
// output channels, and every tap is one element of the source, for all of them. For strides, and
// for the few channels of an image, which fill no panel.
#pragma once

#include <stdint.h>

#include "kernels/conv2d.h"
#include "kernels/parallel.h"

namespace rushlight::RUSHLIGHT_ISA {

bool direct_weight_accepts(const Conv2dShape& s);

template <class T>
int64_t direct_weight_workspace(const Conv2dShape& s, int slots);  // bytes
// `diff_blocked`: diff_dst lies in blocks of channels; there is one group then.
template <class T>
void direct_weight(const Run& run, const Conv2dShape& s, const T* src, const T* diff_dst,
                   bool diff_blocked, T* diff_weight);

// About the processor cycles that it takes on one core, in the units of winograd_weight_cost.
template <class T>
double direct_weight_cost(const Conv2dShape& s);

#define RUSHLIGHT_DIRECT_WEIGHT(prefix, T)                                                        \
  prefix template int64_t direct_weight_workspace<T>(const Conv2dShape&, int);                    \
  prefix template void direct_weight<T>(const Run&, const Conv2dShape&, const T*, const T*, bool, \
                                        T*);                                                      \
  prefix template double direct_weight_cost<T>(const Conv2dShape&);
RUSHLIGHT_DIRECT_WEIGHT(extern, float)
RUSHLIGHT_DIRECT_WEIGHT(extern, double)

}  // namespace rushlight::RUSHLIGHT_ISA
