#include "kernels/winograd.h"

#include "kernels/cycles.h"
#include "kernels/gemm.h"
#include "kernels/winograd_tiles.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

// How a problem is cut, from its sizes alone. There are two ways:
//   many tiles: a task owns a panel of tiles; all share the transformed weights
//   few tiles:  a task owns a panel of output channels; all share the transformed tiles. Weights
//               that were not prepared are transformed in its second-level cache and never stored
template <class F, class T>
struct Plan {
  static constexpr int64_t points = F::points * F::points;
  static constexpr int64_t cols = tile_cols<T>, rows = tile_rows;
  static constexpr int64_t line = 64 / int64_t{sizeof(T)};  // no vector is longer
  static constexpr int64_t few_panels = 6, most_channels = 160;

  int64_t th, tw, tiles;
  int64_t panels, row_panels;
  bool few;
  int64_t kc_step, k_blocks;
  int64_t block_panels;      // tile panels that a task holds at once
  int64_t block_row_panels;  // row panels that a task holds at once

  template <class Problem>
  explicit Plan(const Problem& p)
      : th(ceil_div(p.oh, F::outputs)),
        tw(ceil_div(p.ow, F::outputs)),
        tiles(p.n * th * tw),
        panels(ceil_div(tiles, cols)),
        row_panels(ceil_div(p.oc, rows)),
        few(panels < few_panels) {
    k_blocks = ceil_div(p.ic, most_channels);
    kc_step = ceil_div(p.ic, larger(1, k_blocks));
    block_panels = few ? panels : 1;
    constexpr int64_t bytes = 131072;  // of results
    const int64_t fitting = bytes / (points * rows * cols * int64_t{sizeof(T)});
    block_row_panels = few ? 1 : smaller(row_panels, larger(1, fitting));
  }

  // From point to point: padded so that powers of two do not meet in one set of the cache, and for
  // the last vector.
  int64_t source_stride() const { return kc_step * cols + line; }
  int64_t weight_stride() const { return round_up(kc_step * rows, line) + line; }
  int64_t result_row() const { return block_panels * cols; }
  int64_t result_stride() const { return block_row_panels * rows * result_row() + line; }

  // Elements for one panel and one block of k; of all that a task holds; of all weights.
  int64_t source_block() const { return points * source_stride(); }
  int64_t weight_block() const { return points * weight_stride(); }
  int64_t results() const { return points * result_stride(); }
  int64_t weights() const { return k_blocks * row_panels * weight_block(); }

  int64_t shared(bool is_prepared) const {
    return few ? k_blocks * panels * source_block() : is_prepared ? 0 : weights();
  }
  int64_t local(bool is_prepared) const {
    return results() + (!few ? k_blocks * source_block() : is_prepared ? 0 : weight_block());
  }
};

template <class F, class T>
struct Winograd {
  const WinogradProblem<T>& p;
  Plan<F, T> plan;

  int64_t channels(int64_t k_block) const {
    return smaller(plan.kc_step, p.ic - k_block * plan.kc_step);
  }

  template <class V>
  void transform_source_with(int64_t panel, int64_t k_block, T* to) const {
    const int64_t first = panel * plan.cols, count = smaller(plan.cols, plan.tiles - first);
    for (int64_t k = 0; k < channels(k_block); ++k) {
      const T* channel = p.src + (k_block * plan.kc_step + k) * p.ih * p.iw;
      for_each_tile_run(
          plan.th, plan.tw, first, count, V::lanes, [&](const TileRun& run, int64_t offset) {
            transform_source_run<F, V>(p, channel + run.image * p.src_image, run,
                                       to + k * plan.cols + offset, plan.source_stride());
          });
    }
  }

  template <class V>
  void transform_result_with(int64_t first_panel, int64_t o, const T* results) const {
    const int64_t first = first_panel * plan.cols;
    const int64_t count = smaller(plan.result_row(), plan.tiles - first);
    const Epilogue<T> of_channel = p.epilogue.at(o, o * p.oh * p.ow);
    for_each_tile_run(
        plan.th, plan.tw, first, count, V::lanes, [&](const TileRun& run, int64_t offset) {
          T* plane = p.dst + run.image * p.dst_image + o * p.oh * p.ow;
          transform_result_run<F, V>(p, results + offset, plan.result_stride(), run,
                                     of_channel.at(0, run.image * p.dst_image), plane);
        });
  }

  // Calls body(V{}) with the shortest vector that holds a row of tiles, if there is one.
  template <class Body>
  void with_vector(const Body& body) const {
    constexpr int lanes = Native<T>::lanes;
    if constexpr (lanes >= 8) {
      if (plan.tw <= lanes / 4) return body(Vec<T, lanes / 4>{});
    }
    if constexpr (lanes >= 4) {
      if (plan.tw <= lanes / 2) return body(Vec<T, lanes / 2>{});
    }
    body(Native<T>{});
  }

  void transform_source(int64_t panel, int64_t k_block, T* to) const {
    with_vector([&](auto v) { transform_source_with<decltype(v)>(panel, k_block, to); });
  }

  void transform_weight(int64_t row_panel, int64_t k_block, T* to) const {
    const int64_t o = row_panel * tile_rows;
    const int count = static_cast<int>(smaller(tile_rows, p.oc - o));
    T taps[9 * tile_rows + Native<T>::lanes] = {};
    for (int64_t k = 0; k < channels(k_block); ++k) {
      const int64_t c = k_block * plan.kc_step + k;
      const MatrixPacker<T> packer{p.weight + c * p.channel_stride, p.row_stride, 1};
      packer.template pack<tile_rows>(taps, o, count, 0, 9);
      transform_weight_rows<F>(taps, p.rotated, to + k * tile_rows, plan.weight_stride());
    }
  }

  // results[point] (+)= weight[point] * source[point] for one block of k.
  void multiply(int64_t first_panel, int64_t row_panels, int64_t row_panel, int64_t k_block,
                const T* weight, int64_t weight_step, const T* source, int64_t source_step,
                T* results) const {
    const int64_t kc = channels(k_block);
    for (int64_t point = 0; point < plan.points; ++point) {
      for (int64_t panel = 0; panel < plan.block_panels; ++panel) {
        const T* b = source + panel * source_step + point * plan.source_stride();
        const int cols = whole_vectors(plan.tiles - (first_panel + panel) * plan.cols);
        for (int64_t r = 0; r < row_panels; ++r) {
          const T* a = weight + r * weight_step + point * plan.weight_stride();
          T* c = results + point * plan.result_stride() + r * tile_rows * plan.result_row() +
                 panel * plan.cols;
          const int rows = whole_thirds(p.oc - (row_panel + r) * tile_rows);
          multiply_tiles(kc, a, Columns<T>::packed(b),
                         Output<T>{c, plan.result_row(), k_block > 0, {}}, {0, 0, rows, cols});
        }
      }
    }
  }

  // Sizes that multiply_tiles stores without a detour: results have room for whole tiles.
  static int whole_vectors(int64_t cols) {
    constexpr int lanes = Native<T>::lanes;
    if (RUSHLIGHT_VECTOR_BYTES == 64 && cols <= lanes / 2) return lanes / 2;
    return cols <= lanes ? lanes : tile_cols<T>;
  }
  static int whole_thirds(int64_t rows) {
    constexpr int third = (tile_rows + 2) / 3;
    return rows <= third ? third : rows <= 2 * third ? 2 * third : tile_rows;
  }

  void transform_results(int64_t first_panel, int64_t row_panel, int64_t row_panels,
                         const T* results) const {
    const int64_t o0 = row_panel * tile_rows;
    const int64_t count = smaller(row_panels * tile_rows, p.oc - o0);
    with_vector([&](auto v) {
      for (int64_t i = 0; i < count; ++i) {
        transform_result_with<decltype(v)>(first_panel, o0 + i, results + i * plan.result_row());
      }
    });
  }

  // A task of the way for few tiles.
  void multiply_row_panel(int64_t row_panel, const T* sources, T* local) const {
    T* results = local;
    T* weight = local + plan.results();
    for (int64_t k_block = 0; k_block < plan.k_blocks; ++k_block) {
      const T* prepared = weight;
      if (p.prepared == nullptr) {
        transform_weight(row_panel, k_block, weight);
      } else {
        prepared = p.prepared + (row_panel * plan.k_blocks + k_block) * plan.weight_block();
      }
      multiply(0, 1, row_panel, k_block, prepared, 0, sources + k_block * plan.source_block(),
               plan.k_blocks * plan.source_block(), results);
    }
    transform_results(0, row_panel, 1, results);
  }

  // A task of the way for many tiles.
  void multiply_panel(int64_t panel, const T* weights, T* local) const {
    T* results = local;
    T* source = local + plan.results();
    for (int64_t k_block = 0; k_block < plan.k_blocks; ++k_block) {
      transform_source(panel, k_block, source + k_block * plan.source_block());
    }
    const int64_t step = plan.block_row_panels, weight_step = plan.k_blocks * plan.weight_block();
    for (int64_t row_panel = 0; row_panel < plan.row_panels; row_panel += step) {
      const int64_t count = smaller(step, plan.row_panels - row_panel);
      for (int64_t k_block = 0; k_block < plan.k_blocks; ++k_block) {
        multiply(panel, count, row_panel, k_block,
                 weights + row_panel * weight_step + k_block * plan.weight_block(), weight_step,
                 source + k_block * plan.source_block(), 0, results);
      }
      transform_results(panel, row_panel, count, results);
    }
  }

  void transform_weights(const Run& run, T* to) const {
    parallel(run, plan.row_panels * plan.k_blocks, [&](int64_t task, int) {
      transform_weight(task / plan.k_blocks, task % plan.k_blocks, to + task * plan.weight_block());
    });
  }

  void compute(const Run& run) const {
    const bool is_prepared = p.prepared != nullptr;
    T* shared = guarded(static_cast<T*>(run.workspace), plan.shared(is_prepared));
    T* locals = shared + round_up(plan.shared(is_prepared), plan.line) + red_zone<T>;
    const int64_t local_size = round_up(plan.local(is_prepared), plan.line);
    if (plan.few) {
      parallel(run, plan.panels * plan.k_blocks, [&](int64_t task, int) {
        transform_source(task / plan.k_blocks, task % plan.k_blocks,
                         shared + task * plan.source_block());
      });
      parallel(run, plan.row_panels, [&](int64_t row_panel, int slot) {
        multiply_row_panel(row_panel, shared, slot_region(locals, local_size, slot));
      });
      return;
    }
    if (!is_prepared) transform_weights(run, shared);
    const T* weights = is_prepared ? p.prepared : shared;
    parallel(run, plan.panels, [&](int64_t panel, int slot) {
      multiply_panel(panel, weights, slot_region(locals, local_size, slot));
    });
  }
};

template <class T, class Body>
auto with_transform(int tile, const Body& body) {
  return tile == 2 ? body(WinogradF2{}) : body(WinogradF4{});
}

}  // namespace

template <class T>
int64_t winograd_workspace(const WinogradProblem<T>& p, int tile, bool is_prepared, int slots) {
  return with_transform<T>(tile, [&](auto f) {
    const Plan<decltype(f), T> plan(p);
    return (round_up(plan.shared(is_prepared), plan.line) + red_zone<T> +
            slots * (round_up(plan.local(is_prepared), plan.line) + red_zone<T>)) *
           int64_t{sizeof(T)};
  });
}

template <class T>
int64_t winograd_weights(const WinogradProblem<T>& p, int tile) {
  return with_transform<T>(tile, [&](auto f) { return Plan<decltype(f), T>(p).weights(); });
}

template <class T>
void winograd_prepare(const Run& run, const WinogradProblem<T>& p, int tile, T* to) {
  with_transform<T>(tile, [&](auto f) {
    using F = decltype(f);
    Winograd<F, T>{p, Plan<F, T>(p)}.transform_weights(run, to);
  });
}

template <class T>
void winograd(const Run& run, const WinogradProblem<T>& p, int tile) {
  with_transform<T>(tile, [&](auto f) {
    using F = decltype(f);
    Winograd<F, T>{p, Plan<F, T>(p)}.compute(run);
  });
}

template <class T>
double winograd_cost(const WinogradProblem<T>& p, int tile) {
  return with_transform<T>(tile, [&](auto f) {
    using F = decltype(f);
    const Plan<F, T> plan(p);
    // Measured: per vector of tiles and channel, and per tap of weights that caches hold.
    constexpr bool small = F::outputs == 2;
    constexpr double source = small ? 120 : 300, result = small ? 100 : 250;
    constexpr double weight = small ? 8 : 14;
    const int64_t lanes = smaller(Native<T>::lanes, round_up(plan.tw, Native<T>::lanes / 2));
    const double runs = static_cast<double>(p.n * plan.th * ceil_div(plan.tw, lanes));
    const double ic = static_cast<double>(p.ic), oc = static_cast<double>(p.oc);
    const double vectors = static_cast<double>(ceil_div(plan.tiles, Native<T>::lanes));
    const double products = static_cast<double>(plan.points * round_up(p.oc, tile_rows)) * ic;
    const double bytes = static_cast<double>(plan.weights()) * double{sizeof(T)};
    return products * vectors * kCyclesPerFma + runs * (ic * source + oc * result) +
           ic * oc * weight + bytes * (cycles_per_byte(bytes) - cycles_per_byte(0));
  });
}

RUSHLIGHT_WINOGRAD(, float)
RUSHLIGHT_WINOGRAD(, double)

}  // namespace rushlight::RUSHLIGHT_ISA
