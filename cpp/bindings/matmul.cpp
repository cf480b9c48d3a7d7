#include "bindings/arrays.h"
#include "bindings/families.h"

namespace rushlight::bindings {
namespace {

constexpr const char* kOp = "matmul";

MatmulShape checked_shape(const Array& a, const Array& b) {
  const int ndim = a.ndim();
  if ((ndim != 2 && ndim != 3) || b.ndim() != ndim) {
    raise_value(std::string(kOp) + ": a and b must both have 2 or both 3 dimensions, got shapes " +
                a.shape_text() + " and " + b.shape_text());
  }
  const int row = ndim - 2, col = ndim - 1;
  const bool batched = ndim == 3;
  if (a.dim(col) != b.dim(row) || (batched && a.dim(0) != b.dim(0))) {
    raise_value(std::string(kOp) + ": a of shape " + a.shape_text() +
                " cannot be multiplied by b of shape " + b.shape_text());
  }
  return {batched ? a.dim(0) : 1,
          a.dim(row),
          b.dim(col),
          a.dim(col),
          batched ? a.stride(0) : 0,
          a.stride(row),
          a.stride(col),
          batched ? b.stride(0) : 0,
          b.stride(row),
          b.stride(col)};
}

py::object matmul(py::handle a_object, py::handle b_object) {
  const Array a(kOp, "a", a_object, Access::strided);
  const Array b(kOp, "b", b_object, Access::strided);
  check_same_dtype(kOp, a, b);
  const MatmulShape shape = checked_shape(a, b);
  Result dst(kOp, a.dtype(),
             a.ndim() == 3 ? Dims{shape.batch, shape.m, shape.n} : Dims{shape.m, shape.n});
  with_type(a.dtype(), [&](auto t) {
    using T = decltype(t);
    const auto& kernels = *runtime::kernels<T>().matmul;
    KernelScope scope(work_of({shape.batch, shape.m, shape.n, shape.k}));
    const Run& run = scope.with_workspace(kOp, kernels.workspace(shape, scope.slots()));
    kernels.forward(run, shape, a.data<T>(), b.data<T>(), dst.data<T>());
  });
  return dst.release();
}

}  // namespace

void bind_matmul(py::module_& m) {
  m.def("matmul", &matmul, py::arg("a"), py::arg("b"));
}

}  // namespace rushlight::bindings
