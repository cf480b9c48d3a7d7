// Pooling along a row of outputs: vectors of neighbouring windows.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernels/packers.h"
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

// Maxima of rows of windows, and where each stands. Where windows reach over the ends of a row, the
// rows are copied between columns of -inf, so that these windows are vectors like all others.
template <class T>
class MaxRows {
 public:
  explicit MaxRows(const PoolShape& s) : s_(s), width_(widest(s)) {
    copies_ = s.padding_w > 0 || width_ > s.iw;
    if (!copies_) return;
    for (int64_t i = 0; i < s.kh * width_; ++i) copy_[i] = static_cast<T>(-INFINITY);
  }

  static bool accepts(const PoolShape& s) {
    // In integers as wide as float, and counted from corners that lie in the padding.
    const bool indexable = s.ih * s.iw + s.padding_w < (int64_t{1} << 31);
    return (s.stride_w == 1 || s.stride_w == 2) && indexable && s.kh <= most && s.iw <= most &&
           (s.kw - 1) * s.dilation_w <= most && s.kh * widest(s) <= most;
  }

  // At least one row and one column of each window must lie in the plane.
  void compute(const T* plane, const RowTaps& taps, T* to, int64_t* index) {
    Rows rows{plane + taps.begin * s_.iw, taps.step * s_.iw, taps, to, index};
    if (copies_) {
      T* row = copy_;
      for (int64_t y = taps.begin; y < taps.end; y += taps.step, row += width_) {
        copy_run(row + s_.padding_w, plane + y * s_.iw, s_.iw);
      }
      rows.first = copy_, rows.step = width_;
    }
    s_.stride_w == 1 ? all_windows<1>(rows) : all_windows<2>(rows);
  }

 private:
  static constexpr int lanes = Native<T>::lanes;
  static constexpr int fewest = lanes >= 16 ? lanes / 4 : lanes >= 8 ? lanes / 2 : lanes;
  static constexpr int64_t most = 8192;

  struct Rows {
    const T* first;
    int64_t step;
    const RowTaps& taps;
    T* to;
    int64_t* index;
  };

  // What the last vector of a row reads, or the padded row itself.
  static int64_t widest(const PoolShape& s) {
    const int64_t tap = (s.kw - 1) * s.dilation_w, count = (s.ow + fewest - 1) / fewest * fewest;
    const int64_t read = count * s.stride_w + (s.stride_w == 1 ? tap : tap & ~int64_t{1});
    const int64_t row = s.iw + 2 * s.padding_w;
    return read > row ? read : row;
  }

  template <int STRIDE>
  void all_windows(const Rows& rows) const {
    int64_t ox = 0;
    for (; ox + lanes <= s_.ow; ox += lanes) windows<STRIDE, lanes>(rows, ox);
    if constexpr (lanes / 2 > fewest) {
      for (; ox + lanes / 2 <= s_.ow; ox += lanes / 2) windows<STRIDE, lanes / 2>(rows, ox);
    }
    for (; ox < s_.ow; ox += fewest) windows<STRIDE, fewest>(rows, ox);
  }

  template <int STRIDE, int LANES>
  RUSHLIGHT_INLINE void windows(const Rows& rows, int64_t ox) const {
    using V = Vec<T, LANES>;
    using Where = decltype(V::zero().raw > V::zero().raw);  // integers as wide as T
    using Lane = decltype(Where{}[0] + 0);
    const int64_t corner = ox * STRIDE - s_.padding_w;
    V best = V::broadcast(static_cast<T>(-INFINITY));
    // Each window's first tap inside the plane, counted from its corner.
    Where where = Where{} + static_cast<Lane>(rows.taps.begin * s_.iw);
    for (int i = 0; i < LANES && corner + i * STRIDE < 0; ++i) {
      const int64_t taps = (-(corner + i * STRIDE) - 1) / s_.dilation_w + 1;
      where[i] += static_cast<Lane>(taps * s_.dilation_w);
    }
    const T* row = rows.first + ox * STRIDE;
    for (int64_t y = rows.taps.begin; y < rows.taps.end; y += rows.taps.step, row += rows.step) {
      for (int64_t x = 0; x < s_.kw * s_.dilation_w; x += s_.dilation_w) {
        const V value = load_tap<STRIDE, V>(row, x);
        const Where wins = (value.raw > best.raw) | (value.raw != value.raw);  // a NaN always wins
        best.raw = wins ? value.raw : best.raw;
        where = wins ? Where{} + static_cast<Lane>(y * s_.iw + x) : where;
      }
    }
    Lane lane[LANES];  // what compilers turn into vectors of longer integers
    memcpy(lane, &where, sizeof(lane));
    int64_t found[LANES];
    for (int i = 0; i < LANES; ++i) found[i] = lane[i] + i * STRIDE + corner;
    const int64_t count = s_.ow - ox < LANES ? s_.ow - ox : LANES;
    if (count == LANES) {
      best.store(rows.to + ox);
      memcpy(rows.index + ox, found, sizeof(found));
      return;
    }
    best.store_partial(rows.to + ox, count);
    for (int64_t i = 0; i < count; ++i) rows.index[ox + i] = found[i];
  }

  const PoolShape& s_;
  int64_t width_;
  bool copies_;
  T copy_[most];
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

// Averages of windows whose columns lie inside the image; what the vectors leave over at either end
// is for the caller. Windows from ox on, as long as all that is read lies inside the row. Returns
// where it stopped.
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
