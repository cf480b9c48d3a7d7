// The yardsticks of the benchmarks: peak of multiply-adds, copy and read bandwidth.
#include "bindings/arguments.h"
#include "bindings/arrays.h"
#include "bindings/families.h"

namespace rushlight::bindings {
namespace {

void multiply_adds(py::handle count_object) {
  const char* op = "probe_multiply_adds";
  const int64_t count = integer(op, "count", count_object);
  if (count < 0 || count > int64_t{1} << 50) {
    raise_value(std::string(op) + ": count must be from 0 to 2**50, got " + std::to_string(count));
  }
  Result sums(op, DType::f32, {kProbeChunks});
  const KernelScope scope(count);
  runtime::kernels<float>().probe->multiply_adds(scope.run(), count, sums.data<float>());
}

py::object copy(py::handle src_object) {
  const Array src("probe_copy", "src", src_object);
  Result dst = Result::like("probe_copy", src);
  const int64_t n = src.size();
  with_type(src.dtype(), [&](auto t) {
    using T = decltype(t);
    const KernelScope scope(2 * n);
    runtime::kernels<T>().probe->copy(scope.run(), n, src.data<T>(), dst.data<T>());
  });
  return dst.release();
}

void read(py::handle src_object) {
  const Array src("probe_read", "src", src_object);
  Result sums("probe_read", src.dtype(), {kProbeChunks});
  const int64_t n = src.size();
  with_type(src.dtype(), [&](auto t) {
    using T = decltype(t);
    const KernelScope scope(2 * n);
    runtime::kernels<T>().probe->read(scope.run(), n, src.data<T>(), sums.data<T>());
  });
}

}  // namespace

void bind_probe(py::module_& m) {
  m.def("probe_multiply_adds", &multiply_adds, py::arg("count"));
  m.def("probe_copy", &copy, py::arg("src"));
  m.def("probe_read", &read, py::arg("src"));
}

}  // namespace rushlight::bindings
