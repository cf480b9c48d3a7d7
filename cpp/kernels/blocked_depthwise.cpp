// Depthwise convolutions on blocked images: a vector holds one pixel of as many channels as it has
// lanes, and every product is a vector times a vector. A task owns a band of rows of one block, and
// bands come before blocks: so a thread reads mostly rows that it has written (see
// thread_pool.cpp).
#include "kernels/blocked_layout.h"
#include "kernels/blocked_rows.h"
#include "kernels/red_zone.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

// The pixels that a tile's taps see in one row, each of them loaded once. KERNEL neighbouring taps.
template <class T, int TILE, int KERNEL, int STRIDE, bool EDGE>
RUSHLIGHT_INLINE void add_taps(const BlockRow<T>& r, const T* row, int64_t x, const T* weight,
                               Native<T>* acc) {
  using V = Native<T>;
  constexpr int lanes = V::lanes, seen = (TILE - 1) * STRIDE + KERNEL;
  const T* from = row + x * lanes;  // may lie outside the image
  V value[seen];
#pragma GCC unroll 32
  for (int i = 0; i < seen; ++i) {
    const bool inside = !EDGE || (x + i >= 0 && x + i < r.width);
    value[i] = inside ? loaded_once(V::load(from + i * lanes)) : V::zero();
  }
#pragma GCC unroll 8
  for (int kx = 0; kx < KERNEL; ++kx) {
    const V w = V::load(weight + kx * lanes);
#pragma GCC unroll 8
    for (int t = 0; t < TILE; ++t) acc[t] = fma(w, value[t * STRIDE + kx], acc[t]);
  }
}

// The same for any kernel.
template <class T, int TILE, bool EDGE>
RUSHLIGHT_INLINE void add_any_taps(const BlockRow<T>& r, const T* row, int64_t x, const T* weight,
                                   Native<T>* acc) {
  using V = Native<T>;
  constexpr int lanes = V::lanes;
  for (int64_t kx = 0; kx < r.kernel; ++kx, x += r.dilation) {
    const V w = V::load(weight + kx * lanes);
#pragma GCC unroll 8
    for (int t = 0; t < TILE; ++t) {
      const int64_t at = x + t * r.stride;
      if (EDGE && (at < 0 || at >= r.width)) continue;
      acc[t] = fma(w, V::load(row + at * lanes), acc[t]);
    }
  }
}

// TILE neighbouring outputs. KERNEL is 0 where it, the stride or a dilation is not known here.
template <class T, int TILE, int KERNEL, int STRIDE, bool EDGE>
RUSHLIGHT_INLINE void depthwise_tile(const BlockRow<T>& r, int64_t x, const Epilogue<T>& e,
                                     T* dst) {
  using V = Native<T>;
  V acc[TILE];
#pragma GCC unroll 8
  for (int t = 0; t < TILE; ++t) acc[t] = V::zero();
  const T* row = r.src;
  const T* weight = r.weight;
  for (int64_t ky = 0; ky < r.rows; ++ky, row += r.row_step, weight += r.weight_step) {
    if constexpr (KERNEL > 0) {
      add_taps<T, TILE, KERNEL, STRIDE, EDGE>(r, row, x, weight, acc);
    } else {
      add_any_taps<T, TILE, EDGE>(r, row, x, weight, acc);
    }
  }
  finish_tile<T, TILE>(acc, e, dst);
}

template <class T, int KERNEL, int STRIDE>
void depthwise_row(const BlockRow<T>& r, const Epilogue<T>& e, int64_t count, T* dst) {
  constexpr int most = STRIDE == 1 ? 8 : 6;
  for_each_tile_of_row<most>(
      r, e, count, dst, [&](auto pixels, auto edge, int64_t x, const Epilogue<T>& moved, T* to) {
        constexpr int tile = decltype(pixels)::value;
        depthwise_tile<T, tile, KERNEL, STRIDE, decltype(edge)::value>(r, x, moved, to);
      });
}

// Two rows of outputs of 3x3 taps, without strides or dilation: what both read is loaded once.
template <class T>
struct DepthwiseTwoRows {
  const T* rows[4];  // null outside the image
  const T* weight;
  int64_t width, x0;
};

template <class T, int TILE, bool EDGE>
RUSHLIGHT_INLINE void depthwise_two_tiles(const DepthwiseTwoRows<T>& r, int64_t x,
                                          Native<T> (*acc)[TILE]) {
  using V = Native<T>;
  constexpr int lanes = V::lanes, seen = TILE + 2;
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    if (r.rows[k] == nullptr) continue;
    const T* from = r.rows[k] + x * lanes;  // may lie outside the image
    V value[seen];
#pragma GCC unroll 16
    for (int i = 0; i < seen; ++i) {
      const bool inside = !EDGE || (x + i >= 0 && x + i < r.width);
      value[i] = inside ? loaded_once(V::load(from + i * lanes)) : V::zero();
    }
#pragma GCC unroll 2
    for (int row = 0; row < 2; ++row) {
      const int ky = k - row;
      if (ky < 0 || ky > 2) continue;
#pragma GCC unroll 3
      for (int kx = 0; kx < 3; ++kx) {
        const V w = V::load(r.weight + (ky * 3 + kx) * lanes);
#pragma GCC unroll 8
        for (int t = 0; t < TILE; ++t) acc[row][t] = fma(w, value[t + kx], acc[row][t]);
      }
    }
  }
}

template <class T>
void depthwise_two_rows(const DepthwiseTwoRows<T>& r, const Epilogue<T>& e, int64_t count, T* dst) {
  using V = Native<T>;
  constexpr int64_t lanes = V::lanes, most = 8;
  for_each_tile(count, most, [&](int64_t o, auto pixels) {
    constexpr int tile = decltype(pixels)::value;
    const int64_t x = r.x0 + o;
    V acc[2][tile];
#pragma GCC unroll 8
    for (int t = 0; t < tile; ++t) acc[0][t] = acc[1][t] = V::zero();
    if (x < 0 || x + tile + 1 >= r.width) {
      depthwise_two_tiles<T, tile, true>(r, x, acc);
    } else {
      depthwise_two_tiles<T, tile, false>(r, x, acc);
    }
    const int64_t below = (count + o) * lanes;
    finish_tile<T, tile>(acc[0], e.at(0, o * lanes), dst + o * lanes);
    finish_tile<T, tile>(acc[1], e.at(0, below), dst + below);
  });
  e.function(dst, 2 * count * lanes);
}

// Enough registers for two rows.
template <class T>
bool takes_two_rows(const Conv2dShape& s) {
  return RUSHLIGHT_VECTOR_BYTES == 64 && s.kh == 3 && s.kw == 3 && s.stride_h == 1 &&
         s.stride_w == 1 && s.dilation_h == 1 && s.dilation_w == 1;
}

template <class T>
using RowKernel = void (*)(const BlockRow<T>&, const Epilogue<T>&, int64_t, T*);

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

}  // namespace

template <class T>
int64_t blocked_depthwise_weights(const Conv2dShape& s) {
  return round_up(s.ic, Native<T>::lanes) * s.kh * s.kw;
}

template <class T>
void blocked_depthwise_prepare(const Conv2dShape& s, const T* weight, bool rotated, T* to) {
  constexpr int64_t lanes = Native<T>::lanes;
  const int64_t taps = s.kh * s.kw;
  for (int64_t c = 0; c < round_up(s.ic, lanes); ++c) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      const int64_t from = c * taps + (rotated ? taps - 1 - tap : tap);
      to[(c / lanes * taps + tap) * lanes + c % lanes] = c < s.ic ? weight[from] : T(0);
    }
  }
}

template <class T>
void blocked_depthwise_rows(const Conv2dShape& s, const T* src, int64_t top, const T* weight,
                            const Epilogue<T>& epilogue, int64_t first, int64_t end, T* dst) {
  constexpr int64_t lanes = Native<T>::lanes;
  const RowKernel<T> kernel = row_kernel<T>(s);
  int64_t oy = first;
  for (; takes_two_rows<T>(s) && oy + 2 <= end; oy += 2) {
    DepthwiseTwoRows<T> rows{{}, weight, s.iw, -s.padding_w};
    for (int k = 0; k < 4; ++k) {
      const int64_t y = source_row(s, oy, k);
      if (y >= 0 && y < s.ih) rows.rows[k] = src + (y - top) * s.iw * lanes;
    }
    const int64_t at = (oy - first) * s.ow * lanes;
    depthwise_two_rows(rows, epilogue.at(0, at), s.ow, dst + at);
  }
  for (; oy < end; ++oy) {
    const BlockRow<T> row = row_of_block(s, src, top, weight, s.kw * lanes, oy);
    const int64_t at = (oy - first) * s.ow * lanes;
    kernel(row, epilogue.at(0, at), s.ow, dst + at);
  }
}

template <class T>
void blocked_depthwise(const Run& run, const Conv2dShape& s, const T* src, const T* prepared,
                       const Epilogue<T>& epilogue, T* dst) {
  const RowPlan<T> plan(s);
  constexpr int64_t lanes = RowPlan<T>::lanes;
  parallel(run, s.n * plan.blocks * plan.bands, [&](int64_t task, int) {
    const int64_t block = task % plan.blocks, band = task / plan.blocks % plan.bands;
    const int64_t plane = task / (plan.blocks * plan.bands) * plan.blocks + block;
    const int64_t first = band * plan.band, end = smaller(s.oh, first + plan.band);
    const int64_t at = (plane * s.oh + first) * s.ow * lanes;
    blocked_depthwise_rows(s, src + plane * s.ih * s.iw * lanes, 0,
                           prepared + block * s.kh * s.kw * lanes, epilogue.at(block * lanes, at),
                           first, end, dst + at);
  });
}

namespace {

// How images are cut that are plain before and behind: a task takes a band of rows of a block
// there and back, so that what lies in blocks stays in the caches of one processor.
template <class T>
struct PlainPlan {
  static constexpr int64_t lanes = Native<T>::lanes;

  int64_t blocks, band, bands;
  int64_t src_size, dst_size;  // of a band

  explicit PlainPlan(const Conv2dShape& s) : blocks(ceil_div(s.ic, lanes)) {
    constexpr int64_t budget = 65536 / int64_t{sizeof(T)};
    const int64_t reach = (s.kh - 1) * s.dilation_h + 1, rows = budget / (s.iw * lanes);
    const int64_t fitting = larger(2 * reach, rows - reach) / s.stride_h;
    bands = even_bands(s.oh, larger(1, fitting));
    band = ceil_div(s.oh, bands);
    src_size = smaller(s.ih, (band - 1) * s.stride_h + reach) * s.iw * lanes;
    dst_size = band * s.ow * lanes;
  }
};

}  // namespace

template <class T>
int64_t blocked_depthwise_plain_workspace(const Conv2dShape& s, int slots) {
  const PlainPlan<T> plan(s);
  return slots * (plan.src_size + plan.dst_size + 2 * red_zone<T>);
}

template <class T>
void blocked_depthwise_plain(const Run& run, const Conv2dShape& s, const T* src, const T* prepared,
                             const Epilogue<T>& epilogue, T* dst) {
  const PlainPlan<T> plan(s);
  constexpr int64_t lanes = PlainPlan<T>::lanes;
  T* sources = static_cast<T*>(run.workspace);
  T* results = sources + run.slots * (plan.src_size + red_zone<T>);
  parallel(run, s.n * plan.blocks * plan.bands, [&](int64_t task, int slot) {
    const int64_t band = task % plan.bands, plane = task / plan.bands;
    const int64_t block = plane % plan.blocks, image = plane / plan.blocks;
    const int64_t first = band * plan.band, end = smaller(s.oh, first + plan.band);
    if (first >= end) return;
    const int64_t top = larger(0, source_row(s, first, 0));
    const int64_t rows = smaller(s.ih, source_row(s, end - 1, s.kh - 1) + 1) - top;
    const int64_t c = block * lanes, channels = smaller(lanes, s.ic - c);
    T* from = slot_region(sources, plan.src_size, slot);
    T* to = slot_region(results, plan.dst_size, slot);
    turn_all_to_pixels(src + ((image * s.ic + c) * s.ih + top) * s.iw, s.ih * s.iw, channels,
                       larger(0, rows) * s.iw, from);
    blocked_depthwise_rows(s, from, top, prepared + block * s.kh * s.kw * lanes, epilogue.at(c, 0),
                           first, end, to);
    turn_all_to_rows(to, (end - first) * s.ow, channels,
                     dst + ((image * s.ic + c) * s.oh + first) * s.ow, s.oh * s.ow);
  });
}

#define RUSHLIGHT_BLOCKED_DEPTHWISE(T)                                                            \
  template int64_t blocked_depthwise_weights<T>(const Conv2dShape& s);                            \
  template void blocked_depthwise_prepare<T>(const Conv2dShape& s, const T* weight, bool rotated, \
                                             T* to);                                              \
  template void blocked_depthwise<T>(const Run& run, const Conv2dShape& s, const T* src,          \
                                     const T* prepared, const Epilogue<T>& epilogue, T* dst);     \
  template int64_t blocked_depthwise_plain_workspace<T>(const Conv2dShape& s, int slots);         \
  template void blocked_depthwise_plain<T>(const Run& run, const Conv2dShape& s, const T* src,    \
                                           const T* prepared, const Epilogue<T>& epilogue,        \
                                           T* dst);                                               \
  template void blocked_depthwise_rows<T>(const Conv2dShape& s, const T* src, int64_t top,        \
                                          const T* weight, const Epilogue<T>& epilogue,           \
                                          int64_t first, int64_t end, T* dst);
RUSHLIGHT_BLOCKED_DEPTHWISE(float)
RUSHLIGHT_BLOCKED_DEPTHWISE(double)

}  // namespace rushlight::RUSHLIGHT_ISA
