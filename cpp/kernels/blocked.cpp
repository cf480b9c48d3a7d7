#include "kernels/blocked.h"

#include <math.h>

#include "kernels/blocked_conv.h"
#include "kernels/blocked_layout.h"
#include "kernels/blocked_tile.h"
#include "kernels/channel_lanes.h"
#include "kernels/family.h"
#include "kernels/pooling_windows.h"
#include "kernels/winograd.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

// -- convolutions ------------------------------------------------------------------------------

bool is_winograd(BlockedAlgorithm algorithm) {
  return algorithm == BlockedAlgorithm::winograd2 || algorithm == BlockedAlgorithm::winograd4;
}

int outputs_of(BlockedAlgorithm algorithm) {
  return algorithm == BlockedAlgorithm::winograd2 ? 2 : 4;
}

// About the cycles of one core for a byte of weights. Layers with many come from nets with more
// than caches hold, where they are read from memory in every run.
double cycles_per_byte(double bytes) {
  constexpr double cached = 2.5e6;
  return bytes <= cached ? 0.07 : 0.15;
}

// About the cycles of one core: products, and what the transforms and the weights cost beside.
template <class T>
double winograd_cycles(const Conv2dShape& s, int outputs) {
  constexpr double lanes = Native<T>::lanes, per_point = 1.5;
  const double tiles = static_cast<double>(s.n * ceil_div(s.oh, outputs) * ceil_div(s.ow, outputs));
  const double points = static_cast<double>((outputs + 2) * (outputs + 2));
  const double ic = static_cast<double>(s.ic);
  const double blocks = static_cast<double>(ceil_div(s.oc, Native<T>::lanes));
  const double products =
      points * larger(4, static_cast<int64_t>(tiles)) * ic * blocks * kCyclesPerFma;
  const double transforms = per_point * points * tiles * (ic / lanes + blocks);
  const double bytes = points * ic * blocks * lanes * double{sizeof(T)};
  return products + transforms + bytes * cycles_per_byte(bytes);
}

template <class T>
double direct_cycles(const Conv2dShape& s) {
  constexpr double per_byte = 0.2;
  const double pixels = static_cast<double>(s.n * s.oh * s.ow);
  const double taps = static_cast<double>(s.ic * s.kh * s.kw);
  const double blocks = static_cast<double>(ceil_div(s.oc, Native<T>::lanes));
  constexpr double lanes = Native<T>::lanes;
  return pixels * taps * blocks * kCyclesPerFma * 1.1 +
         taps * blocks * lanes * double{sizeof(T)} * per_byte;
}

// Windows that lie or reach absurdly far apart: the rows that one row of outputs reads would not
// be worth a copy.
bool spans_little(const Conv2dShape& s) {
  constexpr double most = 16777216;  // elements
  const double width = static_cast<double>((s.ow - 1) * s.stride_w + (s.kw - 1) * s.dilation_w + 1);
  const double rows = static_cast<double>((s.kh - 1) * s.dilation_h + s.stride_h);
  return width * rows * static_cast<double>(s.ic) <= most;
}

}  // namespace

template <class T>
BlockedAlgorithm blocked_algorithm(const Conv2dShape& s, bool plain_src) {
  constexpr int64_t most_taps = 1024, most_plain = 8;
  if (s.kh * s.kw > most_taps || s.n * s.ic * s.oc * s.oh * s.ow == 0)
    return BlockedAlgorithm::none;
  if (!spans_little(s)) return BlockedAlgorithm::none;
  if (s.groups > 1) {
    const bool depthwise = s.groups == s.ic && s.oc == s.ic && !plain_src;
    return depthwise ? BlockedAlgorithm::depthwise : BlockedAlgorithm::none;
  }
  if (plain_src) {
    return s.ic <= most_plain ? BlockedAlgorithm::direct : BlockedAlgorithm::none;
  }
  const bool filter = s.kh == 3 && s.kw == 3 && s.stride_h == 1 && s.stride_w == 1 &&
                      s.dilation_h == 1 && s.dilation_w == 1;
  if (!filter || !s.may_use_winograd || smaller(s.ic, s.oc) < 16) return BlockedAlgorithm::direct;
  const double two = winograd_cycles<T>(s, 2), four = winograd_cycles<T>(s, 4);
  if (direct_cycles<T>(s) < (two < four ? two : four)) return BlockedAlgorithm::direct;
  return two < four ? BlockedAlgorithm::winograd2 : BlockedAlgorithm::winograd4;
}

template BlockedAlgorithm blocked_algorithm<float>(const Conv2dShape& s, bool plain_src);
template BlockedAlgorithm blocked_algorithm<double>(const Conv2dShape& s, bool plain_src);

namespace {

template <class T>
PreparedWeight blocked_prepared(const Conv2dShape& s, bool plain_src) {
  const BlockedAlgorithm algorithm = blocked_algorithm<T>(s, plain_src);
  // Apart from the layouts of plain convolutions, and a plain source from a blocked one.
  const int64_t layout = 100 + static_cast<int64_t>(algorithm) + (plain_src ? 10 : 0);
  int64_t size = blocked_direct_weights<T>(s);
  if (algorithm == BlockedAlgorithm::depthwise) size = blocked_depthwise_weights<T>(s);
  if (is_winograd(algorithm)) size = blocked_winograd_weights<T>(s, outputs_of(algorithm));
  return {size * int64_t{sizeof(T)}, layout};
}

template <class T>
void blocked_prepare(const Run& run, const Conv2dShape& s, bool plain_src, const T* weight, T* to) {
  blocked_prepare_filters(run, s, plain_src, weight, FilterOrder::usual(s), to);
}

template <class T>
int64_t blocked_workspace(const Conv2dShape& s, bool plain_src, int slots) {
  const BlockedAlgorithm algorithm = blocked_algorithm<T>(s, plain_src);
  if (algorithm == BlockedAlgorithm::depthwise) return 0;
  const int64_t size = is_winograd(algorithm)
                           ? blocked_winograd_workspace<T>(s, outputs_of(algorithm), slots)
                           : blocked_direct_workspace<T>(s, plain_src, false, slots);
  return size * int64_t{sizeof(T)};
}

template <class T>
void blocked_conv2d(const Run& run, const Conv2dShape& s, bool plain_src, const T* src,
                    const T* prepared, const Epilogue<T>& epilogue, T* dst) {
  const BlockedAlgorithm algorithm = blocked_algorithm<T>(s, plain_src);
  if (algorithm == BlockedAlgorithm::depthwise) {
    return blocked_depthwise(run, s, src, prepared, epilogue, dst);
  }
  if (is_winograd(algorithm)) {
    return blocked_winograd(run, s, outputs_of(algorithm), src, prepared, epilogue, dst);
  }
  blocked_direct(run, s, plain_src, src, prepared, epilogue, dst, false);
}

}  // namespace

template <class T>
double blocked_cost(const Conv2dShape& s, bool plain_src) {
  const BlockedAlgorithm algorithm = blocked_algorithm<T>(s, plain_src);
  if (is_winograd(algorithm)) return winograd_cycles<T>(s, outputs_of(algorithm));
  return direct_cycles<T>(s);
}

template <class T>
void blocked_prepare_filters(const Run& run, const Conv2dShape& s, bool plain_src, const T* weight,
                             const FilterOrder& order, T* to) {
  const BlockedAlgorithm algorithm = blocked_algorithm<T>(s, plain_src);
  if (algorithm == BlockedAlgorithm::depthwise) {
    return blocked_depthwise_prepare(s, weight, order.rotated, to);
  }
  if (is_winograd(algorithm)) {
    return blocked_winograd_prepare(run, s, outputs_of(algorithm), weight, order, to);
  }
  blocked_direct_prepare(run, s, plain_src, weight, order, to);
}
template void blocked_prepare_filters<float>(const Run&, const Conv2dShape&, bool, const float*,
                                             const FilterOrder&, float*);
template void blocked_prepare_filters<double>(const Run&, const Conv2dShape&, bool, const double*,
                                              const FilterOrder&, double*);
template double blocked_cost<float>(const Conv2dShape& s, bool plain_src);
template double blocked_cost<double>(const Conv2dShape& s, bool plain_src);

namespace {

// -- pooling -----------------------------------------------------------------------------------

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

// -- layout ------------------------------------------------------------------------------------

constexpr int64_t kPixelsPerTask = 512;

// Calls body(image, block, first pixel, pixels) in parallel.
template <class T, class Body>
void for_each_stretch(const Run& run, const ReorderShape& s, const Body& body) {
  const int64_t blocks = ceil_div(s.c, Native<T>::lanes);
  const int64_t stretches = ceil_div(s.spatial, kPixelsPerTask);
  parallel(run, s.n * blocks * stretches, [&](int64_t task, int) {
    const int64_t first = task % stretches * kPixelsPerTask, plane = task / stretches;
    body(plane / blocks, plane % blocks, first, smaller(kPixelsPerTask, s.spatial - first));
  });
}

template <class T>
void to_blocked(const Run& run, const ReorderShape& s, const T* src, T* dst) {
  constexpr int64_t lanes = Native<T>::lanes;
  const int64_t blocks = ceil_div(s.c, lanes);
  for_each_stretch<T>(run, s, [&](int64_t image, int64_t block, int64_t first, int64_t count) {
    const int64_t channels = smaller(lanes, s.c - block * lanes);
    const T* from = src + (image * s.c + block * lanes) * s.spatial + first;
    T* to = dst + ((image * blocks + block) * s.spatial + first) * lanes;
    for (int64_t i = 0; i < count; i += lanes) {
      turn_to_pixels(from + i, s.spatial, channels, smaller(lanes, count - i), to + i * lanes);
    }
  });
}

template <class T>
void to_plain(const Run& run, const ReorderShape& s, const T* src, T* dst) {
  constexpr int64_t lanes = Native<T>::lanes;
  const int64_t blocks = ceil_div(s.c, lanes);
  for_each_stretch<T>(run, s, [&](int64_t image, int64_t block, int64_t first, int64_t count) {
    const int64_t channels = smaller(lanes, s.c - block * lanes);
    const T* from = src + ((image * blocks + block) * s.spatial + first) * lanes;
    T* to = dst + (image * s.c + block * lanes) * s.spatial + first;
    turn_all_to_rows(from, count, channels, to, s.spatial);
  });
}

template <class T>
void blocked_affine(const Run& run, const ReorderShape& s, const T* src,
                    const Epilogue<T>& epilogue, T* dst) {
  using V = Native<T>;
  const int64_t blocks = ceil_div(s.c, V::lanes);
  for_each_stretch<T>(run, s, [&](int64_t image, int64_t block, int64_t first, int64_t count) {
    const int64_t at = ((image * blocks + block) * s.spatial + first) * V::lanes;
    const Epilogue<T> e = epilogue.at(block * V::lanes, at);
    const V scale = e.scale == nullptr ? V::broadcast(T(1)) : V::load(e.scale);
    const V shift = e.shift == nullptr ? V::broadcast(T(-0.0)) : V::load(e.shift);
    for (int64_t i = 0; i < count * V::lanes; i += V::lanes) {
      V x = V::load(src + at + i);
      if (e.scale != nullptr) x = x * scale;
      if (e.shift != nullptr) x += shift;
      if (e.residual != nullptr) x += V::load(e.residual + i);
      activate(x, e).store(dst + at + i);
    }
    e.function(dst + at, count * V::lanes);
  });
}

}  // namespace

RUSHLIGHT_DEFINE_FAMILY(BlockedKernels, blocked, Native<T>::lanes, blocked_algorithm<T>,
                        blocked_prepared<T>, blocked_prepare<T>, blocked_workspace<T>,
                        blocked_conv2d<T>, blocked_pairs<T>, blocked_pair_workspace<T>,
                        blocked_pair<T>, blocked_max_pool<T>, blocked_avg_pool<T>, blocked_mean<T>,
                        to_blocked<T>, to_plain<T>, blocked_affine<T>)

}  // namespace rushlight::RUSHLIGHT_ISA
