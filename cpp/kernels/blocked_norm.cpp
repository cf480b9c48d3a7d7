#include "kernels/blocked_norm.h"

#include "kernels/batch_norm_sums.h"
#include "kernels/batch_norm_values.h"
#include "kernels/family.h"
#include "kernels/gemm.h"
#include "kernels/red_zone.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

// Neighbouring pixels of one image: the first element, and that of the stretch behind it.
struct Stretch {
  int64_t at, pixels, next;
};

// Calls body(first pixel, end, ahead) for runs of a stretch; `ahead` is from an element to the one
// to fetch meanwhile. Stretches lie in pages of their own, where no machine foresees the next one.
template <class T, class Body>
RUSHLIGHT_INLINE void for_each_run(const Stretch& stretch, const Body& body) {
  constexpr int64_t lanes = Native<T>::lanes, distance = 32;
  const int64_t own = larger(0, stretch.pixels - distance);
  body(0, own, distance * lanes);
  body(own, stretch.pixels, stretch.next - stretch.at - own * lanes);
}

// How the pixels of a block are cut, from the sizes alone: a part is what a task takes, in
// stretches of one image whose sums stay in registers.
template <class T>
struct Cut {
  static constexpr int64_t lanes = Native<T>::lanes;
  static constexpr int64_t longest = 1024, most_parts = 32;

  const BatchNormShape& s;
  int64_t blocks, per_image, parts;

  explicit Cut(const BatchNormShape& shape)
      : s(shape), blocks(ceil_div(s.c, lanes)), per_image(ceil_div(s.spatial, longest)) {
    // A block that is not cut stays in a second-level cache from the sums to the results.
    const int64_t fewest_pixels = blocks < 4 ? 1024 : 4096;
    const int64_t wanted = smaller(most_parts, s.n * s.spatial / fewest_pixels);
    parts = larger(1, smaller(wanted, s.n * per_image));
  }

  // `to`, if a block stays in the cache until it is written.
  T* stays(T* to) const { return parts == 1 ? to : nullptr; }
  int64_t channels(int64_t block) const { return smaller(lanes, s.c - block * lanes); }

  // Calls body(stretch) for the stretches of one part.
  template <class Body>
  RUSHLIGHT_INLINE void for_each_stretch(int64_t block, int64_t part, const Body& body) const {
    const int64_t count = s.n * per_image, end = (part + 1) * count / parts;
    const auto first_pixel = [&](int64_t i) { return i % per_image * longest; };
    const auto at = [&](int64_t i) {
      return ((i / per_image * blocks + block) * s.spatial + first_pixel(i)) * lanes;
    };
    for (int64_t i = part * count / parts; i < end; ++i) {
      body(Stretch{at(i), smaller(longest, s.spatial - first_pixel(i)),
                   at(smaller(i + 1, end - 1))});
    }
  }

  // Calls sum(block, part) and write(block, part) in parallel, and between the two, once all parts
  // of a block are summed, note(block).
  template <class Sum, class Note, class Write>
  void for_each_part(const Run& run, const Sum& sum, const Note& note, const Write& write) const {
    if (parts == 1) {
      return parallel(run, blocks, [&](int64_t block, int) {
        sum(block, 0);
        note(block);
        write(block, 0);
      });
    }
    const auto all = [&](const auto& body) {
      parallel(run, blocks * parts, [&](int64_t task, int) { body(task / parts, task % parts); });
    };
    all(sum);
    for (int64_t block = 0; block < blocks; ++block) note(block);
    all(write);
  }
};

// The two sums of a part, for every lane of a block.
template <class T>
struct LaneTotals {
  static constexpr int lanes = Native<T>::lanes;
  double first[lanes], second[lanes];

  void clear() {
    for (int i = 0; i < lanes; ++i) first[i] = second[i] = 0;
  }
  void add(const LaneTotals& other) {
    for (int i = 0; i < lanes; ++i) first[i] += other.first[i], second[i] += other.second[i];
  }
  void add(Native<T> one, Native<T> two) {
    T values[2 * lanes];
    one.store(values);
    two.store(values + lanes);
    for (int i = 0; i < lanes; ++i) {
      first[i] += static_cast<double>(values[i]);
      second[i] += static_cast<double>(values[lanes + i]);
    }
  }
};

// What a block is computed with; a value for every lane. See Coefficients in batch_norm_values.h.
template <class T>
struct BlockValues {
  static constexpr int lanes = Native<T>::lanes;
  T mean[lanes] = {}, scale[lanes] = {}, shift[lanes] = {}, slope[lanes] = {}, lift[lanes] = {};
};

// The sums over a stretch, in four strands. Where the results will go, if that is given, comes into
// the second-level cache meanwhile.
template <class Terms, class T, class Passes>
RUSHLIGHT_INLINE void sum_stretch(const T* src, const T* diff_dst, const Stretch& stretch,
                                  const T* centre, const Passes& passes, T* result,
                                  LaneTotals<T>& totals) {
  using V = Native<T>;
  constexpr int strands = 4;
  V first[strands] = {}, second[strands] = {};
  const V middle = V::load(centre);
  for_each_run<T>(stretch, [&](int64_t begin, int64_t end, int64_t ahead) {
    const T *x = src + stretch.at, *dy = diff_dst + stretch.at;
    const T* to = result == nullptr ? nullptr : result + stretch.at;
    const auto add = [&](int64_t i, int k) __attribute__((always_inline)) {
      if (to != nullptr) __builtin_prefetch(to + i * V::lanes, 1, 2);
      __builtin_prefetch(x + i * V::lanes + ahead);
      if (diff_dst != src) __builtin_prefetch(dy + i * V::lanes + ahead);
      const V from = V::load(x + i * V::lanes);
      const V passed = passes.template pass<true>(from - middle, V::load(dy + i * V::lanes), 0);
      Terms::add(from, passed, middle, first[k], second[k]);
    };
    int64_t i = begin;
    for (; i + strands <= end; i += strands) {
#pragma GCC unroll 4
      for (int k = 0; k < strands; ++k) add(i + k, k);
    }
    for (; i < end; ++i) add(i, 0);
  });
  totals.add((first[0] + first[1]) + (first[2] + first[3]),
             (second[0] + second[1]) + (second[2] + second[3]));
}

// The workspace: the totals of all parts, and the values of all blocks.
template <class T>
struct Regions {
  LaneTotals<T>* totals;
  BlockValues<T>* values;

  static int64_t totals_bytes(const Cut<T>& cut) {
    return aligned_bytes(cut.blocks * cut.parts * int64_t{sizeof(LaneTotals<T>)}) +
           red_zone<T> * int64_t{sizeof(T)};
  }
  static int64_t bytes(const Cut<T>& cut) {
    return totals_bytes(cut) + cut.blocks * int64_t{sizeof(BlockValues<T>)};
  }
  Regions(const Cut<T>& cut, void* workspace)
      : totals(static_cast<LaneTotals<T>*>(workspace)),
        values(
            reinterpret_cast<BlockValues<T>*>(static_cast<char*>(workspace) + totals_bytes(cut))) {}
};

// The sums over all pixels of a block; those of the parts are added in their order.
template <class T>
LaneTotals<T> total_of(const Cut<T>& cut, const LaneTotals<T>* totals, int64_t block) {
  LaneTotals<T> sum = totals[block * cut.parts];
  for (int64_t part = 1; part < cut.parts; ++part) sum.add(totals[block * cut.parts + part]);
  return sum;
}

// The mean of the first pixels: values are summed around it, so that what they have in common costs
// no digits.
template <class T>
RUSHLIGHT_INLINE void find_centre(const Cut<T>& cut, const T* src, int64_t block, T* centre) {
  using V = Native<T>;
  const int64_t count = cut.s.n == 0 ? 0 : smaller(64, cut.s.spatial);
  V total = V::zero();
  for (int64_t i = 0; i < count; ++i) {
    total += V::load(src + (block * cut.s.spatial + i) * V::lanes);
  }
  (total * V::broadcast(T(1) / static_cast<T>(larger(1, count)))).store(centre);
}

template <class T>
void normalize(const Cut<T>& cut, int64_t block, int64_t part, const BlockValues<T>& k,
               const Limits<T>& limits, const T* src, T* dst) {
  using V = Native<T>;
  const V mean = V::load(k.mean), scale = V::load(k.scale), shift = V::load(k.shift);
  const V low = V::broadcast(limits.low), high = V::broadcast(limits.high);
  cut.for_each_stretch(block, part, [&](const Stretch& stretch) {
    const int64_t end = stretch.at + stretch.pixels * V::lanes;
    for (int64_t i = stretch.at; i < end; i += V::lanes) {
      clamp(fma(V::load(src + i) - mean, scale, shift), low, high).store(dst + i);
    }
  });
}

template <class T>
int64_t norm_workspace(const BatchNormShape& s) {
  return Regions<T>::bytes(Cut<T>(s));
}

template <class T>
void norm_train(const Run& run, const BatchNormShape& s, const T* src, const T* weight,
                const T* bias, T* running_mean, T* running_var, double momentum, double eps,
                const Limits<T>& limits, T* dst, T* mean, T* rstd) {
  const Cut<T> cut(s);
  const Regions<T> regions(cut, run.workspace);
  const RunningStatistics<T> running{running_mean, running_var, momentum};
  const auto sum = [&](int64_t block, int64_t part) {
    T centre[Native<T>::lanes];
    find_centre(cut, src, block, centre);
    LaneTotals<T>& totals = regions.totals[block * cut.parts + part];
    totals.clear();
    cut.for_each_stretch(block, part, [&](const Stretch& stretch) {
      sum_stretch<Deviations>(src, src, stretch, centre, AllPasses{}, cut.stays(dst), totals);
    });
  };
  const auto note = [&](int64_t block) {
    T centre[Native<T>::lanes];
    find_centre(cut, src, block, centre);
    const LaneTotals<T> totals = total_of(cut, regions.totals, block);
    const int64_t first = block * cut.lanes, count = cut.channels(block);
    note_moments(count, totals.first, totals.second, centre, values_per_channel(s), eps, first,
                 running, mean, rstd);
    BlockValues<T>& k = regions.values[block] = BlockValues<T>{};
    copy_run(k.mean, mean + first, count);
    note_scales(count, weight, rstd, first, k.scale);
    note_values(count, bias, first, k.shift);
  };
  cut.for_each_part(run, sum, note, [&](int64_t block, int64_t part) {
    normalize(cut, block, part, regions.values[block], limits, src, dst);
  });
}

template <class T>
void norm_eval(const Run& run, const BatchNormShape& s, const T* src, const T* weight,
               const T* bias, const T* running_mean, const T* running_var, double eps,
               const Limits<T>& limits, T* dst, T* mean, T* rstd) {
  const Cut<T> cut(s);
  const Regions<T> regions(cut, run.workspace);
  for (int64_t block = 0; block < cut.blocks; ++block) {
    const int64_t first = block * cut.lanes, count = cut.channels(block);
    BlockValues<T>& k = regions.values[block] = BlockValues<T>{};
    note_factors(count, at(weight, first), at(bias, first), running_mean + first,
                 running_var + first, eps, k.scale, k.shift);
    note_running(count, running_mean + first, running_var + first, eps, mean + first, rstd + first);
  }
  parallel(run, cut.blocks * cut.parts, [&](int64_t task, int) {
    const int64_t block = task / cut.parts, part = task % cut.parts;
    normalize(cut, block, part, regions.values[block], limits, src, dst);
  });
}

template <class T, class Passes>
RUSHLIGHT_INLINE void write_stretch(const T* x, const T* dy, const Stretch& stretch,
                                    const BlockValues<T>& k, const Passes& passes, T* dx) {
  using V = Native<T>;
  const V mean = V::load(k.mean), scale = V::load(k.scale);
  const V shift = V::load(k.shift), slope = V::load(k.slope);
  const int64_t end = stretch.at + stretch.pixels * V::lanes;
  for (int64_t i = stretch.at; i < end; i += V::lanes) {
    const V centred = V::load(x + i) - mean;
    const V passed = passes.template pass<true>(centred, V::load(dy + i), 0);
    (((passed - shift) - centred * slope) * scale).store(dx + i);
  }
}

// Calls body(what passes), known to the compiler.
template <class T, class Body>
RUSHLIGHT_INLINE void with_passes(const BlockValues<T>& k, const NormClamp<T>* clamp,
                                  const Body& body) {
  if (clamp == nullptr) return body(AllPasses{});
  body(ClampPasses<T>{k.scale, k.lift, clamp->limits.low, clamp->limits.high});
}

template <class T>
void norm_backward(const Run& run, const BatchNormShape& s, const T* src, const T* weight,
                   const T* mean, const T* rstd, const T* diff_dst, bool training,
                   const NormClamp<T>* clamp, T* diff_src, T* diff_weight, T* diff_bias) {
  const Cut<T> cut(s);
  const Regions<T> regions(cut, run.workspace);
  for (int64_t block = 0; block < cut.blocks; ++block) {
    const int64_t first = block * cut.lanes, count = cut.channels(block);
    BlockValues<T>& k = regions.values[block] = BlockValues<T>{};
    copy_run(k.mean, mean + first, count);
    note_scales(count, weight, rstd, first, k.scale);
    if (clamp != nullptr) note_values(count, clamp->bias, first, k.lift);
  }
  const bool sums = training || diff_weight != nullptr || diff_bias != nullptr;
  const auto sum = [&](int64_t block, int64_t part) {
    LaneTotals<T>& totals = regions.totals[block * cut.parts + part];
    totals.clear();
    if (!sums) return;
    const BlockValues<T>& k = regions.values[block];
    with_passes(k, clamp, [&](const auto& passes) {
      cut.for_each_stretch(block, part, [&](const Stretch& stretch) {
        sum_stretch<Gradients>(src, diff_dst, stretch, k.mean, passes, cut.stays(diff_src), totals);
      });
    });
  };
  const auto note = [&](int64_t block) {
    const LaneTotals<T> totals = total_of(cut, regions.totals, block);
    BlockValues<T>& k = regions.values[block];
    note_gradients(cut.channels(block), totals.first, totals.second, values_per_channel(s),
                   training, block * cut.lanes, rstd, diff_weight, diff_bias, k.shift, k.slope);
  };
  cut.for_each_part(run, sum, note, [&](int64_t block, int64_t part) {
    if (diff_src == nullptr) return;
    const BlockValues<T>& k = regions.values[block];
    with_passes(k, clamp, [&](const auto& passes) {
      cut.for_each_stretch(block, part, [&](const Stretch& stretch) {
        write_stretch(src, diff_dst, stretch, k, passes, diff_src);
      });
    });
  });
}

}  // namespace

RUSHLIGHT_DEFINE_FAMILY(BlockedNormKernels, blocked_norm, norm_workspace<T>,
                        {norm_train<T>, norm_eval<T>, norm_backward<T>, note_factors<T>})

}  // namespace rushlight::RUSHLIGHT_ISA
