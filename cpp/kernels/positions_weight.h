// The gradient to weight of a convolution of planes of few pixels: under each tap only the
// positions where it meets the image, with channels of src as the lanes. No column is copied, and
// padding costs nothing.
#pragma once

#include <stdint.h>

#include "kernels/conv2d.h"
#include "kernels/parallel.h"

namespace rushlight::RUSHLIGHT_ISA {

bool positions_weight_accepts(const Conv2dShape& s);

template <class T>
int64_t positions_weight_workspace(const Conv2dShape& s, int slots);  // bytes
template <class T>
void positions_weight(const Run& run, const Conv2dShape& s, const T* src, const T* diff_dst,
                      T* diff_weight);

// About the processor cycles that it takes on one core, in the units of winograd_weight_cost.
template <class T>
double positions_weight_cost(const Conv2dShape& s);

#define RUSHLIGHT_POSITIONS_WEIGHT(prefix, T)                                                  \
  prefix template int64_t positions_weight_workspace<T>(const Conv2dShape&, int);              \
  prefix template void positions_weight<T>(const Run&, const Conv2dShape&, const T*, const T*, \
                                           T*);                                                \
  prefix template double positions_weight_cost<T>(const Conv2dShape&);
RUSHLIGHT_POSITIONS_WEIGHT(extern, float)
RUSHLIGHT_POSITIONS_WEIGHT(extern, double)

}  // namespace rushlight::RUSHLIGHT_ISA
