// What the cost models of convolutions share: about the cycles of one core.
#pragma once

#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

// Of a fused multiply-add of vectors, by the width that machines have: those with wider vectors
// start fewer of them.
constexpr double kCyclesPerFma = RUSHLIGHT_VECTOR_BYTES == 64 ? 1 : 0.5;

// Of a byte of weights. Layers with many come from nets with more than caches hold, where they are
// read from memory in every run.
inline double cycles_per_byte(double bytes) {
  constexpr double cached = 2.5e6;
  return bytes <= cached ? 0.07 : 0.15;
}

}  // namespace rushlight::RUSHLIGHT_ISA
