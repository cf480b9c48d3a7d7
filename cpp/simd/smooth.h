// Sigmoid, hyperbolic tangent and the normal distribution on vectors.
#pragma once

#include "simd/exp.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

template <class V>
RUSHLIGHT_INLINE V constant(double value) {
  return V::broadcast(static_cast<typename Element<V>::Type>(value));
}

// Only the sign bit of `sign` counts, so that -0 keeps it.
template <class V>
RUSHLIGHT_INLINE V with_sign_of(V magnitude, V sign) {
  using Bits = decltype(sign.raw < sign.raw);
  const Bits mask = reinterpret_cast<Bits>(constant<V>(-0.0).raw);
  const Bits bits =
      (reinterpret_cast<Bits>(magnitude.raw) & ~mask) | (reinterpret_cast<Bits>(sign.raw) & mask);
  return {reinterpret_cast<typename V::Raw>(bits)};
}

// With e = exp(-|x|), 1 / (1 + e) or, below 0, e / (1 + e).
template <class V>
RUSHLIGHT_INLINE V sigmoid(V x) {
  const V one = constant<V>(1), e = exponential_decay(with_sign_of(x, constant<V>(-1)));
  const V share = {x.raw < V::zero().raw ? e.raw : one.raw};
  return share / (one + e);
}

// tanh |x| = (exp(2|x|) - 1) / (exp(2|x|) + 1), which is 1 to the last digit from 20 on.
template <class V>
RUSHLIGHT_INLINE V hyperbolic_tangent(V x) {
  const V size = min(with_sign_of(x, constant<V>(1)), constant<V>(20));
  const V e = exponential_minus_1(size + size);
  return with_sign_of(e / (e + constant<V>(2)), x);
}

// (1 + 2 z) exp(z^2) erfc(z) for z >= 0 is smooth in s = (z - k) / (z + k), which runs from -1 to 1
// (Shepherd and Laframboise, "Chebyshev approximation of (1 + 2x) exp(x^2) erfc x in 0 <= x < inf",
// Math. Comp. 36, 1981). The Chebyshev series, computed with 60 digits and written in powers of s
// from the highest down, ends where the rest is below 5e-18 (double) and 6e-9 (float). The sum of
// the absolute coefficients is 1.8, so that powers of s are as accurate as the series.
template <class T>
struct ErfcSeries;

template <>
struct ErfcSeries<double> {
  static constexpr int terms = 25;
  static constexpr double coefficient[terms] = {
      4.2514714447963895e-10,  3.1114333809799254e-10,  -5.1739902140113095e-09,
      -3.744210080962018e-09,  3.8675334242222354e-08,  2.3263508708859124e-08,
      -2.5866850716155884e-07, -5.7218230603224086e-08, 1.751637648849062e-06,
      -9.73559896736775e-07,   -1.1444146237700524e-05, 2.238423915508223e-05,
      5.164909889268241e-05,   -0.0002901540805408417,  0.0002937136655913448,
      0.0017556258528952954,   -0.009746579558029276,   0.028362277418956406,
      -0.05869339858963677,    0.09230432116037748,     -0.10880393014174886,
      0.0822767384901452,      0.0035854154854644293,   -0.14024059858554697,
      1.2375126308378275};
};

template <>
struct ErfcSeries<float> {
  static constexpr int terms = 13;
  static constexpr double coefficient[terms] = {
      2.2046718905694024e-05, -0.00022411674674416022, 0.00033016745627228067, 0.001675912217981131,
      -0.009770087183368234,  0.02840925236412726,     -0.05868544049363111,   0.09229076959130378,
      -0.10880522754949953,   0.08227841998347046,     0.00358549531406309,    -0.1402406583213864,
      1.2375126300326993};
};

// What the standard normal distribution is at a point: its probability below, and its density.
template <class V>
struct Normal {
  V cdf, pdf;
};

// Both tails are accurate: nothing is subtracted from 1 below 0.
template <class V>
RUSHLIGHT_INLINE Normal<V> normal(V x) {
  using Series = ErfcSeries<typename Element<V>::Type>;
  constexpr double k = 3.75;
  const V z = with_sign_of(x, constant<V>(1)) * constant<V>(0.70710678118654752440);
  const V s = constant<V>(1) - constant<V>(2 * k) / (z + constant<V>(k));
  V series = constant<V>(Series::coefficient[0]);
#pragma GCC unroll 25
  for (int i = 1; i < Series::terms; ++i) {
    series = fma(series, s, constant<V>(Series::coefficient[i]));
  }
  const V bell = exponential(constant<V>(-0.5) * x * x);
  const V tail = constant<V>(0.5) * series * bell / fma(constant<V>(2), z, constant<V>(1));
  const V cdf = {x.raw < V::zero().raw ? tail.raw : (constant<V>(1) - tail).raw};
  return {cdf, bell * constant<V>(0.39894228040143267794)};
}

}  // namespace rushlight::RUSHLIGHT_ISA
