#include "kernels/log_softmax.h"

#include <math.h>

#include "kernels/family.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

constexpr int64_t kColumns = 32;     // columns handled at once where c is not the last dimension
constexpr int64_t kTaskSize = 4096;  // elements per task, at least

RUSHLIGHT_INLINE float exponential(float x) {
  return expf(x);
}
RUSHLIGHT_INLINE double exponential(double x) {
  return exp(x);
}

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

template <class T>
T larger_or_nan(T a, T b) {
  return b > a || b != b ? b : a;
}

template <class T>
void log_softmax_columns(const SoftmaxShape& s, int64_t columns, const T* src, T* dst) {
  T peak[kColumns];
  double total[kColumns] = {};
  for (int64_t j = 0; j < columns; ++j) peak[j] = src[j];
  for (int64_t i = 1; i < s.c; ++i) {
    for (int64_t j = 0; j < columns; ++j) peak[j] = larger_or_nan(peak[j], src[i * s.inner + j]);
  }
  for (int64_t i = 0; i < s.c; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      total[j] += static_cast<double>(exponential(src[i * s.inner + j] - peak[j]));
    }
  }
  // Two small subtractions instead of one large one: src - (peak + log) would round to the peak's
  // digits.
  T log_total[kColumns];
  for (int64_t j = 0; j < columns; ++j) log_total[j] = static_cast<T>(log(total[j]));
  for (int64_t i = 0; i < s.c; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      dst[i * s.inner + j] = src[i * s.inner + j] - peak[j] - log_total[j];
    }
  }
}

template <class T>
void log_softmax_forward(const Run& run, const SoftmaxShape& s, const T* src, T* dst) {
  if (s.c == 0) return;
  for_each_group(run, s, [&](int64_t at, int64_t columns) {
    log_softmax_columns(s, columns, src + at, dst + at);
  });
}

template <class T>
void log_softmax_backward(const Run& run, const SoftmaxShape& s, const T* dst, const T* diff_dst,
                          T* diff_src) {
  for_each_group(run, s, [&](int64_t at, int64_t columns) {
    double total[kColumns] = {};
    for (int64_t i = 0; i < s.c; ++i) {
      for (int64_t j = 0; j < columns; ++j) {
        total[j] += static_cast<double>(diff_dst[at + i * s.inner + j]);
      }
    }
    for (int64_t i = 0; i < s.c; ++i) {
      for (int64_t j = 0; j < columns; ++j) {
        const int64_t k = at + i * s.inner + j;
        diff_src[k] = diff_dst[k] - exponential(dst[k]) * static_cast<T>(total[j]);
      }
    }
  });
}

}  // namespace

RUSHLIGHT_DEFINE_FAMILY(LogSoftmaxKernels, log_softmax, log_softmax_forward<T>,
                        log_softmax_backward<T>)

}  // namespace rushlight::RUSHLIGHT_ISA
