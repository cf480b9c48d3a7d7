// What batch norm makes of its sums, channel by channel.
#pragma once

#include <math.h>
#include <stdint.h>

#include "kernels/batch_norm_sums.h"

namespace rushlight::RUSHLIGHT_ISA {

inline double values_per_channel(const BatchNormShape& s) {
  return static_cast<double>(s.n) * static_cast<double>(s.spatial);
}

// The factors of `count` neighbouring channels, as backward finds them again.
template <class T>
void note_scales(int64_t count, const T* weight, const T* rstd, int64_t channel, T* scale) {
  if (weight == nullptr) return copy_run(scale, rstd + channel, count);
  for (int64_t c = 0; c < count; ++c) {
    scale[c] = static_cast<T>(static_cast<double>(weight[channel + c]) *
                              static_cast<double>(rstd[channel + c]));
  }
}

// Values from a channel on, where there are some.
template <class T>
const T* at(const T* values, int64_t channel) {
  return values == nullptr ? nullptr : values + channel;
}

// `count` values from a channel on; zeros where there are none.
template <class T>
void note_values(int64_t count, const T* values, int64_t channel, T* to) {
  values == nullptr ? zero_run(to, count) : copy_run(to, values + channel, count);
}

// What normalises `count` neighbouring channels in evaluation: y = scale * x + shift. In one place,
// so that a convolution does to its sums what batch norm would do, to the same bits.
template <class T>
__attribute__((noinline)) void note_factors(int64_t count, const T* weight, const T* bias,
                                            const T* mean, const T* var, double eps, T* scale,
                                            T* shift) {
  for (int64_t c = 0; c < count; ++c) {
    const double inverse = 1 / ::sqrt(static_cast<double>(var[c]) + eps);
    const double factor = weight == nullptr ? inverse : static_cast<double>(weight[c]) * inverse;
    const double start = bias == nullptr ? 0 : static_cast<double>(bias[c]);
    scale[c] = static_cast<T>(factor);
    shift[c] = static_cast<T>(start - static_cast<double>(mean[c]) * factor);
  }
}

// Mean and rstd in evaluation, which backward asks for.
template <class T>
void note_running(int64_t count, const T* running_mean, const T* running_var, double eps, T* mean,
                  T* rstd) {
  copy_run(mean, running_mean, count);
  for (int64_t c = 0; c < count; ++c) {
    rstd[c] = static_cast<T>(1 / ::sqrt(static_cast<double>(running_var[c]) + eps));
  }
}

// Statistics that training keeps; null where it does not.
template <class T>
struct RunningStatistics {
  T *mean, *var;
  double momentum;  // share of this batch

  // Moves one of them, of neighbouring channels, towards what this batch has.
  void blend(T* old, const double* now, double factor, int64_t channels) const {
    for (int64_t c = 0; c < channels; ++c) {
      const double kept = (1 - momentum) * static_cast<double>(old[c]);
      old[c] = static_cast<T>(kept + momentum * (now[c] * factor));
    }
  }
};

// Writes mean and rstd of `count` neighbouring channels, each of `n` values that were summed around
// a centre, and moves their running statistics. Short loops, which compilers make vectors of: the
// roots and quotients of one channel alone take as long as the sums over a small plane.
template <class T>
void note_moments(int64_t count, const double* first, const double* second, const T* centres,
                  double n, double eps, int64_t channel, const RunningStatistics<T>& running,
                  T* mean, T* rstd) {
  PerChannel<double> means, squares;
  const double share = n > 0 ? 1 / n : 0;
  for (int64_t c = 0; c < count; ++c) {
    const double shift = first[c] * share, rest = second[c] - first[c] * shift;
    means[c] = static_cast<double>(centres[c]) + shift;
    squares[c] = rest < 0 ? 0 : rest;
  }
  for (int64_t c = 0; c < count; ++c) mean[channel + c] = static_cast<T>(means[c]);
  for (int64_t c = 0; c < count; ++c) {
    rstd[channel + c] = static_cast<T>(1 / ::sqrt(squares[c] * share + eps));
  }
  if (n == 0) return;
  if (running.mean != nullptr) running.blend(running.mean + channel, means, 1, count);
  if (running.var != nullptr) {
    running.blend(running.var + channel, squares, 1 / (n > 1 ? n - 1 : 1), count);
  }
}

// The sums over dy of `count` neighbouring channels become the gradients to weight and bias, which
// may be null, and shift and slope of the gradient to src.
template <class T>
void note_gradients(int64_t count, const double* dy, const double* dy_x, double n, bool training,
                    int64_t channel, const T* rstd, T* diff_weight, T* diff_bias, T* shift,
                    T* slope) {
  const double share = training && n > 0 ? 1 / n : 0;
  const T* inverse = rstd + channel;
  for (int64_t c = 0; c < count; ++c) shift[c] = static_cast<T>(dy[c] * share);
  for (int64_t c = 0; c < count; ++c) {
    const double r = static_cast<double>(inverse[c]);
    slope[c] = static_cast<T>(dy_x[c] * r * r * share);
  }
  for (int64_t c = 0; diff_bias != nullptr && c < count; ++c) {
    diff_bias[channel + c] = static_cast<T>(dy[c]);
  }
  for (int64_t c = 0; diff_weight != nullptr && c < count; ++c) {
    diff_weight[channel + c] = static_cast<T>(dy_x[c] * static_cast<double>(inverse[c]));
  }
}

}  // namespace rushlight::RUSHLIGHT_ISA
