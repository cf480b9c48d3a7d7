#include "kernels/chwn.h"

#include "kernels/affine.h"
#include "kernels/blocked_layout.h"
#include "kernels/family.h"
#include "kernels/integers.h"
#include "kernels/packers.h"
#include "kernels/red_zone.h"
#include "kernels/reduce.h"
#include "kernels/window_pairs.h"

namespace rushlight::RUSHLIGHT_ISA {

RUSHLIGHT_DECLARE_FAMILY(AffineKernels, affine)

namespace {

constexpr int kMostRows = 12;  // channels of the result that are computed at once

// A convolution or its gradient to src: each of `rows` channels of the result is a sum over
// `channels` of the source, whose weights lie `channel_step` apart, those of the rows `row_step`.
struct ChwnProblem {
  int64_t n, rows, channels;
  int64_t src_plane, dst_plane, taps;
  int64_t row_step, channel_step;
  bool depthwise;
  int64_t stretch = kChwnStretch;

  ChwnProblem(const Conv2dShape& s, bool backward)
      : n(s.n),
        rows(backward ? s.ic : s.oc),
        channels(backward ? s.oc : s.ic),
        src_plane(backward ? s.oh * s.ow : s.ih * s.iw),
        dst_plane(backward ? s.ih * s.iw : s.oh * s.ow),
        taps(s.kh * s.kw),
        row_step(backward ? taps : s.ic * taps),
        channel_step(backward ? s.ic * taps : taps),
        depthwise(s.groups > 1) {}

  int64_t src_image() const { return channels * src_plane; }
  int64_t dst_image() const { return rows * dst_plane; }
};

// Channels of a depthwise convolution that one task computes: about as many as fill pages.
int64_t depthwise_step(int64_t plane) {
  constexpr int64_t elements = 256;  // of an image
  return ceil_div(elements, plane);
}

template <class T>
struct ChwnPlan {
  static constexpr int64_t lanes = Native<T>::lanes;

  ChwnProblem p;
  int64_t blocks;  // of images
  int64_t step;    // rows of a task
  int64_t tasks;
  int64_t shared;  // elements: the whole source, unless tasks turn their own
  int64_t src_local, dst_local;

  explicit ChwnPlan(const ChwnProblem& problem)
      : p(problem), blocks(ceil_div(p.n, lanes)), step(kMostRows) {
    if (p.depthwise) step = depthwise_step(larger(p.src_plane, p.dst_plane));
    tasks = ceil_div(p.rows, step);
    shared = p.depthwise ? 0 : blocks * p.src_image() * lanes;
    src_local = p.depthwise ? step * p.src_plane * lanes : 0;
    dst_local = (p.dst_plane == 1 ? 2 : 1) * dst_block();
  }
  // Results of a task in one block of images.
  int64_t dst_block() const { return step * p.dst_plane * lanes; }
  int64_t local() const { return src_local + dst_local + 2 * red_zone<T>; }
  int64_t workspace(int slots) const {
    return (shared + red_zone<T> + slots * local()) * int64_t{sizeof(T)};
  }
  int64_t images(int64_t block) const { return smaller(lanes, p.n - block * lanes); }
};

// Neighbouring elements of each image of a block, `image` apart, become vectors of images.
template <class T>
void turn_in(const T* src, int64_t image, int64_t images, int64_t count, T* to) {
  constexpr int64_t lanes = Native<T>::lanes;
  for (int64_t i = 0; i < count; i += lanes) {
    turn_to_pixels(src + i, image, images, smaller(lanes, count - i), to + i * lanes);
  }
}

// Fetches weights ahead of their turn: the many short rows are more than the machine's prefetchers
// follow. Those of the rows that come next, where a row lies in one piece, else of channels to
// come.
template <int ROWS, class T>
class WeightsAhead {
 public:
  WeightsAhead(const ChwnProblem& p, const T* weight)
      : next_(p.channel_step < p.row_step ? weight + ROWS * p.row_step
                                          : weight + kAhead * p.channel_step),
        step_(p.channel_step < p.row_step ? ROWS * p.channel_step : p.channel_step) {}
  // Once for each channel.
  RUSHLIGHT_INLINE void fetch() {
    __builtin_prefetch(next_);
    next_ += step_;
  }

 private:
  static constexpr int64_t kAhead = 16;
  const T* next_;
  int64_t step_;
};

// Sums of one channel with what stands behind them, short of a residual.
template <class V, class T>
RUSHLIGHT_INLINE V finished(V x, const Epilogue<T>& epilogue) {
  return activate(scale_and_shift(x, epilogue), epilogue);
}

// Sums of one position for ROWS neighbouring channels of the result: in stretches that are added up
// where the result goes.
template <int ROWS, class T>
void multiply_position(const ChwnProblem& p, const WindowPair* pairs, int count, bool backward,
                       const T* src, const T* weight, const Epilogue<T>& epilogue, T* dst) {
  using V = Native<T>;
  const int64_t step = larger(1, p.stretch / larger(1, count));
  const int64_t row = p.row_step, src_step = p.src_plane * V::lanes;
  WeightsAhead<ROWS, T> ahead(p, weight);
  for (int64_t first = 0; first < p.channels; first += step) {
    const int64_t end = smaller(p.channels, first + step);
    V acc[ROWS];
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; ++r) acc[r] = V::zero();
    for (int64_t c = first; c < end; ++c, src += src_step, weight += p.channel_step) {
      ahead.fetch();
      for (int i = 0; i < count; ++i) {
        const V x = V::load(src + (backward ? pairs[i].dst : pairs[i].src) * V::lanes);
        const T* w = weight + pairs[i].tap;
#pragma GCC unroll 12
        for (int r = 0; r < ROWS; ++r) acc[r] = fma(V::broadcast(w[r * row]), x, acc[r]);
      }
    }
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; ++r) {
      T* to = dst + r * p.dst_plane * V::lanes;
      if (first > 0) acc[r] += V::load(to);
      if (end == p.channels) acc[r] = finished(acc[r], epilogue.at(r, 0));
      acc[r].store(to);
    }
  }
}

// The same for two vectors of images, `x` and `y`, under one tap: a weight is read for both.
template <int ROWS, class T>
void multiply_two(const ChwnProblem& p, const T* x, const T* y, const T* weight,
                  const Epilogue<T>& epilogue, T* to_x, T* to_y) {
  using V = Native<T>;
  const int64_t row = p.row_step, src_step = p.src_plane * V::lanes;
  WeightsAhead<ROWS, T> ahead(p, weight);
  for (int64_t first = 0; first < p.channels; first += p.stretch) {
    const int64_t end = smaller(p.channels, first + p.stretch);
    V acc[ROWS][2];
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; ++r) acc[r][0] = acc[r][1] = V::zero();
    for (int64_t c = first; c < end; ++c) {
      ahead.fetch();
      const V from_x = V::load(x), from_y = V::load(y);
#pragma GCC unroll 12
      for (int r = 0; r < ROWS; ++r) {
        const V w = V::broadcast(weight[r * row]);
        acc[r][0] = fma(w, from_x, acc[r][0]);
        acc[r][1] = fma(w, from_y, acc[r][1]);
      }
      x += src_step, y += src_step, weight += p.channel_step;
    }
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; ++r) {
      T* const to[] = {to_x + r * p.dst_plane * V::lanes, to_y + r * p.dst_plane * V::lanes};
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        if (first > 0) acc[r][v] += V::load(to[v]);
        if (end == p.channels) acc[r][v] = finished(acc[r][v], epilogue.at(r, 0));
        acc[r][v].store(to[v]);
      }
    }
  }
}

template <class T>
using PositionKernel = void (*)(const ChwnProblem&, const WindowPair*, int, bool, const T*,
                                const T*, const Epilogue<T>&, T*);

template <class T>
using TwoKernel = void (*)(const ChwnProblem&, const T*, const T*, const T*, const Epilogue<T>&, T*,
                           T*);

// Channels of the result that kernels compute at once, for one vector and for two: as many as leave
// their sums in the registers.
constexpr int kRowSizes[] = {kMostRows, 8, 4, 2, 1};
constexpr int kRowSizesOfTwo[] = {RUSHLIGHT_VECTOR_BYTES == 64 ? kMostRows : kMostRows / 2, 4, 2,
                                  1};

// Calls body(kind, rows already done) for `count` rows cut into those sizes.
template <int KINDS, class Body>
RUSHLIGHT_INLINE void for_each_rows(const int (&sizes)[KINDS], int64_t count, const Body& body) {
  int64_t done = 0;
  for (int kind = 0; done < count; ++kind) {
    for (; count - done >= sizes[kind]; done += sizes[kind]) body(kind, done);
  }
}

template <class T>
struct Chwn {
  static constexpr int64_t lanes = Native<T>::lanes;

  const ChwnPlan<T> plan;
  const WindowPairs& pairs;  // by the positions of the result
  bool backward;
  const T* src;
  const T* weight;
  Epilogue<T> epilogue;  // without a residual
  T* dst;

  // The whole source becomes [blocks][channels][plane][lanes].
  void turn_source(const Run& run, T* to) const {
    constexpr int64_t step = 4096;  // a multiple of the lanes
    const int64_t image = plan.p.src_image(), steps = ceil_div(image, step);
    parallel(run, plan.blocks * steps, [&](int64_t task, int) {
      const int64_t block = task / steps, first = task % steps * step;
      turn_in(src + block * lanes * image + first, image, plan.images(block),
              smaller(step, image - first), to + (block * image + first) * lanes);
    });
  }

  // Results of `count` rows of one block of images.
  void turn_out(int64_t block, int64_t first, int64_t count, const T* result) const {
    const int64_t image = plan.p.dst_image(), plane = plan.p.dst_plane;
    turn_all_to_rows(result, count * plane, plan.images(block),
                     dst + block * lanes * image + first * plane, image);
  }

  // Whether every position has one pair, under one tap.
  bool takes_two() const {
    return plan.p.taps == 1 && !plan.p.depthwise && pairs.begin[pairs.groups] == pairs.groups;
  }
  // Where the source of a position lies that has one pair.
  int64_t source_of(int64_t position) const {
    const WindowPair& pair = pairs.pairs[pairs.begin[position]];
    return (backward ? pair.dst : pair.src) * lanes;
  }

  void compute_two(int kind, int64_t row, const T* x, const T* y, T* to_x, T* to_y) const {
    static constexpr TwoKernel<T> kernels[] = {multiply_two<kRowSizesOfTwo[0], T>,
                                               multiply_two<4, T>, multiply_two<2, T>,
                                               multiply_two<1, T>};
    kernels[kind](plan.p, x, y, weight + row * plan.p.row_step, epilogue.at(row, 0), to_x, to_y);
  }

  // Some rows of the result of one block of images, all positions.
  void compute_rows(int64_t first, int64_t count, const T* turned, T* to) const {
    const int64_t single = takes_two() ? pairs.groups / 2 * 2 : 0;
    for_each_rows(kRowSizesOfTwo, single > 0 ? count : 0, [&](int kind, int64_t done) {
      T* result = to + done * plan.p.dst_plane * lanes;
      for (int64_t q = 0; q < single; q += 2) {
        compute_two(kind, first + done, turned + source_of(q), turned + source_of(q + 1),
                    result + q * lanes, result + (q + 1) * lanes);
      }
    });
    compute_positions(single, first, count, turned, to);
  }

  // Those from a position on, one by one.
  void compute_positions(int64_t from, int64_t first, int64_t count, const T* turned, T* to) const {
    static constexpr PositionKernel<T> kernels[] = {
        multiply_position<12, T>, multiply_position<8, T>, multiply_position<4, T>,
        multiply_position<2, T>, multiply_position<1, T>};
    for_each_rows(kRowSizes, from < pairs.groups ? count : 0, [&](int kind, int64_t done) {
      const int64_t row = first + done;
      T* result = to + done * plan.p.dst_plane * lanes;
      for (int64_t q = from; q < pairs.groups; ++q) {
        kernels[kind](plan.p, pairs.pairs + pairs.begin[q], pairs.begin[q + 1] - pairs.begin[q],
                      backward, turned, weight + row * plan.p.row_step, epilogue.at(row, 0),
                      result + q * lanes);
      }
    });
  }

  // The same of two blocks of images of one position.
  void compute_rows_of_two(int64_t first, int64_t count, const T* turned, T* to) const {
    const T* other = turned + plan.p.src_image() * lanes;
    for_each_rows(kRowSizesOfTwo, count, [&](int kind, int64_t done) {
      T* result = to + done * lanes;
      compute_two(kind, first + done, turned + source_of(0), other + source_of(0), result,
                  result + plan.dst_block());
    });
  }

  // The same where every row has a source channel of its own; `turned` stands at the first.
  void compute_channels(int64_t first, int64_t count, const T* turned, T* to) const {
    using V = Native<T>;
    for (int64_t c = 0; c < count; ++c, turned += plan.p.src_plane * lanes) {
      const T* w = weight + (first + c) * plan.p.taps;
      const Epilogue<T> own = epilogue.at(first + c, 0);
      for (int64_t q = 0; q < pairs.groups; ++q, to += lanes) {
        V sum = V::zero();
        for (int64_t i = pairs.begin[q]; i < pairs.begin[q + 1]; ++i) {
          const WindowPair& pair = pairs.pairs[i];
          const V x = V::load(turned + (backward ? pair.dst : pair.src) * lanes);
          sum = fma(V::broadcast(w[pair.tap]), x, sum);
        }
        finished(sum, own).store(to);
      }
    }
  }

  void compute(const Run& run) const {
    const ChwnProblem& p = plan.p;
    T* turned = guarded(static_cast<T*>(run.workspace), plan.shared);
    T* locals = turned + plan.shared + red_zone<T>;
    if (!p.depthwise) turn_source(run, turned);
    parallel(run, plan.tasks, [&](int64_t task, int slot) {
      T* own = guarded(locals + slot * plan.local(), plan.src_local);
      T* result = guarded(own + plan.src_local + red_zone<T>, plan.dst_local);
      const int64_t first = task * plan.step, count = smaller(plan.step, p.rows - first);
      const bool by_two = takes_two() && pairs.groups == 1;
      for (int64_t block = 0; block < plan.blocks; ++block) {
        const int64_t image = block * lanes;
        const T* from = turned + block * p.src_image() * lanes;
        if (p.depthwise) {
          turn_in(src + image * p.src_image() + first * p.src_plane, p.src_image(),
                  plan.images(block), count * p.src_plane, own);
          compute_channels(first, count, own, result);
        } else if (by_two && block + 1 < plan.blocks) {
          compute_rows_of_two(first, count, from, result);
          turn_out(block++, first, count, result);
          turn_out(block, first, count, result + plan.dst_block());
          continue;
        } else {
          compute_rows(first, count, from, result);
        }
        turn_out(block, first, count, result);
      }
    });
  }
};

// Sums over the images and positions of src times diff_dst for some channels: a vector a tap.
template <class T>
void add_tap_sums(const WindowPairs& pairs, int64_t channels, int64_t src_plane, int64_t dst_plane,
                  const T* src, const T* diff_dst, T* sums) {
  using V = Native<T>;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t tap = 0; tap < pairs.groups; ++tap, sums += V::lanes) {
      V sum = V::load(sums);
      for (int64_t i = pairs.begin[tap]; i < pairs.begin[tap + 1]; ++i) {
        const WindowPair& pair = pairs.pairs[i];
        sum = fma(V::load(src + (c * src_plane + pair.src) * V::lanes),
                  V::load(diff_dst + (c * dst_plane + pair.dst) * V::lanes), sum);
      }
      sum.store(sums);
    }
  }
}

}  // namespace

bool chwn_accepts(const Conv2dShape& s) {
  const bool depthwise = s.groups == s.ic && s.groups == s.oc;
  return (s.groups == 1 || depthwise) && WindowPairs::fit(s);
}

template <class T>
int64_t chwn_forward_workspace(const Conv2dShape& s, int slots) {
  return ChwnPlan<T>(ChwnProblem(s, false)).workspace(slots);
}

template <class T>
void chwn_forward(const Run& run, const Conv2dShape& s, const T* src, const T* weight,
                  const Epilogue<T>& epilogue, T* dst, int64_t stretch) {
  const WindowPairs pairs(s, WindowPairs::By::dst);
  ChwnProblem problem(s, false);
  problem.stretch = stretch;
  Epilogue<T> first = epilogue, last = epilogue;
  if (epilogue.residual != nullptr) first.activation = Activation::none;
  first.residual = nullptr;
  last.scale = last.shift = nullptr;
  Chwn<T>{ChwnPlan<T>(problem), pairs, false, src, weight, first, dst}.compute(run);
  if (last.residual != nullptr) {
    affine_kernels<T>.forward(run, {s.n, s.oc, s.oh * s.ow}, dst, last, dst);
  }
}

template <class T>
int64_t chwn_backward_src_workspace(const Conv2dShape& s, int slots) {
  return ChwnPlan<T>(ChwnProblem(s, true)).workspace(slots);
}

template <class T>
void chwn_backward_src(const Run& run, const Conv2dShape& s, const T* weight, const T* diff_dst,
                       T* diff_src) {
  const WindowPairs pairs(s, WindowPairs::By::src);
  Chwn<T>{ChwnPlan<T>(ChwnProblem(s, true)), pairs, true, diff_dst, weight, {}, diff_src}.compute(
      run);
}

template <class T>
double chwn_cost(const Conv2dShape& s, bool backward) {
  constexpr double per_turned = 10, per_weight = 0.2;
  constexpr double per_fma = RUSHLIGHT_VECTOR_BYTES == 64 ? 1.1 : 0.6;
  const ChwnPlan<T> plan{ChwnProblem(s, backward)};
  const double pairs = static_cast<double>(WindowPairs::count(s) * plan.blocks);
  const double turned =
      static_cast<double>(plan.blocks * (plan.p.src_image() + plan.p.dst_image()));
  const double weights = static_cast<double>(plan.p.rows) * static_cast<double>(plan.p.channels);
  return pairs * weights * per_fma + turned * per_turned +
         weights * static_cast<double>(plan.p.taps) * per_weight;
}

namespace {

template <class T>
struct DepthwiseWeightPlan {
  int64_t step, src, dst, sums;  // channels of a task, and elements of its regions

  explicit DepthwiseWeightPlan(const Conv2dShape& s)
      : step(depthwise_step(larger(s.ih * s.iw, s.oh * s.ow))),
        src(step * s.ih * s.iw * Native<T>::lanes),
        dst(step * s.oh * s.ow * Native<T>::lanes),
        sums(step * s.kh * s.kw * Native<T>::lanes) {}
  int64_t local() const { return src + dst + sums + 3 * red_zone<T>; }
};

}  // namespace

template <class T>
int64_t chwn_depthwise_weight_workspace(const Conv2dShape& s, int slots) {
  return slots * DepthwiseWeightPlan<T>(s).local() * int64_t{sizeof(T)};
}

template <class T>
void chwn_depthwise_weight(const Run& run, const Conv2dShape& s, const T* src, const T* diff_dst,
                           T* diff_weight) {
  constexpr int64_t lanes = Native<T>::lanes;
  const WindowPairs pairs(s, WindowPairs::By::tap);
  const DepthwiseWeightPlan<T> plan(s);
  const int64_t src_plane = s.ih * s.iw, dst_plane = s.oh * s.ow, taps = s.kh * s.kw;
  parallel(run, ceil_div(s.groups, plan.step), [&](int64_t task, int slot) {
    const int64_t first = task * plan.step, count = smaller(plan.step, s.groups - first);
    T* own_src = guarded(static_cast<T*>(run.workspace) + slot * plan.local(), plan.src);
    T* own_dst = guarded(own_src + plan.src + red_zone<T>, plan.dst);
    T* sums = guarded(own_dst + plan.dst + red_zone<T>, plan.sums);
    zero_run(sums, count * taps * lanes);
    for (int64_t image = 0; image < s.n; image += lanes) {
      const int64_t images = smaller(lanes, s.n - image);
      turn_in(src + (image * s.ic + first) * src_plane, s.ic * src_plane, images, count * src_plane,
              own_src);
      turn_in(diff_dst + (image * s.oc + first) * dst_plane, s.oc * dst_plane, images,
              count * dst_plane, own_dst);
      add_tap_sums(pairs, count, src_plane, dst_plane, own_src, own_dst, sums);
    }
    for (int64_t i = 0; i < count * taps; ++i) {
      diff_weight[first * taps + i] = sum(Native<T>::load(sums + i * lanes));
    }
  });
}

RUSHLIGHT_CHWN(, float)
RUSHLIGHT_CHWN(, double)

}  // namespace rushlight::RUSHLIGHT_ISA
