// Activations: functions of each element, with up to two settings.
#include "bindings/arguments.h"
#include "bindings/arrays.h"
#include "bindings/blocked.h"
#include "bindings/families.h"

namespace rushlight::bindings {
namespace {

constexpr int64_t kWorkPerElement = 8;  // about half an exponential, in multiply-adds

template <class T>
using Member = PointwiseFunction<T> PointwiseKernels<T>::*;

template <class T>
const PointwiseFunction<T>& function(Member<float> f32, Member<double> f64) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return runtime::kernels<T>().pointwise->*f32;
  } else {
    return runtime::kernels<T>().pointwise->*f64;
  }
}

// Writes to `out` where it is an array that a kernel may write to as it is, else to a new one.
py::object forward(const char* op, Member<float> f32, Member<double> f64, py::handle src_object,
                   py::handle out_object, double a, double b) {
  const Elements elements(src_object);
  const Array src(op, "src", elements.array());
  const Array out = Array::optional(op, "out", Elements(out_object).array(), Access::strided);
  check_same_dtype(op, src, out);
  check_shape(op, out, src.dims(), "as src");
  const bool in_place = out && out.is_writable_as_it_is();
  Result dst;
  if (!in_place) dst = Result::like(op, src);
  with_type(src.dtype(), [&](auto t) {
    using T = decltype(t);
    T* to = in_place ? out.mutable_data<T>() : dst.data<T>();
    const KernelScope scope(kWorkPerElement * src.size());
    function<T>(f32, f64).forward(scope.run(), src.size(), a, b, src.data<T>(), to);
  });
  return in_place ? py::reinterpret_borrow<py::object>(out_object) : elements.wrap(dst.release());
}

py::object backward(const char* op, Member<float> f32, Member<double> f64, py::handle at_object,
                    py::handle diff_dst_object, double a, double b) {
  const SameLayout pair(op, at_object, diff_dst_object);
  const Array at(op, "at", pair.first().array());
  const Array diff_dst(op, "diff_dst", pair.second().array());
  check_same_dtype(op, at, diff_dst);
  check_shape(op, diff_dst, at.dims(), "as at");
  Result diff_src = Result::like(op, at);
  with_type(at.dtype(), [&](auto t) {
    using T = decltype(t);
    const KernelScope scope(kWorkPerElement * at.size());
    function<T>(f32, f64).backward(scope.run(), at.size(), a, b, at.data<T>(), diff_dst.data<T>(),
                                   diff_src.data<T>());
  });
  return pair.first().wrap(diff_src.release());
}

}  // namespace

void bind_pointwise(py::module_& m) {
#define RUSHLIGHT_BIND(name, Name)                                                             \
  m.def(                                                                                       \
      #name,                                                                                   \
      [](py::handle src, py::handle out, double a, double b) {                                 \
        return forward(#name, &PointwiseKernels<float>::name, &PointwiseKernels<double>::name, \
                       src, out, a, b);                                                        \
      },                                                                                       \
      py::arg("src"), py::arg("out") = py::none(), py::arg("a") = 0.0, py::arg("b") = 0.0);    \
  m.def(                                                                                       \
      #name "_backward",                                                                       \
      [](py::handle at, py::handle diff_dst, double a, double b) {                             \
        return backward(#name "_backward", &PointwiseKernels<float>::name,                     \
                        &PointwiseKernels<double>::name, at, diff_dst, a, b);                  \
      },                                                                                       \
      py::arg("at"), py::arg("diff_dst"), py::arg("a") = 0.0, py::arg("b") = 0.0);
  RUSHLIGHT_POINTWISE(RUSHLIGHT_BIND)
#undef RUSHLIGHT_BIND
}

}  // namespace rushlight::bindings
