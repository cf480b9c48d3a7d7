#include "kernels/blocked_weight.h"

#include "kernels/conv2d_sizes.h"
#include "kernels/conv2d_window.h"
#include "kernels/gemm.h"
#include "kernels/outer_products.h"
#include "kernels/packers.h"
#include "kernels/red_zone.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

// How the work is cut, from the sizes alone. A strip is some rows of one image, or some whole small
// images; a task owns one block of output channels and a part of the strips.
template <class T>
struct WeightPlan {
  static constexpr int64_t lanes = Native<T>::lanes;

  const Conv2dShape& s;
  int64_t o_blocks, i_blocks, taps;
  int64_t images, rows;     // of a strip
  int64_t down, strips;     // strips of an image, and in all
  int64_t parts, per_part;  // partial sums, and strips in each

  explicit WeightPlan(const Conv2dShape& shape)
      : s(shape),
        o_blocks(ceil_div(s.oc, lanes)),
        i_blocks(ceil_div(s.ic, lanes)),
        taps(s.kh * s.kw) {
    constexpr int64_t strip_pixels = 512, strip_bytes = 262144, wanted_tasks = 16;
    const int64_t pixel = (1 + i_blocks * s.stride_h * s.stride_w) * lanes * int64_t{sizeof(T)};
    const int64_t most = larger(1, smaller(strip_pixels, strip_bytes / pixel));
    rows = smaller(s.oh, larger(1, most / s.ow));
    down = ceil_div(s.oh, rows);
    images = down > 1 ? 1 : smaller(s.n, larger(1, most / (s.oh * s.ow)));
    strips = ceil_div(s.n, images) * down;
    parts = larger(1, smaller(strips, ceil_div(wanted_tasks, o_blocks)));
    per_part = ceil_div(strips, parts);
    parts = ceil_div(strips, per_part);
  }

  // [tap][output channel][input channels], of one block of output channels.
  int64_t row() const { return i_blocks * lanes; }
  int64_t sums() const { return taps * lanes * row(); }
  int64_t all_sums() const { return parts * o_blocks * sums(); }
};

// Outputs whose products with one tap are summed, and steps in elements.
struct TapSpan {
  int64_t images, rows, cols;
  int64_t diff_image, diff_row;
  int64_t src_image, src_row, src_col;
};

// c[ROWS][VECTORS * lanes] (+)= the sums over the outputs of diff[r] * src[v]; `src` lies in blocks
// `stride` apart.
template <int ROWS, int VECTORS, class T>
__attribute__((noinline)) void add_tap_tile(const TapSpan& span, const T* diff,
                                            const LanePanels<T>& src, bool add, T* c, int64_t ldc) {
  ProductTile<ROWS, VECTORS, T> tile;
  tile.clear();
  for (int64_t n = 0; n < span.images; ++n) {
    for (int64_t y = 0; y < span.rows; ++y) {
      const T* a = diff + n * span.diff_image + y * span.diff_row;
      const T* b = src.data + n * span.src_image + y * span.src_row;
      tile.add(span.cols, a, b, span.src_col, src.stride);
    }
  }
  tile.store(add, c, ldc);
}

template <class T>
struct BlockedWeight {
  static constexpr int64_t lanes = Native<T>::lanes;

  const WeightPlan<T> plan;
  const T* src;
  const T* diff_dst;

  // The part of a strip that a tap sees; src and diff are moved to its first output.
  TapSpan span_of(int64_t strip, int64_t tap, const T*& from, const T*& diff) const {
    const Conv2dShape& s = plan.s;
    const int64_t image = strip / plan.down * plan.images, oy = strip % plan.down * plan.rows;
    const int64_t ky = tap / s.kw, kx = tap % s.kw;
    const int64_t count = smaller(plan.rows, s.oh - oy);
    const Inside ys(source_row(s, oy, ky), s.stride_h, count, s.ih);
    const Inside xs(source_col(s, 0, kx), s.stride_w, s.ow, s.iw);
    const int64_t y = source_row(s, oy + ys.low, ky), x = source_col(s, xs.low, kx);
    const int64_t src_image = plan.i_blocks * s.ih * s.iw * lanes;
    const int64_t diff_image = plan.o_blocks * s.oh * s.ow * lanes;
    from += image * src_image + (y * s.iw + x) * lanes;
    diff += image * diff_image + ((oy + ys.low) * s.ow + xs.low) * lanes;
    TapSpan span{smaller(plan.images, s.n - image),
                 ys.high - ys.low,
                 xs.high - xs.low,
                 diff_image,
                 s.ow * lanes,
                 src_image,
                 s.stride_h * s.iw * lanes,
                 s.stride_w * lanes};
    if (span.cols == s.ow && s.ow == s.iw && s.stride_w == 1 && s.stride_h == 1) {
      span.cols *= span.rows;  // one run
      span.rows = 1;
    }
    return span;
  }

  // Adds one strip to the sums of one block of output channels.
  void add_strip(int64_t strip, int64_t block, bool add, T* sums) const {
    const Conv2dShape& s = plan.s;
    const int64_t block_step = s.ih * s.iw * lanes, row = plan.row();
    const int64_t count = smaller(lanes, s.oc - block * lanes);
    for (int64_t tap = 0; tap < plan.taps; ++tap) {
      const T* from = src;
      const T* diff = diff_dst + block * s.oh * s.ow * lanes;
      const TapSpan span = span_of(strip, tap, from, diff);
      T* to = sums + tap * lanes * row;
      for_each_tile<T>(count, plan.i_blocks, [&](auto size, int64_t r, int64_t v) {
        add_tap_tile<size.rows, size.vectors>(span, diff + r, {from + v * block_step, block_step},
                                              add, to + r * row + v * lanes, row);
      });
    }
  }

  // diff_weight[o][i][tap] = the sum over the parts of sums[part][block][tap][o][i].
  void add_parts(const Run& run, T* sums, T* diff_weight) const {
    const Conv2dShape& s = plan.s;
    const int64_t row = plan.row(), tap_step = lanes * row;
    parallel(run, s.oc, [&](int64_t o, int) {
      T* total = sums + o / lanes * plan.sums() + o % lanes * row;
      for (int64_t part = 1; part < plan.parts; ++part) {
        const T* more = total + part * plan.o_blocks * plan.sums();
        for (int64_t tap = 0; tap < plan.taps; ++tap) {
          for (int64_t i = tap * tap_step; i < tap * tap_step + row; i += lanes) {
            (Native<T>::load(total + i) + Native<T>::load(more + i)).store(total + i);
          }
        }
      }
      T* to = diff_weight + o * s.ic * plan.taps;
      for (int64_t i = 0; i < s.ic; ++i) {
        for (int64_t tap = 0; tap < plan.taps; ++tap) *to++ = total[tap * tap_step + i];
      }
    });
  }

  void compute(const Run& run, T* diff_weight) const {
    T* sums = guarded(static_cast<T*>(run.workspace), plan.all_sums());
    parallel(run, plan.parts * plan.o_blocks, [&](int64_t task, int) {
      const int64_t block = task % plan.o_blocks, first = task / plan.o_blocks * plan.per_part;
      const int64_t end = smaller(plan.strips, first + plan.per_part);
      for (int64_t strip = first; strip < end; ++strip) {
        add_strip(strip, block, strip > first, sums + task * plan.sums());
      }
    });
    add_parts(run, sums, diff_weight);
  }
};

}  // namespace

template <class T>
int64_t blocked_weight_workspace(const Conv2dShape& s, int) {
  return (WeightPlan<T>(s).all_sums() + red_zone<T>)*int64_t{sizeof(T)};
}

template <class T>
void blocked_weight(const Run& run, const Conv2dShape& s, const T* src, const T* diff_dst,
                    T* diff_weight) {
  BlockedWeight<T>{WeightPlan<T>(s), src, diff_dst}.compute(run, diff_weight);
}

template <class T>
double blocked_weight_cost(const Conv2dShape& s) {
  constexpr double per_fma = RUSHLIGHT_VECTOR_BYTES == 64 ? 1.1 : 0.6, per_sum = 2;
  const WeightPlan<T> plan(s);
  const double products =
      static_cast<double>(s.n * s.oh * s.ow * plan.taps * plan.i_blocks * round_up(s.oc, 8));
  const double strips = static_cast<double>(plan.strips + plan.o_blocks * plan.parts);
  const double sums = static_cast<double>(plan.taps * s.oc * plan.i_blocks);
  return products * per_fma + strips * sums * per_sum;
}

RUSHLIGHT_BLOCKED_WEIGHT(, float)
RUSHLIGHT_BLOCKED_WEIGHT(, double)

}  // namespace rushlight::RUSHLIGHT_ISA
