// What convolutions of few source channels to each output share on blocked images: rows of outputs
// of one block, cut into tiles whose sums fit into the registers.
//
// Nothing is copied: rows of taps outside the image are left out, and tiles at the ends of a row
// take zeros for what lies outside.
#pragma once

#include <stdint.h>

#include "kernels/blocked_conv.h"
#include "kernels/conv2d_window.h"
#include "kernels/epilogue.h"

namespace rushlight::RUSHLIGHT_ISA {

// A task owns a band of rows of one block.
template <class T>
struct RowPlan {
  static constexpr int64_t lanes = Native<T>::lanes;

  int64_t blocks;       // of the output
  int64_t band, bands;  // output rows to a task, from the sizes alone

  explicit RowPlan(const Conv2dShape& s) : blocks(ceil_div(s.oc, lanes)) {
    constexpr int64_t wanted = 64, fewest_pixels = 96;
    const int64_t thin = ceil_div(s.oh * s.n * blocks, wanted);
    bands = even_bands(s.oh, larger(thin, ceil_div(fewest_pixels, s.ow)));
    band = ceil_div(s.oh, bands);
  }
};

// One row of outputs: the rows that its taps see, and where columns stand in them.
template <class T>
struct BlockRow {
  const T* src;     // the first row
  const T* weight;  // its taps
  int64_t rows, row_step, weight_step;
  int64_t width;  // of the image, in pixels
  int64_t x0;     // the column of the first tap of the first output
  int64_t stride, kernel, dilation;
};

// Row `oy` of the outputs of a block; `src` stands at row `top` of the source block, and a row of
// taps has `weight_step` elements of weights.
template <class T>
BlockRow<T> row_of_block(const Conv2dShape& s, const T* src, int64_t top, const T* weight,
                         int64_t weight_step, int64_t oy) {
  constexpr int64_t lanes = Native<T>::lanes;
  const int64_t y0 = source_row(s, oy, 0);
  const Inside taps(y0, s.dilation_h, s.kh, s.ih);
  const int64_t y = y0 + taps.low * s.dilation_h;
  return {src + (y - top) * s.iw * lanes,
          weight + taps.low * weight_step,
          taps.high - taps.low,
          s.dilation_h * s.iw * lanes,
          weight_step,
          s.iw,
          -s.padding_w,
          s.stride_w,
          s.kw,
          s.dilation_w};
}

template <class T, int TILE>
RUSHLIGHT_INLINE void finish_tile(Native<T>* acc, const Epilogue<T>& e, T* dst) {
  using V = Native<T>;
  constexpr int lanes = V::lanes;
  if (e.scale != nullptr || e.shift != nullptr) {
#pragma GCC unroll 8
    for (int t = 0; t < TILE; ++t) acc[t] = scale_and_shift_lanes(acc[t], e);
  }
  if (e.residual != nullptr) {
#pragma GCC unroll 8
    for (int t = 0; t < TILE; ++t) acc[t] += V::load(e.residual + t * lanes);
  }
#pragma GCC unroll 8
  for (int t = 0; t < TILE; ++t) activate(acc[t], e).store(dst + t * lanes);
}

template <int N>
struct Pixels {
  static constexpr int value = N;
};
template <bool IS>
struct Edge {
  static constexpr bool value = IS;
};

// Calls body with the number of pixels, known to the compiler: 8 to 4, or 1.
template <class Body>
RUSHLIGHT_INLINE void with_tile_size(int64_t size, const Body& body) {
  switch (size) {
    case 8:
      return body(Pixels<8>{});
    case 7:
      return body(Pixels<7>{});
    case 6:
      return body(Pixels<6>{});
    case 5:
      return body(Pixels<5>{});
    case 4:
      return body(Pixels<4>{});
    default:
      body(Pixels<1>{});
  }
}

// Calls body(first, Pixels) for tiles of a row, as even as can be.
template <class Body>
RUSHLIGHT_INLINE void for_each_tile(int64_t count, int64_t most, const Body& body) {
  constexpr int64_t fewest = 4;
  int64_t tiles = ceil_div(count, most);
  for (int64_t o = 0; o < count;) {
    const int64_t even =
        tiles > 0 ? ceil_div(count - o, tiles--) : 1;  // what is left, in equal parts
    const int64_t size = even < fewest ? 1 : even;
    with_tile_size(size, [&](auto pixels) { body(o, pixels); });
    o += size;
  }
}

// Calls compute(Pixels, edge, first column of the image, epilogue, dst) for the tiles of a row;
// `edge`, a constant too, says whether some taps lie outside.
template <int MOST, class T, class Compute>
RUSHLIGHT_INLINE void for_each_tile_of_row(const BlockRow<T>& r, const Epilogue<T>& e,
                                           int64_t count, T* dst, const Compute& compute) {
  constexpr int64_t lanes = Native<T>::lanes;
  const int64_t reach = (r.kernel - 1) * r.dilation;
  for_each_tile(count, MOST, [&](int64_t o, auto pixels) {
    constexpr int tile = decltype(pixels)::value;
    const int64_t x = r.x0 + o * r.stride;
    const bool edge = x < 0 || x + (tile - 1) * r.stride + reach >= r.width;
    const Epilogue<T> moved = e.at(0, o * lanes);
    if (edge) {
      compute(pixels, Edge<true>{}, x, moved, dst + o * lanes);
    } else {
      compute(pixels, Edge<false>{}, x, moved, dst + o * lanes);
    }
  });
  e.function(dst, count * lanes);
}

}  // namespace rushlight::RUSHLIGHT_ISA
