// Grouped convolutions on blocked images whose groups fit the blocks: whole blocks each, or so
// small that every vector of outputs finds its source channels in one block. Sizes are in elements,
// but the workspace in bytes.
#pragma once

#include <stdint.h>

#include "kernels/conv2d.h"
#include "kernels/epilogue.h"
#include "kernels/parallel.h"

namespace rushlight::RUSHLIGHT_ISA {

template <class T>
bool blocked_grouped_accepts(const Conv2dShape& s);
template <class T>
int64_t blocked_grouped_weights(const Conv2dShape& s);
template <class T>
void blocked_grouped_prepare(const Run& run, const Conv2dShape& s, const T* weight, T* to);
template <class T>
int64_t blocked_grouped_workspace(const Conv2dShape& s, int slots);
// About the cycles of one core.
template <class T>
double blocked_grouped_cycles(const Conv2dShape& s);
template <class T>
void blocked_grouped(const Run& run, const Conv2dShape& s, const T* src, const T* prepared,
                     const Epilogue<T>& epilogue, T* dst);

}  // namespace rushlight::RUSHLIGHT_ISA
