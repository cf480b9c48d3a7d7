#include "kernels/pooling.h"

#include <math.h>
#include <string.h>

#include "kernels/family.h"
#include "kernels/pooling_rows.h"
#include "kernels/pooling_windows.h"
#include "kernels/reduce.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

// Calls body(plane) in parallel, several small planes to a task.
template <class Body>
void for_each_plane(const Run& run, const PoolShape& s, const Body& body) {
  constexpr int64_t task_size = 8192;
  const int64_t plane = s.ih * s.iw + s.oh * s.ow;
  const int64_t step = plane >= task_size || plane == 0 ? 1 : task_size / plane;
  parallel(run, (s.planes + step - 1) / step, [&](int64_t task, int) {
    const int64_t end = (task + 1) * step < s.planes ? (task + 1) * step : s.planes;
    for (int64_t p = task * step; p < end; ++p) body(p);
  });
}

template <class T>
RUSHLIGHT_INLINE void max_window(const PoolShape& s, const T* from, const Taps& ys, const Taps& xs,
                                 T* to, int64_t* index) {
  T best = static_cast<T>(-INFINITY);
  const bool empty = ys.begin >= ys.end || xs.begin >= xs.end;
  int64_t where = empty ? -1 : ys.begin * s.iw + xs.begin;
  for (int64_t y = ys.begin; y < ys.end; y += ys.step) {
    for (int64_t x = xs.begin; x < xs.end; x += xs.step) {
      const T value = from[y * s.iw + x];
      if (!(value > best) && value == value) continue;  // a NaN always wins
      best = value;
      where = y * s.iw + x;
    }
  }
  *to = best;
  *index = where;
}

template <class T>
void max_plane(const PoolShape& s, const Windows<Axis>& windows, const T* from, T* to,
               int64_t* index) {
  for_each_window(s, windows, [&](int64_t at, const Taps& ys, const Taps& xs) {
    max_window(s, from, ys, xs, to + at, index + at);
  });
}

template <class T>
void max_plane_by_rows(const PoolShape& s, const Windows<Axis>& windows, const T* from, T* to,
                       int64_t* index) {
  MaxRows<T> rows(s);
  for (int64_t oy = 0; oy < s.oh; ++oy) {
    const Taps y = windows.rows.taps(oy);
    rows.compute(from, {y.begin, y.end, y.step}, to + oy * s.ow, index + oy * s.ow);
  }
}

// Whether every window holds something of the plane: with dilation, one may step over all of it.
bool windows_meet(const Axis& axis, int64_t count) {
  for (int64_t o = 0; o < count; ++o) {
    const Taps taps = axis.taps(o);
    if (taps.begin >= taps.end) return false;
  }
  return true;
}

template <class T>
void max_pool(const Run& run, const PoolShape& s, const T* src, T* dst, int64_t* indices) {
  const Windows<Axis> windows = fixed_windows(s);
  const int64_t from = s.ih * s.iw, to = s.oh * s.ow;
  if (to == 0 || s.planes == 0) return;
  const bool by_rows = MaxRows<T>::accepts(s) && windows_meet(windows.rows, s.oh) &&
                       windows_meet(windows.cols, s.ow);
  const auto plane_of = by_rows ? max_plane_by_rows<T> : max_plane<T>;
  for_each_plane(run, s, [&](int64_t plane) {
    plane_of(s, windows, src + plane * from, dst + plane * to, indices + plane * to);
  });
}

template <class T>
void adaptive_max_pool(const Run& run, const PoolShape& s, const T* src, T* dst, int64_t* indices) {
  const Windows<AdaptiveAxis> windows = adaptive_windows(s);
  for_each_plane(run, s, [&](int64_t plane) {
    const T* from = src + plane * s.ih * s.iw;
    const int64_t first = plane * s.oh * s.ow;
    for_each_window(s, windows, [&](int64_t at, const Taps& ys, const Taps& xs) {
      max_window(s, from, ys, xs, dst + first + at, indices + first + at);
    });
  });
}

// Makes *least at most `value`, whichever thread comes first.
void note_smaller(int64_t* least, int64_t value) {
  int64_t before = __atomic_load_n(least, __ATOMIC_RELAXED);
  while (value < before && !__atomic_compare_exchange_n(least, &before, value, false,
                                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
}

// The first index outside a plane, or -1.
int64_t first_bad_index(const int64_t* indices, int64_t count, int64_t plane) {
  bool bad = false;
  for (int64_t i = 0; i < count; ++i) bad |= indices[i] < -1 || indices[i] >= plane;
  for (int64_t i = 0; bad && i < count; ++i) {
    if (indices[i] < -1 || indices[i] >= plane) return i;
  }
  return -1;
}

template <class T>
int64_t max_pool_backward(const Run& run, const PoolShape& s, const T* diff_dst,
                          const int64_t* indices, T* diff_src) {
  const int64_t from = s.oh * s.ow, to = s.ih * s.iw, all = s.planes * from;
  int64_t first_bad = all;
  for_each_plane(run, s, [&](int64_t plane) {
    // Indices come from the caller: checked before anything is written through them.
    const int64_t* index = indices + plane * from;
    const int64_t bad = first_bad_index(index, from, to);
    if (bad >= 0) return note_smaller(&first_bad, plane * from + bad);
    T* into = diff_src + plane * to;
    memset(into, 0, sizeof(T) * static_cast<size_t>(to));
    for (int64_t i = 0; i < from; ++i) {
      if (index[i] >= 0) into[index[i]] += diff_dst[plane * from + i];
    }
  });
  return first_bad < all ? first_bad : -1;
}

double divisor_of(const PoolShape& s, const Taps& y, const Taps& x) {
  if (s.divisor != 0) return static_cast<double>(s.divisor);
  if (s.count_include_pad) return static_cast<double>(y.padded) * static_cast<double>(x.padded);
  return static_cast<double>(y.end - y.begin) * static_cast<double>(x.end - x.begin);
}

template <class T>
RUSHLIGHT_INLINE T window_sum(const T* from, int64_t iw, const Taps& ys, const Taps& xs) {
  const int64_t width = xs.end - xs.begin;
  if (width == iw) return sum_run(from + ys.begin * iw, (ys.end - ys.begin) * iw);  // global
  T total = 0;
  for (int64_t y = ys.begin; y < ys.end; ++y) {
    const T* row = from + y * iw;
    if (width >= Native<T>::lanes) {
      total += sum_run(row + xs.begin, width);
    } else {
      for (int64_t x = xs.begin; x < xs.end; ++x) total += row[x];
    }
  }
  return total;
}

template <class T>
RUSHLIGHT_INLINE T average(const PoolShape& s, const T* from, const Taps& y, const Taps& x) {
  if (y.begin >= y.end || x.begin >= x.end) return 0;
  return window_sum(from, s.iw, y, x) / static_cast<T>(divisor_of(s, y, x));
}

template <class T, class AxisType>
void avg_planes_backward(const Run& run, const PoolShape& s, const Windows<AxisType>& windows,
                         const T* diff_dst, T* diff_src) {
  for_each_plane(run, s, [&](int64_t plane) {
    T* to = diff_src + plane * s.ih * s.iw;
    const T* from = diff_dst + plane * s.oh * s.ow;
    memset(to, 0, sizeof(T) * static_cast<size_t>(s.ih * s.iw));
    for_each_window(s, windows, [&](int64_t at, const Taps& ys, const Taps& xs) {
      if (ys.begin >= ys.end || xs.begin >= xs.end) return;
      const T diff = from[at] / static_cast<T>(divisor_of(s, ys, xs));
      for (int64_t y = ys.begin; y < ys.end; ++y) {
        for (int64_t x = xs.begin; x < xs.end; ++x) to[y * s.iw + x] += diff;
      }
    });
  });
}

template <class T>
void avg_pool(const Run& run, const PoolShape& s, const T* src, T* dst) {
  const Windows<Axis> windows = fixed_windows(s);
  // Every window whose columns lie inside the image has the divisor of this one.
  const Taps inside{0, s.kw, 1, s.kw};
  for_each_plane(run, s, [&](int64_t plane) {
    const T* from = src + plane * s.ih * s.iw;
    for (int64_t oy = 0; oy < s.oh; ++oy) {
      const Taps y = windows.rows.taps(oy);
      T* to = dst + (plane * s.oh + oy) * s.ow;
      const T divisor = static_cast<T>(divisor_of(s, y, inside));
      const AvgRow<T> row{s, from, {y.begin, y.end, y.step}, divisor, to};
      pool_whole_row<T>(s, row,
                        [&](int64_t ox) { to[ox] = average(s, from, y, windows.cols.taps(ox)); });
    }
  });
}

template <class T>
void avg_pool_backward(const Run& run, const PoolShape& s, const T* diff_dst, T* diff_src) {
  avg_planes_backward(run, s, fixed_windows(s), diff_dst, diff_src);
}

// The mean of each plane. The divisions that find a window would outweigh the sums.
template <class T>
void plane_means(const Run& run, const PoolShape& s, const T* src, T* dst) {
  const int64_t count = s.ih * s.iw;
  const T divisor = static_cast<T>(count);
  for_each_plane(run, s, [&](int64_t plane) {
    const T* from = src + plane * count;
    if (count > Native<T>::lanes) {
      dst[plane] = sum_run(from, count) / divisor;
      return;
    }
    T total = 0;
    for (int64_t i = 0; i < count; ++i) total += from[i];
    dst[plane] = total / divisor;
  });
}

template <class T>
void plane_means_backward(const Run& run, const PoolShape& s, const T* diff_dst, T* diff_src) {
  const int64_t count = s.ih * s.iw;
  const T divisor = static_cast<T>(count);
  for_each_plane(run, s, [&](int64_t plane) {
    const T value = diff_dst[plane] / divisor;
    T* to = diff_src + plane * count;
    for_each_vector<T>(0, count, [&](auto v, int64_t i) {
      using V = decltype(v);
      V::broadcast(value).store(to + i);
    });
  });
}

bool is_global(const PoolShape& s) {
  return s.oh == 1 && s.ow == 1;
}

template <class T>
void adaptive_avg_pool(const Run& run, const PoolShape& s, const T* src, T* dst) {
  if (is_global(s)) return plane_means(run, s, src, dst);
  const Windows<AdaptiveAxis> windows = adaptive_windows(s);
  for_each_plane(run, s, [&](int64_t plane) {
    const T* from = src + plane * s.ih * s.iw;
    T* to = dst + plane * s.oh * s.ow;
    for_each_window(s, windows, [&](int64_t at, const Taps& y, const Taps& x) {
      to[at] = average(s, from, y, x);
    });
  });
}

template <class T>
void adaptive_avg_pool_backward(const Run& run, const PoolShape& s, const T* diff_dst,
                                T* diff_src) {
  if (is_global(s)) return plane_means_backward(run, s, diff_dst, diff_src);
  avg_planes_backward(run, s, adaptive_windows(s), diff_dst, diff_src);
}

}  // namespace

RUSHLIGHT_DEFINE_FAMILY(PoolingKernels, pooling, max_pool<T>, adaptive_max_pool<T>,
                        max_pool_backward<T>, avg_pool<T>, avg_pool_backward<T>,
                        adaptive_avg_pool<T>, adaptive_avg_pool_backward<T>)

}  // namespace rushlight::RUSHLIGHT_ISA
