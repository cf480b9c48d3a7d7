// Convolutions on blocked images as they are written: any kernel, stride, padding and dilation.
//
// A task owns a band of output rows of some groups of output channels. Where the image needs
// padding that it has not, the task first copies the rows that the band reads, with zeros around
// them; elsewhere it reads the image.
#include "kernels/blocked_conv.h"
#include "kernels/blocked_layout.h"
#include "kernels/blocked_tile.h"
#include "kernels/blocked_weights.h"
#include "kernels/channel_lanes.h"
#include "kernels/conv2d_window.h"
#include "kernels/packers.h"
#include "kernels/red_zone.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

constexpr int64_t kMostTaps = 1024;
constexpr int64_t kMostSummed = 256;  // products, before they are added to those before

// How a convolution is cut, from its sizes alone.
template <class T>
struct DirectPlan {
  static constexpr int64_t lanes = Native<T>::lanes;

  const Conv2dShape& s;
  ChannelGroups<T> groups;
  int64_t height;      // of a source block
  int64_t unit;        // elements of a pixel of a source block
  int64_t src_blocks;  // a plain source has one for each channel
  int64_t taps;
  bool flat;      // pixels of neighbouring rows are neighbours
  bool copies;    // the band
  int64_t width;  // of a row of the band, or of the source
  int64_t band;   // output rows
  int64_t bands, splits, groups_per_task;
  int64_t chunk;  // source blocks whose weights stay in the first-level cache

  DirectPlan(const Conv2dShape& s, DirectSource source)
      : s(s),
        groups(s.oc),
        height(s.ih),
        unit(source == DirectSource::plain ? 1 : lanes),
        src_blocks(source == DirectSource::plain ? s.ic : ceil_div(s.ic, lanes)),
        taps(s.kh * s.kw) {
    const bool padded = source == DirectSource::padded;
    // Windows may reach over the far edges without padding: those of a gradient's phase do.
    const int64_t down = source_row(s, s.oh - 1, s.kh - 1),
                  right = source_col(s, s.ow - 1, s.kw - 1);
    copies = !padded && (s.padding_h > 0 || s.padding_w > 0 || down >= s.ih || right >= s.iw);
    width = copies ? (s.ow - 1) * s.stride_w + (s.kw - 1) * s.dilation_w + 1 : s.iw;
    if (padded) width += 2 * s.padding_w, height += 2 * s.padding_h;
    flat = taps == 1 && s.stride_h == 1 && s.stride_w == 1 && s.ow == s.iw && !copies && !padded;
    constexpr int64_t source_budget = 262144 / int64_t{sizeof(T)};
    const int64_t fitting = source_budget / (src_blocks * unit * width);
    const int64_t reach = (s.kh - 1) * s.dilation_h + 1;
    band = smaller(s.oh, larger(1, (fitting - reach) / s.stride_h + 1));
    // Enough tasks for many threads, of bands that are not thinner than need be.
    constexpr int64_t wanted = 16;
    const int64_t thin = ceil_div(s.oh * s.n * groups.count, wanted);
    band = smaller(band, larger(1, thin));
    // Halves of the image for two threads, as the layers before and behind have them: where both
    // can keep all weights in their second-level caches.
    constexpr int64_t weights_of_both = 524288 / int64_t{sizeof(T)}, halved = 2 * 98;
    if (s.oh * s.ow >= halved && blocked_direct_weights<T>(s) <= weights_of_both) {
      band = smaller(band, ceil_div(s.oh, 2));
    }
    bands = even_bands(s.oh, band);
    band = ceil_div(s.oh, bands);
    splits = smaller(groups.count, larger(1, ceil_div(wanted, s.n * bands)));
    groups_per_task = ceil_div(groups.count, splits);
    splits = ceil_div(groups.count, groups_per_task);
    constexpr int64_t weight_budget = 24576 / int64_t{sizeof(T)};
    chunk = larger(1, weight_budget / (taps * unit * kGroupBlocks * lanes));
    chunk = smaller(chunk, larger(1, kMostSummed / (taps * unit)));
  }

  int64_t inner() const { return s.ic * taps; }
  // Elements from block to block of the source.
  int64_t src_block() const { return height * (copies ? s.iw : width) * unit; }
  int64_t band_rows() const { return (band - 1) * s.stride_h + (s.kh - 1) * s.dilation_h + 1; }
  int64_t block_size() const { return band_rows() * width * unit; }
  int64_t buffer() const { return copies ? round_up(src_blocks * block_size(), lanes) : 0; }
  // The results of one group in one band.
  int64_t results() const { return kGroupBlocks * band * s.ow * lanes; }
};

// Where the results of one band and group go: their first pixel, and what stands behind their sums.
template <class T>
struct DirectResults {
  T* first;
  int64_t block_step;
  Epilogue<T> epilogue;
};

template <class T>
struct DirectTask {
  const DirectPlan<T>& plan;
  const T* weights;
  Epilogue<T> epilogue;
  int64_t tap_offset[kMostTaps];

  DirectTask(const DirectPlan<T>& plan, const T* weights, const Epilogue<T>& epilogue)
      : plan(plan), weights(weights), epilogue(epilogue) {
    const Conv2dShape& s = plan.s;
    for (int64_t t = 0; t < plan.taps; ++t) {
      tap_offset[t] = (t / s.kw * s.dilation_h * plan.width + t % s.kw * s.dilation_w) * plan.unit;
    }
  }

  // The rows that outputs from row `oy` on read, of all blocks of one image.
  void fill(const T* image, int64_t oy, T* buffer) const {
    const Conv2dShape& s = plan.s;
    const int64_t unit = plan.unit, width = plan.width;
    const Inside in(-s.padding_w, 1, width, s.iw);
    for (int64_t b = 0; b < plan.src_blocks; ++b) {
      T* to = buffer + b * plan.block_size();
      const T* block = image + b * s.ih * s.iw * unit;
      const int64_t y0 = source_row(s, oy, 0);
      for (int64_t y = y0; y < y0 + plan.band_rows(); ++y, to += width * unit) {
        if (y < 0 || y >= s.ih) {
          zero_run(to, width * unit);
          continue;
        }
        zero_run(to, in.low * unit);
        copy_run(to + in.low * unit, block + (y * s.iw + in.low - s.padding_w) * unit,
                 (in.high - in.low) * unit);
        zero_run(to + in.high * unit, (width - in.high) * unit);
      }
    }
  }

  // Leaves out the rows of taps that see nothing of the image from output row `oy`.
  void set_taps(int64_t oy, int64_t channel_weights, TileArguments<T>& a) const {
    const Conv2dShape& s = plan.s;
    a.tap_offset = tap_offset;
    a.taps = static_cast<int>(plan.taps);
    a.weight_skip = 0;
    if (a.src_blocks > 1 && a.last_channels < plan.unit) return;  // whose taps lie closer
    const Inside in(source_row(s, oy, 0), s.dilation_h, s.kh, s.ih);
    const int64_t taps = (in.high - in.low) * s.kw;
    a.taps = static_cast<int>(taps);
    a.tap_offset = tap_offset + in.low * s.kw;
    a.weight += in.low * s.kw * channel_weights;
    a.weight_skip = (plan.taps - taps) * channel_weights;
  }

  // Runs of output pixels whose sources lie evenly: rows, or the whole band, from row `oy` on.
  void compute(const T* src, int64_t src_block, int64_t oy, int64_t rows, int64_t group,
               const DirectResults<T>& results) const {
    const Conv2dShape& s = plan.s;
    const int64_t runs = plan.flat ? 1 : rows, pixels = plan.flat ? rows * s.ow : s.ow;
    const int64_t blocks = plan.groups.blocks_of(group);
    const TileKernel<T>* kernels = kernels_for(group);
    const TileCut cut(pixels);
    TileArguments<T> a{};
    a.src_block_step = src_block;
    a.pixel_step = s.stride_w * plan.unit;
    a.dst_block_step = results.block_step;
    const T* weight = weights + plan.groups.weight_offset(group, plan.inner());
    const Ahead<T> ahead(runs * cut.tiles(), blocks * plan.lanes, blocked_direct_weights<T>(s));
    for (int64_t b = 0; b < plan.src_blocks; b += plan.chunk) {
      a.src_blocks = smaller(plan.chunk, plan.src_blocks - b);
      const bool last = b + a.src_blocks == plan.src_blocks;
      a.last_channels =
          static_cast<int>(last ? s.ic - (plan.src_blocks - 1) * plan.unit : plan.unit);
      const int64_t tap_weights = a.last_channels * blocks * plan.lanes;
      a.add = b > 0;
      int64_t done = 0;  // tiles
      for (int64_t run = 0; run < runs; ++run) {
        const T* from = src + b * src_block + run * s.stride_h * plan.width * plan.unit;
        a.weight = weight + b * plan.taps * plan.unit * blocks * plan.lanes;
        set_taps(oy + run, tap_weights, a);
        cut.for_each([&](int kind, int64_t pixel, int64_t count) {
          const int64_t at = (run * s.ow + pixel) * plan.lanes;
          const Epilogue<T> moved = results.epilogue.at(0, at);
          a.src = from + pixel * a.pixel_step;
          a.count = count;
          a.dst = results.first + at;
          a.epilogue = last ? &moved : nullptr;
          ahead.set(a, a.src_blocks * plan.unit * plan.taps, done);
          done += count;
          kernels[kind](a);
        });
      }
    }
  }

  // Results where they belong in a blocked image.
  DirectResults<T> results(int64_t image, int64_t group, int64_t oy, T* dst) const {
    const Conv2dShape& s = plan.s;
    const int64_t plane = s.oh * s.ow * plan.lanes, first = group * kGroupBlocks;
    const int64_t at = (image * plan.groups.blocks + first) * plane + oy * s.ow * plan.lanes;
    return {dst + at, plane, epilogue.at(first * plan.lanes, at)};
  }

  // Results for `rows` rows behind each other in `local`, to be turned.
  DirectResults<T> local_results(int64_t group, int64_t rows, T* local) const {
    const int64_t first = group * kGroupBlocks * plan.lanes;
    return {local, rows * plan.s.ow * plan.lanes, epilogue.at(first, 0)};
  }
  void turn(const DirectResults<T>& results, int64_t image, int64_t group, int64_t oy, int64_t rows,
            T* dst) const {
    const Conv2dShape& s = plan.s;
    for (int64_t r = 0; r < plan.groups.blocks_of(group); ++r) {
      const int64_t c = (group * kGroupBlocks + r) * plan.lanes;
      turn_all_to_rows(results.first + r * results.block_step, rows * s.ow,
                       smaller(plan.lanes, s.oc - c), dst + ((image * s.oc + c) * s.oh + oy) * s.ow,
                       s.oh * s.ow);
    }
  }

  const TileKernel<T>* kernels_for(int64_t group) const {
    const int64_t blocks = plan.groups.blocks_of(group);
    if constexpr (RUSHLIGHT_VECTOR_BYTES == 64) {
      const int64_t last = (group * kGroupBlocks + blocks - 1) * plan.lanes;
      if (plan.unit > 1 && 2 * (plan.s.oc - last) <= plan.lanes) {
        return blocks == 1 ? kernels_of<1, true>() : kernels_of<2, true>();
      }
    }
    return blocks == 1 ? kernels_of<1, false>() : kernels_of<2, false>();
  }
  template <int BLOCKS, bool HALF>
  const TileKernel<T>* kernels_of() const {
    constexpr int lanes = static_cast<int>(DirectPlan<T>::lanes);
    const int64_t stride = plan.s.stride_w;
    if constexpr (!HALF) {
      if (plan.unit == 1) {
        if (stride == 2) return tile_kernels<T, BLOCKS, 1, 2>();
        return tile_kernels<T, BLOCKS, 1, 0>();
      }
    }
    if (stride == 1) return tile_kernels<T, BLOCKS, lanes, 1, HALF>();
    if (stride == 2) return tile_kernels<T, BLOCKS, lanes, 2, HALF>();
    return tile_kernels<T, BLOCKS, lanes, 0, HALF>();
  }
};

}  // namespace

template <class T>
int64_t blocked_direct_weights(const Conv2dShape& s) {
  return ChannelGroups<T>(s.oc).blocks * Native<T>::lanes * s.ic * s.kh * s.kw;
}

template <class T>
void blocked_direct_prepare(const Run& run, const Conv2dShape& s, bool plain_src, const T* weight,
                            const FilterOrder& order, T* to) {
  const DirectPlan<T> plan(s, source_of(plain_src));
  constexpr int64_t lanes = Native<T>::lanes, step = 4;  // source blocks of a task
  const int64_t steps = ceil_div(plan.src_blocks, step);
  parallel(run, plan.groups.count * steps, [&](int64_t task, int) {
    const int64_t group = task / steps, blocks = plan.groups.blocks_of(group);
    const int64_t first = group * kGroupBlocks * lanes, width = blocks * lanes;
    const int64_t begin = task % steps * step, end = smaller(plan.src_blocks, begin + step);
    T filters[kMostTaps * lanes];
    for (int64_t b = begin; b < end; ++b) {
      const int64_t c0 = b * plan.unit, channels = smaller(plan.unit, s.ic - c0);
      T* out = to + plan.groups.weight_offset(group, plan.inner()) + c0 * plan.taps * width;
      if (plan.taps == 1) {  // a transposition
        const MatrixPacker<T> packer{weight, order.output, order.channel};
        const auto count = static_cast<int>(smaller(width, s.oc - first));
        const auto pack = blocks == 1 ? &MatrixPacker<T>::template pack<lanes>
                                      : &MatrixPacker<T>::template pack<kGroupBlocks * lanes>;
        (packer.*pack)(out, first, count, c0, channels);
        continue;
      }
      for (int64_t c = 0; c < channels; ++c) {
        for (int64_t r = 0; r < blocks; ++r) {
          const int64_t o = first + r * lanes;
          load_filters(weight + o * order.output + (c0 + c) * order.channel, order, s.oc - o,
                       plan.taps, filters);
          for (int64_t t = 0; t < plan.taps; ++t) {
            const int64_t tap = order.rotated ? plan.taps - 1 - t : t;
            Native<T>::load(filters + tap * lanes)
                .store(out + (t * channels + c) * width + r * lanes);
          }
        }
      }
    }
  });
}

bool worth_padding(const Conv2dShape& s) {
  if (s.padding_h == 0 && s.padding_w == 0) return false;
  const int64_t height = s.ih + 2 * s.padding_h, width = s.iw + 2 * s.padding_w;
  const bool reaches_over = source_row(s, s.oh - 1, s.kh - 1) >= s.ih + s.padding_h ||
                            source_col(s, s.ow - 1, s.kw - 1) >= s.iw + s.padding_w;
  return !reaches_over && height <= 2 * s.ih && width <= 2 * s.iw;
}

template <class T>
int64_t padded_size(const Conv2dShape& s) {
  const DirectPlan<T> plan(s, DirectSource::padded);
  return s.n * plan.src_blocks * plan.src_block();
}

template <class T>
void to_padded(const Run& run, const Conv2dShape& s, const T* src, T* dst) {
  const DirectPlan<T> plan(s, DirectSource::padded);
  constexpr int64_t lanes = Native<T>::lanes, pixels_per_task = 1024;
  const int64_t rows = larger(1, pixels_per_task / plan.width), bands = ceil_div(plan.height, rows);
  parallel(run, s.n * plan.src_blocks * bands, [&](int64_t task, int) {
    const int64_t block = task / bands, top = task % bands * rows;
    const int64_t image = block / plan.src_blocks, c = block % plan.src_blocks * lanes;
    LaneWindow<T> window{src + (image * s.ic + c) * s.ih * s.iw, s.ih * s.iw, s.ih, s.iw, s.ic - c};
    window.y0 = top - s.padding_h;
    window.x0 = -s.padding_w;
    window.rows = smaller(rows, plan.height - top);
    window.cols = plan.width;
    window.load(dst + block * plan.src_block() + top * plan.width * lanes);
  });
}

template <class T>
int64_t blocked_direct_workspace(const Conv2dShape& s, DirectSource source, bool plain_dst,
                                 int slots) {
  const DirectPlan<T> plan(s, source);
  const int64_t results = plain_dst ? plan.results() + red_zone<T> : 0;
  return slots * (plan.buffer() + red_zone<T> + results);
}

template <class T>
void blocked_direct(const Run& run, const Conv2dShape& s, DirectSource source, const T* src,
                    const T* prepared, const Epilogue<T>& epilogue, T* dst, bool plain_dst) {
  const DirectPlan<T> plan(s, source);
  const DirectTask<T> task(plan, prepared, epilogue);
  T* buffers = static_cast<T*>(run.workspace);
  T* locals = buffers + run.slots * (plan.buffer() + red_zone<T>);
  const int64_t src_image = plan.src_blocks * plan.src_block();
  parallel(run, s.n * plan.bands * plan.splits, [&](int64_t chunk, int slot) {
    const int64_t split = chunk % plan.splits, band = chunk / plan.splits % plan.bands;
    const int64_t image = chunk / (plan.splits * plan.bands);
    const int64_t oy = band * plan.band, rows = smaller(plan.band, s.oh - oy);
    if (rows <= 0) return;
    const T* from = src + image * src_image;
    int64_t block = plan.src_block();
    if (plan.copies) {
      T* buffer = slot_region(buffers, plan.buffer(), slot);
      task.fill(from, oy, buffer);
      from = buffer;
      block = plan.block_size();
    } else {
      from += oy * s.stride_h * plan.width * plan.unit;
    }
    const int64_t first = split * plan.groups_per_task;
    const int64_t end = smaller(plan.groups.count, first + plan.groups_per_task);
    for (int64_t group = first; group < end; ++group) {
      if (plain_dst) {
        T* local = slot_region(locals, plan.results(), slot);
        const DirectResults<T> results = task.local_results(group, rows, local);
        task.compute(from, block, oy, rows, group, results);
        task.turn(results, image, group, oy, rows, dst);
      } else {
        task.compute(from, block, oy, rows, group, task.results(image, group, oy, dst));
      }
    }
  });
}

template <class T>
void blocked_pointwise_rows(const Conv2dShape& s, const T* src, const T* prepared,
                            const Epilogue<T>& epilogue, int64_t group, int64_t top, int64_t rows,
                            T* dst) {
  if (rows == 0) return;  // of a band that lies in the padding of what comes next
  const DirectPlan<T> plan(s, DirectSource::blocked);
  const DirectTask<T> task(plan, prepared, epilogue);
  task.compute(src + top * s.iw * plan.lanes, s.ih * s.iw * plan.lanes, top, rows, group,
               task.local_results(group, rows, dst));
}

#define RUSHLIGHT_BLOCKED_DIRECT(T)                                                                \
  template int64_t blocked_direct_weights<T>(const Conv2dShape& s);                                \
  template void blocked_direct_prepare<T>(const Run& run, const Conv2dShape& s, bool plain_src,    \
                                          const T* weight, const FilterOrder& order, T* to);       \
  template int64_t blocked_direct_workspace<T>(const Conv2dShape& s, DirectSource source,          \
                                               bool plain_dst, int slots);                         \
  template int64_t padded_size<T>(const Conv2dShape& s);                                           \
  template void to_padded<T>(const Run& run, const Conv2dShape& s, const T* src, T* dst);          \
  template void blocked_direct<T>(const Run& run, const Conv2dShape& s, DirectSource source,       \
                                  const T* src, const T* prepared, const Epilogue<T>& epilogue,    \
                                  T* dst, bool plain_dst);                                         \
  template void blocked_pointwise_rows<T>(const Conv2dShape& s, const T* src, const T* prepared,   \
                                          const Epilogue<T>& epilogue, int64_t group, int64_t top, \
                                          int64_t rows, T* dst);
RUSHLIGHT_BLOCKED_DIRECT(float)
RUSHLIGHT_BLOCKED_DIRECT(double)

}  // namespace rushlight::RUSHLIGHT_ISA
