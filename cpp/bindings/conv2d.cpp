#include "bindings/arrays.h"
#include "bindings/conv2d_arguments.h"
#include "bindings/families.h"
#include "bindings/prepared.h"

namespace rushlight::bindings {
namespace {

py::object conv2d(py::handle src_object, py::handle weight_object, py::handle bias,
                  py::handle stride, py::handle padding, py::handle dilation, py::handle groups,
                  WeightCacheObject* cache, int64_t version, py::handle scale, py::handle residual,
                  py::handle clamp) {
  const char* op = "conv2d";
  const Array src(op, "src", src_object);
  const Array weight(op, "weight", weight_object);
  check_same_dtype(op, src, weight);
  const Conv2dShape s = conv2d_shape(op, src.sizes(), weight.sizes(),
                                     ConvSettings(op, stride, padding, dilation, groups));
  const EpilogueArguments epilogue(op, src, s.oc, {s.n, s.oc, s.oh, s.ow}, bias, scale, residual,
                                   clamp);
  Result dst(op, src.dtype(), {s.n, s.oc, s.oh, s.ow});
  with_type(src.dtype(), [&](auto t) {
    using T = decltype(t);
    check_conv_algorithm<T>(op, s);
    const auto& kernels = *runtime::kernels<T>().conv2d;
    CachedWeight cached(cache, version, weight_object, weight,
                        {&kernels, kernels.prepared(s), {s.oc, s.ic, s.kh, s.kw, s.groups}});
    run_forward(op, kernels, s, work_of_conv2d(s), src.data<T>(), weight.data<T>(), cached,
                epilogue.get<T>(), dst.data<T>());
  });
  return dst.release();
}

struct Gradients {
  Result src, weight, bias;
};

template <class T>
void run_backward(const char* op, const Conv2dShape& shape, const Array& src, const Array& weight,
                  const Array& diff_dst, Gradients& diff) {
  const auto& kernels = *runtime::kernels<T>().conv2d;
  const T* from = diff_dst.data<T>();
  if (diff.src.data<T>() != nullptr) {
    KernelScope scope(work_of_conv2d(shape));
    const Run& run = scope.with_workspace(op, kernels.backward_src_workspace(shape, scope.slots()));
    kernels.backward_src(run, shape, weight.data<T>(), from, diff.src.data<T>());
  }
  if (diff.weight.data<T>() != nullptr) {
    KernelScope scope(work_of_conv2d(shape));
    const int64_t bytes = kernels.backward_weight_workspace(shape, scope.slots());
    kernels.backward_weight(scope.with_workspace(op, bytes), shape, src.data<T>(), from,
                            diff.weight.data<T>());
  }
  if (diff.bias.data<T>() != nullptr) {
    const KernelScope scope(diff_dst.size());
    kernels.backward_bias(scope.run(), shape, from, diff.bias.data<T>());
  }
}

py::tuple conv2d_backward(py::handle src_object, py::handle weight_object,
                          py::handle diff_dst_object, py::handle stride, py::handle padding,
                          py::handle dilation, py::handle groups, bool need_src, bool need_weight,
                          bool need_bias) {
  const char* op = "conv2d_backward";
  const Array src(op, "src", src_object);
  const Array weight(op, "weight", weight_object);
  const Array diff_dst(op, "diff_dst", diff_dst_object);
  check_same_dtype(op, src, weight);
  check_same_dtype(op, src, diff_dst);
  const Conv2dShape shape = conv2d_shape(op, src.sizes(), weight.sizes(),
                                         ConvSettings(op, stride, padding, dilation, groups));
  check_shape(op, diff_dst, {shape.n, shape.oc, shape.oh, shape.ow}, "from src and weight");
  Gradients diff;
  if (need_src) diff.src = Result::like(op, src);
  if (need_weight) diff.weight = Result::like(op, weight);
  if (need_bias) diff.bias = Result(op, src.dtype(), {shape.oc});
  with_type(src.dtype(),
            [&](auto t) { run_backward<decltype(t)>(op, shape, src, weight, diff_dst, diff); });
  return py::make_tuple(diff.src.release(), diff.weight.release(), diff.bias.release());
}

}  // namespace

void bind_conv2d(py::module_& m) {
  bind_conv2d_switches(m);
  m.def("conv2d", &conv2d, py::arg("src"), py::arg("weight"), py::arg("bias"), py::arg("stride"),
        py::arg("padding"), py::arg("dilation"), py::arg("groups"), py::arg("cache") = nullptr,
        py::arg("version") = 0, py::arg("scale") = py::none(), py::arg("residual") = py::none(),
        py::arg("clamp") = py::none());
  m.def("conv2d_backward", &conv2d_backward, py::arg("src"), py::arg("weight"), py::arg("diff_dst"),
        py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("groups"),
        py::arg("need_src"), py::arg("need_weight"), py::arg("need_bias"));
}

}  // namespace rushlight::bindings
