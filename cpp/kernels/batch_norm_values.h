// What batch norm makes of its sums, channel by channel.
#pragma once

#include <math.h>
#include <stdint.h>

#include "kernels/batch_norm_sums.h"

namespace rushlight::RUSHLIGHT_ISA {

template <class T>
double value_or(const T* values, int64_t i, double otherwise) {
  return values == nullptr ? otherwise : static_cast<double>(values[i]);
}

// As backward finds it again.
template <class T>
T scale_of(const T* weight, const T* rstd, int64_t c) {
  return static_cast<T>(value_or(weight, c, 1) * static_cast<double>(rstd[c]));
}

// Mean and sum of squared deviations of a channel.
struct Moments {
  double mean, squares;
};

// Of `n` values that were summed around a centre.
inline Moments moments_of(const Totals& totals, double n, double centre) {
  const double shift = n > 0 ? totals.first / n : 0;
  const double squares = totals.second - totals.first * shift;
  return {centre + shift, squares < 0 ? 0 : squares};
}

// Writes mean and rstd of channel `c`, and moves its running statistics, which may be null.
template <class T>
void note_moments(const Moments& moments, double n, double momentum, double eps, int64_t c,
                  T* running_mean, T* running_var, T* mean, T* rstd) {
  mean[c] = static_cast<T>(moments.mean);
  rstd[c] = static_cast<T>(1 / ::sqrt((n > 0 ? moments.squares / n : 0) + eps));
  if (n == 0) return;
  const double unbiased = moments.squares / (n > 1 ? n - 1 : 1);
  const auto blend = [&](T old, double now) {
    return static_cast<T>((1 - momentum) * static_cast<double>(old) + momentum * now);
  };
  if (running_mean != nullptr) running_mean[c] = blend(running_mean[c], moments.mean);
  if (running_var != nullptr) running_var[c] = blend(running_var[c], unbiased);
}

}  // namespace rushlight::RUSHLIGHT_ISA
