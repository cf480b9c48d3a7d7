// One vector type on the compiler's vector extensions. No intrinsics: the compiler maps it to the
// instruction set that the translation unit is built for, and splits it where the machine's
// registers are narrower.
#pragma once

#include <stdint.h>
#include <string.h>

#define RUSHLIGHT_INLINE inline __attribute__((always_inline))

// Everything lives in a namespace named after the instruction set, so that the linker can never
// merge code that was compiled with different flags.
namespace rushlight::RUSHLIGHT_ISA {

template <class T, int LANES>
struct Vec {
  typedef T Raw __attribute__((vector_size(sizeof(T) * LANES)));
  static constexpr int lanes = LANES;

  Raw raw;

  static RUSHLIGHT_INLINE Vec zero() { return {Raw{}}; }
  // Minus zero and not plus: x - 0 is x for every x, -0 too, so that the compiler drops it.
  static RUSHLIGHT_INLINE Vec broadcast(T value) { return {value - Raw{}}; }
  static RUSHLIGHT_INLINE Vec load(const T* p) {
    Vec v;
    memcpy(&v.raw, p, sizeof(Raw));
    return v;
  }
  RUSHLIGHT_INLINE void store(T* p) const { memcpy(p, &raw, sizeof(Raw)); }

  // The first `count` lanes (0 <= count < LANES); the others are zero on load and untouched on
  // store.
  static RUSHLIGHT_INLINE Vec load_partial(const T* p, int64_t count) {
    T lane[LANES] = {};
    copy_partial(lane, p, count);
    return load(lane);
  }
  RUSHLIGHT_INLINE void store_partial(T* p, int64_t count) const {
    T lane[LANES];
    store(lane);
    copy_partial(p, lane, count);
  }

  friend RUSHLIGHT_INLINE Vec operator+(Vec a, Vec b) { return {a.raw + b.raw}; }
  friend RUSHLIGHT_INLINE Vec operator-(Vec a, Vec b) { return {a.raw - b.raw}; }
  friend RUSHLIGHT_INLINE Vec operator-(Vec a) { return {-a.raw}; }
  friend RUSHLIGHT_INLINE Vec operator/(Vec a, Vec b) { return {a.raw / b.raw}; }
  friend RUSHLIGHT_INLINE Vec operator*(Vec a, Vec b) { return {a.raw * b.raw}; }
  RUSHLIGHT_INLINE Vec& operator+=(Vec b) {
    raw += b.raw;
    return *this;
  }

  // Two copies of constant size that overlap: a call of memcpy costs more than the work itself.
  static RUSHLIGHT_INLINE void copy_partial(T* to, const T* from, int64_t count) {
    if constexpr (LANES > 8) {
      if (count >= 8) return copy_ends<8>(to, from, count);
    }
    if constexpr (LANES > 4) {
      if (count >= 4) return copy_ends<4>(to, from, count);
    }
    if constexpr (LANES > 2) {
      if (count >= 2) return copy_ends<2>(to, from, count);
    }
    if (count == 1) *to = *from;
  }

 private:
  template <int SIZE>
  static RUSHLIGHT_INLINE void copy_ends(T* to, const T* from, int64_t count) {
    using Part = Vec<T, SIZE>;
    const Part first = Part::load(from), last = Part::load(from + count - SIZE);
    first.store(to);
    last.store(to + count - SIZE);
  }
};

// a * b + c, fused where the machine can (the sources are built with -ffp-contract=fast).
template <class V>
RUSHLIGHT_INLINE V fma(V a, V b, V c) {
  return {a.raw * b.raw + c.raw};
}

// The larger lane; a NaN in either argument wins.
template <class V>
RUSHLIGHT_INLINE V max(V a, V b) {
  return {((a.raw > b.raw) | (a.raw != a.raw)) ? a.raw : b.raw};
}

// The smaller lane; a NaN in either argument wins.
template <class V>
RUSHLIGHT_INLINE V min(V a, V b) {
  return {((a.raw < b.raw) | (a.raw != a.raw)) ? a.raw : b.raw};
}

// x moved into [low, high]; NaN passes.
template <class V>
RUSHLIGHT_INLINE V clamp(V x, V low, V high) {
  const V raised{x.raw < low.raw ? low.raw : x.raw};
  return {raised.raw > high.raw ? high.raw : raised.raw};
}

// The lanes of a shorter vector with zeros behind them.
template <class V, class T, int LANES>
RUSHLIGHT_INLINE V widened(Vec<T, LANES> v) {
  V wide = V::zero();
  memcpy(&wide.raw, &v.raw, sizeof(v.raw));
  return wide;
}

// x below zero becomes zero; NaN and -0.0 pass as they are.
template <class V>
RUSHLIGHT_INLINE V relu(V x) {
  return {x.raw < V::zero().raw ? V::zero().raw : x.raw};
}

// `value` where key is positive or NaN, else zero.
template <class V>
RUSHLIGHT_INLINE V keep_where_positive(V key, V value) {
  return {key.raw <= V::zero().raw ? V::zero().raw : value.raw};
}

template <class V>
RUSHLIGHT_INLINE V sqrt(V v) {
  V root;
  for (int i = 0; i < V::lanes; ++i) {
    if constexpr (sizeof(v.raw[0]) == sizeof(float)) {
      root.raw[i] = __builtin_sqrtf(v.raw[i]);
    } else {
      root.raw[i] = __builtin_sqrt(v.raw[i]);
    }
  }
  return root;
}

// Half by half: as many steps as the length has bits.
template <class T, int LANES>
RUSHLIGHT_INLINE T sum(Vec<T, LANES> v) {
  if constexpr (LANES == 1) {
    return v.raw[0];
  } else {
    using Half = Vec<T, LANES / 2>;
    T lane[LANES];
    v.store(lane);
    return sum(Half::load(lane) + Half::load(lane + LANES / 2));
  }
}

// The vector of the machine's width.
template <class T>
using Native = Vec<T, RUSHLIGHT_VECTOR_BYTES / static_cast<int>(sizeof(T))>;

// Bytes of the registers of the machine that the source is compiled for, and how an assembler
// statement names them; 0 where that is not known.
#if defined(__AVX512F__)
#define RUSHLIGHT_REGISTER "v"
constexpr int kRegisterBytes = 64;
#elif defined(__AVX__)
#define RUSHLIGHT_REGISTER "x"
constexpr int kRegisterBytes = 32;
#elif defined(__SSE2__)
#define RUSHLIGHT_REGISTER "x"
constexpr int kRegisterBytes = 16;
#elif defined(__ARM_NEON)
#define RUSHLIGHT_REGISTER "w"
constexpr int kRegisterBytes = 16;
#else
#define RUSHLIGHT_REGISTER "r"
constexpr int kRegisterBytes = 0;
#endif

// A value that several products use, to be loaded once: without this the compiler may make the load
// a part of each of them, and loads become what there is too little of.
template <class V>
RUSHLIGHT_INLINE V loaded_once(V v) {
  if constexpr (sizeof(V) <= kRegisterBytes) asm("" : "+" RUSHLIGHT_REGISTER(v.raw));
  return v;
}

// Lanes chosen from the lanes of two vectors, counted through both.
#if defined(__clang__)
#define RUSHLIGHT_SHUFFLE(a, b, ...) __builtin_shufflevector(a.raw, b.raw, __VA_ARGS__)
#else
#define RUSHLIGHT_SHUFFLE(a, b, ...) \
  __builtin_shuffle(a.raw, b.raw, decltype(a.raw < b.raw){__VA_ARGS__})
#endif

// Numbers of lanes, in a vector of as many.
template <class V>
using LaneNumbers = decltype(V{}.raw < V{}.raw);

// The lanes of `v` that `from` names, which may change as the program runs.
template <class V>
RUSHLIGHT_INLINE V chosen_lanes(V v, LaneNumbers<V> from) {
#if defined(__clang__)
  V chosen;
  for (int i = 0; i < V::lanes; ++i) chosen.raw[i] = v.raw[from[i]];
  return chosen;
#else
  return {__builtin_shuffle(v.raw, from)};
#endif
}

// Lanes of the two vectors in turn: a0 b0 a1 b1 ... of their lower halves.
template <class T, int LANES>
RUSHLIGHT_INLINE Vec<T, LANES> interleave_low(Vec<T, LANES> a, Vec<T, LANES> b) {
  static_assert(LANES == 2 || LANES == 4 || LANES == 8 || LANES == 16);
  if constexpr (LANES == 2) return {RUSHLIGHT_SHUFFLE(a, b, 0, 2)};
  if constexpr (LANES == 4) return {RUSHLIGHT_SHUFFLE(a, b, 0, 4, 1, 5)};
  if constexpr (LANES == 8) return {RUSHLIGHT_SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11)};
  if constexpr (LANES == 16) {
    return {RUSHLIGHT_SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)};
  }
}
// The same of their upper halves.
template <class T, int LANES>
RUSHLIGHT_INLINE Vec<T, LANES> interleave_high(Vec<T, LANES> a, Vec<T, LANES> b) {
  if constexpr (LANES == 2) return {RUSHLIGHT_SHUFFLE(a, b, 1, 3)};
  if constexpr (LANES == 4) return {RUSHLIGHT_SHUFFLE(a, b, 2, 6, 3, 7)};
  if constexpr (LANES == 8) return {RUSHLIGHT_SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15)};
  if constexpr (LANES == 16) {
    return {RUSHLIGHT_SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)};
  }
}
// a0 a2 ... b0 b2 ...
template <class T, int LANES>
RUSHLIGHT_INLINE Vec<T, LANES> even_lanes(Vec<T, LANES> a, Vec<T, LANES> b) {
  if constexpr (LANES == 2) return {RUSHLIGHT_SHUFFLE(a, b, 0, 2)};
  if constexpr (LANES == 4) return {RUSHLIGHT_SHUFFLE(a, b, 0, 2, 4, 6)};
  if constexpr (LANES == 8) return {RUSHLIGHT_SHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14)};
  if constexpr (LANES == 16) {
    return {RUSHLIGHT_SHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)};
  }
}
// a1 a3 ... b1 b3 ...
template <class T, int LANES>
RUSHLIGHT_INLINE Vec<T, LANES> odd_lanes(Vec<T, LANES> a, Vec<T, LANES> b) {
  if constexpr (LANES == 2) return {RUSHLIGHT_SHUFFLE(a, b, 1, 3)};
  if constexpr (LANES == 4) return {RUSHLIGHT_SHUFFLE(a, b, 1, 3, 5, 7)};
  if constexpr (LANES == 8) return {RUSHLIGHT_SHUFFLE(a, b, 1, 3, 5, 7, 9, 11, 13, 15)};
  if constexpr (LANES == 16) {
    return {RUSHLIGHT_SHUFFLE(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)};
  }
}

// Reads a 4 x 4 block with rows `from_stride` apart and writes its transpose with rows `to_stride`
// apart.
template <class T>
RUSHLIGHT_INLINE void transpose_4x4(const T* from, int64_t from_stride, T* to, int64_t to_stride) {
  using V = Vec<T, 4>;
  const V a = V::load(from), b = V::load(from + from_stride);
  const V c = V::load(from + 2 * from_stride), d = V::load(from + 3 * from_stride);
  const V ac_low = interleave_low(a, c), ac_high = interleave_high(a, c);
  const V bd_low = interleave_low(b, d), bd_high = interleave_high(b, d);
  interleave_low(ac_low, bd_low).store(to);
  interleave_high(ac_low, bd_low).store(to + to_stride);
  interleave_low(ac_high, bd_high).store(to + 2 * to_stride);
  interleave_high(ac_high, bd_high).store(to + 3 * to_stride);
}

// The same of two rows of four.
template <class T>
RUSHLIGHT_INLINE void transpose_2x4(const T* from, int64_t from_stride, T* to, int64_t to_stride) {
  using V = Vec<T, 4>;
  const V a = V::load(from), b = V::load(from + from_stride);
  const V low = interleave_low(a, b), high = interleave_high(a, b);
  const V low_end = {RUSHLIGHT_SHUFFLE(low, low, 2, 3, 2, 3)};
  const V high_end = {RUSHLIGHT_SHUFFLE(high, high, 2, 3, 2, 3)};
  memcpy(to, &low.raw, 2 * sizeof(T));
  memcpy(to + to_stride, &low_end.raw, 2 * sizeof(T));
  memcpy(to + 2 * to_stride, &high.raw, 2 * sizeof(T));
  memcpy(to + 3 * to_stride, &high_end.raw, 2 * sizeof(T));
}

// Calls body(V{}, i) for the elements from begin to end: V is the machine's vector, and one lane
// for the rest.
template <class T, class Body>
RUSHLIGHT_INLINE void for_each_vector(int64_t begin, int64_t end, const Body& body) {
  int64_t i = begin;
  for (; i + Native<T>::lanes <= end; i += Native<T>::lanes) body(Native<T>{}, i);
  for (; i < end; ++i) body(Vec<T, 1>{}, i);
}

}  // namespace rushlight::RUSHLIGHT_ISA
