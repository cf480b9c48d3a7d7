#include "kernels/blocked_pooling.h"

#include <math.h>

#include "kernels/integers.h"
#include "kernels/pooling_windows.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

template <class T, class Body>
void blocked_pool(const Run& run, const PoolShape& s, const T* src, T* dst, const Body& body) {
  constexpr int64_t lanes = Native<T>::lanes;
  const Windows<Axis> windows = fixed_windows(s);
  parallel(run, s.planes, [&](int64_t plane, int) {
    const T* from = src + plane * s.ih * s.iw * lanes;
    T* to = dst + plane * s.oh * s.ow * lanes;
    for_each_window(s, windows, [&](int64_t at, const Taps& ys, const Taps& xs) {
      body(from, ys, xs).store(to + at * lanes);
    });
  });
}

// Windows of one row from output `first` on: the largest of each column of pixels once, and then of
// the columns. `columns` has room for all that they see.
template <class T>
void max_of_row(const PoolShape& s, const Windows<Axis>& windows, const T* plane, const Taps& ys,
                int64_t first, int64_t count, T* columns, T* to) {
  using V = Native<T>;
  const V least = V::broadcast(-T(INFINITY));
  const int64_t last = first + count - 1;
  // Not the first window's first tap: behind padding, dilation moves that past those of others.
  const int64_t begin = larger(0, first * s.stride_w - s.padding_w);
  const int64_t end = windows.cols.taps(last).end;
  for (int64_t x = begin; x < end; ++x) {
    V most = least;
    for (int64_t y = ys.begin; y < ys.end; y += ys.step) {
      most = max(V::load(plane + (y * s.iw + x) * V::lanes), most);
    }
    most.store(columns + (x - begin) * V::lanes);
  }
  for (int64_t o = first; o <= last; ++o) {
    const Taps xs = windows.cols.taps(o);
    V most = least;
    for (int64_t x = xs.begin; x < xs.end; x += xs.step) {
      most = max(V::load(columns + (x - begin) * V::lanes), most);
    }
    most.store(to + (o - first) * V::lanes);
  }
}

constexpr int64_t kMostColumns = 256;

// Rows of outputs from `top` to `end` of one plane.
template <class T>
void max_of_rows(const PoolShape& s, const T* plane, int64_t top, int64_t end, T* to) {
  constexpr int64_t lanes = Native<T>::lanes;
  const Windows<Axis> windows = fixed_windows(s);
  const int64_t span = smaller(s.iw, (s.kw - 1) * s.dilation_w + 1);
  const int64_t step = (kMostColumns - span) / s.stride_w + 1;
  T columns[kMostColumns * lanes];
  for (int64_t oy = top; oy < end; ++oy) {
    const Taps ys = windows.rows.taps(oy);
    for (int64_t ox = 0; ox < s.ow; ox += step) {
      max_of_row(s, windows, plane, ys, ox, smaller(step, s.ow - ox), columns,
                 to + (oy * s.ow + ox) * lanes);
    }
  }
}

// The largest of a window of any size.
template <class T>
RUSHLIGHT_INLINE Native<T> max_of_window(const PoolShape& s, const T* plane, const Taps& ys,
                                         const Taps& xs) {
  using V = Native<T>;
  V most = V::broadcast(-T(INFINITY));
  for (int64_t y = ys.begin; y < ys.end; y += ys.step) {
    for (int64_t x = xs.begin; x < xs.end; x += xs.step) {
      most = max(V::load(plane + (y * s.iw + x) * V::lanes), most);
    }
  }
  return most;
}

}  // namespace

template <class T>
void blocked_max_pool(const Run& run, const PoolShape& s, const T* src, T* dst) {
  constexpr int64_t lanes = Native<T>::lanes, rows_per_task = 16;
  const int64_t span = (s.kw - 1) * s.dilation_w + 1;
  if (span <= s.stride_w || smaller(s.iw, span) > kMostColumns) {
    return blocked_pool(run, s, src, dst, [&](const T* plane, const Taps& ys, const Taps& xs) {
      return max_of_window(s, plane, ys, xs);
    });
  }
  const int64_t bands = ceil_div(s.oh, rows_per_task);
  parallel(run, s.planes * bands, [&](int64_t task, int) {
    const int64_t plane = task / bands, top = task % bands * rows_per_task;
    max_of_rows(s, src + plane * s.ih * s.iw * lanes, top, smaller(s.oh, top + rows_per_task),
                dst + plane * s.oh * s.ow * lanes);
  });
}

template <class T>
void blocked_avg_pool(const Run& run, const PoolShape& s, const T* src, T* dst) {
  using V = Native<T>;
  blocked_pool(run, s, src, dst, [&](const T* from, const Taps& ys, const Taps& xs) {
    V total = V::zero();
    for (int64_t y = ys.begin; y < ys.end; y += ys.step) {
      for (int64_t x = xs.begin; x < xs.end; x += xs.step) {
        total += V::load(from + (y * s.iw + x) * V::lanes);
      }
    }
    int64_t count = s.divisor;
    if (count == 0 && s.count_include_pad) count = ys.padded * xs.padded;
    if (count == 0) {
      const auto inside = [](const Taps& t) {
        return t.end > t.begin ? (t.end - t.begin - 1) / t.step + 1 : 0;
      };
      count = inside(ys) * inside(xs);
    }
    return total / V::broadcast(static_cast<T>(count));
  });
}

namespace {

// The first pixel of a window that equals its largest gets the gradient, lane by lane. Pixels of
// windows that lie APART are of no other, and need not be read.
template <bool APART, class T>
RUSHLIGHT_INLINE void spread_window(const PoolShape& s, const T* plane, Native<T> most,
                                    Native<T> diff, const Taps& ys, const Taps& xs, T* to) {
  using V = Native<T>;
  constexpr int64_t ahead = 4096 / int64_t{sizeof(T)};
  for (int64_t y = ys.begin; y < ys.end; y += ys.step) {
    for (int64_t x = xs.begin; x < xs.end; x += xs.step) {
      const int64_t at = (y * s.iw + x) * V::lanes;
      __builtin_prefetch(plane + at + ahead);
      __builtin_prefetch(to + at + ahead, 1);
      const auto hit = V::load(plane + at).raw == most.raw;
      V value{hit ? diff.raw : V::zero().raw};
      diff = V{hit ? V::zero().raw : diff.raw};  // what is left for pixels that follow
      if constexpr (!APART) value += V::load(to + at);
      value.store(to + at);
    }
  }
}

// The same of a window whose largest is not a number: in those lanes the last one gets it.
template <class T>
void spread_window_of_nan(const PoolShape& s, const T* plane, const T* most, const T* diff,
                          const Taps& ys, const Taps& xs, T* to) {
  constexpr int64_t lanes = Native<T>::lanes;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    if (most[lane] == most[lane]) continue;
    int64_t last = -1;
    for (int64_t y = ys.begin; y < ys.end; y += ys.step) {
      for (int64_t x = xs.begin; x < xs.end; x += xs.step) {
        const T value = plane[(y * s.iw + x) * lanes + lane];
        if (value != value) last = y * s.iw + x;
      }
    }
    if (last >= 0) to[last * lanes + lane] += diff[lane];
  }
}

// One plane. Rows are cleared just before the first window that reaches them.
template <bool APART, class T>
void spread_plane(const PoolShape& s, const Windows<Axis>& windows, const T* src, const T* dst,
                  const T* diff_dst, T* diff_src) {
  using V = Native<T>;
  const int64_t row = s.iw * V::lanes;
  // Windows that cover all pixels leave nothing to clear.
  const bool covers = APART && s.kh == s.stride_h && s.kw == s.stride_w && s.padding_h == 0 &&
                      s.padding_w == 0 && s.oh * s.kh == s.ih && s.ow * s.kw == s.iw;
  int64_t cleared = covers ? s.ih : 0;
  const auto clear = [&](int64_t end) {
    for (int64_t i = cleared * row; i < end * row; i += V::lanes) V::zero().store(diff_src + i);
    cleared = larger(cleared, end);
  };
  V odd = V::zero();  // not a number where a largest is not
  for (int64_t oy = 0; oy < s.oh; ++oy) {
    const Taps ys = windows.rows.taps(oy);
    clear(smaller(s.ih, ys.end));
    for (int64_t ox = 0; ox < s.ow; ++ox) {
      const int64_t at = (oy * s.ow + ox) * V::lanes;
      const V most = V::load(dst + at);
      odd += most - most;
      spread_window<APART>(s, src, most, V::load(diff_dst + at), ys, windows.cols.taps(ox),
                           diff_src);
    }
  }
  clear(s.ih);
  if (sum(odd) == 0) return;
  for_each_window(s, windows, [&](int64_t at, const Taps& ys, const Taps& xs) {
    spread_window_of_nan(s, src, dst + at * V::lanes, diff_dst + at * V::lanes, ys, xs, diff_src);
  });
}

}  // namespace

template <class T>
void blocked_max_pool_backward(const Run& run, const PoolShape& s, const T* src, const T* dst,
                               const T* diff_dst, T* diff_src) {
  constexpr int64_t lanes = Native<T>::lanes;
  const Windows<Axis> windows = fixed_windows(s);
  const bool apart =
      (s.kh - 1) * s.dilation_h < s.stride_h && (s.kw - 1) * s.dilation_w < s.stride_w;
  const auto spread = apart ? spread_plane<true, T> : spread_plane<false, T>;
  parallel(run, s.planes, [&](int64_t plane, int) {
    const int64_t in = plane * s.ih * s.iw * lanes, out = plane * s.oh * s.ow * lanes;
    spread(s, windows, src + in, dst + out, diff_dst + out, diff_src + in);
  });
}

namespace {

// Sums of short runs are added up, so that errors stay small over large planes.
template <class T>
RUSHLIGHT_INLINE Native<T> sum_pixels(const T* from, int64_t count) {
  using V = Native<T>;
  constexpr int64_t run = 64;
  V total = V::zero();
  for (int64_t begin = 0; begin < count; begin += run) {
    V part[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
    const int64_t end = smaller(count, begin + run);
    int64_t i = begin;
    for (; i + 4 <= end; i += 4) {
      for (int k = 0; k < 4; ++k) part[k] += V::load(from + (i + k) * V::lanes);
    }
    for (; i < end; ++i) part[0] += V::load(from + i * V::lanes);
    total += (part[0] + part[1]) + (part[2] + part[3]);
  }
  return total;
}

}  // namespace

template <class T>
void blocked_mean(const Run& run, const ReorderShape& s, const T* src, T* dst) {
  using V = Native<T>;
  const int64_t blocks = ceil_div(s.c, V::lanes);
  parallel(run, s.n * blocks, [&](int64_t plane, int) {
    const int64_t image = plane / blocks, c = plane % blocks * V::lanes;
    const V total = sum_pixels(src + plane * s.spatial * V::lanes, s.spatial);
    const V mean = total / V::broadcast(static_cast<T>(s.spatial));
    const int64_t left = s.c - c;
    T* to = dst + image * s.c + c;
    if (left >= V::lanes) {
      mean.store(to);
    } else {
      mean.store_partial(to, left);
    }
  });
}

template <class T>
void blocked_mean_backward(const Run& run, const ReorderShape& s, const T* diff_dst, T* diff_src) {
  using V = Native<T>;
  const int64_t blocks = ceil_div(s.c, V::lanes);
  parallel(run, s.n * blocks, [&](int64_t plane, int) {
    const int64_t image = plane / blocks, c = plane % blocks * V::lanes;
    const T* from = diff_dst + image * s.c + c;
    const int64_t left = s.c - c;
    const V diff = left >= V::lanes ? V::load(from) : V::load_partial(from, left);
    const V each = diff / V::broadcast(static_cast<T>(s.spatial));
    T* to = diff_src + plane * s.spatial * V::lanes;
    for (int64_t i = 0; i < s.spatial; ++i) each.store(to + i * V::lanes);
  });
}

RUSHLIGHT_BLOCKED_POOLING(, float)
RUSHLIGHT_BLOCKED_POOLING(, double)

}  // namespace rushlight::RUSHLIGHT_ISA
