#include "kernels/optim.h"

#include "kernels/family.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

template <class V, class T>
RUSHLIGHT_INLINE V constant(double value) {
  return V::broadcast(static_cast<T>(value));
}

template <class T>
void sgd(const Run& run, int64_t n, const SgdSettings& set, const T* grad, T* param,
         T* momentum_buffer) {
  parallel_elements(run, n, [&](int64_t begin, int64_t end) {
    for_each_vector<T>(begin, end, [&](auto v, int64_t i) {
      using V = decltype(v);
      V p = V::load(param + i), g = V::load(grad + i);
      if (set.maximize) g = -g;
      // Zero times infinity is NaN: a decay that is off must not touch the gradient.
      if (set.weight_decay != 0) g = fma(constant<V, T>(set.weight_decay), p, g);
      if (momentum_buffer != nullptr) {
        const V momentum = constant<V, T>(set.momentum);
        V buffer = g;
        if (!set.first_step) {
          buffer =
              fma(V::load(momentum_buffer + i), momentum, constant<V, T>(1 - set.dampening) * g);
        }
        buffer.store(momentum_buffer + i);
        g = set.nesterov ? fma(momentum, buffer, g) : buffer;
      }
      fma(constant<V, T>(-set.lr), g, p).store(param + i);
    });
  });
}

template <class T>
void adam(const Run& run, int64_t n, const AdamSettings& set, const T* grad, T* param, T* exp_avg,
          T* exp_avg_sq, T* max_exp_avg_sq) {
  parallel_elements(run, n, [&](int64_t begin, int64_t end) {
    for_each_vector<T>(begin, end, [&](auto v, int64_t i) {
      using V = decltype(v);
      V p = V::load(param + i), g = V::load(grad + i);
      if (set.maximize) g = -g;
      if (set.weight_decay != 0) {
        if (set.decoupled) {
          p = p * constant<V, T>(1 - set.lr * set.weight_decay);
        } else {
          g = fma(constant<V, T>(set.weight_decay), p, g);
        }
      }
      V average = V::load(exp_avg + i);
      // As torch.lerp: the form that is exact at the nearer end.
      average = set.beta1 > 0.5 ? fma(constant<V, T>(1 - set.beta1), g - average, average)
                                : g - (g - average) * constant<V, T>(set.beta1);
      average.store(exp_avg + i);
      V square = fma(V::load(exp_avg_sq + i), constant<V, T>(set.beta2),
                     constant<V, T>(1 - set.beta2) * g * g);
      square.store(exp_avg_sq + i);
      if (max_exp_avg_sq != nullptr) {
        square = max(V::load(max_exp_avg_sq + i), square);
        square.store(max_exp_avg_sq + i);
      }
      const V denominator = sqrt(square) / constant<V, T>(set.root) + constant<V, T>(set.eps);
      (p - constant<V, T>(set.step_size) * average / denominator).store(param + i);
    });
  });
}

}  // namespace

RUSHLIGHT_DEFINE_FAMILY(OptimKernels, optim, sgd<T>, adam<T>)

}  // namespace rushlight::RUSHLIGHT_ISA
