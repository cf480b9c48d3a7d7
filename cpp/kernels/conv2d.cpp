#include "kernels/conv2d.h"

#include "kernels/conv2d_choice.h"
#include "kernels/depthwise.h"
#include "kernels/family.h"
#include "kernels/gemm.h"
#include "kernels/im2col.h"
#include "kernels/reduce.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

// Sizes that every direction needs.
struct Sizes {
  int64_t ic, oc;  // of one group
  int64_t taps;    // rows of the column matrix
  int64_t src_plane, dst_plane;
  bool pointwise;  // the image is its own column matrix

  explicit Sizes(const Conv2dShape& s)
      : ic(s.ic / s.groups),
        oc(s.oc / s.groups),
        taps(ic * s.kh * s.kw),
        src_plane(s.ih * s.iw),
        dst_plane(s.oh * s.ow),
        pointwise(s.kh == 1 && s.kw == 1 && s.stride_h == 1 && s.stride_w == 1 &&
                  s.padding_h == 0 && s.padding_w == 0) {}
};

// ---- forward: dst = weight * columns(src), one product per group, over the pixels of all images

template <class T>
struct ForwardBase {
  const Conv2dShape& s;
  const Sizes z;
  const T* src;
  const T* weight;
  const T* bias;
  T* dst;

  MatrixPacker<T> a(int64_t group) const { return {weight + group * z.oc * z.taps, z.taps, 1}; }
  int64_t a_index(int64_t group) const { return group; }
  const T* channels(int64_t group) const { return src + group * z.ic * z.src_plane; }
  Output<T> out(int64_t group) const {
    const T* shift = bias == nullptr ? nullptr : bias + group * z.oc;
    return {dst + group * z.oc * z.dst_plane,
            z.dst_plane,
            false,
            {shift, nullptr},
            z.dst_plane,
            s.oc * z.dst_plane};
  }
};

template <class T>
struct PointwiseForward : ForwardBase<T> {
  PlanesPacker<T> b(int64_t group) const {
    return {this->channels(group), this->z.src_plane, this->s.ic * this->z.src_plane};
  }
};

template <class T>
struct Im2colForward : ForwardBase<T> {
  Im2colPacker<T> b(int64_t group) const { return {this->s, this->channels(group)}; }
};

GemmShape forward_gemm(const Conv2dShape& s) {
  const Sizes z(s);
  return {s.groups, s.groups, z.oc, s.n * z.dst_plane, z.taps};
}

// Winograd goes group by group; every group has the same workspace.
template <class T>
void winograd_groups(const Run& run, const Conv2dShape& s, Direction direction, int tile,
                     const T* src, const T* weight, const T* bias, T* dst) {
  WinogradProblem<T> p = winograd_problem<T>(s, direction);
  for (int64_t group = 0; group < s.groups; ++group) {
    p.src = src + group * p.ic * p.ih * p.iw;
    p.weight = weight + group * p.ic * p.oc * 9;
    p.bias = bias == nullptr ? nullptr : bias + group * p.oc;
    p.dst = dst + group * p.oc * p.oh * p.ow;
    winograd(run, p, tile);
  }
}

bool conv2d_accepts(const Conv2dShape& s, ConvAlgorithm algorithm) {
  return accepts(s, algorithm, Direction::forward);
}

template <class T>
int64_t conv2d_forward_workspace(const Conv2dShape& s, int slots) {
  const ConvAlgorithm algorithm = choose_algorithm<T>(s, Direction::forward);
  if (algorithm == ConvAlgorithm::depthwise) return depthwise_workspace<T>(s, slots);
  if (const int tile = winograd_tile(algorithm)) {
    return winograd_workspace(winograd_problem<T>(s, Direction::forward), tile, slots);
  }
  return gemm_workspace<T>(forward_gemm(s), slots);
}

template <class T>
void conv2d_forward(const Run& run, const Conv2dShape& s, const T* src, const T* weight,
                    const T* bias, T* dst) {
  const ConvAlgorithm algorithm = choose_algorithm<T>(s, Direction::forward);
  if (algorithm == ConvAlgorithm::depthwise) {
    return depthwise_forward(run, s, src, weight, bias, dst);
  }
  if (const int tile = winograd_tile(algorithm)) {
    return winograd_groups(run, s, Direction::forward, tile, src, weight, bias, dst);
  }
  const ForwardBase<T> base{s, Sizes(s), src, weight, bias, dst};
  if (base.z.pointwise) {
    gemm<T>(run, forward_gemm(s), PointwiseForward<T>{base});
  } else {
    gemm<T>(run, forward_gemm(s), Im2colForward<T>{base});
  }
}

// ---- backward to src: columns(diff_src) = weight^T * diff_dst ----

template <class T>
struct PointwiseBackward {
  const Conv2dShape& s;
  const Sizes z;
  const T* weight;
  const T* diff_dst;
  T* diff_src;

  MatrixPacker<T> a(int64_t group) const { return {weight + group * z.oc * z.taps, 1, z.taps}; }
  int64_t a_index(int64_t group) const { return group; }
  PlanesPacker<T> b(int64_t group) const {
    return {diff_dst + group * z.oc * z.dst_plane, z.dst_plane, s.oc * z.dst_plane};
  }
  Output<T> out(int64_t group) const {
    return {diff_src + group * z.ic * z.src_plane,
            z.src_plane,
            false,
            {},
            z.src_plane,
            s.ic * z.src_plane};
  }
};

GemmShape pointwise_backward_gemm(const Conv2dShape& s) {
  const Sizes z(s);
  return {s.groups, s.groups, z.ic, s.n * z.src_plane, z.oc};
}

// A task owns some channels of one image: it computes their columns tile by tile and adds each to
// the image.
struct SrcPlan {
  int64_t channels;  // per task
  int64_t blocks;    // tasks per group
  int64_t rows;      // of the column tile, padded
  int64_t packed;    // elements of the packed weight of one block

  explicit SrcPlan(const Conv2dShape& s) {
    constexpr int64_t most_rows =
        288;  // with kMaxBlockN columns the tile stays in the second-level cache
    const Sizes z(s);
    const int64_t kernel = s.kh * s.kw;
    const int64_t fitting = larger(1, most_rows / kernel);
    blocks = ceil_div(z.ic, smaller(z.ic, fitting));
    channels = ceil_div(z.ic, blocks);
    rows = round_up(channels * kernel, tile_rows);
    packed = rows * z.oc;
  }
};

template <class T>
int64_t conv2d_backward_src_workspace(const Conv2dShape& s, int slots) {
  const ConvAlgorithm algorithm = choose_algorithm<T>(s, Direction::backward_src);
  if (algorithm == ConvAlgorithm::depthwise) {
    return depthwise_backward_src_workspace<T>(s, slots);
  }
  if (const int tile = winograd_tile(algorithm)) {
    return winograd_workspace(winograd_problem<T>(s, Direction::backward_src), tile, slots);
  }
  const Sizes z(s);
  if (z.pointwise) return gemm_workspace<T>(pointwise_backward_gemm(s), slots);
  if (z.ic == 0) return 0;
  const SrcPlan plan(s);
  const int64_t weights = s.groups * plan.blocks * plan.packed;
  return aligned_bytes(weights * int64_t{sizeof(T)}) +
         slots * (packed_b_size() + plan.rows * kMaxBlockN) * int64_t{sizeof(T)};
}

template <class T>
void pack_transposed_weight(const Run& run, const Conv2dShape& s, const SrcPlan& plan,
                            const T* weight, T* packed) {
  const Sizes z(s);
  const int64_t kc_step = block_k(z.oc);
  parallel(run, s.groups * plan.blocks, [&](int64_t task, int) {
    const int64_t group = task / plan.blocks, c0 = task % plan.blocks * plan.channels;
    const int64_t m = smaller(plan.channels, z.ic - c0) * s.kh * s.kw;
    const MatrixPacker<T> packer{weight + group * z.oc * z.taps + c0 * s.kh * s.kw, 1, z.taps};
    for (int64_t k0 = 0; k0 < z.oc; k0 += kc_step) {
      T* to = packed + task * plan.packed + k0 * round_up(m, tile_rows);
      pack_a(packer, m, k0, smaller(kc_step, z.oc - k0), to);
    }
  });
}

template <class T>
void conv2d_backward_src(const Run& run, const Conv2dShape& s, const T* weight, const T* diff_dst,
                         T* diff_src) {
  const ConvAlgorithm algorithm = choose_algorithm<T>(s, Direction::backward_src);
  if (algorithm == ConvAlgorithm::depthwise) {
    return depthwise_backward_src(run, s, weight, diff_dst, diff_src);
  }
  if (const int tile = winograd_tile(algorithm)) {
    const T* no_bias = nullptr;
    return winograd_groups(run, s, Direction::backward_src, tile, diff_dst, weight, no_bias,
                           diff_src);
  }
  const Sizes z(s);
  if (z.pointwise) {
    const PointwiseBackward<T> operands{s, z, weight, diff_dst, diff_src};
    return gemm<T>(run, pointwise_backward_gemm(s), operands);
  }
  if (z.ic == 0) return;
  const SrcPlan plan(s);
  const int64_t weights = s.groups * plan.blocks * plan.packed;
  T* packed = static_cast<T*>(run.workspace);
  T* local = reinterpret_cast<T*>(static_cast<char*>(run.workspace) +
                                  aligned_bytes(weights * int64_t{sizeof(T)}));
  pack_transposed_weight(run, s, plan, weight, packed);
  parallel(run, s.n * s.groups * plan.blocks, [&](int64_t task, int slot) {
    const int64_t block = task % (s.groups * plan.blocks);
    const int64_t group = block / plan.blocks, c0 = block % plan.blocks * plan.channels;
    const int64_t image = task / (s.groups * plan.blocks);
    const int64_t channels = smaller(plan.channels, z.ic - c0);
    const int64_t m = channels * s.kh * s.kw;
    if (channels <= 0) return;
    T* panels = local + slot * (packed_b_size() + plan.rows * kMaxBlockN);
    T* columns = panels + packed_b_size();
    T* to = diff_src + (image * s.ic + group * z.ic + c0) * z.src_plane;
    const T* from = diff_dst + (image * s.groups + group) * z.oc * z.dst_plane;
    const MatrixPacker<T> b{from, 1, z.dst_plane};
    zero_run(to, channels * z.src_plane);
    for (int64_t p = 0; p < z.dst_plane; p += kMaxBlockN) {
      const int64_t count = smaller(kMaxBlockN, z.dst_plane - p);
      const PackedRows<T> a{packed + block * plan.packed, m, 0, m};
      const Output<T> out{columns, kMaxBlockN, false, {}};
      multiply_block(a, count, z.oc, out, [&](int64_t k0, int64_t kc) {
        pack_b(b, p, count, k0, kc, panels);
        return panels;
      });
      add_columns(s, channels, p, count, columns, kMaxBlockN, to);
    }
  });
}

// ---- backward to weight: diff_weight = sum over images of diff_dst * columns(src)^T ----

bool weight_by_depthwise(const Conv2dShape& s) {
  return choose_algorithm<float>(s, Direction::forward) == ConvAlgorithm::depthwise;
}

// The images' blocks of pixels are dealt to `parts` partial sums, which are added in order.
struct WeightPlan {
  int64_t p_step;    // pixels of one block
  int64_t p_blocks;  // per image
  int64_t parts;
  int64_t per_part;  // blocks of pixels in one part
  int64_t n_step, n_blocks;

  explicit WeightPlan(const Conv2dShape& s) {
    constexpr int64_t wanted_tasks = 16;
    const Sizes z(s);
    p_step = block_k(z.dst_plane);
    p_blocks = ceil_div(z.dst_plane, p_step);
    n_step = smaller(kMaxBlockN, larger(1, z.taps));
    n_blocks = ceil_div(z.taps, n_step);
    const int64_t blocks = s.n * p_blocks;
    const int64_t tasks = larger(1, s.groups * n_blocks);
    parts = larger(1, smaller(blocks, ceil_div(wanted_tasks, tasks)));
    per_part = ceil_div(blocks, parts);
  }
};

template <class T>
int64_t weight_slot_size(const Conv2dShape& s) {
  return round_up(Sizes(s).oc, tile_rows) * kMaxBlockK + packed_b_size();
}

template <class T>
int64_t conv2d_backward_weight_workspace(const Conv2dShape& s, int slots) {
  if (weight_by_depthwise(s)) return depthwise_workspace<T>(s, slots);
  const Sizes z(s);
  const WeightPlan plan(s);
  const int64_t partial = plan.parts > 1 ? plan.parts * s.oc * z.taps : 0;
  return aligned_bytes(partial * int64_t{sizeof(T)}) +
         slots * weight_slot_size<T>(s) * int64_t{sizeof(T)};
}

// One task: the pixel blocks of one part, for one group and one block of taps.
template <class T>
void add_weight_part(const Conv2dShape& s, const WeightPlan& plan, int64_t part, int64_t group,
                     int64_t n0, const T* src, const T* diff_dst, T* local, T* sums) {
  const Sizes z(s);
  const int64_t n = smaller(plan.n_step, z.taps - n0);
  T* a_panels = local;
  T* b_panels = local + round_up(z.oc, tile_rows) * kMaxBlockK;
  const int64_t end = smaller(s.n * plan.p_blocks, (part + 1) * plan.per_part);
  Output<T> out{sums + group * z.oc * z.taps + n0, z.taps, false, {}};
  for (int64_t block = part * plan.per_part; block < end; ++block) {
    const int64_t image = block / plan.p_blocks, p = block % plan.p_blocks * plan.p_step;
    const int64_t pc = smaller(plan.p_step, z.dst_plane - p);
    const int64_t index = image * s.groups + group;
    const MatrixPacker<T> a{diff_dst + index * z.oc * z.dst_plane, z.dst_plane, 1};
    pack_a(a, z.oc, p, pc, a_panels);
    const T* channels = src + index * z.ic * z.src_plane;
    if (z.pointwise) {
      pack_b(MatrixPacker<T>{channels, z.src_plane, 1}, n0, n, p, pc, b_panels);
    } else {
      pack_b(TransposedIm2colPacker<T>{s, channels}, n0, n, p, pc, b_panels);
    }
    multiply_panels(z.oc, n, pc, a_panels, b_panels, out);
    out.accumulate = true;
  }
  if (out.accumulate) return;
  for (int64_t o = 0; o < z.oc; ++o) zero_run(out.c + o * z.taps, n);  // a part without pixels
}

template <class T>
void conv2d_backward_weight(const Run& run, const Conv2dShape& s, const T* src, const T* diff_dst,
                            T* diff_weight) {
  if (weight_by_depthwise(s)) return depthwise_backward_weight(run, s, src, diff_dst, diff_weight);
  const Sizes z(s);
  if (z.oc == 0 || z.taps == 0) return;
  const WeightPlan plan(s);
  const int64_t size = s.oc * z.taps;
  T* partial = static_cast<T*>(run.workspace);
  const int64_t partial_bytes = plan.parts > 1 ? plan.parts * size * int64_t{sizeof(T)} : 0;
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

}  // namespace

RUSHLIGHT_DEFINE_FAMILY(Conv2dKernels, conv2d, conv2d_accepts, conv2d_forward_workspace<T>,
                        conv2d_forward<T>, conv2d_backward_src_workspace<T>, conv2d_backward_src<T>,
                        conv2d_backward_weight_workspace<T>, conv2d_backward_weight<T>,
                        conv2d_backward_bias<T>)

}  // namespace rushlight::RUSHLIGHT_ISA
