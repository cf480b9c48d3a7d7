// Pooling along a row of outputs: vectors of neighbouring windows whose columns lie inside the
// image. What the vectors leave over at either end is for the caller.
#pragma once

#include <math.h>
#include <stdint.h>

#include "kernels/pooling.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

// Tap `offset` of V::lanes windows, STRIDE apart, that begin at p. With stride 2, reads the pair of
// columns that holds the tap, so that no window reads past its end but for an odd kernel's last.
template <int STRIDE, class V, class T>
RUSHLIGHT_INLINE V load_tap(const T* p, int64_t offset) {
  if constexpr (STRIDE == 1) {
    return V::load(p + offset);
  } else {
    const T* pair = p + (offset & ~int64_t{1});
    const V a = V::load(pair), b = V::load(pair + V::lanes);
    return (offset & 1) == 0 ? even_lanes(a, b) : odd_lanes(a, b);
  }
}

// The rows of one row of windows: begin, begin + step, ... below end.
struct RowTaps {
  int64_t begin, end, step;
};

template <class T>
struct MaxRow {
  const PoolShape& s;
  const T* plane;
  RowTaps rows;
  T* to;
  int64_t* index;

  template <int STRIDE, class V>
  RUSHLIGHT_INLINE void windows(int64_t ox, int64_t x0) const {
    using Where = decltype(V::zero().raw > V::zero().raw);  // integers as wide as T
    using Lane = decltype(Where{}[0] + 0);
    V best = V::broadcast(static_cast<T>(-INFINITY));
    Where where = Where{} + static_cast<Lane>(rows.begin * s.iw);
    for (int64_t y = rows.begin; y < rows.end; y += rows.step) {
      for (int64_t x = 0; x < s.kw * s.dilation_w; x += s.dilation_w) {
        const V value = load_tap<STRIDE, V>(plane + y * s.iw + x0, x);
        const Where wins = (value.raw > best.raw) | (value.raw != value.raw);  // a NaN always wins
        best.raw = wins ? value.raw : best.raw;
        where = wins ? Where{} + static_cast<Lane>(y * s.iw + x) : where;
      }
    }
    best.store(to + ox);
    for (int i = 0; i < V::lanes; ++i) index[ox + i] = where[i] + x0 + i * STRIDE;
  }
};

template <class T>
struct AvgRow {
  const PoolShape& s;
  const T* plane;
  RowTaps rows;
  T divisor;
  T* to;

  template <int STRIDE, class V>
  RUSHLIGHT_INLINE void windows(int64_t ox, int64_t x0) const {
    V total = V::zero();
    for (int64_t y = rows.begin; y < rows.end; ++y) {
      for (int64_t x = 0; x < s.kw; ++x) total += load_tap<STRIDE, V>(plane + y * s.iw + x0, x);
    }
    (total / V::broadcast(divisor)).store(to + ox);
  }
};

// Windows from ox on, as long as all that is read lies inside the row. Returns where it stopped.
template <int STRIDE, class V, class Row>
RUSHLIGHT_INLINE int64_t pool_vectors(const PoolShape& s, const Row& row, int64_t ox) {
  const int64_t last_tap = (s.kw - 1) * s.dilation_w;
  const int64_t reach = STRIDE == 1 ? last_tap + V::lanes : (last_tap & ~int64_t{1}) + 2 * V::lanes;
  for (; ox + V::lanes <= s.ow; ox += V::lanes) {
    const int64_t x0 = ox * STRIDE - s.padding_w;
    if (x0 + reach > s.iw) break;
    row.template windows<STRIDE, V>(ox, x0);
  }
  return ox;
}

template <int STRIDE, class T, class Row>
RUSHLIGHT_INLINE int64_t pool_row(const PoolShape& s, const Row& row, int64_t ox) {
  constexpr int lanes = Native<T>::lanes;
  ox = pool_vectors<STRIDE, Native<T>>(s, row, ox);
  if constexpr (lanes >= 8) ox = pool_vectors<STRIDE, Vec<T, lanes / 2>>(s, row, ox);
  if constexpr (lanes >= 16) ox = pool_vectors<STRIDE, Vec<T, lanes / 4>>(s, row, ox);
  return ox;
}

// Calls `one(ox)` for the windows that vectors do not take.
template <class T, class Row, class One>
RUSHLIGHT_INLINE void pool_whole_row(const PoolShape& s, const Row& row, const One& one) {
  const bool rows_empty = row.rows.begin >= row.rows.end;
  const bool indexable = s.ih * s.iw < (int64_t{1} << 31);  // in integers as wide as float
  int64_t ox = 0;
  if ((s.stride_w == 1 || s.stride_w == 2) && !rows_empty && indexable) {
    for (; ox < s.ow && ox * s.stride_w < s.padding_w; ++ox) one(ox);
    ox = s.stride_w == 1 ? pool_row<1, T>(s, row, ox) : pool_row<2, T>(s, row, ox);
  }
  for (; ox < s.ow; ++ox) one(ox);
}

}  // namespace rushlight::RUSHLIGHT_ISA
