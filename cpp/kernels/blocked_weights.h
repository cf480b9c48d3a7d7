// How the output channels of a blocked convolution are grouped, and where the weights of a group
// lie: [groups][source blocks][taps][channels][output blocks of the group][lanes].
#pragma once

#include <stdint.h>

#include "kernels/conv2d.h"
#include "kernels/integers.h"
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

}  // namespace rushlight::RUSHLIGHT_ISA
