// A few rows times a small packed weight. The rows are read as they lie and the panels of the
// weight once for all of them: of a product this small, packing rows is a good part.
#pragma once

#include <stdint.h>

#include "kernels/blocked_tile.h"
#include "kernels/gemm.h"

namespace rushlight::RUSHLIGHT_ISA {

constexpr int64_t kMostTileRows = 2 * kLargestTile;

template <class T>
struct RowsByPanels {
  const T* src;
  const T* packed;  // as gemm packs B
  int64_t rows, n, k;

  // sums: [vectors of the panel][rows][lanes]. The same additions in the same order as in gemm.
  void multiply(int64_t panel, T* sums) const {
    constexpr int64_t no_offset = 0;
    constexpr int lanes = Native<T>::lanes;
    const TileKernel<T>* kernels = tile_kernels<T, tile_vectors, lanes, 0>();
    const TileCut cut(rows);
    const int64_t kc_step = block_k(k);
    for (int64_t k0 = 0; k0 < k; k0 += kc_step) {
      const int64_t kc = smaller(kc_step, k - k0);
      TileArguments<T> tile{};
      tile.weight = packed + k0 * round_up(n, tile_cols<T>) + panel * tile_cols<T> * kc;
      tile.ahead = tile.weight;
      tile.src_blocks = 1;
      tile.last_channels = static_cast<int>(kc);
      tile.tap_offset = &no_offset;
      tile.taps = 1;
      tile.pixel_step = k;
      tile.dst_block_step = rows * lanes;
      tile.add = k0 > 0;
      cut.for_each([&](int kind, int64_t row, int64_t count) {
        tile.src = src + row * k + k0;
        tile.count = count;
        tile.dst = sums + row * lanes;
        kernels[kind](tile);
      });
    }
  }

  // Calls store(row, column, sums, count) with runs of neighbouring columns of a panel.
  template <class Store>
  void compute(int64_t panel, const Store& store) const {
    constexpr int lanes = Native<T>::lanes;
    T sums[kMostTileRows * tile_cols<T>];
    multiply(panel, sums);
    const T* run = sums;
    for (int v = 0; v < tile_vectors; ++v) {
      const int64_t column = panel * tile_cols<T> + v * lanes;
      const int64_t count = smaller(lanes, n - column);
      if (count <= 0) return;
      for (int64_t row = 0; row < rows; ++row, run += lanes) store(row, column, run, count);
    }
  }
};

}  // namespace rushlight::RUSHLIGHT_ISA
