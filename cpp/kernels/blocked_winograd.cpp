// Winograd's minimal filtering on blocked images: the transforms work on pixels of whole blocks of
// channels, and the products of each point are a pointwise convolution whose pixels are tiles.
//
// Two ways, as for plain images: with many tiles a task owns some of them and computes all output
// channels; with few, tasks own groups of output channels and share the transformed image.
#include "kernels/blocked_conv.h"
#include "kernels/blocked_pixels.h"
#include "kernels/blocked_tile.h"
#include "kernels/blocked_weights.h"
#include "kernels/red_zone.h"
#include "kernels/winograd_transforms.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

// Bytes of a transformed image that stay in a second-level cache beside what comes of it. Where
// vectors are shorter, so are caches: of 256 to 512 KiB.
constexpr int64_t kImageBudget = RUSHLIGHT_VECTOR_BYTES == 64 ? 393216 : 163840;

template <class F, class T>
struct BlockedWinogradPlan {
  static constexpr int64_t lanes = Native<T>::lanes;
  static constexpr int64_t points = F::points * F::points;

  const Conv2dShape& s;
  ChannelGroups<T> groups;
  int64_t src_blocks, th, tw, tiles;
  bool few;
  int64_t block, blocks;  // tiles that are held at once; how many such blocks there are

  explicit BlockedWinogradPlan(const Conv2dShape& s)
      : s(s),
        groups(s.oc),
        src_blocks(ceil_div(s.ic, lanes)),
        th(ceil_div(s.oh, F::outputs)),
        tw(ceil_div(s.ow, F::outputs)),
        tiles(s.n * th * tw) {
    constexpr int64_t most_shared = 64;
    constexpr int64_t budget = kImageBudget / int64_t{sizeof(T)};
    few = tiles <= most_shared;
    // Whole tiles of registers, as far as the transformed image fits into a second-level cache.
    const int64_t fitting = budget / (points * src_blocks * lanes) / kLargestTile * kLargestTile;
    block = few ? tiles : smaller(tiles, larger(kLargestTile, fitting));
    blocks = ceil_div(tiles, block);
    if (!few) block = smaller(round_up(ceil_div(tiles, blocks), kLargestTile), tiles);
    blocks = ceil_div(tiles, block);
  }

  // From point to point; a line more, so that powers of two do not meet in one set of the cache.
  int64_t source_stride() const { return src_blocks * block * lanes + lanes; }
  int64_t result_stride() const { return kGroupBlocks * block * lanes + lanes; }
  int64_t sources() const { return points * source_stride(); }
  int64_t results() const { return points * result_stride(); }
  int64_t weights() const { return points * groups.blocks * lanes * s.ic; }
  int64_t local() const { return results() + (few ? 0 : sources()); }
};

template <class F, class T>
struct BlockedWinograd {
  using V = Native<T>;
  static constexpr int64_t lanes = V::lanes;
  static constexpr int64_t kMostSummed = 192 / lanes;  // source blocks, before results are stored

  const BlockedWinogradPlan<F, T> plan;
  const T* src;
  const T* weights;
  const Epilogue<T>& epilogue;
  T* dst;

  // The points of one tile of one block of channels.
  void transform_source(int64_t tile, int64_t b, T* to) const {
    const Conv2dShape& s = plan.s;
    const int64_t image = tile / (plan.th * plan.tw);
    const int64_t y0 = tile / plan.tw % plan.th * F::outputs - s.padding_h;
    const int64_t x0 = tile % plan.tw * F::outputs - s.padding_w;
    const BlockPlane<T> plane{src + (image * plan.src_blocks + b) * s.ih * s.iw * lanes, s.ih,
                              s.iw};
    constexpr int overlap = F::points - F::outputs;
    V x[F::points * F::points];
    for (int i = 0; i < F::points; ++i) {
      // Rows and columns that tiles share are there already.
      const int known = i < overlap ? F::points : overlap / 2;
      plane.template load<F::points>(y0 + i, x0, F::outputs, known, x + i * F::points);
      F::source(x + i * F::points, 1);
    }
#pragma GCC unroll 6
    for (int j = 0; j < F::points; ++j) {
      F::source(x + j, F::points);
#pragma GCC unroll 6
      for (int i = 0; i < F::points; ++i) {
        const int64_t point = i * F::points + j;
        x[point].store(to + point * plan.source_stride());
      }
    }
  }

  void transform_result(int64_t tile, int64_t b, const T* results) const {
    const Conv2dShape& s = plan.s;
    constexpr int m = F::outputs, points = F::points;
    const int64_t image = tile / (plan.th * plan.tw);
    const int64_t y0 = tile / plan.tw % plan.th * m, x0 = tile % plan.tw * m;
    V half[m * points];
#pragma GCC unroll 6
    for (int j = 0; j < points; ++j) {
      V x[points];
#pragma GCC unroll 6
      for (int i = 0; i < points; ++i) {
        x[i] = V::load(results + (i * points + j) * plan.result_stride());
      }
      F::template result<T>(x, 1, half + j, points);
    }
    const int64_t plane = (image * plan.groups.blocks + b) * s.oh * s.ow;
    const Epilogue<T> e = epilogue.at(b * lanes, 0);
    for (int i = 0; i < m && y0 + i < s.oh; ++i) {
      V y[m];
      F::template result<T>(half + i * points, 1, y, 1);
      const int64_t at = (plane + (y0 + i) * s.ow + x0) * lanes;
#pragma GCC unroll 4
      for (int j = 0; j < m; ++j) __builtin_prefetch(dst + at + (m * s.ow + j) * lanes, 1);
      const int64_t inside = smaller(m, s.ow - x0);
      for (int j = 0; j < inside; ++j) {
        V v = scale_and_shift_lanes(y[j], e);
        if (e.residual != nullptr) v += V::load(e.residual + at + j * lanes);
        activate(v, e).store(dst + at + j * lanes);
      }
      e.function(dst + at, inside * lanes);
    }
  }

  // Output channels of one group for `count` tiles from `first` on.
  void compute_group(int64_t group, int64_t first, int64_t count, const T* sources,
                     T* results) const {
    const int64_t blocks = plan.groups.blocks_of(group);
    const TileKernel<T>* kernels =
        blocks == 1 ? tile_kernels<T, 1, V::lanes, 1>() : tile_kernels<T, 2, V::lanes, 1>();
    const TileCut cut(count);
    const int64_t no_offset = 0;
    TileArguments<T> a{};
    a.src_block_step = plan.block * lanes;
    a.tap_offset = &no_offset;
    a.taps = 1;
    a.dst_block_step = plan.block * lanes;
    const int64_t group_weights = plan.points * plan.s.ic;
    const T* weight = weights + plan.groups.weight_offset(group, group_weights);
    const Ahead<T> ahead(cut.tiles(), blocks * lanes, plan.weights());
    for (int64_t point = 0; point < plan.points; ++point) {
      for (int64_t b = 0; b < plan.src_blocks; b += kMostSummed) {
        const int64_t left = plan.s.ic - b * lanes;
        a.src_blocks = smaller(kMostSummed, plan.src_blocks - b);
        a.last_channels = static_cast<int>(smaller(lanes, left - (a.src_blocks - 1) * lanes));
        a.weight = weight + (point * plan.s.ic + b * lanes) * blocks * lanes;
        a.add = b > 0;
        int64_t done = 0;
        cut.for_each([&](int kind, int64_t tile, int64_t count) {
          a.count = count;
          a.src = sources + point * plan.source_stride() + (b * plan.block + tile) * lanes;
          a.dst = results + point * plan.result_stride() + tile * lanes;
          ahead.set(a, a.src_blocks * lanes, done);
          done += count;
          kernels[kind](a);
        });
      }
    }
    for (int64_t r = 0; r < blocks; ++r) {
      for (int64_t tile = 0; tile < count; ++tile) {
        transform_result(first + tile, group * kGroupBlocks + r,
                         results + (r * plan.block + tile) * lanes);
      }
    }
  }

  void run_few(const Run& run) const {
    T* sources = guarded(static_cast<T*>(run.workspace), plan.sources());
    T* locals = sources + plan.sources() + red_zone<T>;
    parallel(run, plan.src_blocks, [&](int64_t b, int) {
      for (int64_t tile = 0; tile < plan.tiles; ++tile) {
        transform_source(tile, b, sources + (b * plan.block + tile) * lanes);
      }
    });
    parallel(run, plan.groups.count, [&](int64_t group, int slot) {
      compute_group(group, 0, plan.tiles, sources, slot_region(locals, plan.local(), slot));
    });
  }

  void run_many(const Run& run) const {
    parallel(run, plan.blocks, [&](int64_t block, int slot) {
      T* local = slot_region(static_cast<T*>(run.workspace), plan.local(), slot);
      T* sources = local + plan.results();
      const int64_t first = block * plan.block, count = smaller(plan.block, plan.tiles - first);
      for (int64_t b = 0; b < plan.src_blocks; ++b) {
        for (int64_t tile = 0; tile < count; ++tile) {
          transform_source(first + tile, b, sources + (b * plan.block + tile) * lanes);
        }
      }
      for (int64_t group = 0; group < plan.groups.count; ++group) {
        compute_group(group, first, count, sources, local);
      }
    });
  }
};

// The points of the filters of one block of output channels for input channel c, one after another
// `step` apart.
template <class F, class T>
void transform_filter(const Conv2dShape& s, const T* weight, const FilterOrder& order, int64_t o,
                      int64_t c, T* to, int64_t step) {
  using V = Native<T>;
  constexpr int points = F::points;
  T lane[9 * V::lanes];
  load_filters(weight + o * order.output + c * order.channel, order, s.oc - o, 9, lane);
  V g[9], half[3 * points];
  for (int t = 0; t < 9; ++t) g[t] = V::load(lane + (order.rotated ? 8 - t : t) * V::lanes);
  for (int ky = 0; ky < 3; ++ky) F::template weight<T>(g + 3 * ky, 1, half + points * ky, 1);
  for (int j = 0; j < points; ++j) {
    V column[points];
    F::template weight<T>(half + j, points, column, 1);
    for (int i = 0; i < points; ++i) column[i].store(to + (i * points + j) * step);
  }
}

template <class T, class Body>
auto with_tile(int outputs, const Body& body) {
  return outputs == 2 ? body(WinogradF2{}) : body(WinogradF4{});
}

}  // namespace

template <class T>
int64_t blocked_winograd_weights(const Conv2dShape& s, int outputs) {
  return with_tile<T>(outputs,
                      [&](auto f) { return BlockedWinogradPlan<decltype(f), T>(s).weights(); });
}

template <class T>
void blocked_winograd_prepare(const Run& run, const Conv2dShape& s, int outputs, const T* weight,
                              const FilterOrder& order, T* to) {
  with_tile<T>(outputs, [&](auto f) {
    using F = decltype(f);
    const BlockedWinogradPlan<F, T> plan(s);
    constexpr int64_t lanes = Native<T>::lanes;
    parallel(run, plan.groups.count, [&](int64_t group, int) {
      const int64_t blocks = plan.groups.blocks_of(group), width = blocks * lanes;
      T* out = to + plan.groups.weight_offset(group, plan.points * s.ic);
      for (int64_t c = 0; c < s.ic; ++c) {
        for (int64_t r = 0; r < blocks; ++r) {
          transform_filter<F>(s, weight, order, (group * kGroupBlocks + r) * lanes, c,
                              out + c * width + r * lanes, s.ic * width);
        }
      }
    });
  });
}

template <class T>
int64_t blocked_winograd_workspace(const Conv2dShape& s, int outputs, int slots) {
  return with_tile<T>(outputs, [&](auto f) {
    const BlockedWinogradPlan<decltype(f), T> plan(s);
    return (plan.few ? plan.sources() + red_zone<T> : 0) + slots * (plan.local() + red_zone<T>);
  });
}

template <class T>
void blocked_winograd(const Run& run, const Conv2dShape& s, int outputs, const T* src,
                      const T* prepared, const Epilogue<T>& epilogue, T* dst) {
  with_tile<T>(outputs, [&](auto f) {
    using F = decltype(f);
    const BlockedWinograd<F, T> winograd{BlockedWinogradPlan<F, T>(s), src, prepared, epilogue,
                                         dst};
    winograd.plan.few ? winograd.run_few(run) : winograd.run_many(run);
  });
}

#define RUSHLIGHT_BLOCKED_WINOGRAD(T)                                                             \
  template int64_t blocked_winograd_weights<T>(const Conv2dShape& s, int outputs);                \
  template void blocked_winograd_prepare<T>(const Run& run, const Conv2dShape& s, int outputs,    \
                                            const T* weight, const FilterOrder& order, T* to);    \
  template int64_t blocked_winograd_workspace<T>(const Conv2dShape& s, int outputs, int slots);   \
  template void blocked_winograd<T>(const Run& run, const Conv2dShape& s, int outputs,            \
                                    const T* src, const T* prepared, const Epilogue<T>& epilogue, \
                                    T* dst);
RUSHLIGHT_BLOCKED_WINOGRAD(float)
RUSHLIGHT_BLOCKED_WINOGRAD(double)

}  // namespace rushlight::RUSHLIGHT_ISA
