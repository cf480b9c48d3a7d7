// Grouped convolutions on blocked images.
//
// Where groups are whole blocks of channels, each is a convolution of its own, and tasks take one
// after the other. Where a vector holds several groups, or a part of one, each of its lanes wants
// another source channel of the same pixel: the pixel is loaded once for each channel of a group,
// its lanes are spread over those of the outputs, and the products are those of a depthwise
// convolution.
#include "kernels/blocked_grouped.h"

#include "kernels/blocked_rows.h"
#include "kernels/cycles.h"
#include "kernels/family.h"
#include "kernels/red_zone.h"

namespace rushlight::RUSHLIGHT_ISA {

RUSHLIGHT_DECLARE_FAMILY(BlockedKernels, blocked)

namespace {

// One of the convolutions of whole blocks, of one image.
Conv2dShape one_group(const Conv2dShape& s) {
  Conv2dShape one = s;
  one.n = one.groups = 1;
  one.ic = s.ic / s.groups;
  one.oc = s.oc / s.groups;
  return one;
}

template <class T>
bool has_whole_blocks(const Conv2dShape& s) {
  constexpr int64_t lanes = Native<T>::lanes;
  return s.ic / s.groups % lanes == 0 && s.oc / s.groups % lanes == 0;
}

// Source channels that the lanes of one output vector want, together.
template <class T>
int64_t span_of(const Conv2dShape& s) {
  return larger(1, Native<T>::lanes / (s.oc / s.groups)) * (s.ic / s.groups);
}

// Whether every output vector finds its source channels in one block.
template <class T>
bool has_parts_of_blocks(const Conv2dShape& s) {
  constexpr int64_t lanes = Native<T>::lanes;
  const int64_t outputs = s.oc / s.groups;
  return RUSHLIGHT_VECTOR_BYTES >= 32 && (lanes % outputs == 0 || outputs % lanes == 0) &&
         lanes % span_of<T>(s) == 0;
}

// ---- parts of blocks

// The weights of a block of outputs: [kernel rows][source channels of a group][taps][lanes].
template <class T>
int64_t block_weights(const Conv2dShape& s) {
  return s.kh * s.kw * s.ic / s.groups * Native<T>::lanes;
}

template <class T>
struct GroupedRow {
  BlockRow<T> row;
  int64_t channels;              // of a group
  LaneNumbers<Native<T>> first;  // for every output the first of them, in the source block
};

// The products of KERNEL neighbouring taps of one row and all channels of a group.
template <class T, int TILE, int KERNEL, int STRIDE, bool EDGE>
RUSHLIGHT_INLINE void add_row(const GroupedRow<T>& g, const T* row, int64_t x, const T* weight,
                              Native<T>* acc) {
  using V = Native<T>;
  constexpr int lanes = V::lanes, seen = (TILE - 1) * STRIDE + KERNEL;
  const T* from = row + x * lanes;  // may lie outside the image
  LaneNumbers<V> lane = g.first;
  for (int64_t c = 0; c < g.channels; ++c, lane += 1, weight += KERNEL * lanes) {
    V w[KERNEL];
#pragma GCC unroll 8
    for (int k = 0; k < KERNEL; ++k) w[k] = loaded_once(V::load(weight + k * lanes));
#pragma GCC unroll 32
    for (int i = 0; i < seen; ++i) {
      if (EDGE && (x + i < 0 || x + i >= g.row.width)) continue;
      const V value = chosen_lanes(V::load(from + i * lanes), lane);
#pragma GCC unroll 8
      for (int k = 0; k < KERNEL; ++k) {
        const int t = (i - k) / STRIDE;
        if (i < k || (i - k) % STRIDE != 0 || t >= TILE) continue;
        acc[t] = fma(w[k], value, acc[t]);
      }
    }
  }
}

// The same for any kernel.
template <class T, int TILE, bool EDGE>
RUSHLIGHT_INLINE void add_any_row(const GroupedRow<T>& g, const T* row, int64_t x, const T* weight,
                                  Native<T>* acc) {
  using V = Native<T>;
  constexpr int lanes = V::lanes;
  const BlockRow<T>& r = g.row;
  LaneNumbers<V> lane = g.first;
  for (int64_t c = 0; c < g.channels; ++c, lane += 1) {
    for (int64_t k = 0; k < r.kernel; ++k, weight += lanes) {
      const V w = V::load(weight);
      const int64_t first = x + k * r.dilation;
#pragma GCC unroll 8
      for (int t = 0; t < TILE; ++t) {
        const int64_t at = first + t * r.stride;
        if (EDGE && (at < 0 || at >= r.width)) continue;
        acc[t] = fma(w, chosen_lanes(V::load(row + at * lanes), lane), acc[t]);
      }
    }
  }
}

// TILE neighbouring outputs. KERNEL is 0 where it, the stride or a dilation is not known here.
template <class T, int TILE, int KERNEL, int STRIDE, bool EDGE>
RUSHLIGHT_INLINE void grouped_tile(const GroupedRow<T>& g, int64_t x, const Epilogue<T>& e,
                                   T* dst) {
  using V = Native<T>;
  V acc[TILE];
#pragma GCC unroll 8
  for (int t = 0; t < TILE; ++t) acc[t] = V::zero();
  const T* row = g.row.src;
  const T* weight = g.row.weight;
  for (int64_t ky = 0; ky < g.row.rows; ++ky) {
    if constexpr (KERNEL > 0) {
      add_row<T, TILE, KERNEL, STRIDE, EDGE>(g, row, x, weight, acc);
    } else {
      add_any_row<T, TILE, EDGE>(g, row, x, weight, acc);
    }
    row += g.row.row_step;
    weight += g.row.weight_step;
  }
  finish_tile<T, TILE>(acc, e, dst);
}

template <class T, int KERNEL, int STRIDE>
void grouped_row(const GroupedRow<T>& g, const Epilogue<T>& e, int64_t count, T* dst) {
  for_each_tile_of_row<8>(g.row, e, count, dst,
                          [&](auto pixels, auto edge, int64_t x, const Epilogue<T>& moved, T* to) {
                            constexpr int tile = decltype(pixels)::value;
                            grouped_tile<T, tile, KERNEL, STRIDE, decltype(edge)::value>(g, x,
                                                                                         moved, to);
                          });
}

template <class T>
using GroupedKernel = void (*)(const GroupedRow<T>&, const Epilogue<T>&, int64_t, T*);

template <class T>
GroupedKernel<T> grouped_kernel(const Conv2dShape& s) {
  if (s.dilation_w == 1 && s.kw == 3) {
    if (s.stride_w == 1) return grouped_row<T, 3, 1>;
    if (s.stride_w == 2) return grouped_row<T, 3, 2>;
  }
  return grouped_row<T, 0, 0>;
}

template <class T>
void prepare_parts(const Conv2dShape& s, const T* weight, T* to) {
  constexpr int64_t lanes = Native<T>::lanes;
  const int64_t channels = s.ic / s.groups, filter = channels * s.kh * s.kw;
  for (int64_t first = 0; first < s.oc; first += lanes) {
    for (int64_t ky = 0; ky < s.kh; ++ky) {
      for (int64_t c = 0; c < channels; ++c) {
        for (int64_t kx = 0; kx < s.kw; ++kx, to += lanes) {
          const T* from = weight + first * filter + (c * s.kh + ky) * s.kw + kx;
          for (int64_t i = 0; i < lanes; ++i) to[i] = first + i < s.oc ? from[i * filter] : T(0);
        }
      }
    }
  }
}

// The block of the source that holds what a block of outputs wants, and where.
template <class T>
int64_t source_block(const Conv2dShape& s, int64_t block, LaneNumbers<Native<T>>& first) {
  constexpr int64_t lanes = Native<T>::lanes;
  const int64_t inputs = s.ic / s.groups, outputs = s.oc / s.groups;
  for (int64_t i = 0; i < lanes; ++i) {
    const int64_t group = (block * lanes + i) / outputs;
    first[i] = static_cast<decltype(+first[0])>(group * inputs % lanes);
  }
  return block * lanes / outputs * inputs / lanes;
}

template <class T>
void convolve_parts(const Run& run, const Conv2dShape& s, const T* src, const T* prepared,
                    const Epilogue<T>& epilogue, T* dst) {
  const RowPlan<T> plan(s);
  constexpr int64_t lanes = RowPlan<T>::lanes;
  const GroupedKernel<T> kernel = grouped_kernel<T>(s);
  const int64_t src_blocks = ceil_div(s.ic, lanes), weight_step = block_weights<T>(s) / s.kh;
  parallel(run, s.n * plan.blocks * plan.bands, [&](int64_t task, int) {
    const int64_t block = task % plan.blocks, band = task / plan.blocks % plan.bands;
    const int64_t image = task / (plan.blocks * plan.bands);
    const int64_t end = smaller(s.oh, (band + 1) * plan.band);
    GroupedRow<T> g{};
    g.channels = s.ic / s.groups;
    const int64_t from = image * src_blocks + source_block<T>(s, block, g.first);
    const int64_t plane = image * plan.blocks + block;
    for (int64_t oy = band * plan.band; oy < end; ++oy) {
      g.row = row_of_block(s, src + from * s.ih * s.iw * lanes, 0,
                           prepared + block * block_weights<T>(s), weight_step, oy);
      const int64_t at = (plane * s.oh + oy) * s.ow * lanes;
      kernel(g, epilogue.at(block * lanes, at), s.ow, dst + at);
    }
  });
}

// ---- whole blocks

// Elements of one group's weights.
template <class T>
int64_t group_weights(const Conv2dShape& one) {
  return blocked_kernels<T>.prepared(one, false).bytes / int64_t{sizeof(T)};
}

// Bytes for one task.
template <class T>
int64_t group_workspace(const Conv2dShape& one) {
  constexpr int64_t line = 64;
  return round_up(blocked_kernels<T>.workspace(one, false, 1), line) +
         red_zone<T> * int64_t{sizeof(T)};
}

template <class T>
void convolve_groups(const Run& run, const Conv2dShape& s, const T* src, const T* prepared,
                     const Epilogue<T>& epilogue, T* dst) {
  const Conv2dShape one = one_group(s);
  const int64_t weights = group_weights<T>(one), workspace = group_workspace<T>(one);
  const int64_t src_step = one.ic * s.ih * s.iw, dst_step = one.oc * s.oh * s.ow;
  parallel(run, s.n * s.groups, [&](int64_t task, int slot) {
    const int64_t group = task % s.groups;
    const Run alone{1, static_cast<char*>(run.workspace) + slot * workspace};
    blocked_kernels<T>.conv2d(alone, one, false, src + task * src_step, prepared + group * weights,
                              epilogue.at(group * one.oc, task * dst_step), dst + task * dst_step);
  });
}

}  // namespace

template <class T>
bool blocked_grouped_accepts(const Conv2dShape& s) {
  if (!has_whole_blocks<T>(s)) return has_parts_of_blocks<T>(s);
  return blocked_algorithm<T>(one_group(s), false) != BlockedAlgorithm::none;
}

template <class T>
int64_t blocked_grouped_weights(const Conv2dShape& s) {
  if (has_whole_blocks<T>(s)) return s.groups * group_weights<T>(one_group(s));
  return ceil_div(s.oc, Native<T>::lanes) * block_weights<T>(s);
}

template <class T>
void blocked_grouped_prepare(const Run& run, const Conv2dShape& s, const T* weight, T* to) {
  if (!has_whole_blocks<T>(s)) return prepare_parts(s, weight, to);
  const Conv2dShape one = one_group(s);
  const int64_t filters = one.oc * one.ic * s.kh * s.kw, weights = group_weights<T>(one);
  for (int64_t group = 0; group < s.groups; ++group) {
    blocked_kernels<T>.prepare(run, one, false, weight + group * filters, to + group * weights);
  }
}

template <class T>
int64_t blocked_grouped_workspace(const Conv2dShape& s, int slots) {
  return has_whole_blocks<T>(s) ? slots * group_workspace<T>(one_group(s)) : 0;
}

template <class T>
double blocked_grouped_cycles(const Conv2dShape& s) {
  const Conv2dShape one = one_group(s);
  if (has_whole_blocks<T>(s)) {
    return static_cast<double>(s.n * s.groups) * blocked_cost<T>(one, false);
  }
  // Products of vectors, with the spreading of lanes, which neighbouring taps share.
  const bool shared = grouped_kernel<T>(s) != grouped_row<T, 0, 0>;
  const double per_product = shared ? 1.15 : 2;
  return static_cast<double>(s.n * s.oh * s.ow * ceil_div(s.oc, Native<T>::lanes)) *
         static_cast<double>(one.ic * s.kh * s.kw) * per_product * kCyclesPerFma;
}

template <class T>
void blocked_grouped(const Run& run, const Conv2dShape& s, const T* src, const T* prepared,
                     const Epilogue<T>& epilogue, T* dst) {
  if (has_whole_blocks<T>(s)) return convolve_groups(run, s, src, prepared, epilogue, dst);
  convolve_parts(run, s, src, prepared, epilogue, dst);
}

#define RUSHLIGHT_BLOCKED_GROUPED(T)                                                              \
  template bool blocked_grouped_accepts<T>(const Conv2dShape& s);                                 \
  template int64_t blocked_grouped_weights<T>(const Conv2dShape& s);                              \
  template void blocked_grouped_prepare<T>(const Run& run, const Conv2dShape& s, const T* weight, \
                                           T* to);                                                \
  template int64_t blocked_grouped_workspace<T>(const Conv2dShape& s, int slots);                 \
  template double blocked_grouped_cycles<T>(const Conv2dShape& s);                                \
  template void blocked_grouped<T>(const Run& run, const Conv2dShape& s, const T* src,            \
                                   const T* prepared, const Epilogue<T>& epilogue, T* dst);
RUSHLIGHT_BLOCKED_GROUPED(float)
RUSHLIGHT_BLOCKED_GROUPED(double)

}  // namespace rushlight::RUSHLIGHT_ISA
