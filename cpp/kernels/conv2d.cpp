#include "kernels/conv2d.h"

#include "kernels/conv2d_backward.h"
#include "kernels/conv2d_sizes.h"
#include "kernels/depthwise.h"
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

}  // namespace

RUSHLIGHT_DEFINE_FAMILY(Conv2dKernels, conv2d, conv2d_accepts, conv2d_forward_workspace<T>,
                        conv2d_forward<T>, conv2d_backward_src_workspace<T>, conv2d_backward_src<T>,
                        conv2d_backward_weight_workspace<T>, conv2d_backward_weight<T>,
                        conv2d_backward_bias<T>)

}  // namespace rushlight::RUSHLIGHT_ISA
