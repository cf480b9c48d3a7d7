#include "kernels/strided_src.h"

#include "kernels/blocked_tile.h"
#include "kernels/blocked_weights.h"
#include "kernels/channel_lanes.h"
#include "kernels/conv2d_window.h"
#include "kernels/packers.h"
#include "kernels/red_zone.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

constexpr int64_t kMostKernel = 64;

// Along one axis. Source pixel y * stride + phase sees output y + shift(phase, tap) of those taps
// that the phase has.
struct PhaseAxis {
  int64_t size, outputs, taps, stride, padding, dilation;
  int64_t count;      // pixels of the longest phase
  int64_t low, high;  // the least and the largest shift of any tap

  PhaseAxis(int64_t size, int64_t outputs, int64_t taps, int64_t stride, int64_t padding,
            int64_t dilation)
      : size(size),
        outputs(outputs),
        taps(taps),
        stride(stride),
        padding(padding),
        dilation(dilation),
        count(ceil_div(size, stride)),
        low(INT64_MAX),
        high(INT64_MIN) {
    for (int64_t phase = 0; phase < stride; ++phase) {
      for (int64_t tap = 0; tap < taps; ++tap) {
        if (!has(phase, tap)) continue;
        low = smaller(low, shift(phase, tap));
        high = larger(high, shift(phase, tap));
      }
    }
  }

  bool has(int64_t phase, int64_t tap) const {
    return (phase + padding - tap * dilation) % stride == 0;
  }
  int64_t shift(int64_t phase, int64_t tap) const {
    return (phase + padding - tap * dilation) / stride;
  }
  int64_t pixels(int64_t phase) const { return ceil_div(size - phase, stride); }
};

// The taps of a phase: which they are, and where they read, from the pixel itself.
struct PhaseTaps {
  int count = 0;
  int64_t tap[kMostKernel];
  int64_t offset[kMostKernel];
};

// How the work is cut, from the sizes alone. A task owns a band of rows of some images, for a group
// of blocks of source channels. Pixels run on from row to row and from image to image: those
// between the rows are of no use to anyone.
template <class T>
struct StridedPlan {
  static constexpr int64_t lanes = Native<T>::lanes;

  const Conv2dShape& s;
  PhaseAxis down, across;
  ChannelGroups<T> groups;
  int64_t phases, kernel;
  int64_t pitch;             // of a row of the band
  int64_t rows, bands;       // of the longest phase, in a band, and bands of an image
  int64_t images, portions;  // images taken together, and how often

  explicit StridedPlan(const Conv2dShape& s)
      : s(s),
        down(s.ih, s.oh, s.kh, s.stride_h, s.padding_h, s.dilation_h),
        across(s.iw, s.ow, s.kw, s.stride_w, s.padding_w, s.dilation_w),
        groups(s.ic),
        phases(s.stride_h * s.stride_w),
        kernel(s.kh * s.kw),
        pitch(across.count + across.high - across.low) {
    constexpr int64_t budget = 131072 / int64_t{sizeof(T)}, wanted_tasks = 16;
    const int64_t reach = down.high - down.low;
    const int64_t results = smaller(kGroupBlocks, groups.blocks) * lanes * phases;
    const int64_t row = pitch * (s.oc + results);  // elements, about
    bands = ceil_div(down.count, larger(1, smaller(down.count, budget / row - reach)));
    rows = ceil_div(down.count, bands);
    bands = ceil_div(down.count, rows);
    const int64_t fitting = bands > 1 ? 1 : larger(1, budget / (row * (rows + reach)));
    const int64_t shared = ceil_div(wanted_tasks, bands * groups.count);
    images = smaller(fitting, larger(1, s.n / shared));
    portions = ceil_div(s.n, images);
    images = ceil_div(s.n, portions);
    portions = ceil_div(s.n, images);
  }

  int64_t height() const { return rows + down.high - down.low; }
  int64_t plane() const { return height() * pitch; }
  int64_t channel() const { return images * plane(); }
  int64_t source() const { return s.oc * channel(); }
  // Sums of a phase, where rows have a pitch, and the source's gradient, where they have none.
  int64_t positions(int64_t count) const {
    return (count - 1) * plane() + (rows - 1) * pitch + across.count;
  }
  int64_t sums() const { return round_up(positions(images), kLargestTile) * lanes; }
  int64_t result() const { return rows * s.stride_h * s.iw * lanes; }
  int64_t local() const {
    return round_up(source(), lanes) + kGroupBlocks * (sums() + images * result());
  }
  int64_t weights() const { return groups.blocks * lanes * s.oc * kernel; }

  PhaseTaps taps(int64_t phase) const {
    const int64_t y = phase / s.stride_w, x = phase % s.stride_w;
    PhaseTaps found;
    for (int64_t t = 0; t < kernel; ++t) {
      const int64_t ky = t / s.kw, kx = t % s.kw;
      if (!down.has(y, ky) || !across.has(x, kx)) continue;
      found.tap[found.count] = t;
      found.offset[found.count++] =
          (down.shift(y, ky) - down.low) * pitch + across.shift(x, kx) - across.low;
    }
    return found;
  }
};

template <class T>
struct StridedSrc {
  using V = Native<T>;
  static constexpr int64_t lanes = V::lanes;

  const StridedPlan<T> plan;
  const T* weights;  // [groups][phases][oc][taps of the phase][blocks of the group][lanes]
  const T* diff_dst;
  T* diff_src;

  // What a task works on.
  struct Place {
    int64_t image, images, y0, rows, group;
  };

  // Copies the rows of diff_dst that a band reads, with zeros around them: [oc][images][rows].
  void load(const Place& at, T* to) const {
    const Conv2dShape& s = plan.s;
    const Inside in(plan.across.low, 1, plan.pitch, s.ow);
    const int64_t first = at.y0 + plan.down.low, plane = s.oh * s.ow;
    const int64_t begin = smaller(plan.height(), larger(0, -first));
    const int64_t end = larger(begin, smaller(plan.height(), s.oh - first));
    zero_run(to, plan.source());
    to += begin * plan.pitch + in.low;
    for (int64_t o = 0; o < s.oc; ++o) {
      for (int64_t i = 0; i < at.images; ++i) {
        const T* from = diff_dst + ((at.image + i) * s.oc + o) * plane + plan.across.low + in.low;
        T* row = to + o * plan.channel() + i * plan.plane();
        for (int64_t y = begin; y < end; ++y, row += plan.pitch) {
          copy_row(from + (first + y) * s.ow, in.high - in.low, plane, row);
        }
      }
    }
  }

  // The sums of one phase, with few enough products at a time that they stay exact and that their
  // weights stay in the first-level cache.
  void multiply(const PhaseTaps& taps, int64_t blocks, int64_t positions, const T* source,
                const T* weight, T* sums) const {
    constexpr int64_t most_summed = 256;
    const TileKernel<T>* kernels =
        blocks == 1 ? tile_kernels<T, 1, 1, 1>() : tile_kernels<T, 2, 1, 1>();
    const int64_t chunk = larger(1, most_summed / taps.count);
    const TileCut cut(positions);
    TileArguments<T> a{};
    a.src_block_step = plan.channel();
    a.tap_offset = taps.offset;
    a.taps = taps.count;
    a.pixel_step = 1;
    a.last_channels = 1;
    a.dst_block_step = plan.sums();
    for (int64_t o = 0; o < plan.s.oc; o += chunk) {
      a.src_blocks = smaller(chunk, plan.s.oc - o);
      a.weight = weight + o * taps.count * blocks * lanes;
      a.add = o > 0;
      cut.for_each([&](int kind, int64_t pixel, int64_t count) {
        a.count = count;
        a.src = source + o * plan.channel() + pixel;
        a.dst = sums + pixel * lanes;
        kernels[kind](a);
      });
    }
  }

  // Brings the sums of a phase to their pixels among those of the others.
  void spread(const Place& at, int64_t phase, bool exists, const T* sums, T* result) const {
    const Conv2dShape& s = plan.s;
    const int64_t py = phase / s.stride_w, px = phase % s.stride_w;
    const int64_t rows = smaller(at.rows, plan.down.pixels(py) - at.y0);
    for (int64_t i = 0; i < at.images; ++i) {
      for (int64_t y = 0; y < rows; ++y) {
        const T* from = sums + (i * plan.plane() + y * plan.pitch) * lanes;
        T* to = result + i * plan.result() + ((y * s.stride_h + py) * s.iw + px) * lanes;
        for (int64_t x = 0; x < plan.across.pixels(px); ++x) {
          const V v = exists ? V::load(from + x * lanes) : V::zero();
          v.store(to + x * s.stride_w * lanes);
        }
      }
    }
  }

  void store(const Place& at, int64_t block, const T* result) const {
    const Conv2dShape& s = plan.s;
    const int64_t first = at.y0 * s.stride_h, plane = s.ih * s.iw, c = block * lanes;
    const int64_t rows = smaller(s.ih, first + at.rows * s.stride_h) - first;
    for (int64_t i = 0; i < at.images; ++i) {
      T* to = diff_src + ((at.image + i) * s.ic + c) * plane + first * s.iw;
      store_lanes(result + i * plan.result(), rows * s.iw, s.ic - c, plane, to);
    }
  }

  void compute(const Place& at, T* local) const {
    T* source = local;
    T* sums = local + round_up(plan.source(), lanes);
    T* results = sums + kGroupBlocks * plan.sums();
    load(at, source);
    const int64_t blocks = plan.groups.blocks_of(at.group), first = at.group * kGroupBlocks;
    const T* weight = weights + plan.groups.weight_offset(at.group, plan.s.oc * plan.kernel);
    for (int64_t phase = 0; phase < plan.phases; ++phase) {
      const PhaseTaps taps = plan.taps(phase);
      if (taps.count > 0) {
        multiply(taps, blocks, plan.positions(at.images), source, weight, sums);
      }
      weight += plan.s.oc * taps.count * blocks * lanes;
      for (int64_t r = 0; r < blocks; ++r) {
        spread(at, phase, taps.count > 0, sums + r * plan.sums(),
               results + r * plan.images * plan.result());
      }
    }
    for (int64_t r = 0; r < blocks; ++r) {
      store(at, first + r, results + r * plan.images * plan.result());
    }
  }

  void run_tasks(const Run& run, T* locals) const {
    const StridedPlan<T>& p = plan;
    parallel(run, p.portions * p.bands * p.groups.count, [&](int64_t task, int slot) {
      Place at;
      at.group = task % p.groups.count;
      at.y0 = task / p.groups.count % p.bands * p.rows;
      at.image = task / p.groups.count / p.bands * p.images;
      at.rows = smaller(p.rows, p.down.count - at.y0);
      at.images = smaller(p.images, p.s.n - at.image);
      compute(at, slot_region(locals, round_up(p.local(), lanes), slot));
    });
  }
};

// Brings the weights into the order in which the sums run through them.
template <class T>
void sort_weights(const Run& run, const StridedPlan<T>& plan, const T* weight, T* to) {
  constexpr int64_t lanes = Native<T>::lanes;
  const Conv2dShape& s = plan.s;
  constexpr int64_t step = 16;  // output channels of a task
  const int64_t steps = ceil_div(s.oc, step);
  parallel(run, plan.groups.count * steps, [&](int64_t task, int) {
    const int64_t group = task / steps, blocks = plan.groups.blocks_of(group);
    const int64_t c0 = group * kGroupBlocks * lanes, first = task % steps * step;
    const int64_t end = smaller(s.oc, first + step);
    T turned[kGroupBlocks][kMostKernel * lanes];
    for (int64_t o = first; o < end; ++o) {
      for (int64_t r = 0; r < blocks; ++r) {
        const int64_t c = c0 + r * lanes;
        const MatrixPacker<T> turn{weight + (o * s.ic + c) * plan.kernel, plan.kernel, 1};
        turn.template pack<lanes>(turned[r], 0, static_cast<int>(smaller(lanes, s.ic - c)), 0,
                                  plan.kernel);
      }
      T* out = to + plan.groups.weight_offset(group, s.oc * plan.kernel);
      for (int64_t phase = 0; phase < plan.phases; ++phase) {
        const PhaseTaps taps = plan.taps(phase);
        T* row = out + o * taps.count * blocks * lanes;
        for (int t = 0; t < taps.count; ++t) {
          for (int64_t r = 0; r < blocks; ++r, row += lanes) {
            Native<T>::load(turned[r] + taps.tap[t] * lanes).store(row);
          }
        }
        out += s.oc * taps.count * blocks * lanes;
      }
    }
  });
}

}  // namespace

bool strided_src_accepts(const Conv2dShape& s) {
  constexpr double most = 1048576;  // elements of one row of outputs, with what lies around it
  if (s.groups != 1 || s.kh * s.kw > kMostKernel) return false;
  if (s.n * s.ic * s.oc * s.ih * s.iw * s.oh * s.ow == 0) return false;
  const double reach = static_cast<double>(s.kh * s.dilation_h + s.padding_h + s.stride_h);
  const double width = static_cast<double>(s.iw + s.kw * s.dilation_w + s.padding_w + s.stride_w);
  const double phases = static_cast<double>(s.stride_h) * static_cast<double>(s.stride_w);
  return reach * width * static_cast<double>(s.oc) <= most && phases <= 64 &&
         width * phases <= most;
}

template <class T>
int64_t strided_src_workspace(const Conv2dShape& s, int slots) {
  const StridedPlan<T> plan(s);
  constexpr int64_t lanes = Native<T>::lanes;
  return (plan.weights() + red_zone<T> + slots * (round_up(plan.local(), lanes) + red_zone<T>)) *
         int64_t{sizeof(T)};
}

template <class T>
void strided_src(const Run& run, const Conv2dShape& s, const T* weight, const T* diff_dst,
                 T* diff_src) {
  const StridedPlan<T> plan(s);
  T* weights = guarded(static_cast<T*>(run.workspace), plan.weights());
  sort_weights(run, plan, weight, weights);
  StridedSrc<T>{plan, weights, diff_dst, diff_src}.run_tasks(
      run, weights + plan.weights() + red_zone<T>);
}

template <class T>
double strided_src_cost(const Conv2dShape& s) {
  constexpr double per_fma = RUSHLIGHT_VECTOR_BYTES == 64 ? 1.1 : 0.6;
  constexpr double per_copy = 1.5, per_result = 3, per_weight = 2;
  const StridedPlan<T> plan(s);
  const double blocks = static_cast<double>(plan.groups.blocks);
  const double positions = static_cast<double>(plan.portions * plan.bands) *
                           static_cast<double>(plan.positions(plan.images));
  const double copied = static_cast<double>(plan.portions * plan.bands * plan.groups.count) *
                        static_cast<double>(plan.source());
  const double results = static_cast<double>(s.n * s.ih * s.iw) * blocks * double{Native<T>::lanes};
  return positions * static_cast<double>(s.oc * plan.kernel) * blocks * per_fma +
         copied * per_copy + results * per_result +
         static_cast<double>(plan.weights()) * per_weight;
}

RUSHLIGHT_STRIDED_SRC(, float)
RUSHLIGHT_STRIDED_SRC(, double)

}  // namespace rushlight::RUSHLIGHT_ISA
