// The gradients of a convolution to its weight, the sum over the images of
// diff_dst * columns(src)^T, and to its bias.
#include "kernels/chwn.h"
#include "kernels/conv2d_backward.h"
#include "kernels/conv2d_sizes.h"
#include "kernels/cycles.h"
#include "kernels/depthwise_backward.h"
#include "kernels/direct_weight.h"
#include "kernels/gemm.h"
#include "kernels/im2col.h"
#include "kernels/positions_weight.h"
#include "kernels/reduce.h"
#include "kernels/winograd_weight.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

template <class T>
WinogradWeightProblem<T> winograd_weight_problem(const Conv2dShape& s) {
  const Sizes z(s);
  WinogradWeightProblem<T> p{};
  p.n = s.n, p.ic = z.ic, p.ih = s.ih, p.iw = s.iw, p.oc = z.oc, p.oh = s.oh, p.ow = s.ow;
  p.padding_h = s.padding_h, p.padding_w = s.padding_w;
  p.src_image = s.ic * z.src_plane, p.dst_image = s.oc * z.dst_plane;
  return p;
}

// Blocks of pixels, counted through all images, are dealt to `parts` partial sums, which are added
// in order.
struct WeightPlan {
  int64_t pixels, p_step;  // in all, and of one block
  int64_t parts;
  int64_t per_part;  // blocks of pixels in one part
  int64_t n_step, n_blocks;

  explicit WeightPlan(const Conv2dShape& s) {
    constexpr int64_t wanted_tasks = 16;
    const Sizes z(s);
    pixels = s.n * z.dst_plane;
    p_step = block_k(pixels);
    n_step = smaller(kMaxBlockN, larger(1, z.taps));
    n_blocks = ceil_div(z.taps, n_step);
    const int64_t blocks = ceil_div(pixels, p_step);
    const int64_t tasks = larger(1, s.groups * n_blocks);
    parts = larger(1, smaller(blocks, ceil_div(wanted_tasks, tasks)));
    per_part = ceil_div(blocks, parts);
  }
};

// About the cycles of the matrix product on one core, in the units of winograd_weight_cost.
template <class T>
double weight_gemm_cost(const Conv2dShape& s) {
  const Sizes z(s);
  const double pixels = static_cast<double>(s.n * z.dst_plane);
  const double vectors = static_cast<double>(ceil_div(z.taps, Native<T>::lanes));
  const double per_element = z.pointwise ? 2.5 : 5, per_sum = 1;  // packing, and partial sums
  const int64_t parts = WeightPlan(s).parts;
  const double sums = static_cast<double>((parts > 1 ? parts + 1 : 1) * s.oc * z.taps);
  return pixels * static_cast<double>(round_up(z.oc, tile_rows)) * vectors * kCyclesPerFma +
         pixels * static_cast<double>(z.taps + z.oc) * per_element + sums * per_sum;
}

template <class T>
bool weight_accepts(const Conv2dShape& s, ConvAlgorithm algorithm) {
  switch (algorithm) {
    case ConvAlgorithm::gemm:
      return true;
    case ConvAlgorithm::direct:
      return direct_weight_accepts(s);
    case ConvAlgorithm::depthwise:
      return accepts<T>(s, algorithm, Direction::forward) && depthwise_gradients_fit<T>(s);
    case ConvAlgorithm::chwn:
      return s.groups > 1 ? chwn_accepts(s) : positions_weight_accepts(s);
    case ConvAlgorithm::winograd2:
    case ConvAlgorithm::winograd4:
      return accepts<T>(s, algorithm, Direction::forward) && s.n * s.oh * s.ow > 0 && s.ic > 0 &&
             s.oc > 0;
    default:
      return false;
  }
}

// The forced algorithm where it can, else the cheapest.
template <class T>
ConvAlgorithm choose_weight_algorithm(const Conv2dShape& s) {
  if (weight_accepts<T>(s, s.algorithm)) return s.algorithm;
  if (has_small_groups(s)) {
    if (depthwise_by_images<T>(s, kTinyImage)) return ConvAlgorithm::chwn;
    if (weight_accepts<T>(s, ConvAlgorithm::depthwise)) return ConvAlgorithm::depthwise;
  }
  ConvAlgorithm best = ConvAlgorithm::gemm;
  double least = weight_gemm_cost<T>(s);
  const auto consider = [&](ConvAlgorithm algorithm, auto cost) {
    if (!weight_accepts<T>(s, algorithm)) return;
    const double found = cost();
    if (found >= least) return;
    best = algorithm;
    least = found;
  };
  if (s.may_use_winograd) {
    const WinogradWeightProblem<T> problem = winograd_weight_problem<T>(s);
    consider(ConvAlgorithm::winograd2, [&] { return winograd_weight_cost(problem, 2); });
    consider(ConvAlgorithm::winograd4, [&] { return winograd_weight_cost(problem, 4); });
  }
  consider(ConvAlgorithm::direct, [&] { return direct_weight_cost<T>(s); });
  if (s.groups == 1) consider(ConvAlgorithm::chwn, [&] { return positions_weight_cost<T>(s); });
  return best;
}

template <class T>
void winograd_weight_groups(const Run& run, const Conv2dShape& s, int tile, const T* src,
                            const T* diff_dst, T* diff_weight) {
  WinogradWeightProblem<T> p = winograd_weight_problem<T>(s);
  for (int64_t group = 0; group < s.groups; ++group) {
    p.src = src + group * p.ic * p.ih * p.iw;
    p.diff_dst = diff_dst + group * p.oc * p.oh * p.ow;
    p.diff_weight = diff_weight + group * p.ic * p.oc * 9;
    winograd_weight(run, p, tile);
  }
}

// Packs pixels that are counted through all images: `image(i)` is the packer of image i.
template <class Image>
struct ThroughImages {
  Image image;
  int64_t plane;  // pixels of an image

  bool reads_along_outer() const { return false; }

  template <int WIDTH, class T>
  void pack(T* panel, int64_t outer, int count, int64_t k0, int64_t kc) const {
    for (int64_t k = k0; k < k0 + kc;) {
      const int64_t within = k % plane, run = smaller(plane - within, k0 + kc - k);
      image(k / plane).template pack<WIDTH>(panel + (k - k0) * WIDTH, outer, count, within, run);
      k += run;
    }
  }
};
template <class Image>
ThroughImages<Image> through_images(int64_t plane, const Image& image) {
  return {image, plane};
}

template <class T>
int64_t weight_slot_size(const Conv2dShape& s) {
  return round_up(Sizes(s).oc, tile_rows) * kMaxBlockK + packed_b_size() + 2 * red_zone<T>;
}

// One task: the pixel blocks of one part, for one group and one block of taps.
template <class T>
void add_weight_part(const Conv2dShape& s, const WeightPlan& plan, int64_t part, int64_t group,
                     int64_t n0, const T* src, const T* diff_dst, T* local, T* sums) {
  const Sizes z(s);
  const int64_t n = smaller(plan.n_step, z.taps - n0);
  const int64_t a_size = round_up(z.oc, tile_rows) * kMaxBlockK;
  T* a_panels = guarded(local, a_size);
  T* b_panels = guarded(local + a_size + red_zone<T>, packed_b_size());
  const int64_t begin = part * plan.per_part * plan.p_step;
  const int64_t end = smaller(plan.pixels, begin + plan.per_part * plan.p_step);
  Output<T> out{sums + group * z.oc * z.taps + n0, z.taps, false, {}};
  const auto a = through_images(z.dst_plane, [&](int64_t image) {
    const int64_t index = image * s.groups + group;
    return MatrixPacker<T>{diff_dst + index * z.oc * z.dst_plane, z.dst_plane, 1};
  });
  const auto channels = [&](int64_t image) {
    return src + (image * s.groups + group) * z.ic * z.src_plane;
  };
  const auto pixels = through_images(
      z.dst_plane, [&](int64_t image) { return MatrixPacker<T>{channels(image), z.src_plane, 1}; });
  const auto windows = through_images(
      z.dst_plane, [&](int64_t image) { return TransposedIm2colPacker<T>{s, channels(image)}; });
  for (int64_t p = begin; p < end; p += plan.p_step) {
    const int64_t pc = smaller(plan.p_step, end - p);
    pack_a(a, z.oc, p, pc, a_panels);
    if (z.pointwise) {
      pack_b(pixels, n0, n, p, pc, b_panels);
    } else {
      pack_b(windows, n0, n, p, pc, b_panels);
    }
    multiply_panels(z.oc, n, pc, a_panels, b_panels, out);
    out.accumulate = true;
  }
  if (out.accumulate) return;
  for (int64_t o = 0; o < z.oc; ++o) zero_run(out.c + o * z.taps, n);  // a part without pixels
}

}  // namespace

template <class T>
int64_t conv2d_backward_weight_workspace(const Conv2dShape& s, int slots) {
  const ConvAlgorithm algorithm = choose_weight_algorithm<T>(s);
  if (algorithm == ConvAlgorithm::depthwise)
    return depthwise_backward_weight_workspace<T>(s, slots);
  if (algorithm == ConvAlgorithm::chwn) {
    return s.groups > 1 ? chwn_depthwise_weight_workspace<T>(s, slots)
                        : positions_weight_workspace<T>(s, slots);
  }
  if (algorithm == ConvAlgorithm::direct) return direct_weight_workspace<T>(s, slots);
  if (const int tile = winograd_tile(algorithm)) {
    return winograd_weight_workspace(winograd_weight_problem<T>(s), tile, slots);
  }
  const Sizes z(s);
  const WeightPlan plan(s);
  const int64_t partial = plan.parts > 1 ? plan.parts * s.oc * z.taps + red_zone<T> : 0;
  return aligned_bytes(partial * int64_t{sizeof(T)}) +
         slots * weight_slot_size<T>(s) * int64_t{sizeof(T)};
}

template <class T>
void conv2d_backward_weight(const Run& run, const Conv2dShape& s, const T* src, const T* diff_dst,
                            T* diff_weight) {
  const ConvAlgorithm algorithm = choose_weight_algorithm<T>(s);
  if (algorithm == ConvAlgorithm::depthwise) {
    return depthwise_backward_weight(run, s, src, diff_dst, diff_weight);
  }
  if (algorithm == ConvAlgorithm::chwn) {
    return s.groups > 1 ? chwn_depthwise_weight(run, s, src, diff_dst, diff_weight)
                        : positions_weight(run, s, src, diff_dst, diff_weight);
  }
  if (algorithm == ConvAlgorithm::direct) {
    return direct_weight(run, s, src, diff_dst, false, diff_weight);
  }
  if (const int tile = winograd_tile(algorithm)) {
    return winograd_weight_groups(run, s, tile, src, diff_dst, diff_weight);
  }
  const Sizes z(s);
  if (z.oc == 0 || z.taps == 0) return;
  const WeightPlan plan(s);
  const int64_t size = s.oc * z.taps;
  const int64_t partials = plan.parts > 1 ? plan.parts * size + red_zone<T> : 0;
  const int64_t partial_bytes = partials * int64_t{sizeof(T)};
  T* partial = static_cast<T*>(run.workspace);
  if (plan.parts > 1) guarded(partial, plan.parts * size);
  T* local = reinterpret_cast<T*>(static_cast<char*>(run.workspace) + aligned_bytes(partial_bytes));
  parallel(run, plan.parts * s.groups * plan.n_blocks, [&](int64_t task, int slot) {
    const int64_t n0 = task % plan.n_blocks * plan.n_step;
    const int64_t group = task / plan.n_blocks % s.groups;
    const int64_t part = task / (plan.n_blocks * s.groups);
    T* sums = plan.parts > 1 ? partial + part * size : diff_weight;
    add_weight_part(s, plan, part, group, n0, src, diff_dst, local + slot * weight_slot_size<T>(s),
                    sums);
  });
  if (plan.parts == 1) return;
  parallel_elements(run, size, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      T total = partial[i];
      for (int64_t part = 1; part < plan.parts; ++part) total += partial[part * size + i];
      diff_weight[i] = total;
    }
  });
}

template <class T>
void conv2d_backward_bias(const Run& run, const Conv2dShape& s, const T* diff_dst, T* diff_bias) {
  const int64_t plane = s.oh * s.ow;
  parallel(run, s.oc, [&](int64_t o, int) {
    double total = 0;
    for (int64_t i = 0; i < s.n; ++i)
      total += sum_elements(diff_dst + (i * s.oc + o) * plane, plane);
    diff_bias[o] = static_cast<T>(total);
  });
}

template int64_t conv2d_backward_weight_workspace<float>(const Conv2dShape&, int);
template void conv2d_backward_weight<float>(const Run&, const Conv2dShape&, const float*,
                                            const float*, float*);
template void conv2d_backward_bias<float>(const Run&, const Conv2dShape&, const float*, float*);
template int64_t conv2d_backward_weight_workspace<double>(const Conv2dShape&, int);
template void conv2d_backward_weight<double>(const Run&, const Conv2dShape&, const double*,
                                             const double*, double*);
template void conv2d_backward_bias<double>(const Run&, const Conv2dShape&, const double*, double*);

}  // namespace rushlight::RUSHLIGHT_ISA
