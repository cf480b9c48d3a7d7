// The gradients of a convolution, members of the family in conv2d.h.
#pragma once

#include <stdint.h>

#include "kernels/conv2d.h"

namespace rushlight::RUSHLIGHT_ISA {

template <class T>
int64_t conv2d_backward_src_workspace(const Conv2dShape& shape, int slots);
template <class T>
void conv2d_backward_src(const Run& run, const Conv2dShape& shape, const T* weight,
                         const T* diff_dst, T* diff_src);

template <class T>
int64_t conv2d_backward_weight_workspace(const Conv2dShape& shape, int slots);
template <class T>
void conv2d_backward_weight(const Run& run, const Conv2dShape& shape, const T* src,
                            const T* diff_dst, T* diff_weight);
template <class T>
void conv2d_backward_bias(const Run& run, const Conv2dShape& shape, const T* diff_dst,
                          T* diff_bias);

extern template int64_t conv2d_backward_src_workspace<float>(const Conv2dShape&, int);
extern template void conv2d_backward_src<float>(const Run&, const Conv2dShape&, const float*,
                                                const float*, float*);
extern template int64_t conv2d_backward_weight_workspace<float>(const Conv2dShape&, int);
extern template void conv2d_backward_weight<float>(const Run&, const Conv2dShape&, const float*,
                                                   const float*, float*);
extern template void conv2d_backward_bias<float>(const Run&, const Conv2dShape&, const float*,
                                                 float*);
extern template int64_t conv2d_backward_src_workspace<double>(const Conv2dShape&, int);
extern template void conv2d_backward_src<double>(const Run&, const Conv2dShape&, const double*,
                                                 const double*, double*);
extern template int64_t conv2d_backward_weight_workspace<double>(const Conv2dShape&, int);
extern template void conv2d_backward_weight<double>(const Run&, const Conv2dShape&, const double*,
                                                    const double*, double*);
extern template void conv2d_backward_bias<double>(const Run&, const Conv2dShape&, const double*,
                                                  double*);

}  // namespace rushlight::RUSHLIGHT_ISA
