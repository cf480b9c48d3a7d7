#include "kernels/blocked.h"

#include "kernels/blocked_conv.h"
#include "kernels/blocked_grouped.h"
#include "kernels/blocked_layout.h"
#include "kernels/blocked_pooling.h"
#include "kernels/blocked_tile.h"
#include "kernels/channel_lanes.h"
#include "kernels/conv2d_window.h"
#include "kernels/cycles.h"
#include "kernels/family.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

// -- convolutions ------------------------------------------------------------------------------

bool is_winograd(BlockedAlgorithm algorithm) {
  return algorithm == BlockedAlgorithm::winograd2 || algorithm == BlockedAlgorithm::winograd4;
}

int outputs_of(BlockedAlgorithm algorithm) {
  return algorithm == BlockedAlgorithm::winograd2 ? 2 : 4;
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
    if (plain_src) return BlockedAlgorithm::none;
    if (is_depthwise(s)) return BlockedAlgorithm::depthwise;
    return blocked_grouped_accepts<T>(s) ? BlockedAlgorithm::grouped : BlockedAlgorithm::none;
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
  if (algorithm == BlockedAlgorithm::grouped) size = blocked_grouped_weights<T>(s);
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
  if (algorithm == BlockedAlgorithm::grouped) return blocked_grouped_workspace<T>(s, slots);
  const int64_t size = is_winograd(algorithm)
                           ? blocked_winograd_workspace<T>(s, outputs_of(algorithm), slots)
                           : blocked_direct_workspace<T>(s, source_of(plain_src), false, slots);
  return size * int64_t{sizeof(T)};
}

template <class T>
void blocked_conv2d(const Run& run, const Conv2dShape& s, bool plain_src, const T* src,
                    const T* prepared, const Epilogue<T>& epilogue, T* dst) {
  const BlockedAlgorithm algorithm = blocked_algorithm<T>(s, plain_src);
  if (algorithm == BlockedAlgorithm::depthwise) {
    return blocked_depthwise(run, s, src, prepared, epilogue, dst);
  }
  if (algorithm == BlockedAlgorithm::grouped) {
    return blocked_grouped(run, s, src, prepared, epilogue, dst);
  }
  if (is_winograd(algorithm)) {
    return blocked_winograd(run, s, outputs_of(algorithm), src, prepared, epilogue, dst);
  }
  blocked_direct(run, s, source_of(plain_src), src, prepared, epilogue, dst, false);
}

}  // namespace

template <class T>
double blocked_cost(const Conv2dShape& s, bool plain_src) {
  const BlockedAlgorithm algorithm = blocked_algorithm<T>(s, plain_src);
  if (algorithm == BlockedAlgorithm::grouped) return blocked_grouped_cycles<T>(s);
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
  if (algorithm == BlockedAlgorithm::grouped) {
    return blocked_grouped_prepare(run, s, weight, to);  // only ever as usual
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
    turn_all_to_pixels(from, s.spatial, channels, count, to);
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
    for (int64_t i = 0; i < count * V::lanes; i += V::lanes) {
      V x = scale_and_shift_lanes(V::load(src + at + i), e);
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
