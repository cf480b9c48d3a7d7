#include "bindings/arrays.h"
#include "bindings/blocked.h"
#include "bindings/families.h"

namespace rushlight::bindings {
namespace {

py::object relu(py::handle src_object) {
  const Elements elements(src_object);
  const Array src("relu", "src", elements.array());
  Result dst = Result::like("relu", src);
  const int64_t n = src.size();
  with_type(src.dtype(), [&](auto t) {
    using T = decltype(t);
    const KernelScope scope(2 * n);
    runtime::kernels<T>().relu->forward(scope.run(), n, src.data<T>(), dst.data<T>());
  });
  return elements.wrap(dst.release());
}

void relu_in_place(py::handle src_object) {
  const Array src("relu_", "src", Elements(src_object).array(), Access::write);
  const int64_t n = src.size();
  with_type(src.dtype(), [&](auto t) {
    using T = decltype(t);
    const KernelScope scope(2 * n);
    runtime::kernels<T>().relu->forward(scope.run(), n, src.data<T>(), src.mutable_data<T>());
  });
}

py::object relu_backward(py::handle dst_object, py::handle diff_dst_object) {
  const char* op = "relu_backward";
  const SameLayout pair(op, dst_object, diff_dst_object);
  const Array dst(op, "dst", pair.first().array());
  const Array diff_dst(op, "diff_dst", pair.second().array());
  check_same_dtype(op, dst, diff_dst);
  check_shape(op, diff_dst, dst.dims(), "as dst");
  Result diff_src = Result::like(op, dst);
  const int64_t n = dst.size();
  with_type(dst.dtype(), [&](auto t) {
    using T = decltype(t);
    const KernelScope scope(2 * n);
    runtime::kernels<T>().relu->backward(scope.run(), n, dst.data<T>(), diff_dst.data<T>(),
                                         diff_src.data<T>());
  });
  return pair.first().wrap(diff_src.release());
}

}  // namespace

void bind_relu(py::module_& m) {
  m.def("relu", &relu, py::arg("src"));
  m.def("relu_", &relu_in_place, py::arg("src"));
  m.def("relu_backward", &relu_backward, py::arg("dst"), py::arg("diff_dst"));
}

}  // namespace rushlight::bindings
