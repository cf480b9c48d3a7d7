// The one-dimensional transforms of Winograd's minimal filtering F(m, 3): m outputs of a filter
// with 3 taps from m + 2 inputs with as many multiplications (Lavin and Gray, "Fast Algorithms for
// Convolutional Neural Networks", 2015). Each works on vectors `step` apart, so that two passes
// make the two-dimensional transform.
#pragma once

#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

// F(2, 3) at the points 0, 1, -1 and infinity.
struct WinogradF2 {
  static constexpr int outputs = 2, points = 4;

  template <class V>
  static RUSHLIGHT_INLINE void source(V* x, int step) {
    const V x1 = x[step], x2 = x[2 * step];
    x[0] = x[0] - x2;
    x[step] = x1 + x2;
    x[2 * step] = x2 - x1;
    x[3 * step] = x[3 * step] - x1;
  }

  template <class T, class V>
  static RUSHLIGHT_INLINE void weight(const V* g, int g_step, V* x, int step) {
    const V half = V::broadcast(T(0.5));
    const V even = half * (g[0] + g[2 * g_step]), odd = half * g[g_step];
    x[0] = g[0];
    x[step] = even + odd;
    x[2 * step] = even - odd;
    x[3 * step] = g[2 * g_step];
  }

  template <class T, class V>
  static RUSHLIGHT_INLINE void result(const V* x, int step, V* y, int y_step) {
    y[0] = x[0] + (x[step] + x[2 * step]);
    y[y_step] = (x[step] - x[2 * step]) + x[3 * step];
  }

  // The transpose of `result`.
  template <class T, class V>
  static RUSHLIGHT_INLINE void spread(const V* y, int y_step, V* x, int step) {
    const V y0 = y[0], y1 = y[y_step];
    x[0] = y0;
    x[step] = y0 + y1;
    x[2 * step] = y0 - y1;
    x[3 * step] = y1;
  }

  // The transpose of `weight`.
  template <class T, class V>
  static RUSHLIGHT_INLINE void gather(const V* x, int step, V* g, int g_step) {
    const V half = V::broadcast(T(0.5)), even = half * (x[step] + x[2 * step]);
    g[0] = x[0] + even;
    g[g_step] = half * (x[step] - x[2 * step]);
    g[2 * g_step] = even + x[3 * step];
  }
};

// F(4, 3) at the points 0, +-a, +-b and infinity with a = 1 / sqrt(2) and b = sqrt(2): rounding
// errors are several times smaller than with the usual 1 and 2 (found by search; a * b = 1 keeps
// the products of the points even).
struct WinogradF4 {
  static constexpr int outputs = 4, points = 6;
  static constexpr double a = 0.70710678118654752440, b = 1.41421356237309504880;

  template <class V>
  static RUSHLIGHT_INLINE void source(V* x, int step) {
    using T = decltype(x->raw[0] + 0);
    const V x1 = x[step], x2 = x[2 * step], x3 = x[3 * step], x4 = x[4 * step];
    const V scale = V::broadcast(T(-2.5)), va = V::broadcast(T(a)), vb = V::broadcast(T(b));
    const V even_a = fma(V::broadcast(T(-2)), x2, x4), odd_a = va * x3 - vb * x1;
    const V even_b = fma(V::broadcast(T(-0.5)), x2, x4), odd_b = vb * x3 - va * x1;
    x[0] = fma(scale, x2, x[0] + x4);
    x[step] = even_a + odd_a;
    x[2 * step] = even_a - odd_a;
    x[3 * step] = even_b + odd_b;
    x[4 * step] = even_b - odd_b;
    x[5 * step] = fma(scale, x3, x1 + x[5 * step]);
  }

  template <class T, class V>
  static RUSHLIGHT_INLINE void weight(const V* g, int g_step, V* x, int step) {
    const V g0 = g[0], g1 = g[g_step], g2 = g[2 * g_step];
    const V even_a = V::broadcast(T(-2.0 / 3)) * fma(V::broadcast(T(0.5)), g2, g0);
    const V even_b = V::broadcast(T(1.0 / 6)) * fma(V::broadcast(T(2)), g2, g0);
    const V odd_a = V::broadcast(T(-2.0 / 3 * a)) * g1, odd_b = V::broadcast(T(b / 6)) * g1;
    x[0] = g0;
    x[step] = even_a + odd_a;
    x[2 * step] = even_a - odd_a;
    x[3 * step] = even_b + odd_b;
    x[4 * step] = even_b - odd_b;
    x[5 * step] = g2;
  }

  template <class T, class V>
  static RUSHLIGHT_INLINE void result(const V* x, int step, V* y, int y_step) {
    const V even_a = x[step] + x[2 * step], odd_a = x[step] - x[2 * step];
    const V even_b = x[3 * step] + x[4 * step], odd_b = x[3 * step] - x[4 * step];
    y[0] = x[0] + (even_a + even_b);
    y[y_step] = V::broadcast(T(a)) * odd_a + V::broadcast(T(b)) * odd_b;
    y[2 * y_step] = V::broadcast(T(0.5)) * even_a + V::broadcast(T(2)) * even_b;
    y[3 * y_step] =
        fma(V::broadcast(T(a / 2)), odd_a, fma(V::broadcast(T(2 * b)), odd_b, x[5 * step]));
  }

  // The transpose of `result`.
  template <class T, class V>
  static RUSHLIGHT_INLINE void spread(const V* y, int y_step, V* x, int step) {
    const V y0 = y[0], y1 = y[y_step], y2 = y[2 * y_step], y3 = y[3 * y_step];
    const V even_a = fma(V::broadcast(T(0.5)), y2, y0), even_b = fma(V::broadcast(T(2)), y2, y0);
    const V odd_a = V::broadcast(T(a)) * fma(V::broadcast(T(0.5)), y3, y1);
    const V odd_b = V::broadcast(T(b)) * fma(V::broadcast(T(2)), y3, y1);
    x[0] = y0;
    x[step] = even_a + odd_a;
    x[2 * step] = even_a - odd_a;
    x[3 * step] = even_b + odd_b;
    x[4 * step] = even_b - odd_b;
    x[5 * step] = y3;
  }

  // The transpose of `weight`.
  template <class T, class V>
  static RUSHLIGHT_INLINE void gather(const V* x, int step, V* g, int g_step) {
    const V even_a = x[step] + x[2 * step], odd_a = x[step] - x[2 * step];
    const V even_b = x[3 * step] + x[4 * step], odd_b = x[3 * step] - x[4 * step];
    const V scaled_a = V::broadcast(T(-1.0 / 3)) * even_a;
    const V scaled_b = V::broadcast(T(1.0 / 6)) * even_b;
    g[0] = x[0] + (scaled_a + scaled_a + scaled_b);
    g[g_step] = V::broadcast(T(-2.0 / 3 * a)) * odd_a + V::broadcast(T(b / 6)) * odd_b;
    g[2 * g_step] = x[5 * step] + (scaled_a + scaled_b + scaled_b);
  }
};

// Reads F::outputs vectors from p and splits them into as many phases: phase[j][i] = p[i * outputs
// + j].
template <class F, class V, class T>
RUSHLIGHT_INLINE void load_phases(const T* p, V* phase) {
  const V v0 = V::load(p), v1 = V::load(p + V::lanes);
  if constexpr (F::outputs == 2) {
    phase[0] = even_lanes(v0, v1);
    phase[1] = odd_lanes(v0, v1);
  } else {
    const V v2 = V::load(p + 2 * V::lanes), v3 = V::load(p + 3 * V::lanes);
    const V even0 = even_lanes(v0, v1), even1 = even_lanes(v2, v3);
    const V odd0 = odd_lanes(v0, v1), odd1 = odd_lanes(v2, v3);
    phase[0] = even_lanes(even0, even1);
    phase[1] = even_lanes(odd0, odd1);
    phase[2] = odd_lanes(even0, even1);
    phase[3] = odd_lanes(odd0, odd1);
  }
}

// The inverse of load_phases.
template <class F, class V, class T>
RUSHLIGHT_INLINE void store_phases(const V* phase, T* p) {
  if constexpr (F::outputs == 2) {
    interleave_low(phase[0], phase[1]).store(p);
    interleave_high(phase[0], phase[1]).store(p + V::lanes);
  } else {
    const V even0 = interleave_low(phase[0], phase[2]), even1 = interleave_high(phase[0], phase[2]);
    const V odd0 = interleave_low(phase[1], phase[3]), odd1 = interleave_high(phase[1], phase[3]);
    interleave_low(even0, odd0).store(p);
    interleave_high(even0, odd0).store(p + V::lanes);
    interleave_low(even1, odd1).store(p + 2 * V::lanes);
    interleave_high(even1, odd1).store(p + 3 * V::lanes);
  }
}

}  // namespace rushlight::RUSHLIGHT_ISA
