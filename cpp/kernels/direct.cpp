#include "kernels/direct.h"

#include "kernels/cycles.h"
#include "kernels/direct_tile.h"
#include "kernels/integers.h"
#include "kernels/phases.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

// How a convolution is cut into tasks, by its shape alone. A unit is a band of rows of one group of
// one image; a task owns some units, or some output channels of one. Tasks that share a unit share
// its phases, others fill their own, some channels at a time.
template <class T>
struct DirectPlan {
  static constexpr int64_t lanes = Native<T>::lanes;
  static constexpr int64_t line = 64 / int64_t{sizeof(T)};

  const DirectTile<T>& tile;
  int64_t ic, oc, taps;  // channels of one group
  int64_t blocks;        // tiles that oc makes
  int64_t chunk;         // input channels that are summed up before the next begin
  int64_t bands, band_rows;
  int64_t units, unit_tasks, split_blocks, splits;
  PhasedBand band;

  explicit DirectPlan(const Conv2dShape& s)
      : tile(best_direct_tile<T>(s.oc / s.groups)),
        ic(s.ic / s.groups),
        oc(s.oc / s.groups),
        taps(s.kh * s.kw),
        blocks(ceil_div(oc, tile.rows)),
        band(s, 1) {
    constexpr double work_per_task = 1048576;
    constexpr int64_t most_tasks = 32, longest_sum = 320;
    const double work = static_cast<double>(s.n * s.oc * s.oh * s.ow) *
                        static_cast<double>(ic * taps) / work_per_task;
    const int64_t wanted = work >= most_tasks ? most_tasks : static_cast<int64_t>(work) + 1;
    const int64_t chunks = ceil_div(ic, larger(1, longest_sum / taps));
    chunk = chunks == 0 ? 0 : ceil_div(ic, chunks);
    cut_rows(s, ceil_div(wanted, larger(1, s.n * s.groups)));
    units = s.n * s.groups * bands;
    splits = smaller(blocks, ceil_div(wanted, larger(1, units)));
    split_blocks = ceil_div(blocks, larger(1, splits));
    splits = ceil_div(blocks, larger(1, split_blocks));
    unit_tasks = smaller(units, wanted);
  }

  // At least a few vectors to a band, and no more than the second-level cache holds.
  void cut_rows(const Conv2dShape& s, int64_t wanted) {
    constexpr int64_t fewest_vectors = 12, most = 65536;  // elements
    const int64_t fewest = ceil_div(fewest_vectors * lanes, band.pitch);
    const int64_t row = chunk * band.rows.phases * band.cols.phases * band.pitch;
    const int64_t fitting = larger(1, most / larger(1, row) - band.rows.reach);
    band_rows = larger(smaller(ceil_div(s.oh, wanted), fitting), fewest);
    bands = ceil_div(s.oh, smaller(s.oh, band_rows));
    band_rows = ceil_div(s.oh, bands);
    band.outputs = band_rows;
  }

  bool shares() const { return splits > 1; }
  // Elements of a band's phases; of sums, where not all channels are summed up at once.
  int64_t phases() const {
    return (shares() ? ic : chunk) * band.channel() + band.slack<T>(tile.vectors);
  }
  // An odd number of cache lines: rows of sums should not meet in one set of the cache.
  int64_t ld() const {
    const int64_t vectors = ceil_div(band.positions(band_rows), lanes) + tile.vectors;
    return (vectors | 1) * lanes;
  }
  int64_t tile_sums() const { return (tile.rows * tile.vectors + 1) * lanes; }
  int64_t sums() const { return chunk == ic ? 2 * tile_sums() : split_blocks * tile.rows * ld(); }
  int64_t group_weights() const { return blocks * tile.rows * ic * taps; }

  // The workspace, in elements: offsets, weights, shared phases, local memory.
  int64_t offsets() const { return round_up(taps * (int64_t{8} / int64_t{sizeof(T)}), line); }
  int64_t shared() const { return shares() ? round_up(units * phases(), line) : 0; }
  int64_t local() const { return round_up((shares() ? 0 : phases()) + sums(), line); }
};

// Weights [oc][ic][taps] of one tile as [ic][taps][rows], zeros for channels that do not exist.
template <class T>
void pack_tile(const T* weight, int64_t k, int64_t channels, int rows, T* to) {
  int64_t whole = 0;
  for (; whole + 4 <= channels; whole += 4) {
    int64_t j = 0;
    for (; j + 4 <= k; j += 4)
      transpose_4x4(weight + whole * k + j, k, to + j * rows + whole, rows);
    for (; j < k; ++j) {
      for (int64_t i = whole; i < whole + 4; ++i) to[j * rows + i] = weight[i * k + j];
    }
  }
  for (int64_t i = whole; i < rows; ++i) {
    const T* from = weight + i * k;
    if (i < channels) {
      for (int64_t j = 0; j < k; ++j) to[j * rows + i] = from[j];
    } else {
      for (int64_t j = 0; j < k; ++j) to[j * rows + i] = 0;
    }
  }
}

template <class T>
struct Direct {
  const Conv2dShape& s;
  const DirectPlan<T> plan;
  const T* src;
  const T* weight;
  const int64_t* offsets;
  Epilogue<T> epilogue;
  T* dst;

  // One unit, some of its output channels.
  struct Part {
    int64_t image, group, oy, rows;
    int64_t first_block, blocks;
  };
  // A tile's sums of `count` positions, which are yet to be stored. They wait until the next tile
  // is done: to read at once what was just written in other vectors would stall.
  struct Sums {
    int64_t block = 0, first = 0, count = 0;
    const T* at = nullptr;
    int64_t ld = 0;
  };

  Part part(int64_t unit, int64_t split) const {
    const int64_t band = unit % plan.bands, group = unit / plan.bands % s.groups;
    const int64_t oy = band * plan.band_rows, first = split * plan.split_blocks;
    return {
        unit / plan.bands / s.groups,       group, oy,
        smaller(plan.band_rows, s.oh - oy), first, smaller(plan.split_blocks, plan.blocks - first)};
  }

  const T* channels(const Part& part, int64_t c) const {
    return src + (part.image * s.ic + part.group * plan.ic + c) * s.ih * s.iw;
  }

  // Sums to the rows of dst that they belong to.
  void store(const Part& part, const Sums& sums) const {
    const int64_t first_channel = sums.block * plan.tile.rows, plane = s.oh * s.ow;
    const int64_t o = part.group * plan.oc + first_channel;
    const int64_t channels = smaller(plan.tile.rows, plan.oc - first_channel);
    int64_t y = sums.first / plan.band.pitch, x = sums.first % plan.band.pitch;
    for (int64_t done = 0; done < sums.count; x = 0, ++y) {
      const int64_t inside = smaller(s.ow - x, sums.count - done);
      if (inside > 0) {
        const int64_t in_plane = (part.oy + y) * s.ow + x;
        const int64_t element = (part.image * s.oc + o) * plane + in_plane;
        const DirectOutput<T> out{dst + element, plane, (part.rows - y) * s.ow - x,
                                  epilogue.at(o, element)};
        store_positions(sums.at + done, sums.ld, channels, inside, out);
      }
      done += plan.band.pitch - x;
    }
  }

  // Channels [c0, c0 + count) of the group, from their phases, for all positions of a part.
  void multiply(const Part& part, int64_t c0, int64_t count, const T* phases, T* sums) const {
    const int64_t total = plan.band.positions(part.rows), rows = plan.tile.rows;
    const bool once = plan.chunk == plan.ic, last = c0 + count == plan.ic;
    const int64_t weights = plan.ic * plan.taps * rows;
    Sums pending;
    bool second = false;  // of the two tiles of sums
    int64_t vectors;
    for (int64_t first = 0; first < total; first += vectors * plan.lanes) {
      const int64_t left = ceil_div(total - first, plan.lanes);
      const bool few = left <= 2 * plan.tile.few_vectors && left != plan.tile.vectors;
      vectors = few ? plan.tile.few_vectors : plan.tile.vectors;
      const int64_t ld = once ? vectors * plan.lanes : plan.ld();
      for (int64_t b = 0; b < part.blocks; ++b) {
        const int64_t block = part.first_block + b;
        const T* panel = weight + part.group * plan.group_weights() + block * weights;
        T* to = once ? sums + second * plan.tile_sums() : sums + b * rows * ld + first;
        const DirectOperands<T> operands{offsets,        plan.taps,
                                         count,          plan.band.channel(),
                                         phases + first, panel + c0 * plan.taps * rows};
        (few ? plan.tile.few : plan.tile.many)(operands, c0 > 0, to, ld);
        if (!last) continue;
        store(part, pending);
        pending = {block, first, smaller(vectors * plan.lanes, total - first), to, ld};
        second = !second;
      }
    }
    store(part, pending);
  }

  void compute_unit(int64_t unit, T* local) const {
    const Part whole = part(unit, 0);
    T* sums = local + plan.phases();
    int64_t c = 0;
    do {  // at least once: no channels at all still give the epilogue
      const int64_t count = smaller(plan.chunk, plan.ic - c);
      fill_band(plan.band, channels(whole, c), count, whole.oy, local);
      zero_run(local + count * plan.band.channel(), plan.band.cols.reach);
      multiply(whole, c, count, local, sums);
      c += count;
    } while (c < plan.ic);
  }

  void compute_split(int64_t task, const T* shared, T* sums) const {
    const int64_t unit = task / plan.splits;
    const Part some = part(unit, task % plan.splits);
    int64_t c = 0;
    do {
      const int64_t count = smaller(plan.chunk, plan.ic - c);
      multiply(some, c, count, shared + unit * plan.phases() + c * plan.band.channel(), sums);
      c += count;
    } while (c < plan.ic);
  }

  void fill_shared(const Run& run, T* shared) const {
    constexpr int64_t channels_per_task = 16;
    const int64_t runs = ceil_div(plan.ic, channels_per_task);
    parallel(run, plan.units * runs, [&](int64_t task, int) {
      const int64_t unit = task / runs, c = task % runs * channels_per_task;
      const int64_t count = smaller(channels_per_task, plan.ic - c);
      const Part whole = part(unit, 0);
      T* phases = shared + unit * plan.phases();
      fill_band(plan.band, channels(whole, c), count, whole.oy, phases + c * plan.band.channel());
      if (c + count == plan.ic) {
        zero_run(phases + plan.ic * plan.band.channel(), plan.band.cols.reach);
      }
    });
  }
};

}  // namespace

bool direct_accepts(const Conv2dShape& s) {
  constexpr double most = 4194304, most_taps = 16384;  // elements of a channel's phases
  const double rows = static_cast<double>((s.kh - 1) * s.dilation_h + s.stride_h);
  const double cols =
      static_cast<double>((s.kw - 1) * s.dilation_w + s.iw + s.padding_w + s.stride_w);
  return static_cast<double>(s.kh) * static_cast<double>(s.kw) <= most_taps && rows * cols <= most;
}

template <class T>
int64_t direct_weights(const Conv2dShape& s) {
  return s.groups * DirectPlan<T>(s).group_weights();
}

template <class T>
void direct_prepare(const Run& run, const Conv2dShape& s, const T* weight, T* to) {
  const DirectPlan<T> plan(s);
  const int64_t k = plan.ic * plan.taps, rows = plan.tile.rows;
  parallel(run, s.groups * plan.blocks, [&](int64_t task, int) {
    const int64_t group = task / plan.blocks, first = task % plan.blocks * rows;
    pack_tile(weight + (group * plan.oc + first) * k, k, smaller(rows, plan.oc - first),
              plan.tile.rows, to + task * rows * k);
  });
}

template <class T>
int64_t direct_workspace(const Conv2dShape& s, bool is_prepared, int slots) {
  if (s.n * s.oc * s.oh * s.ow == 0) return 0;
  const DirectPlan<T> plan(s);
  const int64_t weights = is_prepared ? 0 : round_up(s.groups * plan.group_weights(), plan.line);
  return (plan.offsets() + weights + plan.shared() + slots * plan.local()) * int64_t{sizeof(T)};
}

template <class T>
void direct_forward(const Run& run, const Conv2dShape& s, const T* src, const T* weight,
                    const T* prepared, const Epilogue<T>& epilogue, T* dst) {
  if (s.n * s.oc * s.oh * s.ow == 0) return;
  const DirectPlan<T> plan(s);
  int64_t* offsets = static_cast<int64_t*>(run.workspace);
  for (int64_t t = 0; t < plan.taps; ++t) offsets[t] = plan.band.offset(t / s.kw, t % s.kw);
  T* next = static_cast<T*>(run.workspace) + plan.offsets();
  if (prepared == nullptr) {
    direct_prepare(run, s, weight, next);
    prepared = next;
    next += round_up(s.groups * plan.group_weights(), plan.line);
  }
  T* const shared = next;
  T* const local = next + plan.shared();
  const Direct<T> direct{s, plan, src, prepared, offsets, epilogue, dst};
  if (plan.shares()) {
    direct.fill_shared(run, shared);
    parallel(run, plan.units * plan.splits, [&](int64_t task, int slot) {
      direct.compute_split(task, shared, local + slot * plan.local());
    });
    return;
  }
  parallel(run, plan.unit_tasks, [&](int64_t task, int slot) {
    const int64_t end = (task + 1) * plan.units / plan.unit_tasks;
    for (int64_t unit = task * plan.units / plan.unit_tasks; unit < end; ++unit) {
      direct.compute_unit(unit, local + slot * plan.local());
    }
  });
}

template <class T>
double direct_cost(const Conv2dShape& s) {
  const DirectPlan<T> plan(s);
  constexpr double per_vector = 4, per_weight = 2;
  // Short vectors take columns apart slowly.
  const double per_element = RUSHLIGHT_VECTOR_BYTES < 64 && s.stride_w > 1 ? 1.25 : 0.25;
  const double units = static_cast<double>(plan.units);
  const double vectors =
      static_cast<double>(ceil_div(plan.band.positions(plan.band_rows), plan.lanes)) * units;
  const double rows = static_cast<double>(plan.blocks * plan.tile.rows);
  const double k = static_cast<double>(plan.ic * plan.taps);
  // A single tap leaves nothing to reuse in the copy.
  double speed = (plan.taps == 1 ? 0.8 : 0.9) * plan.tile.speed;
  // The few channels of a group do not make up for rows that are taken apart.
  if (s.groups > 1 && s.stride_w > 1) speed *= 0.65;
  return rows * vectors * (k * kCyclesPerFma / speed + per_vector) +
         per_weight * static_cast<double>(s.oc) * k +
         per_element * units * static_cast<double>(plan.ic * plan.band.channel());
}

RUSHLIGHT_DIRECT(, float)
RUSHLIGHT_DIRECT(, double)

}  // namespace rushlight::RUSHLIGHT_ISA
