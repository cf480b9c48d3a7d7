#include "kernels/batch_norm.h"

#include <math.h>

#include "kernels/family.h"
#include "kernels/reduce.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

// Planes shorter than this are gathered into a buffer before they are summed, and a task takes
// neighbouring channels together, so that every cache line that it fetches is used.
constexpr int64_t kShortPlane = 32;
constexpr int64_t kBlockChannels = 16;
constexpr int64_t kChunk = 1024;  // summed in the element type before the totals go to double

// Calls body(chunk of each array, count) for all elements of a channel, in order.
template <class T, int ARRAYS, class Body>
void for_each_chunk(const BatchNormShape& s, int64_t channel, const T* const (&arrays)[ARRAYS],
                    const Body& body) {
  const T* chunk[ARRAYS];
  if (s.spatial >= kShortPlane) {
    for (int64_t i = 0; i < s.n; ++i) {
      const int64_t plane = (i * s.c + channel) * s.spatial;
      for (int64_t p = 0; p < s.spatial; p += kChunk) {
        for (int a = 0; a < ARRAYS; ++a) chunk[a] = arrays[a] + plane + p;
        body(chunk, s.spatial - p < kChunk ? s.spatial - p : kChunk);
      }
    }
    return;
  }
  T buffer[ARRAYS][kChunk];
  for (int a = 0; a < ARRAYS; ++a) chunk[a] = buffer[a];
  int64_t filled = 0;
  for (int64_t i = 0; i < s.n; ++i) {
    const int64_t plane = (i * s.c + channel) * s.spatial;
    for (int a = 0; a < ARRAYS; ++a) {
      for (int64_t p = 0; p < s.spatial; ++p) buffer[a][filled + p] = arrays[a][plane + p];
    }
    filled += s.spatial;
    if (filled + s.spatial <= kChunk && i + 1 < s.n) continue;
    body(chunk, filled);
    filled = 0;
  }
}

// Mean and sum of squared deviations, merged chunk by chunk (Chan, Golub and LeVeque 1979): as
// stable as two passes, with one read of the memory.
struct Moments {
  double count = 0, mean = 0, squares = 0;

  void merge(double other_count, double other_mean, double other_squares) {
    const double total = count + other_count, delta = other_mean - mean;
    mean += delta * other_count / total;
    squares += other_squares + delta * delta * count * other_count / total;
    count = total;
  }
};

template <class T>
void add_chunk(const T* x, int64_t count, Moments& moments) {
  using V = Native<T>;
  const double size = static_cast<double>(count);
  const T shift = static_cast<T>(static_cast<double>(sum_run(x, count)) / size);
  V sums = V::zero(), squares = V::zero();
  T sum_rest = 0, square_rest = 0;
  const V shifts = V::broadcast(shift);
  int64_t i = 0;
  for (; i + V::lanes <= count; i += V::lanes) {
    const V d = V::load(x + i) - shifts;
    sums += d;
    squares = fma(d, d, squares);
  }
  for (; i < count; ++i) {
    const T d = x[i] - shift;
    sum_rest += d;
    square_rest += d * d;
  }
  // The shift is the mean up to rounding; what rounding left over is corrected here.
  const double rest = static_cast<double>(sum(sums) + sum_rest);
  moments.merge(size, static_cast<double>(shift) + rest / size,
                static_cast<double>(sum(squares) + square_rest) - rest * rest / size);
}

int64_t channels_per_task(const BatchNormShape& s) {
  return s.spatial < kShortPlane ? kBlockChannels : 1;
}

// Calls body(first channel, count) for blocks of channels, in parallel.
template <class Body>
void for_each_block(const Run& run, const BatchNormShape& s, const Body& body) {
  const int64_t step = channels_per_task(s);
  parallel(run, (s.c + step - 1) / step, [&](int64_t block, int) {
    const int64_t c0 = block * step;
    body(c0, c0 + step < s.c ? step : s.c - c0);
  });
}

// What one block of channels needs to write its output: y = (x - mean) * scale + shift, and for the
// gradient dx = (dy - shift - (x - mean) * slope) * scale.
template <class T>
struct Coefficients {
  T mean[kBlockChannels], scale[kBlockChannels], shift[kBlockChannels], slope[kBlockChannels];
};

// Calls body(offset, count, first coefficient, step of coefficients) for all runs of a block of
// channels: a run lies within one channel (step 0), or across channels (step 1) where each has a
// single value per image.
template <class Body>
void for_each_run(const BatchNormShape& s, int64_t c0, int64_t channels, const Body& body) {
  for (int64_t i = 0; i < s.n; ++i) {
    const int64_t base = (i * s.c + c0) * s.spatial;
    if (s.spatial == 1) {
      body(base, channels, 0, true);
      continue;
    }
    for (int64_t c = 0; c < channels; ++c) body(base + c * s.spatial, s.spatial, c, false);
  }
}

template <class T>
void normalize(const BatchNormShape& s, int64_t c0, int64_t channels, const Coefficients<T>& k,
               const T* src, T* dst) {
  for_each_run(s, c0, channels, [&](int64_t at, int64_t count, int64_t c, bool across) {
    const T* x = src + at;
    T* y = dst + at;
    if (across) {
      for (int64_t j = 0; j < count; ++j) y[j] = (x[j] - k.mean[j]) * k.scale[j] + k.shift[j];
      return;
    }
    const T mean = k.mean[c], scale = k.scale[c], shift = k.shift[c];
    for_each_vector<T>(0, count, [&](auto v, int64_t j) {
      using V = decltype(v);
      fma(V::load(x + j) - V::broadcast(mean), V::broadcast(scale), V::broadcast(shift))
          .store(y + j);
    });
  });
}

template <class T>
double value_or(const T* values, int64_t i, double otherwise) {
  return values == nullptr ? otherwise : static_cast<double>(values[i]);
}

template <class T>
void batch_norm_train(const Run& run, const BatchNormShape& s, const T* src, const T* weight,
                      const T* bias, T* running_mean, T* running_var, double momentum, double eps,
                      T* dst, T* mean, T* rstd) {
  for_each_block(run, s, [&](int64_t c0, int64_t channels) {
    Coefficients<T> k;
    for (int64_t i = 0; i < channels; ++i) {
      const int64_t c = c0 + i;
      Moments moments;
      for_each_chunk<T, 1>(s, c, {src}, [&](const T* const(&x)[1], int64_t count) {
        add_chunk(x[0], count, moments);
      });
      const double n = moments.count, var = n > 0 ? moments.squares / n : 0;
      const double inverse = 1 / ::sqrt(var + eps);
      mean[c] = k.mean[i] = static_cast<T>(moments.mean);
      rstd[c] = static_cast<T>(inverse);
      k.scale[i] = static_cast<T>(value_or(weight, c, 1) * inverse);
      k.shift[i] = static_cast<T>(value_or(bias, c, 0));
      if (n == 0) continue;
      const double unbiased = moments.squares / (n > 1 ? n - 1 : 1);
      const auto blend = [&](T old, double now) {
        return static_cast<T>((1 - momentum) * static_cast<double>(old) + momentum * now);
      };
      if (running_mean != nullptr) running_mean[c] = blend(running_mean[c], moments.mean);
      if (running_var != nullptr) running_var[c] = blend(running_var[c], unbiased);
    }
    normalize(s, c0, channels, k, src, dst);
  });
}

template <class T>
void batch_norm_eval(const Run& run, const BatchNormShape& s, const T* src, const T* weight,
                     const T* bias, const T* running_mean, const T* running_var, double eps, T* dst,
                     T* mean, T* rstd) {
  for_each_block(run, s, [&](int64_t c0, int64_t channels) {
    Coefficients<T> k;
    for (int64_t i = 0; i < channels; ++i) {
      const int64_t c = c0 + i;
      const double inverse = 1 / ::sqrt(static_cast<double>(running_var[c]) + eps);
      mean[c] = k.mean[i] = running_mean[c];
      rstd[c] = static_cast<T>(inverse);
      k.scale[i] = static_cast<T>(value_or(weight, c, 1) * inverse);
      k.shift[i] = static_cast<T>(value_or(bias, c, 0));
    }
    normalize(s, c0, channels, k, src, dst);
  });
}

// Sums of dy and of dy * (x - mean) over one channel.
struct GradientSums {
  double dy = 0, dy_x = 0;
};

template <class T>
GradientSums gradient_sums(const BatchNormShape& s, int64_t c, T mean, const T* src,
                           const T* diff_dst) {
  using V = Native<T>;
  GradientSums total;
  for_each_chunk<T, 2>(s, c, {src, diff_dst}, [&](const T* const(&chunk)[2], int64_t count) {
    V dy = V::zero(), dy_x = V::zero();
    T dy_rest = 0, dy_x_rest = 0;
    int64_t i = 0;
    for (; i + V::lanes <= count; i += V::lanes) {
      const V g = V::load(chunk[1] + i);
      dy += g;
      dy_x = fma(g, V::load(chunk[0] + i) - V::broadcast(mean), dy_x);
    }
    for (; i < count; ++i) {
      dy_rest += chunk[1][i];
      dy_x_rest += chunk[1][i] * (chunk[0][i] - mean);
    }
    total.dy += static_cast<double>(sum(dy) + dy_rest);
    total.dy_x += static_cast<double>(sum(dy_x) + dy_x_rest);
  });
  return total;
}

template <class T>
void write_diff_src(const BatchNormShape& s, int64_t c0, int64_t channels, const Coefficients<T>& k,
                    const T* src, const T* diff_dst, T* diff_src) {
  for_each_run(s, c0, channels, [&](int64_t at, int64_t count, int64_t c, bool across) {
    const T *x = src + at, *dy = diff_dst + at;
    T* dx = diff_src + at;
    if (across) {
      for (int64_t j = 0; j < count; ++j) {
        dx[j] = (dy[j] - k.shift[j] - (x[j] - k.mean[j]) * k.slope[j]) * k.scale[j];
      }
      return;
    }
    const T mean = k.mean[c], slope = k.slope[c], shift = k.shift[c], scale = k.scale[c];
    for_each_vector<T>(0, count, [&](auto v, int64_t j) {
      using V = decltype(v);
      const V centred = V::load(x + j) - V::broadcast(mean);
      const V direct = V::load(dy + j) - V::broadcast(shift);
      ((direct - centred * V::broadcast(slope)) * V::broadcast(scale)).store(dx + j);
    });
  });
}

template <class T>
void batch_norm_backward(const Run& run, const BatchNormShape& s, const T* src, const T* weight,
                         const T* mean, const T* rstd, const T* diff_dst, bool training,
                         T* diff_src, T* diff_weight, T* diff_bias) {
  const double n = static_cast<double>(s.n) * static_cast<double>(s.spatial);
  const bool need_sums = training || diff_weight != nullptr || diff_bias != nullptr;
  for_each_block(run, s, [&](int64_t c0, int64_t channels) {
    Coefficients<T> k;
    for (int64_t i = 0; i < channels; ++i) {
      const int64_t c = c0 + i;
      const double inverse = static_cast<double>(rstd[c]);
      const GradientSums sums =
          need_sums ? gradient_sums(s, c, mean[c], src, diff_dst) : GradientSums{};
      if (diff_weight != nullptr) diff_weight[c] = static_cast<T>(sums.dy_x * inverse);
      if (diff_bias != nullptr) diff_bias[c] = static_cast<T>(sums.dy);
      k.mean[i] = mean[c];
      k.scale[i] = static_cast<T>(value_or(weight, c, 1) * inverse);
      k.shift[i] = training && n > 0 ? static_cast<T>(sums.dy / n) : T{0};
      k.slope[i] = training && n > 0 ? static_cast<T>(sums.dy_x * inverse * inverse / n) : T{0};
    }
    if (diff_src == nullptr) return;
    write_diff_src(s, c0, channels, k, src, diff_dst, diff_src);
  });
}

}  // namespace

RUSHLIGHT_DEFINE_FAMILY(BatchNormKernels, batch_norm, batch_norm_train<T>, batch_norm_eval<T>,
                        batch_norm_backward<T>)

}  // namespace rushlight::RUSHLIGHT_ISA
