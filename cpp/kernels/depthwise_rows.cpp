#include "kernels/depthwise_rows.h"

#include "kernels/integers.h"
#include "kernels/packers.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

// A band of rows is copied into padded rows first. Copies and results are stored as whole vectors:
// what they leave behind a row's end is overwritten by what comes next.
struct RowsPlan {
  int64_t lanes;  // of the vectors
  int64_t row;    // elements of a padded row, of one phase if the stride is 2
  int64_t outputs, bands;
  int64_t height;           // padded rows of a band
  int64_t planes_per_task;  // planes of dst

  RowsPlan(const Conv2dShape& s, int64_t widest) : lanes(widest) {
    constexpr int64_t wanted = 6144, work_per_task = 32768;  // elements of a band, multiplications
    if (widest >= 8 && s.ow <= widest / 2) lanes = widest / 2;
    const int64_t reach = (s.kw - 1) / s.stride_w;
    const int64_t source = ceil_div(round_up(s.iw, 2 * lanes) + s.padding_w, s.stride_w);
    row = round_up(larger(s.ow + reach, source) + lanes, lanes);
    const int64_t fitting = wanted / (row * s.stride_w) - (s.kh - s.stride_h);
    outputs = larger(1, smaller(s.oh, larger(16, fitting) / s.stride_h));
    bands = ceil_div(s.oh, outputs);
    outputs = ceil_div(s.oh, larger(1, bands));
    height = (outputs - 1) * s.stride_h + s.kh;
    const int64_t work = larger(1, s.oh * s.ow * s.kh * s.kw);
    planes_per_task = larger(1, work_per_task / work);
  }

  int64_t phase() const { return height * row; }
  int64_t size(int64_t stride) const { return stride * phase() + 2 * lanes; }
};

template <int K, int STRIDE, class V, class T>
struct DepthwiseRows {
  const Conv2dShape& s;
  const RowsPlan& plan;
  const T* src_end;  // of the whole tensor
  T* padded;

  // What filling a row asks of the sizes, held by value: as far as the compiler knows, a vector
  // that is stored might change what stands behind a reference.
  struct Filling {
    int64_t width, row, phase;
    int64_t before[STRIDE];  // zeros before the image, by phase
    int64_t end[STRIDE];     // where the zeros behind it begin
    int64_t needed;          // elements that results read
    int64_t first, second;   // where the first two elements of the image go

    Filling(const Conv2dShape& s, const RowsPlan& plan)
        : width(s.iw), row(plan.row), phase(plan.phase()), needed(s.ow + (K - 1) / STRIDE) {
      for (int64_t i = 0; i < STRIDE; ++i) {
        before[i] = (s.padding_w - i + STRIDE - 1) / STRIDE;
        end[i] = (s.iw + s.padding_w - i + STRIDE - 1) / STRIDE;
      }
      first = s.padding_w % STRIDE * phase + s.padding_w / STRIDE;
      second = (s.padding_w + 1) % STRIDE * phase + (s.padding_w + 1) / STRIDE;
    }
  };

  // STRIDE vectors of a row of the image: as they lie, or its even and its odd elements.
  static RUSHLIGHT_INLINE void fill_vectors(const Filling& f, const T* from, T* to) {
    const V a = V::load(from);
    if constexpr (STRIDE == 1) {
      a.store(to + f.first);
    } else {
      const V b = V::load(from + V::lanes);
      even_lanes(a, b).store(to + f.first);
      odd_lanes(a, b).store(to + f.second);
    }
  }

  static RUSHLIGHT_INLINE void zero_vectors(T* to, int64_t from, int64_t end) {
    for (int64_t x = from; x < end; x += V::lanes) V::zero().store(to + x);
  }

  // One row of the image into its padded row, or its two phases. What the vectors of zeros before
  // it cover too much is overwritten at once.
  static RUSHLIGHT_INLINE void fill_row(const Filling& f, const T* from, const T* src_end, T* to) {
    constexpr int64_t step = STRIDE * V::lanes;
#pragma GCC unroll 2
    for (int i = 0; i < STRIDE; ++i) zero_vectors(to + i * f.phase, 0, f.before[i]);
    int64_t x = 0;
    for (; x + step <= f.width; x += step) fill_vectors(f, from + x, to + x / STRIDE);
    if (x < f.width) {
      if (from + x + step <= src_end) {
        fill_vectors(f, from + x, to + x / STRIDE);
      } else {
        T copy[2 * Native<T>::lanes] = {};
        copy_run(copy, from + x, f.width - x);
        fill_vectors(f, copy, to + x / STRIDE);
      }
    }
#pragma GCC unroll 2
    for (int i = 0; i < STRIDE; ++i) zero_vectors(to + i * f.phase, f.end[i], f.needed);
  }

  __attribute__((noinline)) void fill(const T* plane, int64_t y0) const {
    const Filling f(s, plan);
    const int64_t height = plan.height, ih = s.ih;
    const T* const end = src_end;
    T* to = padded;
    for (int64_t y = y0; y < y0 + height; ++y, to += f.row) {
      if (y >= 0 && y < ih) {
        fill_row(f, plane + y * f.width, end, to);
      } else {
        for (int i = 0; i < STRIDE; ++i) zero_vectors(to + i * f.phase, 0, f.row);
      }
    }
  }

  // Results of row y at column x; whole vectors as long as they end inside the band.
  struct Writer {
    T* dst;
    int64_t room;  // elements of the band
    Epilogue<T> epilogue;

    RUSHLIGHT_INLINE void store(V value, int64_t offset, int64_t count) const {
      const bool whole = offset + V::lanes <= room;
      // A shift alone is where sums start.
      if (epilogue.scale != nullptr) value = scale_and_shift(value, epilogue);
      if (epilogue.residual != nullptr) {
        const T* from = epilogue.residual + offset;
        value += whole ? V::load(from) : V::load_partial(from, count);
      }
      value = activate(value, epilogue);
      if (whole) {
        value.store(dst + offset);
      } else {
        value.store_partial(dst + offset, count);
      }
    }
  };

  // One vector of columns, all rows of the band. With stride 1 a padded row is read once, for all
  // the results that it is part of.
  RUSHLIGHT_INLINE void column(const T* weight, T first, int64_t rows, int64_t x,
                               const Writer& writer) const {
    V w[K * K];
#pragma GCC unroll 49
    for (int t = 0; t < K * K; ++t) w[t] = V::broadcast(weight[t]);
    const V start = V::broadcast(first);
    const int64_t ow = s.ow, row = plan.row, phase = plan.phase();
    const int64_t count = smaller(V::lanes, ow - x);
    const T* from = padded + x;
    if constexpr (STRIDE == 1) {
      V acc[K];
#pragma GCC unroll 7
      for (int i = 0; i < K; ++i) acc[i] = start;
      for (int64_t y = 1 - K; y < rows; ++y, from += row) {
#pragma GCC unroll 7
        for (int kx = 0; kx < K; ++kx) {
          const V value = V::load(from + kx);
#pragma GCC unroll 7
          for (int i = 0; i < K; ++i) acc[i] = fma(w[(K - 1 - i) * K + kx], value, acc[i]);
        }
        if (y >= 0) writer.store(acc[0], y * ow + x, count);
#pragma GCC unroll 7
        for (int i = 0; i + 1 < K; ++i) acc[i] = acc[i + 1];
        acc[K - 1] = start;
      }
    } else {
      for (int64_t y = 0; y < rows; ++y, from += STRIDE * row) {
        V acc[2] = {start, V::zero()};
#pragma GCC unroll 7
        for (int ky = 0; ky < K; ++ky) {
#pragma GCC unroll 7
          for (int kx = 0; kx < K; ++kx) {
            const V value = V::load(from + kx % 2 * phase + ky * row + kx / 2);
            acc[(ky * K + kx) % 2] = fma(w[ky * K + kx], value, acc[(ky * K + kx) % 2]);
          }
        }
        writer.store(acc[0] + acc[1], y * ow + x, count);
      }
    }
  }

  // The last columns first: what their vectors leave behind a row's end is where the next row
  // begins.
  __attribute__((noinline)) void band(const T* weight, T first, int64_t rows,
                                      const Writer& writer) const {
    for (int64_t x = (s.ow - 1) / V::lanes * V::lanes; x >= 0; x -= V::lanes) {
      column(weight, first, rows, x, writer);
    }
  }

  void plane(const T* src, const T* weight, const Epilogue<T>& epilogue, T* dst) const {
    const bool starts = epilogue.scale == nullptr && epilogue.shift != nullptr;
    const T first = starts ? *epilogue.shift : T{0};
    for (int64_t oy = 0; oy < s.oh; oy += plan.outputs) {
      const int64_t rows = smaller(plan.outputs, s.oh - oy);
      fill(src, oy * STRIDE - s.padding_h);
      band(weight, first, rows, {dst + oy * s.ow, rows * s.ow, epilogue.at(0, oy * s.ow)});
    }
  }
};

template <int K, int STRIDE, class V, class T>
void run_rows(const Run& run, const Conv2dShape& s, const RowsPlan& plan, const T* src,
              const T* weight, const Epilogue<T>& epilogue, T* dst) {
  if (s.oh * s.ow == 0) return;
  const int64_t planes = s.n * s.oc, multiplier = s.oc / s.groups;
  const T* src_end = src + s.n * s.ic * s.ih * s.iw;
  parallel(run, ceil_div(planes, plan.planes_per_task), [&](int64_t task, int slot) {
    T* padded = static_cast<T*>(run.workspace) + slot * plan.size(STRIDE);
    const DepthwiseRows<K, STRIDE, V, T> rows{s, plan, src_end, padded};
    const int64_t first = task * plan.planes_per_task;
    for (int64_t i = first; i < smaller(planes, first + plan.planes_per_task); ++i) {
      const int64_t o = i % s.oc, c = i / s.oc * s.ic + o / multiplier;
      rows.plane(src + c * s.ih * s.iw, weight + o * K * K, epilogue.at(o, i * s.oh * s.ow),
                 dst + i * s.oh * s.ow);
    }
  });
}

template <int K, int STRIDE, class T>
void run_lanes(const Run& run, const Conv2dShape& s, const T* src, const T* weight,
               const Epilogue<T>& epilogue, T* dst) {
  using V = Native<T>;
  const RowsPlan plan(s, V::lanes);
  if constexpr (V::lanes >= 8) {
    if (plan.lanes < V::lanes) {
      return run_rows<K, STRIDE, Vec<T, V::lanes / 2>>(run, s, plan, src, weight, epilogue, dst);
    }
  }
  run_rows<K, STRIDE, V>(run, s, plan, src, weight, epilogue, dst);
}

}  // namespace

bool depthwise_rows_accepts(const Conv2dShape& s) {
  constexpr double widest = 65536;  // elements of a padded row
  return s.ic == s.groups && s.kh == s.kw && (s.kh == 3 || s.kh == 5 || s.kh == 7) &&
         s.stride_h == s.stride_w && s.stride_h <= 2 && s.dilation_h == 1 && s.dilation_w == 1 &&
         static_cast<double>(s.iw) + static_cast<double>(s.padding_w) <= widest;
}

template <class T>
int64_t depthwise_rows_workspace(const Conv2dShape& s, int slots) {
  return slots * RowsPlan(s, Native<T>::lanes).size(s.stride_w) * int64_t{sizeof(T)};
}

template <class T>
void depthwise_rows(const Run& run, const Conv2dShape& s, const T* src, const T* weight,
                    const Epilogue<T>& epilogue, T* dst) {
  switch (2 * s.kh + s.stride_h) {
#define RUSHLIGHT_WINDOW(k, stride) \
  case 2 * k + stride:              \
    return run_lanes<k, stride>(run, s, src, weight, epilogue, dst);
    RUSHLIGHT_WINDOW(3, 1)
    RUSHLIGHT_WINDOW(3, 2)
    RUSHLIGHT_WINDOW(5, 1)
    RUSHLIGHT_WINDOW(5, 2)
    RUSHLIGHT_WINDOW(7, 1)
    RUSHLIGHT_WINDOW(7, 2)
#undef RUSHLIGHT_WINDOW
  }
}

template int64_t depthwise_rows_workspace<float>(const Conv2dShape&, int);
template int64_t depthwise_rows_workspace<double>(const Conv2dShape&, int);
template void depthwise_rows<float>(const Run&, const Conv2dShape&, const float*, const float*,
                                    const Epilogue<float>&, float*);
template void depthwise_rows<double>(const Run&, const Conv2dShape&, const double*, const double*,
                                     const Epilogue<double>&, double*);

}  // namespace rushlight::RUSHLIGHT_ISA
