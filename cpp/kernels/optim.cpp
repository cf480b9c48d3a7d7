#include "kernels/optim.h"

#include "kernels/family.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

// A setting as a vector; the conversion is hoisted out of the loops.
template <class V, class T>
RUSHLIGHT_INLINE V constant(double value) {
  return V::broadcast(static_cast<T>(value));
}

// The last item whose first chunk is not behind `chunk`: items without elements share theirs with
// the next.
template <class T>
const OptimItem<T>& item_of(const OptimItems<T>& all, int64_t chunk) {
  int64_t low = 0, high = all.count;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (all.items[middle].first_chunk <= chunk ? low : high) = middle;
  }
  return all.items[low];
}

// Calls body(V{}, item, i) for the elements of all items, the threads taking chunks of any of them.
template <class T, class Body>
RUSHLIGHT_INLINE void for_each_element(const Run& run, const OptimItems<T>& all, const Body& body) {
  parallel(run, all.chunks, [&](int64_t chunk, int) {
    const OptimItem<T> item = item_of(all, chunk);
    const int64_t begin = (chunk - item.first_chunk) * kOptimChunk;
    const int64_t end = begin + kOptimChunk < item.n ? begin + kOptimChunk : item.n;
    for_each_vector<T>(begin, end, [&](auto v, int64_t i) { body(v, item, i); });
  });
}

// The gradient to descend along.
template <class V, class T>
RUSHLIGHT_INLINE V gradient(const DescentSettings& set, const OptimItem<T>& item, int64_t i, V p) {
  V g = V::load(item.grad + i);
  if (set.maximize) g = -g;
  // Zero times infinity is NaN: a decay that is off must not touch the gradient.
  return set.weight_decay != 0 ? fma(constant<V, T>(set.weight_decay), p, g) : g;
}

// from + (to - from) * weight, as torch.lerp: the form that is exact at the nearer end.
template <class V, class T>
RUSHLIGHT_INLINE V lerp(V from, V to, double weight) {
  return weight < 0.5 ? fma(constant<V, T>(weight), to - from, from)
                      : to - (to - from) * constant<V, T>(1 - weight);
}

// Moves a running mean of squares on by one and stores it.
template <class V, class T>
RUSHLIGHT_INLINE V mean_of_squares(T* mean, double decay, V value) {
  const V moved =
      fma(V::load(mean), constant<V, T>(decay), constant<V, T>(1 - decay) * value * value);
  moved.store(mean);
  return moved;
}

template <class T>
void sgd(const Run& run, const OptimItems<T>& items, const SgdSettings& set) {
  for_each_element(run, items, [&](auto v, const OptimItem<T>& item, int64_t i) {
    using V = decltype(v);
    const V p = V::load(item.param + i);
    V g = gradient<V, T>(set.descent, item, i, p);
    if (item.state[0] != nullptr) {
      const V momentum = constant<V, T>(set.momentum);
      V buffer = g;
      if (!item.fresh) {
        buffer = fma(V::load(item.state[0] + i), momentum, constant<V, T>(1 - set.dampening) * g);
      }
      buffer.store(item.state[0] + i);
      g = set.nesterov ? fma(momentum, buffer, g) : buffer;
    }
    fma(constant<V, T>(-set.lr), g, p).store(item.param + i);
  });
}

template <class T>
void adam(const Run& run, const OptimItems<T>& items, const AdamSettings& set) {
  for_each_element(run, items, [&](auto v, const OptimItem<T>& item, int64_t i) {
    using V = decltype(v);
    V p = V::load(item.param + i);
    const V g = gradient<V, T>(set.descent, item, i, p);
    if (set.shrink != 1) p = p * constant<V, T>(set.shrink);
    const V average = lerp<V, T>(V::load(item.state[0] + i), g, 1 - set.beta1);
    average.store(item.state[0] + i);
    V square = mean_of_squares<V, T>(item.state[1] + i, set.beta2, g);
    if (item.state[2] != nullptr) {
      square = max(V::load(item.state[2] + i), square);
      square.store(item.state[2] + i);
    }
    const V denominator = sqrt(square) / constant<V, T>(item.root) + constant<V, T>(set.eps);
    (p - constant<V, T>(item.rate) * average / denominator).store(item.param + i);
  });
}

template <class T>
void rmsprop(const Run& run, const OptimItems<T>& items, const RmspropSettings& set) {
  for_each_element(run, items, [&](auto v, const OptimItem<T>& item, int64_t i) {
    using V = decltype(v);
    const V p = V::load(item.param + i);
    const V g = gradient<V, T>(set.descent, item, i, p);
    V square = mean_of_squares<V, T>(item.state[0] + i, set.alpha, g);
    if (item.state[1] != nullptr) {
      const V average = lerp<V, T>(V::load(item.state[1] + i), g, 1 - set.alpha);
      average.store(item.state[1] + i);
      square = fma(-average, average, square);
    }
    V update = g / (sqrt(square) + constant<V, T>(set.eps));
    if (item.state[2] != nullptr) {
      update = fma(V::load(item.state[2] + i), constant<V, T>(set.momentum), update);
      update.store(item.state[2] + i);
    }
    fma(constant<V, T>(-set.lr), update, p).store(item.param + i);
  });
}

template <class T>
void adagrad(const Run& run, const OptimItems<T>& items, const AdagradSettings& set) {
  for_each_element(run, items, [&](auto v, const OptimItem<T>& item, int64_t i) {
    using V = decltype(v);
    const V p = V::load(item.param + i);
    const V g = gradient<V, T>(set.descent, item, i, p);
    const V sum = fma(g, g, V::load(item.state[0] + i));
    sum.store(item.state[0] + i);
    const V update = g / (sqrt(sum) + constant<V, T>(set.eps));
    fma(constant<V, T>(-item.rate), update, p).store(item.param + i);
  });
}

template <class T>
void adadelta(const Run& run, const OptimItems<T>& items, const AdadeltaSettings& set) {
  for_each_element(run, items, [&](auto v, const OptimItem<T>& item, int64_t i) {
    using V = decltype(v);
    const V p = V::load(item.param + i), eps = constant<V, T>(set.eps);
    const V g = gradient<V, T>(set.descent, item, i, p);
    const V square = mean_of_squares<V, T>(item.state[0] + i, set.rho, g);
    const V delta = sqrt(V::load(item.state[1] + i) + eps) / sqrt(square + eps) * g;
    mean_of_squares<V, T>(item.state[1] + i, set.rho, delta);
    fma(constant<V, T>(-set.lr), delta, p).store(item.param + i);
  });
}

}  // namespace

RUSHLIGHT_DEFINE_FAMILY(OptimKernels, optim, sgd<T>, adam<T>, rmsprop<T>, adagrad<T>, adadelta<T>)

}  // namespace rushlight::RUSHLIGHT_ISA
