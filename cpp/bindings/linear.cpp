#include "bindings/arguments.h"
#include "bindings/arrays.h"
#include "bindings/families.h"
#include "bindings/prepared.h"

namespace rushlight::bindings {
namespace {

LinearShape checked_shape(const char* op, const Array& src, const Array& weight) {
  if (src.ndim() < 1) raise_value(std::string(op) + ": src must have at least 1 dimension, got ()");
  if (weight.ndim() != 2) {
    raise_value(std::string(op) + ": weight must have 2 dimensions, got shape " +
                weight.shape_text());
  }
  const int64_t ic = src.dim(src.ndim() - 1);
  if (ic != weight.dim(1)) {
    raise_value(std::string(op) + ": weight has " + std::to_string(weight.dim(1)) +
                " input features, but src has " + std::to_string(ic) + " (shape " +
                src.shape_text() + ")");
  }
  int64_t rows = 1;
  for (int i = 0; i + 1 < src.ndim(); ++i) rows *= src.dim(i);
  return {rows, ic, weight.dim(0)};
}

Dims dst_dims(const Array& src, const LinearShape& shape) {
  Dims dims = src.dims();
  dims.back() = shape.oc;
  return dims;
}

int64_t work_of_linear(const LinearShape& s) {
  return work_of({s.rows, s.ic, s.oc});
}

py::object linear(py::handle src_object, py::handle weight_object, py::handle bias,
                  WeightCacheObject* cache, int64_t version, py::handle scale, py::handle residual,
                  py::handle clamp) {
  const char* op = "linear";
  const Array src(op, "src", src_object);
  const Array weight(op, "weight", weight_object);
  check_same_dtype(op, src, weight);
  const LinearShape s = checked_shape(op, src, weight);
  const Dims dims = dst_dims(src, s);
  const EpilogueArguments epilogue(op, src, s.oc, dims, bias, scale, residual,
                                   ClampArgument(op, clamp));
  Result dst(op, src.dtype(), dims);
  with_type(src.dtype(), [&](auto t) {
    using T = decltype(t);
    const auto& kernels = *runtime::kernels<T>().linear;
    CachedWeight cached(cache, version, weight_object, weight,
                        {&kernels, kernels.prepared(s), {s.oc, s.ic}});
    run_forward(op, kernels, s, work_of_linear(s), src.data<T>(), weight.data<T>(), cached,
                epilogue.get<T>(), dst.data<T>());
  });
  return dst.release();
}

py::tuple linear_backward(py::handle src_object, py::handle weight_object,
                          py::handle diff_dst_object, bool need_src, bool need_weight,
                          bool need_bias) {
  const char* op = "linear_backward";
  const Array src(op, "src", src_object);
  const Array weight(op, "weight", weight_object);
  const Array diff_dst(op, "diff_dst", diff_dst_object);
  check_same_dtype(op, src, weight);
  check_same_dtype(op, src, diff_dst);
  const LinearShape shape = checked_shape(op, src, weight);
  check_shape(op, diff_dst, dst_dims(src, shape), "from src and weight");
  Result diff_src, diff_weight, diff_bias;
  if (need_src) diff_src = Result::like(op, src);
  if (need_weight) diff_weight = Result::like(op, weight);
  if (need_bias) diff_bias = Result(op, src.dtype(), {shape.oc});
  with_type(src.dtype(), [&](auto t) {
    using T = decltype(t);
    const auto& kernels = *runtime::kernels<T>().linear;
    KernelScope scope(work_of_linear(shape));
    const Run& run = scope.with_workspace(op, kernels.backward_workspace(shape, scope.slots()));
    const T* diff = diff_dst.data<T>();
    if (need_src) kernels.backward_src(run, shape, weight.data<T>(), diff, diff_src.data<T>());
    if (need_weight)
      kernels.backward_weight(scope.again(), shape, src.data<T>(), diff, diff_weight.data<T>());
    if (need_bias) kernels.backward_bias(run, shape, diff, diff_bias.data<T>());
  });
  return py::make_tuple(diff_src.release(), diff_weight.release(), diff_bias.release());
}

}  // namespace

void bind_linear(py::module_& m) {
  m.def("linear", &linear, py::arg("src"), py::arg("weight"), py::arg("bias"),
        py::arg("cache") = nullptr, py::arg("version") = 0, py::arg("scale") = py::none(),
        py::arg("residual") = py::none(), py::arg("clamp") = py::none());
  m.def("linear_backward", &linear_backward, py::arg("src"), py::arg("weight"), py::arg("diff_dst"),
        py::arg("need_src"), py::arg("need_weight"), py::arg("need_bias"));
}

}  // namespace rushlight::bindings
