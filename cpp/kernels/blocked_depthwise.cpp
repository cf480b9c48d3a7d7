// Depthwise convolutions on blocked images: a vector holds one pixel of as many channels as it has
// lanes, and every product is a vector times a vector. A task owns a band of rows of one block,
// which it copies with zeros around it where the image is padded.
#include "kernels/blocked_conv.h"
#include "kernels/blocked_tile.h"
#include "kernels/conv2d_window.h"
#include "kernels/packers.h"
#include "kernels/red_zone.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

template <class T>
struct DepthwisePlan {
  static constexpr int64_t lanes = Native<T>::lanes;

  const Conv2dShape& s;
  int64_t blocks;
  bool copies;
  int64_t width;  // of a row that is read, in pixels
  int64_t band, bands;

  explicit DepthwisePlan(const Conv2dShape& s) : s(s), blocks(ceil_div(s.ic, lanes)) {
    copies = s.padding_h > 0 || s.padding_w > 0;
    width = copies ? (s.ow - 1) * s.stride_w + (s.kw - 1) * s.dilation_w + 1 : s.iw;
    constexpr int64_t budget = 32768 / int64_t{sizeof(T)};  // of a first-level cache
    const int64_t fitting = budget / (width * lanes) - (s.kh - 1) * s.dilation_h - 1;
    band = smaller(s.oh, larger(4, fitting / s.stride_h + 1));
    bands = ceil_div(s.oh, band);
    band = ceil_div(s.oh, bands);
  }

  int64_t band_rows() const { return (band - 1) * s.stride_h + (s.kh - 1) * s.dilation_h + 1; }
  int64_t buffer() const { return copies ? band_rows() * width * lanes : 0; }
};

// Where a row of outputs reads.
struct RowSteps {
  int64_t kh, kw;
  int64_t row, col, pixel;  // elements from tap to tap and from output to output
};

// TILE neighbouring outputs of one row. KERNEL and STRIDE are 0 where they are not known here; a
// known kernel's columns are neighbours, and a value that several outputs read is loaded once.
template <class T, int TILE, int KERNEL, int STRIDE>
RUSHLIGHT_INLINE void depthwise_tile(const RowSteps& steps, const T* src, const T* weight,
                                     const Epilogue<T>& e, T* dst) {
  using V = Native<T>;
  constexpr int lanes = V::lanes;
  const int64_t pixel = STRIDE > 0 ? STRIDE * lanes : steps.pixel;
  V acc[TILE];
#pragma GCC unroll 8
  for (int t = 0; t < TILE; ++t) acc[t] = V::zero();
  for (int64_t ky = 0; ky < steps.kh; ++ky) {
    const T* row = src + ky * steps.row;
    if constexpr (KERNEL > 0) {
#pragma GCC unroll 8
      for (int kx = 0; kx < KERNEL; ++kx, weight += lanes) {
        const V w = V::load(weight);
#pragma GCC unroll 8
        for (int t = 0; t < TILE; ++t) {
          acc[t] = fma(w, V::load(row + kx * lanes + t * pixel), acc[t]);
        }
      }
    } else {
      for (int64_t kx = 0; kx < steps.kw; ++kx, weight += lanes) {
        const V w = V::load(weight);
#pragma GCC unroll 8
        for (int t = 0; t < TILE; ++t) {
          acc[t] = fma(w, V::load(row + kx * steps.col + t * pixel), acc[t]);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < TILE; ++t) {
    V x = acc[t];
    if (e.scale != nullptr) x = x * V::load(e.scale);
    if (e.shift != nullptr) x += V::load(e.shift);
    if (e.residual != nullptr) x += V::load(e.residual + t * lanes);
    activate(x, e).store(dst + t * lanes);
  }
}

template <int N>
struct Pixels {
  static constexpr int value = N;
};

template <class T, int KERNEL, int STRIDE>
void depthwise_row(const RowSteps& steps, const T* src, const T* weight, const Epilogue<T>& e,
                   int64_t count, T* dst) {
  constexpr int lanes = Native<T>::lanes, most = 8;
  int64_t x = 0;
  const auto tile = [&](auto size) {
    depthwise_tile<T, decltype(size)::value, KERNEL, STRIDE>(steps, src + x * steps.pixel, weight,
                                                             e.at(0, x * lanes), dst + x * lanes);
    x += decltype(size)::value;
  };
  while (count - x >= most) tile(Pixels<most>{});
  if (count - x == 7) tile(Pixels<7>{});
  if (count - x >= 4) tile(Pixels<4>{});
  while (x < count) tile(Pixels<1>{});
  e.function(dst, count * lanes);
}

template <class T>
using RowKernel = void (*)(const RowSteps&, const T*, const T*, const Epilogue<T>&, int64_t, T*);

template <class T>
RowKernel<T> row_kernel(const Conv2dShape& s) {
  if (s.dilation_w == 1 && s.kw == 3) {
    if (s.stride_w == 1) return depthwise_row<T, 3, 1>;
    if (s.stride_w == 2) return depthwise_row<T, 3, 2>;
  }
  if (s.dilation_w == 1 && s.kw == 5) {
    if (s.stride_w == 1) return depthwise_row<T, 5, 1>;
    if (s.stride_w == 2) return depthwise_row<T, 5, 2>;
  }
  return depthwise_row<T, 0, 0>;
}

template <class T>
void fill_rows(const DepthwisePlan<T>& plan, const T* block, int64_t oy, T* to) {
  const Conv2dShape& s = plan.s;
  constexpr int64_t lanes = DepthwisePlan<T>::lanes;
  const Inside in(-s.padding_w, 1, plan.width, s.iw);
  const int64_t y0 = source_row(s, oy, 0);
  for (int64_t y = y0; y < y0 + plan.band_rows(); ++y, to += plan.width * lanes) {
    if (y < 0 || y >= s.ih) {
      zero_run(to, plan.width * lanes);
      continue;
    }
    zero_run(to, in.low * lanes);
    copy_run(to + in.low * lanes, block + (y * s.iw + in.low - s.padding_w) * lanes,
             (in.high - in.low) * lanes);
    zero_run(to + in.high * lanes, (plan.width - in.high) * lanes);
  }
}

}  // namespace

template <class T>
int64_t blocked_depthwise_weights(const Conv2dShape& s) {
  return round_up(s.ic, Native<T>::lanes) * s.kh * s.kw;
}

template <class T>
void blocked_depthwise_prepare(const Conv2dShape& s, const T* weight, T* to) {
  constexpr int64_t lanes = Native<T>::lanes;
  const int64_t taps = s.kh * s.kw;
  for (int64_t c = 0; c < round_up(s.ic, lanes); ++c) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      to[(c / lanes * taps + tap) * lanes + c % lanes] = c < s.ic ? weight[c * taps + tap] : T(0);
    }
  }
}

template <class T>
int64_t blocked_depthwise_workspace(const Conv2dShape& s, int slots) {
  return slots * (DepthwisePlan<T>(s).buffer() + red_zone<T>);
}

template <class T>
void blocked_depthwise(const Run& run, const Conv2dShape& s, const T* src, const T* prepared,
                       const Epilogue<T>& epilogue, T* dst) {
  const DepthwisePlan<T> plan(s);
  constexpr int64_t lanes = DepthwisePlan<T>::lanes;
  const RowKernel<T> kernel = row_kernel<T>(s);
  const RowSteps steps{s.kh, s.kw, s.dilation_h * plan.width * lanes, s.dilation_w * lanes,
                       s.stride_w * lanes};
  parallel(run, s.n * plan.blocks * plan.bands, [&](int64_t task, int slot) {
    const int64_t band = task % plan.bands, plane = task / plan.bands;
    const int64_t block = plane % plan.blocks;
    const int64_t oy = band * plan.band, rows = smaller(plan.band, s.oh - oy);
    const T* from = src + plane * s.ih * s.iw * lanes;
    if (plan.copies) {
      T* buffer = slot_region(static_cast<T*>(run.workspace), plan.buffer(), slot);
      fill_rows(plan, from, oy, buffer);
      from = buffer;
    } else {
      from += oy * s.stride_h * s.iw * lanes;
    }
    const T* weight = prepared + block * s.kh * s.kw * lanes;
    for (int64_t y = 0; y < rows; ++y) {
      const int64_t at = ((plane * s.oh + oy + y) * s.ow) * lanes;
      kernel(steps, from + y * s.stride_h * plan.width * lanes, weight,
             epilogue.at(block * lanes, at), s.ow, dst + at);
    }
  });
}

#define RUSHLIGHT_BLOCKED_DEPTHWISE(T)                                                      \
  template int64_t blocked_depthwise_weights<T>(const Conv2dShape& s);                      \
  template void blocked_depthwise_prepare<T>(const Conv2dShape& s, const T* weight, T* to); \
  template int64_t blocked_depthwise_workspace<T>(const Conv2dShape& s, int slots);         \
  template void blocked_depthwise<T>(const Run& run, const Conv2dShape& s, const T* src,    \
                                     const T* prepared, const Epilogue<T>& epilogue, T* dst);
RUSHLIGHT_BLOCKED_DEPTHWISE(float)
RUSHLIGHT_BLOCKED_DEPTHWISE(double)

}  // namespace rushlight::RUSHLIGHT_ISA
