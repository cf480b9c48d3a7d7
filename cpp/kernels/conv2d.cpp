#include "kernels/conv2d.h"

#include "kernels/conv2d_backward.h"
#include "kernels/conv2d_sizes.h"
#include "kernels/depthwise.h"
#include "kernels/depthwise_rows.h"
#include "kernels/direct.h"
#include "kernels/family.h"
#include "kernels/gemm.h"
#include "kernels/im2col.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

// ---- forward: dst = weight * columns(src), one product per group, over the pixels of all images

template <class T>
struct ForwardBase {
  const Conv2dShape& s;
  const Sizes z;
  const T* src;
  const T* weight;
  Epilogue<T> epilogue;
  T* dst;

  MatrixPacker<T> a(int64_t group) const { return {weight + group * z.oc * z.taps, z.taps, 1}; }
  int64_t a_index(int64_t group) const { return group; }
  const T* channels(int64_t group) const { return src + group * z.ic * z.src_plane; }
  Output<T> out(int64_t group) const {
    const int64_t elements = group * z.oc * z.dst_plane;
    return {dst + elements, z.dst_plane,       false, epilogue.at(group * z.oc, elements),
            z.dst_plane,    s.oc * z.dst_plane};
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

template <class T>
bool conv2d_accepts(const Conv2dShape& s, ConvAlgorithm algorithm) {
  return accepts<T>(s, algorithm, Direction::forward);
}

template <class T>
ConvAlgorithm conv2d_algorithm(const Conv2dShape& s) {
  return choose_algorithm<T>(s, Direction::forward);
}

template <class T>
PreparedWeight conv2d_prepared(const Conv2dShape& s) {
  const ConvAlgorithm algorithm = choose_algorithm<T>(s, Direction::forward);
  const auto layout = static_cast<int64_t>(algorithm);
  if (algorithm == ConvAlgorithm::depthwise || algorithm == ConvAlgorithm::chwn) return {0, layout};
  if (algorithm == ConvAlgorithm::direct) {
    return {direct_weights<T>(s) * int64_t{sizeof(T)}, layout};
  }
  if (algorithm == ConvAlgorithm::blocked) return by_blocks_prepared<T>(s);
  const Sizes z(s);
  int64_t size = packed_a_size(z.oc, z.taps);
  if (const int tile = winograd_tile(algorithm)) {
    size = winograd_weights(winograd_problem<T>(s, Direction::forward), tile);
  }
  return {s.groups * size * int64_t{sizeof(T)}, layout};
}

template <class T>
void conv2d_prepare(const Run& run, const Conv2dShape& s, const T* weight, T* to) {
  const ConvAlgorithm algorithm = choose_algorithm<T>(s, Direction::forward);
  if (const int tile = winograd_tile(algorithm)) {
    WinogradProblem<T> p = winograd_problem<T>(s, Direction::forward);
    for (int64_t group = 0; group < s.groups; ++group) {
      p.weight = weight + group * p.ic * p.oc * 9;
      winograd_prepare(run, p, tile, to + group * winograd_weights(p, tile));
    }
    return;
  }
  if (algorithm == ConvAlgorithm::direct) return direct_prepare(run, s, weight, to);
  if (algorithm == ConvAlgorithm::blocked) return by_blocks_prepare(run, s, weight, to);
  const PointwiseForward<T> operands{{s, Sizes(s), nullptr, weight, {}, nullptr}};
  pack_operands<T>(run, forward_gemm(s), operands, to, nullptr);
}

template <class T>
int64_t conv2d_forward_workspace(const Conv2dShape& s, bool is_prepared, int slots) {
  const ConvAlgorithm algorithm = choose_algorithm<T>(s, Direction::forward);
  if (algorithm == ConvAlgorithm::depthwise) {
    return depthwise_rows_accepts(s) ? depthwise_rows_workspace<T>(s, slots)
                                     : depthwise_workspace<T>(s, slots);
  }
  if (algorithm == ConvAlgorithm::chwn) return chwn_forward_workspace<T>(s, slots);
  if (algorithm == ConvAlgorithm::direct) return direct_workspace<T>(s, is_prepared, slots);
  if (algorithm == ConvAlgorithm::blocked) return by_blocks_workspace<T>(s, is_prepared, slots);
  if (const int tile = winograd_tile(algorithm)) {
    return winograd_workspace(winograd_problem<T>(s, Direction::forward), tile, is_prepared, slots);
  }
  return gemm_workspace<T>(forward_gemm(s), slots, is_prepared);
}

template <class T>
void conv2d_forward(const Run& run, const Conv2dShape& s, const T* src, const T* weight,
                    const T* prepared, const Epilogue<T>& epilogue, T* dst) {
  const ConvAlgorithm algorithm = choose_algorithm<T>(s, Direction::forward);
  if (algorithm == ConvAlgorithm::depthwise) {
    return depthwise_rows_accepts(s) ? depthwise_rows(run, s, src, weight, epilogue, dst)
                                     : depthwise_forward(run, s, src, weight, epilogue, dst);
  }
  if (algorithm == ConvAlgorithm::chwn) return chwn_forward(run, s, src, weight, epilogue, dst);
  if (algorithm == ConvAlgorithm::direct) {
    return direct_forward(run, s, src, weight, prepared, epilogue, dst);
  }
  if (algorithm == ConvAlgorithm::blocked) {
    return by_blocks_forward(run, s, src, weight, prepared, epilogue, dst);
  }
  if (const int tile = winograd_tile(algorithm)) {
    return winograd_groups(run, s, Direction::forward, tile, src, weight, prepared, epilogue, dst);
  }
  const ForwardBase<T> base{s, Sizes(s), src, weight, epilogue, dst};
  if (base.z.pointwise) {
    gemm<T>(run, forward_gemm(s), PointwiseForward<T>{base}, {prepared, nullptr});
  } else {
    gemm<T>(run, forward_gemm(s), Im2colForward<T>{base}, {prepared, nullptr});
  }
}

}  // namespace

RUSHLIGHT_DEFINE_FAMILY(Conv2dKernels, conv2d, conv2d_accepts<T>, conv2d_algorithm<T>,
                        conv2d_prepared<T>, conv2d_prepare<T>, conv2d_forward_workspace<T>,
                        conv2d_forward<T>, conv2d_backward_src_workspace<T>, conv2d_backward_src<T>,
                        conv2d_backward_weight_workspace<T>, conv2d_backward_weight<T>,
                        conv2d_backward_bias<T>)

}  // namespace rushlight::RUSHLIGHT_ISA
