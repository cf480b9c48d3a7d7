// How the output channels of a blocked convolution are grouped, and where the weights of a group
// lie: [groups][source blocks][taps][channels][output blocks of the group][lanes].
#pragma once

#include <stdint.h>

#include "kernels/conv2d.h"
#include "kernels/integers.h"
#include "kernels/packers.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

// Output blocks that are computed together: two, and one at the end of an odd number.
constexpr int kGroupBlocks = 2;

template <class T>
struct ChannelGroups {
  static constexpr int64_t lanes = Native<T>::lanes;

  int64_t blocks;  // of the output
  int64_t count;   // groups

  explicit ChannelGroups(int64_t channels)
      : blocks(ceil_div(channels, lanes)), count(ceil_div(blocks, kGroupBlocks)) {}

  int64_t blocks_of(int64_t group) const {
    return smaller(kGroupBlocks, blocks - group * kGroupBlocks);
  }
  // Elements before the weights of a group, with `inner` products to each output.
  int64_t weight_offset(int64_t group, int64_t inner) const {
    return group * kGroupBlocks * lanes * inner;
  }
};

// How filters lie in memory: elements from output to output channel and from input to input
// channel, whose taps follow one another, maybe from the last to the first.
struct FilterOrder {
  int64_t output, channel;
  bool rotated;

  // As a convolution has them.
  static FilterOrder usual(const Conv2dShape& s) {
    return {s.ic / s.groups * s.kh * s.kw, s.kh * s.kw, false};
  }
};

// to[tap][lane]: the filters of a vector's lanes of output channels, of which `count` exist, for
// one input channel; `weight` stands at the first.
template <class T>
RUSHLIGHT_INLINE void load_filters(const T* weight, const FilterOrder& order, int64_t count,
                                   int64_t taps, T* to) {
  constexpr int lanes = Native<T>::lanes;
  const MatrixPacker<T> packer{weight, order.output, 1};
  packer.template pack<lanes>(to, 0, static_cast<int>(smaller(lanes, count)), 0, taps);
}

}  // namespace rushlight::RUSHLIGHT_ISA
