// What a kernel does to its sums before it stores them:
//   dst = clamp(scale[channel] * sum + shift[channel] + residual, low, high)
// or, on blocked images, any function of a value instead of the clamp. Scale and shift are one
// fused multiplication and addition everywhere, as in batch norm: to the same bits.
#pragma once

#include <stdint.h>

namespace rushlight {

enum class Activation { none, clamp };  // relu clamps to [0, infinity]

// A function with settings `a` and `b` of neighbouring values, in place.
template <class T>
struct InPlace {
  void (*call)(T* values, int64_t count, double a, double b) = nullptr;
  double a = 0, b = 0;

  inline __attribute__((always_inline)) void operator()(T* values, int64_t count) const {
    if (call != nullptr) call(values, count, a, b);
  }
};

template <class T>
struct Epilogue {
  // One value per channel; null leaves the sums as they are. Never without a shift: compilers fuse
  // a product with a sum that is always there, and round twice where it may be missing.
  const T* scale = nullptr;
  const T* shift = nullptr;     // one value per channel, the bias; null adds nothing
  const T* residual = nullptr;  // of the layout of dst; null adds nothing
  Activation activation = Activation::none;
  T low = 0, high = 0;
  // Only kernels on blocked images have it: they call it for what they have just stored, which is
  // still in the first-level cache, so that its code is there once and not once for each tile.
  InPlace<T> function = {};

  // The epilogue of what lies `channels` channels and `elements` of dst further on.
  inline __attribute__((always_inline)) Epilogue at(int64_t channels, int64_t elements) const {
    Epilogue moved = *this;
    if (scale != nullptr) moved.scale += channels;
    if (shift != nullptr) moved.shift += channels;
    if (residual != nullptr) moved.residual += elements;
    return moved;
  }
};

}  // namespace rushlight

#ifdef RUSHLIGHT_ISA
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

template <class V, class T>
RUSHLIGHT_INLINE V activate(V x, const Epilogue<T>& epilogue) {
  if (epilogue.activation == Activation::none) return x;
  return clamp(x, V::broadcast(epilogue.low), V::broadcast(epilogue.high));
}

// scale * x + shift; load(pointer) gives a vector of their values.
template <class V, class T, class Load>
RUSHLIGHT_INLINE V scale_and_shift(V x, const Epilogue<T>& epilogue, const Load& load) {
  if (epilogue.scale != nullptr) return fma(x, load(epilogue.scale), load(epilogue.shift));
  return epilogue.shift == nullptr ? x : x + load(epilogue.shift);
}

// The same for sums of one channel, whose values `scale` and `shift` point at.
template <class V, class T>
RUSHLIGHT_INLINE V scale_and_shift(V x, const Epilogue<T>& epilogue) {
  return scale_and_shift(x, epilogue, [](const T* value) { return V::broadcast(*value); });
}

// The same for sums of neighbouring channels, the lanes.
template <class V, class T>
RUSHLIGHT_INLINE V scale_and_shift_lanes(V x, const Epilogue<T>& epilogue) {
  return scale_and_shift(x, epilogue, [](const T* values) { return V::load(values); });
}

// to[i] = the epilogue of sums[i] for `count` neighbouring sums of one channel; may be in place.
template <class T>
inline void finish_run(const T* sums, int64_t count, const Epilogue<T>& epilogue, T* to) {
  for_each_vector<T>(0, count, [&](auto v, int64_t i) {
    using V = decltype(v);
    V x = scale_and_shift(V::load(sums + i), epilogue);
    if (epilogue.residual != nullptr) x += V::load(epilogue.residual + i);
    activate(x, epilogue).store(to + i);
  });
}

}  // namespace rushlight::RUSHLIGHT_ISA
#endif
