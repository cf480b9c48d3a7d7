#include "kernels/direct_weight.h"

#include "kernels/channel_lanes.h"
#include "kernels/conv2d_sizes.h"
#include "kernels/conv2d_window.h"
#include "kernels/packers.h"
#include "kernels/red_zone.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

// Rows of taps (each an input channel and a row of the window) whose sums fit in the registers.
template <int KW>
constexpr int kTapRows =
    RUSHLIGHT_VECTOR_BYTES == 64 ? (KW == 1 ? 12 : 28 / KW) : (KW < 12 ? 12 / KW : 1);

// How the work is cut, from the sizes alone. A task owns some blocks of output channels and a part
// of the strips of all images.
template <class T>
struct DirectWeightPlan {
  static constexpr int64_t lanes = Native<T>::lanes;

  const Conv2dShape& s;
  Sizes z;
  int64_t blocks;           // of output channels of a group
  int64_t together, turns;  // blocks of a task, and how many such there are in a group
  int64_t rows, strips;     // of outputs in a strip, and strips of an image
  int64_t parts, per_part;  // partial sums, and strips in each
  int64_t src_rows, pitch;  // of the source under a strip, the zeros around the image included

  explicit DirectWeightPlan(const Conv2dShape& s) : s(s), z(s), blocks(ceil_div(z.oc, lanes)) {
    constexpr int64_t wanted_tasks = 16, strip_bytes = 16384, sums_bytes = 131072;
    const int64_t fitting = strip_bytes / (s.ow * lanes * int64_t{sizeof(T)});
    strips = ceil_div(s.oh, smaller(s.oh, larger(1, fitting)));
    rows = ceil_div(s.oh, strips);
    strips = ceil_div(s.oh, rows);
    const int64_t summed = sums_bytes / (sums() * int64_t{sizeof(T)});
    turns = ceil_div(blocks, smaller(blocks, larger(1, summed)));
    if (s.n * strips * turns < wanted_tasks) turns = blocks;
    together = ceil_div(blocks, turns);
    turns = ceil_div(blocks, together);
    parts = larger(1, smaller(s.n * strips, ceil_div(wanted_tasks, s.groups * turns)));
    per_part = ceil_div(s.n * strips, parts);
    src_rows = (rows - 1) * s.stride_h + (s.kh - 1) * s.dilation_h + 1;
    pitch = (s.ow - 1) * s.stride_w + s.kw;
  }

  int64_t sums() const { return z.taps * lanes; }  // of a block: [tap][lanes]
  int64_t all_sums() const { return parts * s.groups * blocks * sums(); }
  int64_t gradients() const { return rows * s.ow * lanes; }
  int64_t source() const { return round_up(z.ic * src_rows * pitch, lanes); }
};

// Outputs that lie in a strip, and where taps find their source.
struct OutputWindow {
  int64_t rows, cols;
  int64_t row_step, col_step;  // of the source, from output to output
};

// sums[row][kx] += the sum over the outputs of gradient * source, for the first `count` of ROWS
// rows of taps; `source` is under the first output.
template <int ROWS, int KW, class T>
__attribute__((noinline)) void add_tap_rows(const OutputWindow& out, const T* gradient,
                                            const T* const* source, int64_t count, T* sums) {
  using V = Native<T>;
  V acc[ROWS][KW];
#pragma GCC unroll 12
  for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 7
    for (int kx = 0; kx < KW; ++kx) acc[r][kx] = V::zero();
  }
  const T* from[ROWS];
#pragma GCC unroll 12
  for (int r = 0; r < ROWS; ++r) from[r] = source[r];
  for (int64_t y = 0; y < out.rows; ++y) {
    for (int64_t x = 0; x < out.cols; ++x, gradient += V::lanes) {
      const V dy = V::load(gradient);
      const int64_t at = x * out.col_step;
#pragma GCC unroll 12
      for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 7
        for (int kx = 0; kx < KW; ++kx) {
          acc[r][kx] = fma(V::broadcast(from[r][at + kx]), dy, acc[r][kx]);
        }
      }
    }
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; ++r) from[r] += out.row_step;
  }
#pragma GCC unroll 12
  for (int r = 0; r < ROWS; ++r) {
    if (r >= count) break;
#pragma GCC unroll 7
    for (int kx = 0; kx < KW; ++kx) {
      T* to = sums + (r * KW + kx) * V::lanes;
      (acc[r][kx] + V::load(to)).store(to);
    }
  }
}

template <class T>
struct DirectWeight {
  const DirectWeightPlan<T> plan;
  const T* src;
  const T* diff_dst;
  bool diff_blocked;

  // Copies the source under the strip whose first output row is `oy`. The columns of zeros beside
  // the image are never written: they are there already.
  void load_source(const T* channels, int64_t oy, T* to) const {
    const Conv2dShape& s = plan.s;
    const Inside in(-s.padding_w, 1, plan.pitch, s.iw);
    const int64_t y0 = oy * s.stride_h - s.padding_h;
    channels += in.low - s.padding_w;
    for (int64_t c = 0; c < plan.z.ic; ++c, channels += plan.z.src_plane) {
      for (int64_t i = 0; i < plan.src_rows; ++i, to += plan.pitch) {
        const int64_t y = y0 + i;
        if (y < 0 || y >= s.ih) {
          zero_run(to, plan.pitch);
        } else {
          copy_row(channels + y * s.iw, in.high - in.low, plan.z.src_plane, to + in.low);
        }
      }
    }
  }

  // All rows of taps for one strip, as many at a time as fit in the registers. Rows that do not
  // exist are the last again, and their sums are dropped.
  template <int KW>
  void add_strip(const OutputWindow& out, const T* gradients, const T* source, T* sums) const {
    constexpr int most = kTapRows<KW>, third = (most + 2) / 3;
    constexpr int two_thirds = 2 * third < most ? 2 * third : most;
    const Conv2dShape& s = plan.s;
    const int64_t all = plan.z.ic * s.kh;
    for (int64_t first = 0; first < all; first += most) {
      const int64_t count = smaller(most, all - first);
      const T* rows[most];
      for (int64_t r = 0; r < most; ++r) {
        const int64_t row = smaller(first + r, all - 1);
        rows[r] = source + (row / s.kh * plan.src_rows + row % s.kh * s.dilation_h) * plan.pitch;
      }
      T* to = sums + first * KW * plan.lanes;
      if (count <= third) {
        add_tap_rows<third, KW>(out, gradients, rows, count, to);
      } else if (count <= two_thirds) {
        add_tap_rows<two_thirds, KW>(out, gradients, rows, count, to);
      } else {
        add_tap_rows<most, KW>(out, gradients, rows, count, to);
      }
    }
  }

  void add_taps(const OutputWindow& out, const T* gradients, const T* source, T* sums) const {
    switch (plan.s.kw) {
      case 1:
        return add_strip<1>(out, gradients, source, sums);
      case 3:
        return add_strip<3>(out, gradients, source, sums);
      case 5:
        return add_strip<5>(out, gradients, source, sums);
      case 7:
        return add_strip<7>(out, gradients, source, sums);
      default:
        return;  // not accepted
    }
  }

  // Adds one strip to the sums of the blocks from `first` on.
  void add_to_blocks(int64_t strip, int64_t group, int64_t first, T* gradients, T* source,
                     T* sums) const {
    const Conv2dShape& s = plan.s;
    const Sizes& z = plan.z;
    const int64_t image = strip / plan.strips, oy = strip % plan.strips * plan.rows;
    const int64_t rows = smaller(plan.rows, s.oh - oy), index = image * s.groups + group;
    const OutputWindow out{rows, s.ow, s.stride_h * plan.pitch, s.stride_w};
    load_source(src + index * z.ic * z.src_plane, oy, source);
    for (int64_t block = first; block < smaller(plan.blocks, first + plan.together); ++block) {
      const T* turned = gradients;
      if (diff_blocked) {
        const int64_t pixel = (image * plan.blocks + block) * z.dst_plane + oy * s.ow;
        turned = diff_dst + pixel * plan.lanes;
      } else {
        turn_gradients(index, block, oy, rows, gradients);
      }
      add_taps(out, turned, source, sums + (block - first) * plan.sums());
    }
  }

  void turn_gradients(int64_t index, int64_t block, int64_t oy, int64_t rows, T* to) const {
    const Sizes& z = plan.z;
    const int64_t o = block * plan.lanes;
    LaneWindow<T> from{diff_dst + (index * z.oc + o) * z.dst_plane, z.dst_plane, plan.s.oh,
                       plan.s.ow, z.oc - o};
    from.y0 = oy, from.rows = rows, from.cols = plan.s.ow;
    from.load(to);
  }

  // One task, whose sums stand one block after another.
  void compute_part(int64_t group, int64_t turn, int64_t part, T* gradients, T* source,
                    T* sums) const {
    const int64_t first = turn * plan.together;
    zero_run(sums, smaller(plan.together, plan.blocks - first) * plan.sums());
    zero_run(source, plan.source());
    const int64_t end = smaller(plan.s.n * plan.strips, (part + 1) * plan.per_part);
    for (int64_t strip = part * plan.per_part; strip < end; ++strip) {
      add_to_blocks(strip, group, first, gradients, source, sums);
    }
  }

  // diff_weight[o][tap] = sum over the parts of sums[part][block][tap][o].
  void add_parts(const Run& run, T* sums, T* diff_weight) const {
    const int64_t all = plan.s.groups * plan.blocks;
    parallel(run, all, [&](int64_t task, int) {
      T* total = sums + task * plan.sums();
      for (int64_t part = 1; part < plan.parts; ++part) {
        const T* more = total + part * all * plan.sums();
        for_each_vector<T>(0, plan.sums(), [&](auto v, int64_t i) {
          using V = decltype(v);
          (V::load(total + i) + V::load(more + i)).store(total + i);
        });
      }
      const int64_t o = task % plan.blocks * plan.lanes;
      const int64_t first = task / plan.blocks * plan.z.oc + o;
      store_lanes(total, plan.z.taps, plan.z.oc - o, plan.z.taps,
                  diff_weight + first * plan.z.taps);
    });
  }

  void compute(const Run& run, T* diff_weight) const {
    T* sums = guarded(static_cast<T*>(run.workspace), plan.all_sums());
    T* gradients = sums + plan.all_sums() + red_zone<T>;
    T* sources = gradients + run.slots * (plan.gradients() + red_zone<T>);
    const int64_t blocks = plan.s.groups * plan.blocks, tasks = plan.s.groups * plan.turns;
    parallel(run, plan.parts * tasks, [&](int64_t task, int slot) {
      const int64_t part = task / tasks, group = task % tasks / plan.turns;
      const int64_t turn = task % plan.turns;
      const int64_t block = part * blocks + group * plan.blocks + turn * plan.together;
      compute_part(group, turn, part, slot_region(gradients, plan.gradients(), slot),
                   slot_region(sources, plan.source(), slot), sums + block * plan.sums());
    });
    add_parts(run, sums, diff_weight);
  }
};

}  // namespace

bool direct_weight_accepts(const Conv2dShape& s) {
  constexpr double most = 1048576;  // elements of the source under one row of outputs
  const bool width = s.kw == 1 || s.kw == 3 || s.kw == 5 || s.kw == 7;
  if (!width || s.dilation_w != 1 || s.n * s.ic * s.oc * s.oh * s.ow == 0) return false;
  const double rows = static_cast<double>((s.kh - 1) * s.dilation_h + 1);
  const double cols = static_cast<double>(s.ow) * static_cast<double>(s.stride_w) + 7;
  return rows * cols * static_cast<double>(s.ic / s.groups) <= most;
}

template <class T>
int64_t direct_weight_workspace(const Conv2dShape& s, int slots) {
  const DirectWeightPlan<T> plan(s);
  const int64_t local = plan.gradients() + plan.source() + 2 * red_zone<T>;
  return (plan.all_sums() + red_zone<T> + slots * local) * int64_t{sizeof(T)};
}

template <class T>
void direct_weight(const Run& run, const Conv2dShape& s, const T* src, const T* diff_dst,
                   bool diff_blocked, T* diff_weight) {
  DirectWeight<T>{DirectWeightPlan<T>(s), src, diff_dst, diff_blocked}.compute(run, diff_weight);
}

template <class T>
double direct_weight_cost(const Conv2dShape& s) {
  // Measured; elements come from memory.
  constexpr double per_turn = 2, per_copy = 2, per_copy_again = 0.4, per_sum = 8;
  constexpr double per_fma = RUSHLIGHT_VECTOR_BYTES == 64 ? 1.05 : 0.55;
  const DirectWeightPlan<T> plan(s);
  const double outputs = static_cast<double>(s.n * plan.z.dst_plane);
  const double vectors = static_cast<double>(plan.blocks * plan.z.taps);
  const double strips = static_cast<double>(s.n * plan.strips);
  const double copies = per_copy + per_copy_again * static_cast<double>(plan.turns - 1);
  const double turned = outputs * static_cast<double>(plan.blocks * plan.lanes);
  return (outputs * per_fma + strips * per_sum) * vectors + turned * per_turn +
         strips * static_cast<double>(plan.source()) * copies;
}

RUSHLIGHT_DIRECT_WEIGHT(, float)
RUSHLIGHT_DIRECT_WEIGHT(, double)

}  // namespace rushlight::RUSHLIGHT_ISA
