#include "kernels/relu.h"

#include "kernels/family.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

// Elements from where a loop is to what is worth fetching now.
template <class T>
constexpr int64_t ahead = 2048 / int64_t{sizeof(T)};

template <class T>
void relu_forward(const Run& run, int64_t n, const T* src, T* dst) {
  parallel_elements(run, n, [&](int64_t begin, int64_t end) {
    for_each_vector<T>(begin, end, [&](auto v, int64_t i) {
      using V = decltype(v);
      relu(V::load(src + i)).store(dst + i);
    });
  });
}

template <class T>
void relu_backward(const Run& run, int64_t n, const T* dst, const T* diff_dst, T* diff_src) {
  parallel_elements(run, n, [=](int64_t begin, int64_t end) {
    for_each_vector<T>(begin, end, [=](auto v, int64_t i) {
      using V = decltype(v);
      // Compilers load diff_dst under the mask that comes from dst: one miss waits for the other.
      __builtin_prefetch(diff_dst + i + ahead<T>);
      keep_where_positive(V::load(dst + i), V::load(diff_dst + i)).store(diff_src + i);
    });
  });
}

}  // namespace

RUSHLIGHT_DEFINE_FAMILY(ReluKernels, relu, relu_forward<T>, relu_backward<T>)

}  // namespace rushlight::RUSHLIGHT_ISA
