#include "kernels/positions_weight.h"

#include "kernels/blocked_layout.h"
#include "kernels/gemm_tile.h"
#include "kernels/integers.h"
#include "kernels/red_zone.h"
#include "kernels/window_pairs.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

template <class T>
struct PositionsPlan {
  static constexpr int64_t lanes = Native<T>::lanes;
  static constexpr int64_t block_lanes = tile_vectors * lanes;

  int64_t src_plane, dst_plane, taps;
  int64_t src_blocks;            // of channels
  int64_t row_tasks, col_tasks;  // tile_rows of oc by block_lanes of ic
  int64_t source, sums;          // elements

  explicit PositionsPlan(const Conv2dShape& s)
      : src_plane(s.ih * s.iw),
        dst_plane(s.oh * s.ow),
        taps(s.kh * s.kw),
        src_blocks(ceil_div(s.ic, lanes)),
        row_tasks(ceil_div(s.oc, tile_rows)),
        col_tasks(ceil_div(src_blocks, tile_vectors)),
        source(src_blocks * s.n * src_plane * lanes),
        sums(taps * tile_rows * block_lanes) {}
};

template <class T>
struct PositionsWeight {
  using V = Native<T>;

  const Conv2dShape& s;
  const PositionsPlan<T> plan;
  const WindowPairs& pairs;  // by taps
  const T* source;           // [blocks of channels][n][plane][lanes]
  const T* diff_dst;
  T* diff_weight;

  // The pixels of one block of channels of an image.
  static void turn_block(const T* from, int64_t plane, int64_t channels, T* to) {
    constexpr int64_t lanes = V::lanes;
    if (2 * plane <= lanes) {
      for (int64_t c = 0; c < lanes; ++c) {
        for (int64_t i = 0; i < plane; ++i) {
          to[i * lanes + c] = c < channels ? from[c * plane + i] : T{0};
        }
      }
      return;
    }
    for (int64_t i = 0; i < plane; i += lanes) {
      turn_to_pixels(from + i, plane, channels, smaller(lanes, plane - i), to + i * lanes);
    }
  }

  static void turn_source(const Run& run, const Conv2dShape& s, const PositionsPlan<T>& plan,
                          const T* src, T* to) {
    parallel(run, plan.src_blocks * s.n, [&](int64_t task, int) {
      const int64_t block = task / s.n, image = task % s.n, first = block * plan.lanes;
      turn_block(src + (image * s.ic + first) * plan.src_plane, plan.src_plane,
                 smaller(plan.lanes, s.ic - first), to + task * plan.src_plane * plan.lanes);
    });
  }

  // sums[row][vector][lanes] of one tap, for ROWS channels of diff_dst from `o` on.
  template <int ROWS, int VECTORS>
  void multiply(int64_t tap, int64_t o, int64_t block, T* sums) const {
    // Many short sums are more exact than a long one.
    constexpr int64_t longest = 512;
    const int64_t count = pairs.begin[tap + 1] - pairs.begin[tap];
    const int64_t step = larger(1, longest / larger(1, count));
    int64_t n = 0;
    do {
      add_images<ROWS, VECTORS>(tap, o, block, n, smaller(s.n, n + step), sums);
      n += step;
    } while (n < s.n);
  }

  template <int ROWS, int VECTORS>
  void add_images(int64_t tap, int64_t o, int64_t block, int64_t begin, int64_t end,
                  T* sums) const {
    V acc[ROWS][VECTORS];
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; ++v) acc[r][v] = V::zero();
    }
    const int64_t plane = plan.dst_plane, image = plan.src_plane * V::lanes;
    const T* x = source + (block * s.n + begin) * image;
    const T* y = diff_dst + (begin * s.oc + o) * plane;
    for (int64_t n = begin; n < end; ++n, x += image, y += s.oc * plane) {
      for (int32_t i = pairs.begin[tap]; i < pairs.begin[tap + 1]; ++i) {
        const T* from = x + pairs.pairs[i].src * V::lanes;
        const T* by = y + pairs.pairs[i].dst;
        V b[VECTORS];
#pragma GCC unroll 2
        for (int v = 0; v < VECTORS; ++v) b[v] = V::load(from + v * s.n * image);
#pragma GCC unroll 16
        for (int r = 0; r < ROWS; ++r) {
          const V a = V::broadcast(by[r * plane]);
#pragma GCC unroll 2
          for (int v = 0; v < VECTORS; ++v) acc[r][v] = fma(a, b[v], acc[r][v]);
        }
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; ++v) {
        T* to = sums + (r * tile_vectors + v) * V::lanes;
        if (begin > 0) acc[r][v] += V::load(to);
        acc[r][v].store(to);
      }
    }
  }

  template <int ROWS>
  void multiply_columns(int64_t tap, int64_t o, int64_t block, T* sums) const {
    if (plan.src_blocks - block >= tile_vectors)
      return multiply<ROWS, tile_vectors>(tap, o, block, sums);
    multiply<ROWS, 1>(tap, o, block, sums);
  }

  // All rows of a task: what does not fill a tile goes in thirds, and then one by one.
  void multiply_rows(int64_t tap, int64_t o, int64_t rows, int64_t block, T* sums) const {
    constexpr int third = (tile_rows + 2) / 3;
    constexpr int64_t row = plan.block_lanes;
    if (rows == tile_rows) return multiply_columns<tile_rows>(tap, o, block, sums);
    int64_t r = 0;
    for (; r + third <= rows; r += third)
      multiply_columns<third>(tap, o + r, block, sums + r * row);
    for (; r < rows; ++r) multiply_columns<1>(tap, o + r, block, sums + r * row);
  }

  // to[channel][tap] = sums[tap][channel] for one vector of channels, of which `count` exist; the
  // row goes on for `room` elements.
  void store_taps(const T* sums, int64_t count, int64_t room, T* to) const {
    const int64_t step = tile_rows * plan.block_lanes;
    if (plan.taps == 1) {
      const V v = V::load(sums);
      return count == V::lanes ? v.store(to) : v.store_partial(to, count);
    }
    for (int64_t tap = 0; tap < plan.taps; tap += V::lanes) {
      const int64_t taps = smaller(V::lanes, plan.taps - tap);
      V v[V::lanes];
#pragma GCC unroll 16
      for (int i = 0; i < V::lanes; ++i) {
        v[i] = i < taps ? V::load(sums + (tap + i) * step) : V::zero();
      }
      transpose(v);
#pragma GCC unroll 16
      for (int c = 0; c < V::lanes; ++c) {
        if (c >= count) break;
        const int64_t at = c * plan.taps + tap;
        // What is stored too much belongs to the next channel, and is overwritten by it.
        const bool whole = taps == V::lanes || (plan.taps < V::lanes && at + V::lanes <= room);
        whole ? v[c].store(to + at) : v[c].store_partial(to + at, taps);
      }
    }
  }

  void compute_task(int64_t task, T* sums) const {
    const int64_t o = task / plan.col_tasks * tile_rows, rows = smaller(tile_rows, s.oc - o);
    const int64_t block = task % plan.col_tasks * tile_vectors;
    // Where the result goes is needed when the sums are done: by then it has come nearer.
    for (int64_t r = 0; plan.taps == 1 && r < rows; ++r) {
      const T* to = diff_weight + (o + r) * s.ic + block * V::lanes;
      __builtin_prefetch(to, 1);
      __builtin_prefetch(to + V::lanes, 1);
    }
    for (int64_t tap = 0; tap < plan.taps; ++tap) {
      multiply_rows(tap, o, rows, block, sums + tap * tile_rows * plan.block_lanes);
    }
    const int64_t first = block * V::lanes, end = smaller(s.ic, first + plan.block_lanes);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = first; c < end; c += V::lanes) {
        store_taps(sums + r * plan.block_lanes + c - first, smaller(V::lanes, end - c),
                   (end - c) * plan.taps, diff_weight + ((o + r) * s.ic + c) * plan.taps);
      }
    }
  }
};

}  // namespace

bool positions_weight_accepts(const Conv2dShape& s) {
  return s.groups == 1 && WindowPairs::fit(s);
}

template <class T>
int64_t positions_weight_workspace(const Conv2dShape& s, int slots) {
  const PositionsPlan<T> plan(s);
  return (plan.source + red_zone<T> + slots * (plan.sums + red_zone<T>)) * int64_t{sizeof(T)};
}

template <class T>
void positions_weight(const Run& run, const Conv2dShape& s, const T* src, const T* diff_dst,
                      T* diff_weight) {
  const PositionsPlan<T> plan(s);
  const WindowPairs pairs(s, WindowPairs::By::tap);
  T* source = guarded(static_cast<T*>(run.workspace), plan.source);
  T* locals = source + plan.source + red_zone<T>;
  PositionsWeight<T>::turn_source(run, s, plan, src, source);
  const PositionsWeight<T> gradient{s, plan, pairs, source, diff_dst, diff_weight};
  parallel(run, plan.row_tasks * plan.col_tasks, [&](int64_t task, int slot) {
    gradient.compute_task(task, slot_region(locals, plan.sums, slot));
  });
}

template <class T>
double positions_weight_cost(const Conv2dShape& s) {
  constexpr double per_turned = 12, per_weight = 0.8;
  constexpr int64_t least = 16;  // pixels: fewer take no less time to turn
  constexpr double per_fma = RUSHLIGHT_VECTOR_BYTES == 64 ? 1.1 : 0.6;
  const PositionsPlan<T> plan(s);
  const double rows = static_cast<double>(plan.row_tasks * tile_rows);
  const double pairs = static_cast<double>(WindowPairs::count(s)) * static_cast<double>(s.n);
  const double weights = static_cast<double>(s.oc) * static_cast<double>(s.ic * plan.taps);
  return pairs * rows * static_cast<double>(plan.src_blocks) * per_fma +
         static_cast<double>(plan.src_blocks * s.n * larger(plan.src_plane, least)) * per_turned +
         weights * per_weight;
}

RUSHLIGHT_POSITIONS_WEIGHT(, float)
RUSHLIGHT_POSITIONS_WEIGHT(, double)

}  // namespace rushlight::RUSHLIGHT_ISA
