#include "kernels/pointwise.h"

#include "kernels/family.h"
#include "simd/smooth.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

template <class V, class Mask>
RUSHLIGHT_INLINE V select(Mask mask, V yes, V no) {
  return {mask ? yes.raw : no.raw};
}

template <class V>
RUSHLIGHT_INLINE V clip(V x, V low, V high) {
  return min(max(x, low), high);
}

// Each struct has value(x, a, b) and gradient(g, at, a, b), where `at` is the result where it says
// so, else the argument. NaN passes through all of them.

struct Exp {  // at the result
  template <class V>
  static RUSHLIGHT_INLINE V value(V x, V, V) {
    return exponential(x);
  }
  template <class V>
  static RUSHLIGHT_INLINE V gradient(V g, V at, V, V) {
    return g * at;
  }
};

struct Sigmoid {  // at the result
  template <class V>
  static RUSHLIGHT_INLINE V value(V x, V, V) {
    return sigmoid(x);
  }
  template <class V>
  static RUSHLIGHT_INLINE V gradient(V g, V at, V, V) {
    return g * at * (constant<V>(1) - at);
  }
};

struct Tanh {  // at the result
  template <class V>
  static RUSHLIGHT_INLINE V value(V x, V, V) {
    return hyperbolic_tangent(x);
  }
  template <class V>
  static RUSHLIGHT_INLINE V gradient(V g, V at, V, V) {
    return g * (constant<V>(1) - at * at);
  }
};

struct Silu {
  template <class V>
  static RUSHLIGHT_INLINE V value(V x, V, V) {
    return x * sigmoid(x);
  }
  template <class V>
  static RUSHLIGHT_INLINE V gradient(V g, V at, V, V) {
    const V share = sigmoid(at), one = constant<V>(1);
    return g * share * fma(at, one - share, one);
  }
};

struct Gelu {
  template <class V>
  static RUSHLIGHT_INLINE V value(V x, V, V) {
    return x * normal(x).cdf;
  }
  template <class V>
  static RUSHLIGHT_INLINE V gradient(V g, V at, V, V) {
    const Normal<V> n = normal(at);
    return g * fma(at, n.pdf, n.cdf);
  }
};

struct GeluTanh {
  static constexpr double root = 0.79788456080286535588, cubic = 0.044715;  // root of 2 / pi

  template <class V>
  static RUSHLIGHT_INLINE V bend(V x) {
    return hyperbolic_tangent(constant<V>(root) * x *
                              fma(constant<V>(cubic) * x, x, constant<V>(1)));
  }
  template <class V>
  static RUSHLIGHT_INLINE V value(V x, V, V) {
    return constant<V>(0.5) * x * (constant<V>(1) + bend(x));
  }
  template <class V>
  static RUSHLIGHT_INLINE V gradient(V g, V at, V, V) {
    const V one = constant<V>(1), t = bend(at);
    const V slope = constant<V>(root) * fma(constant<V>(3 * cubic) * at, at, one);
    return g * constant<V>(0.5) * fma(at * (one - t * t), slope, one + t);
  }
};

struct Elu {  // a is alpha
  template <class V>
  static RUSHLIGHT_INLINE V value(V x, V a, V) {
    return select(x.raw >= V::zero().raw, x, a * exponential_minus_1(x));
  }
  template <class V>
  static RUSHLIGHT_INLINE V gradient(V g, V at, V a, V) {
    return select(at.raw <= V::zero().raw, g * a * exponential(at), g);
  }
};

struct LeakyRelu {  // a is the slope; at the argument or the result, which agree for slopes from 0
  template <class V>
  static RUSHLIGHT_INLINE V value(V x, V a, V) {
    return select(x.raw > V::zero().raw, x, x * a);
  }
  template <class V>
  static RUSHLIGHT_INLINE V gradient(V g, V at, V a, V) {
    return select(at.raw > V::zero().raw, g, g * a);
  }
};

struct Hardtanh {  // limited to [a, b]; at the argument or the result
  template <class V>
  static RUSHLIGHT_INLINE V value(V x, V a, V b) {
    return clip(x, a, b);
  }
  template <class V>
  static RUSHLIGHT_INLINE V gradient(V g, V at, V a, V b) {
    return select((at.raw <= a.raw) | (at.raw >= b.raw), V::zero(), g);
  }
};

struct Hardsigmoid {
  template <class V>
  static RUSHLIGHT_INLINE V value(V x, V, V) {
    return clip(x + constant<V>(3), V::zero(), constant<V>(6)) * constant<V>(1.0 / 6);
  }
  template <class V>
  static RUSHLIGHT_INLINE V gradient(V g, V at, V, V) {
    const V three = constant<V>(3);
    return select((at.raw > (-three).raw) & (at.raw < three.raw), g / constant<V>(6), V::zero());
  }
};

struct Hardswish {
  template <class V>
  static RUSHLIGHT_INLINE V value(V x, V, V) {
    return x * clip(x + constant<V>(3), V::zero(), constant<V>(6)) * constant<V>(1.0 / 6);
  }
  template <class V>
  static RUSHLIGHT_INLINE V gradient(V g, V at, V, V) {
    const V three = constant<V>(3);
    const V inner = select(at.raw < three.raw, g * (at / three + constant<V>(0.5)), g);
    return select(at.raw <= (-three).raw, V::zero(), inner);
  }
};

template <class F, class T>
__attribute__((noinline)) void values(const T* src, int64_t n, double a, double b, T* dst) {
  using V = Native<T>;
  const V low = constant<V>(a), high = constant<V>(b);
  int64_t i = 0;
  for (; i + V::lanes <= n; i += V::lanes) F::value(V::load(src + i), low, high).store(dst + i);
  if (i == n) return;
  F::value(V::load_partial(src + i, n - i), low, high).store_partial(dst + i, n - i);
}

template <class F, class T>
void forward(const Run& run, int64_t n, double a, double b, const T* src, T* dst) {
  parallel_elements(run, n, [&](int64_t begin, int64_t end) {
    values<F>(src + begin, end - begin, a, b, dst + begin);
  });
}

template <class F, class T>
void in_place(T* at, int64_t n, double a, double b) {
  values<F>(at, n, a, b, at);
}

template <class F, class T>
void backward(const Run& run, int64_t n, double a, double b, const T* at, const T* diff_dst,
              T* diff_src) {
  using V = Native<T>;
  const V low = constant<V>(a), high = constant<V>(b);
  parallel_elements(run, n, [&](int64_t begin, int64_t end) {
    int64_t i = begin;
    for (; i + V::lanes <= end; i += V::lanes) {
      F::gradient(V::load(diff_dst + i), V::load(at + i), low, high).store(diff_src + i);
    }
    if (i == end) return;
    const int64_t left = end - i;
    F::gradient(V::load_partial(diff_dst + i, left), V::load_partial(at + i, left), low, high)
        .store_partial(diff_src + i, left);
  });
}

}  // namespace

#define RUSHLIGHT_BOTH(name, Name) {forward<Name, T>, backward<Name, T>, in_place<Name, T>},
RUSHLIGHT_DEFINE_FAMILY(PointwiseKernels, pointwise, RUSHLIGHT_POINTWISE(RUSHLIGHT_BOTH))
#undef RUSHLIGHT_BOTH

}  // namespace rushlight::RUSHLIGHT_ISA
