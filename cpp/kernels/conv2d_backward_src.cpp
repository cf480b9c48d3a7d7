// The gradient of a convolution to its input: columns(diff_src) = weight^T * diff_dst.
#include "kernels/conv2d_backward.h"
#include "kernels/conv2d_sizes.h"
#include "kernels/depthwise_backward.h"
#include "kernels/depthwise_rows.h"
#include "kernels/gemm.h"
#include "kernels/im2col.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

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

// Whether a depthwise gradient is a depthwise convolution of diff_dst, which goes row by row.
bool is_mirrored_rows(const Conv2dShape& s) {
  if (is_strided(s) || s.groups != s.ic || s.groups != s.oc) return false;
  const Conv2dShape m = mirrored(s);
  return m.padding_h >= 0 && m.padding_w >= 0 && depthwise_rows_accepts(m);
}

template <class T>
int64_t mirrored_rows_workspace(const Conv2dShape& s, int slots) {
  const int64_t weights = s.groups * s.kh * s.kw + red_zone<T>;
  return aligned_bytes(weights * int64_t{sizeof(T)}) +
         depthwise_rows_workspace<T>(mirrored(s), slots);
}

template <class T>
void mirrored_rows(const Run& run, const Conv2dShape& s, const T* weight, const T* diff_dst,
                   T* diff_src) {
  const int64_t taps = s.kh * s.kw, count = s.groups * taps;
  T* turned = guarded(static_cast<T*>(run.workspace), count);
  for (int64_t i = 0; i < count; ++i) {
    turned[i] = weight[i / taps * taps + (taps - 1 - i % taps)];
  }
  const int64_t bytes = aligned_bytes((count + red_zone<T>)*int64_t{sizeof(T)});
  const Run rest{run.slots, static_cast<char*>(run.workspace) + bytes};
  const T* filters = turned;
  depthwise_rows(rest, mirrored(s), diff_dst, filters, Epilogue<T>{}, diff_src);
}

}  // namespace

template <class T>
int64_t conv2d_backward_src_workspace(const Conv2dShape& s, int slots) {
  const ConvAlgorithm algorithm = choose_algorithm<T>(s, Direction::backward_src);
  if (algorithm == ConvAlgorithm::depthwise && is_mirrored_rows(s)) {
    return mirrored_rows_workspace<T>(s, slots);
  }
  if (algorithm == ConvAlgorithm::depthwise && depthwise_gradients_fit<T>(s)) {
    return depthwise_backward_src_workspace<T>(s, slots);
  }
  if (algorithm == ConvAlgorithm::chwn) return chwn_backward_src_workspace<T>(s, slots);
  if (algorithm == ConvAlgorithm::blocked) return by_blocks_backward_workspace<T>(s, slots);
  if (algorithm == ConvAlgorithm::direct) return strided_src_workspace<T>(s, slots);
  if (const int tile = winograd_tile(algorithm)) {
    return winograd_workspace(winograd_problem<T>(s, Direction::backward_src), tile, false, slots);
  }
  const Sizes z(s);
  if (z.pointwise) return gemm_workspace<T>(pointwise_backward_gemm(s), slots);
  if (z.ic == 0) return 0;
  const SrcPlan plan(s);
  const int64_t weights = s.groups * plan.blocks * plan.packed;
  const int64_t local = packed_b_size() + plan.rows * kMaxBlockN + 2 * red_zone<T>;
  return aligned_bytes((weights + red_zone<T>)*int64_t{sizeof(T)}) +
         slots * local * int64_t{sizeof(T)};
}

template <class T>
void conv2d_backward_src(const Run& run, const Conv2dShape& s, const T* weight, const T* diff_dst,
                         T* diff_src) {
  const ConvAlgorithm algorithm = choose_algorithm<T>(s, Direction::backward_src);
  if (algorithm == ConvAlgorithm::depthwise && is_mirrored_rows(s)) {
    return mirrored_rows(run, s, weight, diff_dst, diff_src);
  }
  if (algorithm == ConvAlgorithm::depthwise && depthwise_gradients_fit<T>(s)) {
    return depthwise_backward_src(run, s, weight, diff_dst, diff_src);
  }
  if (algorithm == ConvAlgorithm::chwn) {
    return chwn_backward_src(run, s, weight, diff_dst, diff_src);
  }
  if (algorithm == ConvAlgorithm::direct) return strided_src(run, s, weight, diff_dst, diff_src);
  if (algorithm == ConvAlgorithm::blocked) {
    return by_blocks_backward(run, s, weight, diff_dst, diff_src);
  }
  if (const int tile = winograd_tile(algorithm)) {
    const T* not_prepared = nullptr;
    return winograd_groups(run, s, Direction::backward_src, tile, diff_dst, weight, not_prepared,
                           Epilogue<T>{}, diff_src);
  }
  const Sizes z(s);
  if (z.pointwise) {
    const PointwiseBackward<T> operands{s, z, weight, diff_dst, diff_src};
    return gemm<T>(run, pointwise_backward_gemm(s), operands);
  }
  if (z.ic == 0) return;
  const SrcPlan plan(s);
  const int64_t weights = s.groups * plan.blocks * plan.packed;
  T* packed = guarded(static_cast<T*>(run.workspace), weights);
  T* local = reinterpret_cast<T*>(static_cast<char*>(run.workspace) +
                                  aligned_bytes((weights + red_zone<T>)*int64_t{sizeof(T)}));
  const int64_t local_size = packed_b_size() + plan.rows * kMaxBlockN + 2 * red_zone<T>;
  pack_transposed_weight(run, s, plan, weight, packed);
  parallel(run, s.n * s.groups * plan.blocks, [&](int64_t task, int slot) {
    const int64_t block = task % (s.groups * plan.blocks);
    const int64_t group = block / plan.blocks, c0 = block % plan.blocks * plan.channels;
    const int64_t image = task / (s.groups * plan.blocks);
    const int64_t channels = smaller(plan.channels, z.ic - c0);
    const int64_t m = channels * s.kh * s.kw;
    if (channels <= 0) return;
    T* panels = guarded(local + slot * local_size, packed_b_size());
    T* columns = guarded(panels + packed_b_size() + red_zone<T>, plan.rows * kMaxBlockN);
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

template int64_t conv2d_backward_src_workspace<float>(const Conv2dShape&, int);
template void conv2d_backward_src<float>(const Run&, const Conv2dShape&, const float*, const float*,
                                         float*);
template int64_t conv2d_backward_src_workspace<double>(const Conv2dShape&, int);
template void conv2d_backward_src<double>(const Run&, const Conv2dShape&, const double*,
                                          const double*, double*);

}  // namespace rushlight::RUSHLIGHT_ISA
