// Depthwise convolution forward for the usual windows: 3x3, 5x5 and 7x7 with stride 1 or 2 and
// dilation 1. The general one is in depthwise.h.
#pragma once

#include <stdint.h>

#include "kernels/conv2d.h"
#include "kernels/epilogue.h"
#include "kernels/parallel.h"

namespace rushlight::RUSHLIGHT_ISA {

bool depthwise_rows_accepts(const Conv2dShape& s);

// Bytes.
template <class T>
int64_t depthwise_rows_workspace(const Conv2dShape& s, int slots);
template <class T>
void depthwise_rows(const Run& run, const Conv2dShape& s, const T* src, const T* weight,
                    const Epilogue<T>& epilogue, T* dst);

extern template int64_t depthwise_rows_workspace<float>(const Conv2dShape&, int);
extern template int64_t depthwise_rows_workspace<double>(const Conv2dShape&, int);
extern template void depthwise_rows<float>(const Run&, const Conv2dShape&, const float*,
                                           const float*, const Epilogue<float>&, float*);
extern template void depthwise_rows<double>(const Run&, const Conv2dShape&, const double*,
                                            const double*, const Epilogue<double>&, double*);

}  // namespace rushlight::RUSHLIGHT_ISA
