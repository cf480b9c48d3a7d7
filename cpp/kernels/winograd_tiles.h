// Between the images and the panels of Winograd's products: tiles are counted over all images, row
// by row, and vectors hold neighbouring tiles of one row.
#pragma once

#include <stdint.h>

#include "kernels/integers.h"
#include "kernels/packers.h"
#include "kernels/winograd.h"
#include "kernels/winograd_transforms.h"

namespace rushlight::RUSHLIGHT_ISA {

// Neighbouring tiles of one row of tiles.
struct TileRun {
  int64_t image, ty, tx, count;
};

// Calls body(run, offset) for the runs, each of at most `longest` tiles, that make up tiles
// [first, first + count).
template <class Body>
RUSHLIGHT_INLINE void for_each_tile_run(int64_t th, int64_t tw, int64_t first, int64_t count,
                                        int64_t longest, const Body& body) {
  int64_t image = first / (th * tw), ty = first / tw % th, tx = first % tw;
  for (int64_t done = 0; done < count;) {
    const int64_t length = smaller(longest, smaller(tw - tx, count - done));
    body(TileRun{image, ty, tx, length}, done);
    done += length;
    tx += length;
    if (tx < tw) continue;
    tx = 0;
    if (++ty < th) continue;
    ty = 0;
    ++image;
  }
}

// The inputs of a run of tiles in row y of a plane, one vector per point; outside the plane they
// are zero.
template <class F, class V, class T>
RUSHLIGHT_INLINE void load_tile_row(const WinogradProblem<T>& p, const T* plane, int64_t y,
                                    const TileRun& run, V* x) {
  constexpr int m = F::outputs;
  constexpr int64_t length = m * (V::lanes + 1);  // read by the two sets of phases
  if (y < 0 || y >= p.ih) {
    for (int j = 0; j < F::points; ++j) x[j] = V::zero();
    return;
  }
  const int64_t x0 = run.tx * m - p.padding_w;
  T padded[length];
  const T* row = plane + y * p.iw + x0;
  if (x0 < 0 || x0 + length > p.iw) {
    const int64_t low = smaller(length, larger(0, -x0));
    const int64_t high = larger(low, smaller(length, p.iw - x0));
    zero_run(padded, low);
    copy_run(padded + low, row + low, high - low);
    zero_run(padded + high, length - high);
    row = padded;
  }
  V next[m];
  load_phases<F>(row, x);
  load_phases<F>(row + m, next);
  x[m] = next[0];
  x[m + 1] = next[1];
}

// Transforms one channel's tiles into row k of the panels of all points, which lie `point_stride`
// apart. Whole vectors are stored: what they write beyond the run is written again by the next run
// or row, or falls on the padding behind the last row.
template <class F, class V, class T>
RUSHLIGHT_INLINE void transform_source_run(const WinogradProblem<T>& p, const T* plane,
                                           const TileRun& run, T* to, int64_t point_stride) {
  constexpr int points = F::points;
  V x[points * points];
  const int64_t y0 = run.ty * F::outputs - p.padding_h;
#pragma GCC unroll 6
  for (int i = 0; i < points; ++i) {
    V row[points];
    load_tile_row<F>(p, plane, y0 + i, run, row);
    F::source(row, 1);
#pragma GCC unroll 6
    for (int j = 0; j < points; ++j) x[i * points + j] = row[j];
  }
#pragma GCC unroll 6
  for (int j = 0; j < points; ++j) {
    V column[points];
#pragma GCC unroll 6
    for (int i = 0; i < points; ++i) column[i] = x[i * points + j];
    F::source(column, 1);
#pragma GCC unroll 6
    for (int i = 0; i < points; ++i) column[i].store(to + (i * points + j) * point_stride);
  }
}

// The adjoint side: the products of a run of tiles for one output channel become pixels of `plane`,
// beside which the epilogue stands.
template <class F, class V, class T>
RUSHLIGHT_INLINE void transform_result_run(const WinogradProblem<T>& p, const T* from,
                                           int64_t point_stride, const TileRun& run,
                                           const Epilogue<T>& epilogue, T* plane) {
  constexpr int points = F::points, m = F::outputs;
  V y[m * points];
#pragma GCC unroll 6
  for (int j = 0; j < points; ++j) {
    V x[points];
#pragma GCC unroll 6
    for (int i = 0; i < points; ++i) x[i] = V::load(from + (i * points + j) * point_stride);
    F::template result<T>(x, 1, y + j, points);
  }
  const int64_t x0 = run.tx * m, count = smaller(m * run.count, p.ow - x0);
  const bool direct = count == m * V::lanes && epilogue.residual == nullptr;
  for (int i = 0; i < m && run.ty * m + i < p.oh; ++i) {
    const int64_t offset = (run.ty * m + i) * p.ow + x0;
    V phase[m];
    F::template result<T>(y + i * points, 1, phase, 1);
    if (direct) {
#pragma GCC unroll 4
      for (int j = 0; j < m; ++j)
        phase[j] = activate(scale_and_shift(phase[j], epilogue), epilogue);
      store_phases<F>(phase, plane + offset);
    } else {
      T pixels[m * V::lanes];
      store_phases<F>(phase, pixels);
      finish_run(pixels, count, epilogue.at(0, offset), plane + offset);
    }
  }
}

// The weights of tile_rows output channels (`rows` of which exist) and one input channel, from
// panels[9][tile_rows] into row `to` of the panels of all points. Whole vectors are stored, as
// above.
template <class F, class T>
RUSHLIGHT_INLINE void transform_weight_rows(const T* taps, bool rotated, T* to,
                                            int64_t point_stride) {
  using V = Native<T>;
  constexpr int points = F::points;
  for (int r = 0; r < tile_rows; r += V::lanes) {
    V g[9], half[3 * points];
#pragma GCC unroll 9
    for (int t = 0; t < 9; ++t) {
      g[t] = V::load(taps + (rotated ? 8 - t : t) * tile_rows + r);
    }
#pragma GCC unroll 3
    for (int ky = 0; ky < 3; ++ky) F::template weight<T>(g + 3 * ky, 1, half + points * ky, 1);
#pragma GCC unroll 6
    for (int j = 0; j < points; ++j) {
      V column[points];
      F::template weight<T>(half + j, points, column, 1);
#pragma GCC unroll 6
      for (int i = 0; i < points; ++i) column[i].store(to + (i * points + j) * point_stride + r);
    }
  }
}

}  // namespace rushlight::RUSHLIGHT_ISA
