// The exponential function on vectors.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

// exp(x) = 2^n * exp(r) with n the integer nearest to x / ln 2 and |r| <= ln(2) / 2. ln 2 is taken
// off in two parts, the first of few enough digits that n * ln2_high is exact (Cody and Waite
// 1980); exp(r) is a Taylor polynomial whose error stays below a unit in the last place.
template <class T>
struct ExpConstants;

template <>
struct ExpConstants<float> {
  using Bits = uint32_t;
  static constexpr float low = -87.3f, high = 88.0f;  // the results that are normal numbers
  static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  static constexpr float rounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  static constexpr int mantissa_bits = 23, degree = 7;
};

template <>
struct ExpConstants<double> {
  using Bits = uint64_t;
  static constexpr double low = -708.0, high = 709.0;
  static constexpr double ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
  static constexpr double rounder = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr int mantissa_bits = 52, degree = 13;
};

template <class V>
struct Element;
template <class T, int LANES>
struct Element<Vec<T, LANES>> {
  using Type = T;
};

constexpr double factorial(int n) {
  return n < 2 ? 1 : n * factorial(n - 1);
}

// x as n * ln 2 + r: `power` is 2^n, and exp(r) = 1 + r * tail.
template <class V>
struct Exponent {
  V r, tail, power;
};

template <class V>
RUSHLIGHT_INLINE Exponent<V> split_bounded_exponent(V bounded) {
  using T = typename Element<V>::Type;
  using C = ExpConstants<T>;
  typedef typename C::Bits Bits __attribute__((vector_size(sizeof(V))));
  const V shifted =
      fma(bounded, V::broadcast(static_cast<T>(1.44269504088896340736)), V::broadcast(C::rounder));
  const V n = shifted - V::broadcast(C::rounder);
  const V r = fma(n, V::broadcast(-C::ln2_low), fma(n, V::broadcast(-C::ln2_high), bounded));
  // Taylor's series of (exp(r) - 1) / r: 1 + r / 2! + r^2 / 3! + ...
  V tail = V::broadcast(static_cast<T>(1 / factorial(C::degree)));
#pragma GCC unroll 13
  for (int i = C::degree - 1; i > 0; --i) {
    tail = fma(tail, r, V::broadcast(static_cast<T>(1 / factorial(i))));
  }
  // The low bits of `shifted` hold n; moved up, they add n to the exponent of 1.
  const Bits exponent = reinterpret_cast<Bits>(shifted.raw) << C::mantissa_bits;
  const Bits one = reinterpret_cast<Bits>(V::broadcast(T{1}).raw);
  return {r, tail, {reinterpret_cast<typename V::Raw>(exponent + one)}};
}

template <class V>
RUSHLIGHT_INLINE Exponent<V> split_exponent(V x) {
  using C = ExpConstants<typename Element<V>::Type>;
  return split_bounded_exponent(clamp(x, V::broadcast(C::low), V::broadcast(C::high)));
}

// exp(x) where x is not positive, with less ado. What is too small for a normal number is 0,
// whatever was computed for it; NaN stays NaN.
template <class V>
RUSHLIGHT_INLINE V exponential_decay(V x) {
  using T = typename Element<V>::Type;
  const Exponent<V> e = split_bounded_exponent(x);
  const V result = fma(e.tail, e.r, V::broadcast(T{1})) * e.power;
  return {x.raw < V::broadcast(ExpConstants<T>::low).raw ? V::zero().raw : result.raw};
}

// Results too small for a normal number are 0, those too large infinite; NaN stays NaN.
template <class V>
RUSHLIGHT_INLINE V exponential(V x) {
  using T = typename Element<V>::Type;
  using C = ExpConstants<T>;
  const Exponent<V> e = split_exponent(x);
  const V result = fma(e.tail, e.r, V::broadcast(T{1})) * e.power;
  const V floored = {x.raw < V::broadcast(C::low).raw ? V::zero().raw : result.raw};
  return {x.raw > V::broadcast(C::high).raw ? V::broadcast(static_cast<T>(INFINITY)).raw
                                            : floored.raw};
}

// exp(x) - 1 without cancellation near 0, for x up to the bound of finite results.
template <class V>
RUSHLIGHT_INLINE V exponential_minus_1(V x) {
  using T = typename Element<V>::Type;
  const Exponent<V> e = split_exponent(x);
  return fma(e.tail * e.r, e.power, e.power - V::broadcast(T{1}));
}

}  // namespace rushlight::RUSHLIGHT_ISA
