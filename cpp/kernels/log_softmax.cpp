#include "kernels/log_softmax.h"

#include <math.h>

#include "kernels/family.h"
#include "simd/exp.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

constexpr int64_t kColumns = 64;     // columns handled at once where c is not the last dimension
constexpr int64_t kTaskSize = 4096;  // elements per task, at least
constexpr int64_t kRun = 2048;  // exponentials summed in the element type before they go to double

// Calls body(offset of the first element, columns) for every group of columns, in parallel.
template <class Body>
void for_each_group(const Run& run, const SoftmaxShape& s, const Body& body) {
  const int64_t per_outer = (s.inner + kColumns - 1) / kColumns;
  const int64_t groups = s.outer * per_outer;
  const int64_t group_size = s.c * (s.inner < kColumns ? s.inner : kColumns);
  const int64_t step = group_size >= kTaskSize || group_size == 0 ? 1 : kTaskSize / group_size;
  parallel(run, (groups + step - 1) / step, [&](int64_t task, int) {
    const int64_t end = (task + 1) * step < groups ? (task + 1) * step : groups;
    for (int64_t g = task * step; g < end; ++g) {
      const int64_t column = g % per_outer * kColumns;
      const int64_t left = s.inner - column;
      body(g / per_outer * s.c * s.inner + column, left < kColumns ? left : kColumns);
    }
  });
}

// Reduces term(V{}, i) over [0, n) with add(a, b), where every vector starts as `start`.
template <class T, class Term, class Add>
RUSHLIGHT_INLINE T reduce(int64_t begin, int64_t end, T start, const Term& term, const Add& add) {
  using V = Native<T>;
  using One = Vec<T, 1>;
  V total = V::broadcast(start);
  int64_t i = begin;
  for (; i + V::lanes <= end; i += V::lanes) total = add(total, term(V{}, i));
  One result = One::broadcast(total.raw[0]);
  for (int lane = 1; lane < V::lanes; ++lane) result = add(result, One::broadcast(total.raw[lane]));
  for (; i < end; ++i) result = add(result, term(One{}, i));
  return result.raw[0];
}

template <class T, class Term>
RUSHLIGHT_INLINE double sum_terms(int64_t n, const Term& term) {
  double total = 0;
  for (int64_t i = 0; i < n; i += kRun) {
    const int64_t end = i + kRun < n ? i + kRun : n;
    total += static_cast<double>(reduce(i, end, T{0}, term, [](auto a, auto b) { return a + b; }));
  }
  return total;
}

// Two small subtractions instead of one large one: src - (peak + log) would round to the peak's
// digits.
template <class V, class T>
RUSHLIGHT_INLINE V log_probability(V x, T peak, T log_total) {
  return x - V::broadcast(peak) - V::broadcast(log_total);
}

template <class T>
void forward_row(int64_t c, const T* src, T* dst) {
  const T peak = reduce(
      0, c, src[0], [&](auto v, int64_t i) { return decltype(v)::load(src + i); },
      [](auto a, auto b) { return max(a, b); });
  const double total = sum_terms<T>(c, [&](auto v, int64_t i) {
    using V = decltype(v);
    return exponential(V::load(src + i) - V::broadcast(peak));
  });
  const T log_total = static_cast<T>(log(total));
  for_each_vector<T>(0, c, [&](auto v, int64_t i) {
    using V = decltype(v);
    log_probability(V::load(src + i), peak, log_total).store(dst + i);
  });
}

template <class T>
void backward_row(int64_t c, const T* dst, const T* diff_dst, T* diff_src) {
  const T total = static_cast<T>(
      sum_terms<T>(c, [&](auto v, int64_t i) { return decltype(v)::load(diff_dst + i); }));
  for_each_vector<T>(0, c, [&](auto v, int64_t i) {
    using V = decltype(v);
    const V probability = exponential(V::load(dst + i));
    (V::load(diff_dst + i) - probability * V::broadcast(total)).store(diff_src + i);
  });
}

// The columns' form: each lane is a softmax of its own, so that memory is read along its rows.
template <class T>
void forward_columns(const SoftmaxShape& s, int64_t columns, const T* src, T* dst) {
  T peak[kColumns], power[kColumns], log_total[kColumns];
  double total[kColumns] = {};
  for (int64_t j = 0; j < columns; ++j) peak[j] = src[j];
  for (int64_t i = 1; i < s.c; ++i) {
    for_each_vector<T>(0, columns, [&](auto v, int64_t j) {
      using V = decltype(v);
      max(V::load(peak + j), V::load(src + i * s.inner + j)).store(peak + j);
    });
  }
  for (int64_t i = 0; i < s.c; ++i) {
    for_each_vector<T>(0, columns, [&](auto v, int64_t j) {
      using V = decltype(v);
      exponential(V::load(src + i * s.inner + j) - V::load(peak + j)).store(power + j);
    });
    for (int64_t j = 0; j < columns; ++j) total[j] += static_cast<double>(power[j]);
  }
  for (int64_t j = 0; j < columns; ++j) log_total[j] = static_cast<T>(log(total[j]));
  for (int64_t i = 0; i < s.c; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      dst[i * s.inner + j] = src[i * s.inner + j] - peak[j] - log_total[j];
    }
  }
}

template <class T>
void backward_columns(const SoftmaxShape& s, int64_t columns, const T* dst, const T* diff_dst,
                      T* diff_src) {
  double sums[kColumns] = {};
  T total[kColumns];
  for (int64_t i = 0; i < s.c; ++i) {
    for (int64_t j = 0; j < columns; ++j) sums[j] += static_cast<double>(diff_dst[i * s.inner + j]);
  }
  for (int64_t j = 0; j < columns; ++j) total[j] = static_cast<T>(sums[j]);
  for (int64_t i = 0; i < s.c; ++i) {
    const int64_t row = i * s.inner;
    for_each_vector<T>(0, columns, [&](auto v, int64_t j) {
      using V = decltype(v);
      const V probability = exponential(V::load(dst + row + j));
      (V::load(diff_dst + row + j) - probability * V::load(total + j)).store(diff_src + row + j);
    });
  }
}

template <class T>
void log_softmax_forward(const Run& run, const SoftmaxShape& s, const T* src, T* dst) {
  if (s.c == 0) return;
  for_each_group(run, s, [&](int64_t at, int64_t columns) {
    if (s.inner == 1) return forward_row(s.c, src + at, dst + at);
    forward_columns(s, columns, src + at, dst + at);
  });
}

template <class T>
void log_softmax_backward(const Run& run, const SoftmaxShape& s, const T* dst, const T* diff_dst,
                          T* diff_src) {
  for_each_group(run, s, [&](int64_t at, int64_t columns) {
    if (s.inner == 1) return backward_row(s.c, dst + at, diff_dst + at, diff_src + at);
    backward_columns(s, columns, dst + at, diff_dst + at, diff_src + at);
  });
}

}  // namespace

RUSHLIGHT_DEFINE_FAMILY(LogSoftmaxKernels, log_softmax, log_softmax_forward<T>,
                        log_softmax_backward<T>)

}  // namespace rushlight::RUSHLIGHT_ISA
