#include "kernels/matmul.h"

#include "kernels/family.h"
#include "kernels/gemm.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

template <class T>
struct MatmulOperands {
  const MatmulShape& s;
  const T* a_data;
  const T* b_data;
  T* dst;

  MatrixPacker<T> a(int64_t i) const {
    return {a_data + i * s.a_batch_stride, s.a_row_stride, s.a_col_stride};
  }
  int64_t a_index(int64_t batch) const { return batch; }
  MatrixPacker<T> b(int64_t batch) const {
    return {b_data + batch * s.b_batch_stride, s.b_col_stride, s.b_row_stride};
  }
  Output<T> out(int64_t batch) const { return {dst + batch * s.m * s.n, s.n, false, {}}; }
};

template <class T>
int64_t matmul_workspace(const MatmulShape& s, int slots) {
  return gemm_workspace<T>({s.batch, s.batch, s.m, s.n, s.k}, slots);
}

template <class T>
void matmul_forward(const Run& run, const MatmulShape& s, const T* a, const T* b, T* dst) {
  gemm<T>(run, {s.batch, s.batch, s.m, s.n, s.k}, MatmulOperands<T>{s, a, b, dst});
}

}  // namespace

RUSHLIGHT_DEFINE_FAMILY(MatmulKernels, matmul, matmul_workspace<T>, matmul_forward<T>)

}  // namespace rushlight::RUSHLIGHT_ISA
