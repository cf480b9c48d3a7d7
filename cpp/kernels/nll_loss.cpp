#include "kernels/nll_loss.h"

#include <string.h>

#include "kernels/family.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

// Calls body(position in target, class, position in src) for the targets that count. Returns the
// first bad one or -1.
template <class Body>
int64_t for_each_target(const NllLossShape& s, const int64_t* target, const Body& body) {
  for (int64_t i = 0; i < s.n; ++i) {
    for (int64_t p = 0; p < s.spatial; ++p) {
      const int64_t at = i * s.spatial + p, label = target[at];
      if (label == s.ignore_index) continue;
      if (label < 0 || label >= s.c) return at;
      body(at, label, (i * s.c + label) * s.spatial + p);
    }
  }
  return -1;
}

template <class T>
int64_t nll_loss_forward(const NllLossShape& s, const T* src, const int64_t* target,
                         const T* weight, T* loss, double* total_weight) {
  const bool reduced = s.reduction != Reduction::none;
  double total = 0, weights = 0;
  if (!reduced) {
    for (int64_t i = 0; i < s.n * s.spatial; ++i) loss[i] = 0;
  }
  const int64_t bad = for_each_target(s, target, [&](int64_t at, int64_t label, int64_t from) {
    const T w = weight == nullptr ? T{1} : weight[label];
    weights += static_cast<double>(w);
    if (reduced) {
      total -= static_cast<double>(w) * static_cast<double>(src[from]);
    } else {
      loss[at] = -w * src[from];
    }
  });
  // Without any weight the mean is 0 / 0, NaN, as in PyTorch.
  if (reduced) *loss = static_cast<T>(s.reduction == Reduction::mean ? total / weights : total);
  *total_weight = weights;
  return bad;
}

template <class T>
int64_t nll_loss_backward(const NllLossShape& s, const T* diff_dst, const int64_t* target,
                          const T* weight, double total_weight, T* diff_src) {
  const int64_t size = s.n * s.c * s.spatial;
  memset(diff_src, 0, sizeof(T) * static_cast<size_t>(size));
  const double divisor = s.reduction == Reduction::mean ? total_weight : 1;
  return for_each_target(s, target, [&](int64_t at, int64_t label, int64_t to) {
    const T diff = diff_dst[s.reduction == Reduction::none ? at : 0];
    const double w = weight == nullptr ? 1 : static_cast<double>(weight[label]);
    diff_src[to] = static_cast<T>(-w / divisor * static_cast<double>(diff));
  });
}

}  // namespace

RUSHLIGHT_DEFINE_FAMILY(NllLossKernels, nll_loss, nll_loss_forward<T>, nll_loss_backward<T>)

}  // namespace rushlight::RUSHLIGHT_ISA
