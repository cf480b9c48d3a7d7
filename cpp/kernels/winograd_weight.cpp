#include "kernels/winograd_weight.h"

#include "kernels/blocked_pixels.h"
#include "kernels/channel_lanes.h"
#include "kernels/outer_products.h"
#include "kernels/packers.h"
#include "kernels/winograd_transforms.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

// Neighbouring tiles of one image that are read together.
struct Strip {
  int64_t image, ty, tx, rows, cols;
  int64_t first;  // tiles before it, counted through all images
};

// How a problem is cut, from its sizes alone. Tiles go in chunks, whose transforms stay in the
// second-level cache. There are two ways:
//   few weights:  a task owns some chunks and sums up all products of theirs
//   many weights: chunk by chunk, the transforms are shared, and a task owns a block of products
template <class F, class T>
struct Plan {
  static constexpr int64_t points = F::points * F::points;
  static constexpr int64_t lanes = Native<T>::lanes;
  static constexpr int64_t line = 64 / int64_t{sizeof(T)};
  static constexpr int64_t most_parts = 16;

  int64_t th, tw;
  int64_t o_blocks, i_blocks;      // of as many channels as a vector has lanes
  int64_t strip_rows, strip_cols;  // tiles
  int64_t strips_down, strips_across, strips;
  bool few;
  int64_t chunk_strips, chunks;
  int64_t parts, part_chunks;  // partial sums, added up at the end

  template <class Problem>
  explicit Plan(const Problem& p)
      : th(ceil_div(p.oh, F::outputs)),
        tw(ceil_div(p.ow, F::outputs)),
        o_blocks(ceil_div(p.oc, lanes)),
        i_blocks(ceil_div(p.ic, lanes)),
        strip_cols(smaller(tw, 32)) {
    constexpr int64_t window_bytes = 32768, sums_bytes = 720896;
    constexpr int64_t few_chunk = 393216, many_chunk = 4194304;
    const int64_t row = (strip_cols * F::outputs + 2) * lanes * int64_t{sizeof(T)};
    const int64_t fitting = larger(1, (window_bytes / row - 2) / F::outputs);
    strips_down = ceil_div(th, fitting);
    strip_rows = ceil_div(th, strips_down);
    strips_down = ceil_div(th, strip_rows);
    strips_across = ceil_div(tw, strip_cols);
    strips = p.n * strips_down * strips_across;
    few = sums_size() * int64_t{sizeof(T)} <= sums_bytes;
    const int64_t tile_bytes = points * (o_blocks + i_blocks) * lanes * int64_t{sizeof(T)};
    const int64_t tiles = smaller(512, larger(16, (few ? few_chunk : many_chunk) / tile_bytes));
    chunk_strips = smaller(strips, larger(1, tiles / (strip_rows * strip_cols)));
    chunks = ceil_div(strips, chunk_strips);
    part_chunks = few ? ceil_div(chunks, most_parts) : chunks;
    parts = ceil_div(chunks, part_chunks);
  }

  Strip strip(int64_t index) const {
    Strip s;
    s.image = index / (strips_down * strips_across);
    s.ty = index / strips_across % strips_down * strip_rows;
    s.tx = index % strips_across * strip_cols;
    s.rows = smaller(strip_rows, th - s.ty);
    s.cols = smaller(strip_cols, tw - s.tx);
    s.first = (s.image * th + s.ty) * tw + s.rows * s.tx;
    return s;
  }

  // Transformed tiles of one block of channels: [points][tiles][lanes], padded so that powers of
  // two do not meet in one set of the cache.
  int64_t point_stride() const { return chunk_strips * strip_rows * strip_cols * lanes + line; }
  int64_t panel() const { return points * point_stride(); }
  int64_t panels() const { return (o_blocks + i_blocks) * panel(); }

  int64_t window() const {
    return (strip_rows * F::outputs + 2) * (strip_cols * F::outputs + 2) * lanes;
  }
  // Products: [points][oc][ic], of all channels and of one task of the way for many weights.
  int64_t sums_size() const { return points * (o_blocks * lanes * i_blocks * lanes + line); }
  static constexpr int64_t block_i = 2;
  int64_t block_size() const { return points * (lanes * block_i * lanes + line); }

  int64_t part_row() const { return i_blocks * lanes; }  // [9][row] for an output channel
  int64_t part_size(int64_t oc) const { return oc * 9 * part_row(); }

  int64_t shared(int64_t oc) const { return parts * part_size(oc) + (few ? 0 : panels()); }
  int64_t local() const { return window() + (few ? panels() + sums_size() : block_size()); }
};

// Blocks of products: o_blocks * lanes rows of i_blocks * lanes columns for each point.
struct Block {
  int64_t o, o_count, i, i_count;  // blocks of channels
};

template <class F, class T>
struct WinogradWeight {
  using V = Native<T>;
  static constexpr int points = F::points, m = F::outputs;

  const WinogradWeightProblem<T>& p;
  const Plan<F, T> plan;

  // Writes the transform of a strip of `src` behind one another from `to` on, for one block of
  // channels.
  void transform_source(const Strip& s, int64_t block, T* window, T* to) const {
    const T* image = p.src + s.image * p.src_image + block * V::lanes * p.ih * p.iw;
    const int64_t y0 = s.ty * m - p.padding_h, x0 = s.tx * m - p.padding_w;
    if (p.blocked) {
      const BlockPlane<T> plane{image, p.ih, p.iw};
      return for_each_tile(s, to, [&](int64_t y, int64_t x, T* result) {
        write_source(result, [&](int i, V* row) __attribute__((always_inline)) {
          const int known = i < points - m ? points : (points - m) / 2;
          plane.template load<points>(y0 + y * m + i, x0 + x * m, m, known, row);
        });
      });
    }
    const int64_t cols = s.cols * m + 2;
    const LaneWindow<T> from{image, p.ih * p.iw, p.ih,           p.iw, p.ic - block * V::lanes,
                             y0,    x0,          s.rows * m + 2, cols};
    from.load(window);
    for_each_tile(s, to, [&](int64_t y, int64_t x, T* result) {
      write_source(result, [&](int i, V* row) __attribute__((always_inline)) {
        const T* pixels = window + ((y * m + i) * cols + x * m) * V::lanes;
#pragma GCC unroll 6
        for (int j = 0; j < points; ++j) row[j] = V::load(pixels + j * V::lanes);
      });
    });
  }

  // The same of `diff_dst`.
  void transform_gradient(const Strip& s, int64_t block, T* window, T* to) const {
    const T* image = p.diff_dst + s.image * p.dst_image + block * V::lanes * p.oh * p.ow;
    if (p.blocked) {
      const BlockPlane<T> plane{image, p.oh, p.ow};
      return for_each_tile(s, to, [&](int64_t y, int64_t x, T* result) {
        write_gradient(result, [&](int i, V* row) __attribute__((always_inline)) {
          plane.template load<m>((s.ty + y) * m + i, (s.tx + x) * m, m, 0, row);
        });
      });
    }
    const int64_t cols = s.cols * m;
    const LaneWindow<T> from{image,    p.oh * p.ow, p.oh,       p.ow, p.oc - block * V::lanes,
                             s.ty * m, s.tx * m,    s.rows * m, cols};
    from.load(window);
    for_each_tile(s, to, [&](int64_t y, int64_t x, T* result) {
      write_gradient(result, [&](int i, V* row) __attribute__((always_inline)) {
        const T* pixels = window + ((y * m + i) * cols + x * m) * V::lanes;
#pragma GCC unroll 4
        for (int j = 0; j < m; ++j) row[j] = V::load(pixels + j * V::lanes);
      });
    });
  }

  // The points of a tile whose rows `load(i, row)` gives.
  template <class Load>
  RUSHLIGHT_INLINE void write_source(T* result, const Load& load) const {
    V x[points * points];
#pragma GCC unroll 6
    for (int i = 0; i < points; ++i) {
      load(i, x + i * points);
      F::source(x + i * points, 1);
    }
#pragma GCC unroll 6
    for (int j = 0; j < points; ++j) {
      F::source(x + j, points);
#pragma GCC unroll 6
      for (int i = 0; i < points; ++i) {
        x[i * points + j].store(result + (i * points + j) * plan.point_stride());
      }
    }
  }

  template <class Load>
  RUSHLIGHT_INLINE void write_gradient(T* result, const Load& load) const {
    V half[m * points];
#pragma GCC unroll 4
    for (int i = 0; i < m; ++i) {
      V y[m];
      load(i, y);
      F::template spread<T>(y, 1, half + i * points, 1);
    }
#pragma GCC unroll 6
    for (int j = 0; j < points; ++j) {
      V x[points];
      F::template spread<T>(half + j, points, x, 1);
#pragma GCC unroll 6
      for (int i = 0; i < points; ++i) {
        x[i].store(result + (i * points + j) * plan.point_stride());
      }
    }
  }

  // Calls body(row, column, where its points go) for the tiles of a strip.
  template <class Body>
  RUSHLIGHT_INLINE void for_each_tile(const Strip& s, T* to, const Body& body) const {
    for (int64_t y = 0; y < s.rows; ++y) {
      for (int64_t x = 0; x < s.cols; ++x, to += V::lanes) body(y, x, to);
    }
  }

  // Panels hold the blocks of output channels first.
  void transform(int64_t strip, int64_t first_tile, int64_t block, T* window, T* panels) const {
    const Strip s = plan.strip(strip);
    T* to = panels + block * plan.panel() + (s.first - first_tile) * V::lanes;
    if (block < plan.o_blocks) return transform_gradient(s, block, window, to);
    transform_source(s, block - plan.o_blocks, window, to);
  }

  int64_t first_strip(int64_t chunk) const { return chunk * plan.chunk_strips; }
  int64_t end_strip(int64_t chunk) const {
    return smaller(plan.strips, (chunk + 1) * plan.chunk_strips);
  }
  int64_t first_tile(int64_t chunk) const { return plan.strip(first_strip(chunk)).first; }
  int64_t tiles(int64_t chunk) const {
    const Strip last = plan.strip(end_strip(chunk) - 1);
    return last.first + last.rows * last.cols - first_tile(chunk);
  }

  static int64_t row_of(const Block& b) { return b.i_count * V::lanes; }
  static int64_t stride_of(const Block& b) {
    return b.o_count * V::lanes * row_of(b) + Plan<F, T>::line;
  }

  // sums[point][o][i] (+)= the products of a chunk.
  void multiply(const Block& b, int64_t chunk, const T* panels, bool add, T* sums) const {
    const T* gradients = panels + b.o * plan.panel();
    const T* sources = panels + (plan.o_blocks + b.i) * plan.panel();
    const int64_t count = tiles(chunk);
    const int64_t rows = smaller(b.o_count * V::lanes, p.oc - b.o * V::lanes);
    for (int64_t point = 0; point < plan.points; ++point) {
      const int64_t at = point * plan.point_stride();
      add_outer_products(count, rows, b.i_count, LanePanels<T>{gradients + at, plan.panel()},
                         LanePanels<T>{sources + at, plan.panel()}, add,
                         sums + point * stride_of(b), row_of(b));
    }
  }

  // Transforms sums into taps of the weight: part[o][tap][i] (+)= ...
  void finish(const Block& b, const T* sums, bool add, T* part) const {
    const int64_t rows = smaller(b.o_count * V::lanes, p.oc - b.o * V::lanes);
    for (int64_t o = 0; o < rows; ++o) {
      for (int64_t i = 0; i < b.i_count; ++i) {
        T* to = part + (b.o * V::lanes + o) * 9 * plan.part_row() + (b.i + i) * V::lanes;
        finish_vector(sums + o * row_of(b) + i * V::lanes, stride_of(b), add, to);
      }
    }
  }

  RUSHLIGHT_INLINE void finish_vector(const T* from, int64_t stride, bool add, T* to) const {
    V half[3 * points];
#pragma GCC unroll 6
    for (int j = 0; j < points; ++j) {
      V x[points];
#pragma GCC unroll 6
      for (int i = 0; i < points; ++i) x[i] = V::load(from + (i * points + j) * stride);
      F::template gather<T>(x, 1, half + j, points);
    }
#pragma GCC unroll 3
    for (int ky = 0; ky < 3; ++ky) {
      V g[3];
      F::template gather<T>(half + ky * points, 1, g, 1);
#pragma GCC unroll 3
      for (int kx = 0; kx < 3; ++kx) {
        T* tap = to + (ky * 3 + kx) * plan.part_row();
        if (add) g[kx] += V::load(tap);
        g[kx].store(tap);
      }
    }
  }

  // A task of the way for few weights.
  void compute_part(int64_t part, T* local, T* parts) const {
    T* window = local;
    T* panels = window + plan.window();
    T* sums = panels + plan.panels();
    const Block all{0, plan.o_blocks, 0, plan.i_blocks};
    const int64_t first = part * plan.part_chunks;
    const int64_t end = smaller(plan.chunks, first + plan.part_chunks);
    for (int64_t chunk = first; chunk < end; ++chunk) {
      for (int64_t block = 0; block < plan.o_blocks + plan.i_blocks; ++block) {
        for (int64_t strip = first_strip(chunk); strip < end_strip(chunk); ++strip) {
          transform(strip, first_tile(chunk), block, window, panels);
        }
      }
      multiply(all, chunk, panels, chunk > first, sums);
    }
    finish(all, sums, false, parts + part * plan.part_size(p.oc));
  }

  // The way for many weights, one chunk after the other.
  void compute_chunk(const Run& run, int64_t chunk, T* panels, T* local, int64_t local_size,
                     T* part) const {
    const int64_t first = first_strip(chunk), count = end_strip(chunk) - first;
    parallel(run, (plan.o_blocks + plan.i_blocks) * count, [&](int64_t task, int slot) {
      transform(first + task % count, first_tile(chunk), task / count, local + slot * local_size,
                panels);
    });
    const int64_t across = ceil_div(plan.i_blocks, plan.block_i);
    parallel(run, plan.o_blocks * across, [&](int64_t task, int slot) {
      const int64_t i = task % across * plan.block_i;
      const Block block{task / across, 1, i, smaller(plan.block_i, plan.i_blocks - i)};
      T* sums = local + slot * local_size + plan.window();
      multiply(block, chunk, panels, false, sums);
      finish(block, sums, chunk > 0, part);
    });
  }

  // diff_weight[o][i][tap] = sum over the parts of part[o][tap][i].
  void add_parts(const Run& run, T* parts) const {
    const int64_t size = plan.part_size(p.oc), row = 9 * plan.part_row();
    parallel(run, ceil_div(p.oc, 4), [&](int64_t task, int) {
      for (int64_t o = task * 4; o < smaller(p.oc, task * 4 + 4); ++o) {
        T* total = parts + o * row;
        for (int64_t part = 1; part < plan.parts; ++part) {
          for_each_vector<T>(0, row, [&](auto v, int64_t i) {
            using V = decltype(v);
            (V::load(total + i) + V::load(total + part * size + i)).store(total + i);
          });
        }
        const MatrixPacker<T> turn{total, plan.part_row(), 1};
        turn.template pack<9>(p.diff_weight + o * p.ic * 9, 0, 9, 0, p.ic);
      }
    });
  }

  void compute(const Run& run) const {
    T* parts = static_cast<T*>(run.workspace);
    T* panels = parts + plan.parts * plan.part_size(p.oc);
    T* local = parts + round_up(plan.shared(p.oc), plan.line);
    const int64_t local_size = round_up(plan.local(), plan.line);
    if (plan.few) {
      parallel(run, plan.parts, [&](int64_t part, int slot) {
        compute_part(part, local + slot * local_size, parts);
      });
    } else {
      for (int64_t chunk = 0; chunk < plan.chunks; ++chunk) {
        compute_chunk(run, chunk, panels, local, local_size, parts);
      }
    }
    add_parts(run, parts);
  }
};

template <class T, class Body>
auto with_transform(int tile, const Body& body) {
  return tile == 2 ? body(WinogradF2{}) : body(WinogradF4{});
}

}  // namespace

template <class T>
int64_t winograd_weight_workspace(const WinogradWeightProblem<T>& p, int tile, int slots) {
  return with_transform<T>(tile, [&](auto f) {
    const Plan<decltype(f), T> plan(p);
    return (round_up(plan.shared(p.oc), plan.line) + slots * round_up(plan.local(), plan.line)) *
           int64_t{sizeof(T)};
  });
}

template <class T>
void winograd_weight(const Run& run, const WinogradWeightProblem<T>& p, int tile) {
  with_transform<T>(tile, [&](auto f) {
    using F = decltype(f);
    WinogradWeight<F, T>{p, Plan<F, T>(p)}.compute(run);
  });
}

template <class T>
double winograd_weight_cost(const WinogradWeightProblem<T>& p, int tile) {
  return with_transform<T>(tile, [&](auto f) {
    using F = decltype(f);
    const Plan<F, T> plan(p);
    // Measured: per tile and block of channels, and per weight.
    constexpr bool small = F::outputs == 2;
    const double per_turned = p.blocked ? 0.2 : 1.5;  // element, from memory
    constexpr double transform = small ? 80 : 200, finish = small ? 200 : 260;
    constexpr double per_fma = RUSHLIGHT_VECTOR_BYTES == 64 ? 1 : 0.5;
    const double tiles = static_cast<double>(p.n * plan.th * plan.tw);
    const double blocks = static_cast<double>(plan.o_blocks + plan.i_blocks);
    const double weights = static_cast<double>(p.oc * plan.i_blocks);
    const double turned = static_cast<double>(p.n * p.oh * p.ow * plan.lanes) * blocks;
    return static_cast<double>(plan.points) * tiles * weights * per_fma +
           tiles * blocks * transform + turned * per_turned +
           weights * static_cast<double>(plan.parts) * finish;
  });
}

RUSHLIGHT_WINOGRAD_WEIGHT(, float)
RUSHLIGHT_WINOGRAD_WEIGHT(, double)

}  // namespace rushlight::RUSHLIGHT_ISA
