// Convolutions whose groups have a single input channel: a matrix product would have one column of
// weights to work with, so these go along the rows of the image instead, all taps in registers.
// Each task owns whole planes of its result.
//
// What a task reads is first copied, band of rows by band, into padded planes: zeros stand outside
// the image, and columns are split into `stride_w` phases, so that every tap is a contiguous load.
#pragma once

#include <stdint.h>

#include "kernels/conv2d.h"
#include "kernels/conv2d_window.h"
#include "kernels/epilogue.h"
#include "kernels/integers.h"
#include "kernels/packers.h"
#include "kernels/parallel.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

// The padded copy of a band of rows: [phases][rows][row].
struct PaddedBand {
  int64_t phases, row;
  int64_t outputs;  // rows of outputs of a whole band
  int64_t rows;     // that they read

  PaddedBand(int64_t phases, int64_t row, int64_t all_outputs, int64_t stride, int64_t reach)
      : phases(phases), row(row) {
    constexpr int64_t wanted = 12288;  // elements: most of a first-level cache
    const int64_t fitting = wanted / (phases * row) - reach - 1;
    outputs = smaller(all_outputs, larger(4, fitting / stride + 1));
    rows = (outputs - 1) * stride + reach + 1;
  }

  int64_t size() const { return phases * rows * row; }
};

// Copies rows [y0, y0 + band.rows) of a plane [height, width], `left` columns of zeros before it.
template <class T>
void fill_band(const PaddedBand& band, const T* plane, int64_t height, int64_t width, int64_t y0,
               int64_t left, T* padded) {
  for (int64_t phase = 0; phase < band.phases; ++phase) {
    const int64_t x0 = phase - left;
    const Inside in(x0, band.phases, band.row, width);
    for (int64_t y = y0; y < y0 + band.rows; ++y, padded += band.row) {
      if (y < 0 || y >= height || in.low == in.high) {
        zero_run(padded, band.row);
        continue;
      }
      const T* from = plane + y * width + x0 + in.low * band.phases;
      const int64_t count = in.high - in.low;
      zero_run(padded, in.low);
      if (band.phases == 1) {
        copy_run(padded + in.low, from, count);
      } else if (band.phases == 2) {
        copy_every_second(padded + in.low, from, count);
      } else {
        for (int64_t j = 0; j < count; ++j) padded[in.low + j] = from[j * band.phases];
      }
      zero_run(padded + in.high, band.row - in.high);
    }
  }
}

constexpr int kMostTaps = 9;

// Taps that are computed together: where each reads in the padded copy, for the first output.
template <class T>
struct TapList {
  int count = 0;
  int64_t offset[kMostTaps];
  T weight[kMostTaps];
};

// One row of outputs: to[x] = sum of weight * from[offset + x], on top of what stands in `to` if
// `add` is set, and then through `epilogue` if that is not null.
template <int TAPS, class T>
RUSHLIGHT_INLINE void add_taps(const TapList<T>& taps, const T* from, bool add,
                               const Epilogue<T>* epilogue, int64_t count, T* to) {
  using V = Native<T>;
  V weight[TAPS];
#pragma GCC unroll 9
  for (int t = 0; t < TAPS; ++t) weight[t] = V::broadcast(taps.weight[t]);
  for (int64_t x = 0; x < count; x += V::lanes) {
    const int64_t left = count - x;
    const bool full = left >= V::lanes;
    V acc = V::zero();
    if (add) acc = full ? V::load(to + x) : V::load_partial(to + x, left);
#pragma GCC unroll 9
    for (int t = 0; t < TAPS; ++t) {
      acc = fma(weight[t], V::load(from + taps.offset[t] + x), acc);
    }
    if (epilogue != nullptr) {
      acc = scale_and_shift(acc, *epilogue);
      if (const T* residual = epilogue->residual) {
        acc += full ? V::load(residual + x) : V::load_partial(residual + x, left);
      }
      acc = activate(acc, *epilogue);
    }
    if (full) {
      acc.store(to + x);
    } else {
      acc.store_partial(to + x, left);
    }
  }
}

template <class T>
void add_tap_row(const TapList<T>& taps, const T* from, bool add, const Epilogue<T>* epilogue,
                 int64_t count, T* to) {
  switch (taps.count) {
#define RUSHLIGHT_TAPS(n) \
  case n:                 \
    return add_taps<n>(taps, from, add, epilogue, count, to);
    RUSHLIGHT_TAPS(0)
    RUSHLIGHT_TAPS(1)
    RUSHLIGHT_TAPS(2)
    RUSHLIGHT_TAPS(3)
    RUSHLIGHT_TAPS(4)
    RUSHLIGHT_TAPS(5)
    RUSHLIGHT_TAPS(6)
    RUSHLIGHT_TAPS(7)
    RUSHLIGHT_TAPS(8)
    RUSHLIGHT_TAPS(9)
#undef RUSHLIGHT_TAPS
  }
}

// The source of a channel as forward and the gradient to weight read it.
template <class T>
PaddedBand source_band(const Conv2dShape& s) {
  const int64_t reach = (s.kw - 1) * s.dilation_w / s.stride_w;
  return {s.stride_w, round_up(s.ow, Native<T>::lanes) + reach, s.oh, s.stride_h,
          (s.kh - 1) * s.dilation_h};
}

// Where a tap reads for output (0, 0).
inline int64_t tap_offset(const Conv2dShape& s, const PaddedBand& band, int64_t tap) {
  const int64_t y = tap / s.kw * s.dilation_h, x = tap % s.kw * s.dilation_w;
  return (x % s.stride_w * band.rows + y) * band.row + x / s.stride_w;
}

template <class T>
TapList<T> taps_from(const Conv2dShape& s, const PaddedBand& band, const T* weight, int64_t first) {
  TapList<T> taps;
  for (int64_t t = first; t < s.kh * s.kw && taps.count < kMostTaps; ++t, ++taps.count) {
    taps.offset[taps.count] = tap_offset(s, band, t);
    taps.weight[taps.count] = weight == nullptr ? T{0} : weight[t];
  }
  return taps;
}

template <class T>
void depthwise_forward(const Run& run, const Conv2dShape& s, const T* src, const T* weight,
                       const Epilogue<T>& epilogue, T* dst) {
  const int64_t multiplier = s.oc / s.groups;
  const PaddedBand band = source_band<T>(s);
  parallel(run, s.n * s.oc, [&](int64_t plane, int slot) {
    T* padded = static_cast<T*>(run.workspace) + slot * band.size();
    const int64_t image = plane / s.oc, o = plane % s.oc;
    const T* from = src + (image * s.ic + o / multiplier) * s.ih * s.iw;
    for (int64_t oy = 0; oy < s.oh; oy += band.outputs) {
      fill_band(band, from, s.ih, s.iw, source_row(s, oy, 0), s.padding_w, padded);
      for (int64_t t = 0; t < s.kh * s.kw; t += kMostTaps) {
        const TapList<T> taps = taps_from(s, band, weight + o * s.kh * s.kw, t);
        const bool last = t + kMostTaps >= s.kh * s.kw;
        for (int64_t y = 0; y < smaller(band.outputs, s.oh - oy); ++y) {
          const int64_t row = (plane * s.oh + oy + y) * s.ow;
          const Epilogue<T> of_row = epilogue.at(o, row);
          add_tap_row(taps, padded + y * s.stride_h * band.row, t > 0, last ? &of_row : nullptr,
                      s.ow, dst + row);
        }
      }
    }
  });
}

// ---- backward to src: a source pixel of phase (y, x) sees the taps of that phase, at stride 1
// ----

// The gradient as it is read: `rows` and `cols` of the source, one phase of it, behind zeros.
template <class T>
struct GradientPlan {
  int64_t rows, cols;        // pixels of one phase, padding included
  int64_t reach_h, reach_w;  // of the taps
  int64_t line;              // elements of one row of one phase
  PaddedBand band;

  explicit GradientPlan(const Conv2dShape& s)
      : rows((s.ih - 1 + s.padding_h) / s.stride_h + 1),
        cols((s.iw - 1 + s.padding_w) / s.stride_w + 1),
        reach_h((s.kh - 1) * s.dilation_h / s.stride_h),
        reach_w((s.kw - 1) * s.dilation_w / s.stride_w),
        line(round_up(cols, Native<T>::lanes)),
        band(1, line + reach_w, rows, 1, reach_h) {}

  int64_t local() const { return band.size() + line; }
};

// The taps of one phase from tap `next` on, as many as fit; `next` moves behind them.
template <class T>
TapList<T> phase_taps(const Conv2dShape& s, const GradientPlan<T>& plan, const T* weight,
                      int64_t phase_y, int64_t phase_x, int64_t* next) {
  TapList<T> taps;
  for (; *next < s.kh * s.kw && taps.count < kMostTaps; ++*next) {
    const int64_t y = *next / s.kw * s.dilation_h, x = *next % s.kw * s.dilation_w;
    if (y % s.stride_h != phase_y || x % s.stride_w != phase_x) continue;
    taps.offset[taps.count] =
        (plan.reach_h - y / s.stride_h) * plan.band.row + plan.reach_w - x / s.stride_w;
    taps.weight[taps.count++] = weight[*next];
  }
  return taps;
}

// Puts a phase's row behind its padding into the row of the image, or adds it.
template <class T>
void scatter_line(const T* line, int64_t x0, int64_t stride, int64_t width, bool add, T* row) {
  const int64_t first = x0 < 0 ? ceil_div(-x0, stride) : 0;
  const int64_t count =
      x0 + first * stride >= width ? 0 : (width - 1 - x0 - first * stride) / stride + 1;
  T* to = row + x0 + first * stride;
  const T* from = line + first;
  if (stride == 1 && !add) return copy_run(to, from, count);
  for (int64_t j = 0; j < count; ++j) to[j * stride] = (add ? to[j * stride] : T{0}) + from[j];
}

// Adds what one output channel's gradient, whose band begins at row `first`, gives to the source.
template <class T>
void add_phase(const Conv2dShape& s, const GradientPlan<T>& plan, const T* weight, int64_t phase_y,
               int64_t phase_x, int64_t first, bool add, const T* padded, T* line, T* to) {
  int64_t next = 0;
  TapList<T> taps = phase_taps(s, plan, weight, phase_y, phase_x, &next);
  do {
    for (int64_t r = 0; r < smaller(plan.band.outputs, plan.rows - first); ++r) {
      const int64_t y = (first + r) * s.stride_h + phase_y - s.padding_h;
      if (y < 0 || y >= s.ih) continue;
      add_tap_row<T>(taps, padded + r * plan.band.row, false, nullptr, plan.line, line);
      scatter_line(line, phase_x - s.padding_w, s.stride_w, s.iw, add, to + y * s.iw);
    }
    add = true;
    taps = phase_taps(s, plan, weight, phase_y, phase_x, &next);
  } while (taps.count > 0);
}

template <class T>
void depthwise_backward_src(const Run& run, const Conv2dShape& s, const T* weight,
                            const T* diff_dst, T* diff_src) {
  if (s.ih * s.iw == 0) return;
  const int64_t multiplier = s.oc / s.groups;
  const GradientPlan<T> plan(s);
  parallel(run, s.n * s.ic, [&](int64_t plane, int slot) {
    T* padded = static_cast<T*>(run.workspace) + slot * plan.local();
    T* line = padded + plan.band.size();
    T* to = diff_src + plane * s.ih * s.iw;
    if (multiplier == 0) zero_run(to, s.ih * s.iw);
    for (int64_t i = 0; i < multiplier; ++i) {
      const int64_t o = plane % s.ic * multiplier + i;
      const T* from = diff_dst + (plane / s.ic * s.oc + o) * s.oh * s.ow;
      for (int64_t first = 0; first < plan.rows; first += plan.band.outputs) {
        fill_band(plan.band, from, s.oh, s.ow, first - plan.reach_h, plan.reach_w, padded);
        for (int64_t phase = 0; phase < s.stride_h * s.stride_w; ++phase) {
          add_phase(s, plan, weight + o * s.kh * s.kw, phase / s.stride_w, phase % s.stride_w,
                    first, i > 0, padded, line, to);
        }
      }
    }
  });
}

// ---- backward to weight ----

// sums[t] += sum over a band's outputs of diff * source under tap t; `diff` is the first row.
template <int TAPS, class T>
RUSHLIGHT_INLINE void sum_taps(const Conv2dShape& s, const TapList<T>& taps, int64_t row_step,
                               const T* padded, const T* diff, int64_t rows, double* sums) {
  using V = Native<T>;
  V acc[TAPS];
#pragma GCC unroll 9
  for (int t = 0; t < TAPS; ++t) acc[t] = V::zero();
  for (int64_t y = 0; y < rows; ++y, padded += row_step, diff += s.ow) {
    for (int64_t x = 0; x < s.ow; x += V::lanes) {
      const int64_t left = s.ow - x;
      const V dy = left >= V::lanes ? V::load(diff + x) : V::load_partial(diff + x, left);
#pragma GCC unroll 9
      for (int t = 0; t < TAPS; ++t) {
        acc[t] = fma(dy, V::load(padded + taps.offset[t] + x), acc[t]);
      }
    }
  }
#pragma GCC unroll 9
  for (int t = 0; t < TAPS; ++t) sums[t] += static_cast<double>(sum(acc[t]));
}

// Taps beyond the list's count read where the first one does, and their sums are never used.
template <class T>
TapList<T> filled_up(TapList<T> taps) {
  for (int t = taps.count; t < kMostTaps; ++t) taps.offset[t] = taps.offset[0];
  return taps;
}

template <class T>
void depthwise_backward_weight(const Run& run, const Conv2dShape& s, const T* src,
                               const T* diff_dst, T* diff_weight) {
  const int64_t multiplier = s.oc / s.groups, kernel = s.kh * s.kw;
  const PaddedBand band = source_band<T>(s);
  parallel(run, s.oc, [&](int64_t o, int slot) {
    T* padded = static_cast<T*>(run.workspace) + slot * band.size();
    for (int64_t t = 0; t < kernel; t += kMostTaps) {
      const TapList<T> taps = filled_up(taps_from<T>(s, band, nullptr, t));
      double sums[kMostTaps] = {};
      for (int64_t image = 0; image < s.n; ++image) {
        const T* from = src + (image * s.ic + o / multiplier) * s.ih * s.iw;
        const T* diff = diff_dst + (image * s.oc + o) * s.oh * s.ow;
        for (int64_t oy = 0; oy < s.oh; oy += band.outputs) {
          fill_band(band, from, s.ih, s.iw, source_row(s, oy, 0), s.padding_w, padded);
          sum_taps<kMostTaps>(s, taps, s.stride_h * band.row, padded, diff + oy * s.ow,
                              smaller(band.outputs, s.oh - oy), sums);
        }
      }
      for (int i = 0; i < taps.count; ++i)
        diff_weight[o * kernel + t + i] = static_cast<T>(sums[i]);
    }
  });
}

// Bytes, for each direction.
template <class T>
int64_t depthwise_workspace(const Conv2dShape& s, int slots) {
  return slots * source_band<T>(s).size() * int64_t{sizeof(T)};
}
template <class T>
int64_t depthwise_backward_src_workspace(const Conv2dShape& s, int slots) {
  if (s.ih * s.iw == 0) return 0;
  return slots * GradientPlan<T>(s).local() * int64_t{sizeof(T)};
}

}  // namespace rushlight::RUSHLIGHT_ISA
