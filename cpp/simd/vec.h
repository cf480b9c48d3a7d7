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
  static RUSHLIGHT_INLINE Vec broadcast(T value) { return {Raw{} + value}; }
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

  // Copies of constant size in falling powers of two: a call of memcpy costs more than the work
  // itself.
  static RUSHLIGHT_INLINE void copy_partial(T* to, const T* from, int64_t count) {
    if constexpr (LANES > 8) copy_step<8>(to, from, count);
    if constexpr (LANES > 4) copy_step<4>(to, from, count);
    if constexpr (LANES > 2) copy_step<2>(to, from, count);
    copy_step<1>(to, from, count);
  }

 private:
  template <int STEP>
  static RUSHLIGHT_INLINE void copy_step(T*& to, const T*& from, int64_t count) {
    if ((count & STEP) == 0) return;
    memcpy(to, from, sizeof(T) * STEP);
    to += STEP;
    from += STEP;
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

template <class V>
RUSHLIGHT_INLINE auto sum(V v) {
  auto total = v.raw[0];
  for (int i = 1; i < V::lanes; ++i) total += v.raw[i];
  return total;
}

// The vector of the machine's width.
template <class T>
using Native = Vec<T, RUSHLIGHT_VECTOR_BYTES / static_cast<int>(sizeof(T))>;

// Calls body(V{}, i) for the elements from begin to end: V is the machine's vector, and one lane
// for the rest.
template <class T, class Body>
RUSHLIGHT_INLINE void for_each_vector(int64_t begin, int64_t end, const Body& body) {
  int64_t i = begin;
  for (; i + Native<T>::lanes <= end; i += Native<T>::lanes) body(Native<T>{}, i);
  for (; i < end; ++i) body(Vec<T, 1>{}, i);
}

}  // namespace rushlight::RUSHLIGHT_ISA
