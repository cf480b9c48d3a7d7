// The inner loop of convolutions on blocked images: one or two blocks of output channels, the
// lanes, times a tile of neighbouring pixels, all in registers. A weight vector is loaded once for
// the tile, a source value once for the blocks.
#pragma once

#include <stdint.h>

#include "kernels/epilogue.h"
#include "kernels/integers.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

template <class T>
struct TileArguments {
  const T* src;     // the first tap of the first pixel
  const T* weight;  // [source blocks][taps][channels][output blocks][lanes]
  int64_t src_blocks, src_block_step;
  int last_channels;          // of the last source block
  const int64_t* tap_offset;  // in src
  int taps;
  int64_t weight_skip;  // elements behind the taps of a source block: those of taps left out
  int64_t pixel_step;   // in src
  int64_t count;        // of tiles, one behind the other
  T* dst;
  int64_t dst_block_step;
  bool add;                     // to what stands in dst
  const Epilogue<T>* epilogue;  // null: what is stored are sums
  // Weights that later tiles read, to be fetched into the second-level cache: every channel of a
  // tile goes so many elements on.
  const T* ahead;
  int64_t ahead_step;
};

// How the weights that follow are fetched by the tiles that use these: those that few pixels use
// come from memory faster than the prefetchers of the machine bring them.
template <class T>
class Ahead {
 public:
  // `width` are the weights of one channel and tap, `all` those of the convolution.
  Ahead(int64_t tiles, int64_t width, int64_t all) : width_(width), step_(0) {
    constexpr int64_t few_tiles = 16, in_cache = (int64_t{1} << 20) / int64_t{sizeof(T)};
    if (tiles <= few_tiles && all > in_cache) step_ = ceil_div(width, tiles);
  }
  // Sets what tiles from number `tile` on fetch of the `channels` times taps that follow.
  void set(TileArguments<T>& a, int64_t channels, int64_t tile) const {
    a.ahead = a.weight + channels * width_;
    a.ahead_step = step_;
    if (step_ > 0) a.ahead += tile * channels * step_;
  }

 private:
  int64_t width_, step_;
};

// Pixels of a tile, most first, such that accumulators, weights and a source value fill the
// registers; and what is left of a row.
#if RUSHLIGHT_VECTOR_BYTES == 64
inline constexpr int kTileSizes[] = {14, 12, 10, 8, 7, 4, 2, 1};
#else
inline constexpr int kTileSizes[] = {6, 5, 4, 3, 2, 1};
#endif
inline constexpr int kTileKinds = sizeof(kTileSizes) / sizeof(int);
inline constexpr int kLargestTile = kTileSizes[0];

// The sums of a tile's pixels, in registers.
template <int BLOCKS, int TILE, class V>
using TileSums = V[BLOCKS][TILE];

// The sums of the tile whose first pixel stands at `src`; `ahead` moves on by what it fetched.
// A source value vanishes into the loads of its users, or is loaded once: the compiler chooses.
// HALF says that half of the last block is empty: its sums then take half a vector, which machines
// that have no units as wide as their vectors add twice as fast.
template <class T, int BLOCKS, int TILE, int CHANNELS, int STEP, bool HALF>
RUSHLIGHT_INLINE void sum_pixels(const TileArguments<T>& a, const T* src,
                                 [[maybe_unused]] const T*& ahead,
                                 TileSums<BLOCKS, TILE, Native<T>>& acc) {
  using V = Native<T>;
  using Half = Vec<T, (V::lanes > 1 ? V::lanes / 2 : 1)>;
  constexpr int whole = HALF ? BLOCKS - 1 : BLOCKS;
  constexpr int lanes = V::lanes;
  const int64_t step = STEP > 0 ? STEP * CHANNELS : a.pixel_step;
#pragma GCC unroll 2
  for (int r = 0; r < BLOCKS; ++r) {
#pragma GCC unroll 16
    for (int t = 0; t < TILE; ++t) acc[r][t] = V::zero();
  }
  [[maybe_unused]] Half part[TILE];
#pragma GCC unroll 16
  for (int t = 0; t < TILE; ++t) part[t] = Half::zero();
  const T* w = a.weight;
  for (int64_t b = 0; b < a.src_blocks; ++b) {
    const T* block = src + b * a.src_block_step;
    const int channels = CHANNELS == 1 || b + 1 < a.src_blocks ? CHANNELS : a.last_channels;
    for (int tap = 0; tap < a.taps; ++tap) {
      const T* p = block + a.tap_offset[tap];
      for (int i = 0; i < channels; ++i, w += BLOCKS * lanes) {
        if constexpr (CHANNELS > 1) {
          // The next block of channels lies a plane away, where no machine looks for it; with
          // shorter vectors there is no time for one more instruction.
          if constexpr (RUSHLIGHT_VECTOR_BYTES == 64) {
            __builtin_prefetch(p + a.src_block_step + i * step);
          }
          __builtin_prefetch(ahead, 0, 2);
          ahead += a.ahead_step;
        }
        V weight[BLOCKS];
#pragma GCC unroll 2
        for (int r = 0; r < whole; ++r) weight[r] = V::load(w + r * lanes);
        [[maybe_unused]] Half rest;
        if constexpr (HALF) rest = Half::load(w + whole * lanes);
#pragma GCC unroll 16
        for (int t = 0; t < TILE; ++t) {
          const V x = V::broadcast(p[t * step + i]);
#pragma GCC unroll 2
          for (int r = 0; r < whole; ++r) acc[r][t] = fma(weight[r], x, acc[r][t]);
          if constexpr (HALF) {
            part[t] = fma(rest, Half::broadcast(p[t * step + i]), part[t]);
          }
        }
      }
    }
    w += a.weight_skip;
  }
  if constexpr (HALF) {
#pragma GCC unroll 16
    for (int t = 0; t < TILE; ++t) acc[whole][t] = widened<V>(part[t]);
  }
}

// Stores the sums of the tile that lies `at` elements behind the first, with what stands behind
// them.
template <class T, int BLOCKS, int TILE>
RUSHLIGHT_INLINE void store_pixels(const TileArguments<T>& a, int64_t at,
                                   TileSums<BLOCKS, TILE, Native<T>>& acc) {
  using V = Native<T>;
  constexpr int lanes = V::lanes;
  T* const dst = a.dst + at;
  if (a.add) {  // after the sum and not before: many short sums are more exact than a long one
#pragma GCC unroll 2
    for (int r = 0; r < BLOCKS; ++r) {
#pragma GCC unroll 16
      for (int t = 0; t < TILE; ++t) {
        acc[r][t] += V::load(dst + r * a.dst_block_step + t * lanes);
      }
    }
  }
  const Epilogue<T>* e = a.epilogue;
#pragma GCC unroll 2
  for (int r = 0; r < BLOCKS; ++r) {
    T* to = dst + r * a.dst_block_step;
    if (e == nullptr) {
#pragma GCC unroll 16
      for (int t = 0; t < TILE; ++t) acc[r][t].store(to + t * lanes);
      continue;
    }
    if (e->scale != nullptr || e->shift != nullptr) {
      const auto load = [&](const T* values) { return V::load(values + r * lanes); };
#pragma GCC unroll 16
      for (int t = 0; t < TILE; ++t) acc[r][t] = scale_and_shift(acc[r][t], *e, load);
    }
    if (e->residual != nullptr) {
      const T* residual = e->residual + at + r * a.dst_block_step;
#pragma GCC unroll 16
      for (int t = 0; t < TILE; ++t) acc[r][t] += V::load(residual + t * lanes);
    }
#pragma GCC unroll 16
    for (int t = 0; t < TILE; ++t) activate(acc[r][t], *e).store(to + t * lanes);
    e->function(to, TILE * lanes);
  }
}

// One call for many tiles: for few channels, calls would take a good part of the time.
template <class T, int BLOCKS, int TILE, int CHANNELS, int STEP, bool HALF>
void multiply_pixels(const TileArguments<T>& a) {
  const int64_t step = STEP > 0 ? STEP * CHANNELS : a.pixel_step;
  const T* src = a.src;
  const T* ahead = a.ahead;
  for (int64_t i = 0; i < a.count; ++i, src += TILE * step) {
    TileSums<BLOCKS, TILE, Native<T>> acc;
    sum_pixels<T, BLOCKS, TILE, CHANNELS, STEP, HALF>(a, src, ahead, acc);
    store_pixels<T, BLOCKS, TILE>(a, i * TILE * Native<T>::lanes, acc);
  }
}

template <class T>
using TileKernel = void (*)(const TileArguments<T>&);

// The kernels for the tile sizes, in their order.
template <class T, int BLOCKS, int CHANNELS, int STEP, bool HALF = false>
const TileKernel<T>* tile_kernels() {
#define RUSHLIGHT_TILE(n) multiply_pixels<T, BLOCKS, n, CHANNELS, STEP, HALF>
#if RUSHLIGHT_VECTOR_BYTES == 64
  static constexpr TileKernel<T> kernels[] = {
      RUSHLIGHT_TILE(14), RUSHLIGHT_TILE(12), RUSHLIGHT_TILE(10), RUSHLIGHT_TILE(8),
      RUSHLIGHT_TILE(7),  RUSHLIGHT_TILE(4),  RUSHLIGHT_TILE(2),  RUSHLIGHT_TILE(1)};
#else
  static constexpr TileKernel<T> kernels[] = {RUSHLIGHT_TILE(6), RUSHLIGHT_TILE(5),
                                              RUSHLIGHT_TILE(4), RUSHLIGHT_TILE(3),
                                              RUSHLIGHT_TILE(2), RUSHLIGHT_TILE(1)};
#endif
#undef RUSHLIGHT_TILE
  static_assert(sizeof(kernels) / sizeof(kernels[0]) == kTileKinds);
  return kernels;
}

// How few pixels are cut into tiles, for every number of them.
struct TileCuts {
  static constexpr int most = 2 * kLargestTile;
  int count[most] = {}, kinds[most][4] = {};

  constexpr TileCuts() {
    // cost[n]: about the cycles per weight of n pixels, small tiles wait for their sums
    int cost[most] = {}, first[most] = {};
    for (int n = 1; n < most; ++n) {
      cost[n] = 1 << 20;
      for (int kind = 0; kind < kTileKinds; ++kind) {
        const int size = kTileSizes[kind];
        if (size > n) continue;
        const int with = cost[n - size] + 1 + 4 * (size < 4 ? 4 : size);
        if (with < cost[n]) cost[n] = with, first[n] = kind;
      }
      for (int left = n; left > 0; left -= kTileSizes[first[left]]) {
        kinds[n][count[n]++] = first[left];
      }
    }
  }
};
inline constexpr TileCuts kTileCuts;

// A run of pixels cut into tiles: as many of the largest as leave a rest that is cut well.
struct TileCut {
  int64_t largest;
  int rest_count;
  const int* rest;  // kinds

  explicit TileCut(int64_t pixels) {
    largest = pixels < TileCuts::most ? 0 : (pixels - kLargestTile) / kLargestTile;
    const int64_t left = pixels - largest * kLargestTile;
    rest_count = kTileCuts.count[left];
    rest = kTileCuts.kinds[left];
  }

  int64_t tiles() const { return largest + rest_count; }

  // Calls body(kind, first pixel, count) for tiles of one size that follow one another.
  template <class Body>
  RUSHLIGHT_INLINE void for_each(const Body& body) const {
    int64_t at = 0, count = largest;
    int kind = 0;
    for (int i = 0; i < rest_count; ++i) {
      if (rest[i] != kind) {
        if (count > 0) body(kind, at, count);
        at += count * kTileSizes[kind];
        kind = rest[i];
        count = 0;
      }
      ++count;
    }
    if (count > 0) body(kind, at, count);
  }
};

}  // namespace rushlight::RUSHLIGHT_ISA
