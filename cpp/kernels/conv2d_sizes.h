// What the directions of a convolution share: sizes, and Winograd group by group.
#pragma once

#include <stdint.h>

#include "kernels/conv2d.h"
#include "kernels/conv2d_choice.h"

namespace rushlight::RUSHLIGHT_ISA {

// Sizes that every direction needs.
struct Sizes {
  int64_t ic, oc;  // of one group
  int64_t taps;    // rows of the column matrix
  int64_t src_plane, dst_plane;
  bool pointwise;  // the image is its own column matrix

  explicit Sizes(const Conv2dShape& s)
      : ic(s.ic / s.groups),
        oc(s.oc / s.groups),
        taps(ic * s.kh * s.kw),
        src_plane(s.ih * s.iw),
        dst_plane(s.oh * s.ow),
        pointwise(s.kh == 1 && s.kw == 1 && s.stride_h == 1 && s.stride_w == 1 &&
                  s.padding_h == 0 && s.padding_w == 0) {}
};

// Winograd goes group by group; every group has the same workspace.
template <class T>
void winograd_groups(const Run& run, const Conv2dShape& s, Direction direction, int tile,
                     const T* src, const T* weight, const T* prepared, const Epilogue<T>& epilogue,
                     T* dst) {
  WinogradProblem<T> p = winograd_problem<T>(s, direction);
  const int64_t size = winograd_weights(p, tile);
  for (int64_t group = 0; group < s.groups; ++group) {
    const int64_t channel = group * p.oc, elements = channel * p.oh * p.ow;
    p.src = src + group * p.ic * p.ih * p.iw;
    p.weight = weight + group * p.ic * p.oc * 9;
    p.prepared = prepared == nullptr ? nullptr : prepared + group * size;
    p.epilogue = epilogue.at(channel, elements);
    p.dst = dst + elements;
    winograd(run, p, tile);
  }
}

}  // namespace rushlight::RUSHLIGHT_ISA
