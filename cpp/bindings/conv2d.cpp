#include "bindings/arrays.h"
#include "bindings/conv2d_arguments.h"
#include "bindings/conv2d_blocked.h"
#include "bindings/families.h"
#include "bindings/prepared.h"

namespace rushlight::bindings {
namespace {

ResultLayout layout_argument(const char* op, int value) {
  if (value >= 0 && value <= 2) return static_cast<ResultLayout>(value);
  raise_value(std::string(op) + ": layout must be 0, 1 or 2, got " + std::to_string(value));
}

py::object conv2d(py::handle src_object, py::handle weight_object, py::handle bias,
                  py::handle stride, py::handle padding, py::handle dilation, py::handle groups,
                  WeightCacheObject* cache, int64_t version, py::handle scale, py::handle residual,
                  py::handle clamp_object, int layout) {
  const char* op = "conv2d";
  Images src(op, "src", src_object);
  const Array weight(op, "weight", weight_object);
  check_same_dtype(op, src.given(), weight);
  const Conv2dShape s = conv2d_shape(op, src.sizes(), weight.sizes(),
                                     ConvSettings(op, stride, padding, dilation, groups));
  const ClampArgument clamp(op, clamp_object);
  if (residual.is_none() && clamp.keeps_zeros()) {
    py::object dst = conv2d_by_blocks(op, src, weight, weight_object, scale, bias, clamp, s,
                                      layout_argument(op, layout), cache, version);
    if (!dst.is_none()) return dst;
  }
  const Array& planes = src.planes();
  const EpilogueArguments epilogue(op, planes, s.oc, {s.n, s.oc, s.oh, s.ow}, bias, scale, residual,
                                   clamp);
  Result dst(op, src.dtype(), {s.n, s.oc, s.oh, s.ow});
  with_type(src.dtype(), [&](auto t) {
    using T = decltype(t);
    check_conv_algorithm<T>(op, s);
    const auto& kernels = *runtime::kernels<T>().conv2d;
    CachedWeight cached(cache, version, weight_object, weight,
                        {&kernels, kernels.prepared(s), {s.oc, s.ic, s.kh, s.kw, s.groups}});
    run_forward(op, kernels, s, work_of_conv2d(s), planes.data<T>(), weight.data<T>(), cached,
                epilogue.get<T>(), dst.data<T>());
  });
  return dst.release();
}

// The gradients of planes.
template <class T>
py::object src_gradient(const char* op, const Conv2dShape& s, const Array& weight,
                        const Array& diff_dst) {
  const auto& kernels = *runtime::kernels<T>().conv2d;
  Result diff_src(op, weight.dtype(), {s.n, s.ic, s.ih, s.iw});
  {
    KernelScope scope(work_of_conv2d(s));
    const Run& run = scope.with_workspace(op, kernels.backward_src_workspace(s, scope.slots()));
    kernels.backward_src(run, s, weight.data<T>(), diff_dst.data<T>(), diff_src.data<T>());
  }
  return diff_src.release();
}

template <class T>
py::object weight_gradient(const char* op, const Conv2dShape& s, const Array& src,
                           const Array& weight, const Array& diff_dst) {
  const auto& kernels = *runtime::kernels<T>().conv2d;
  Result diff_weight = Result::like(op, weight);
  {
    KernelScope scope(work_of_conv2d(s));
    const int64_t bytes = kernels.backward_weight_workspace(s, scope.slots());
    kernels.backward_weight(scope.with_workspace(op, bytes), s, src.data<T>(), diff_dst.data<T>(),
                            diff_weight.data<T>());
  }
  return diff_weight.release();
}

template <class T>
py::object bias_gradient(const char* op, const Conv2dShape& s, const Array& diff_dst) {
  Result diff_bias(op, diff_dst.dtype(), {s.oc});
  {
    const KernelScope scope(diff_dst.size());
    runtime::kernels<T>().conv2d->backward_bias(scope.run(), s, diff_dst.data<T>(),
                                                diff_bias.data<T>());
  }
  return diff_bias.release();
}

py::tuple conv2d_backward(py::handle src_object, py::handle weight_object,
                          py::handle diff_dst_object, py::handle stride, py::handle padding,
                          py::handle dilation, py::handle groups, bool need_src, bool need_weight,
                          bool need_bias) {
  const char* op = "conv2d_backward";
  Images src(op, "src", src_object), diff_dst(op, "diff_dst", diff_dst_object);
  const Array weight(op, "weight", weight_object);
  check_same_dtype(op, src.given(), weight);
  check_same_dtype(op, src.given(), diff_dst.given());
  const Conv2dShape s = conv2d_shape(op, src.sizes(), weight.sizes(),
                                     ConvSettings(op, stride, padding, dilation, groups));
  check_sizes(op, "diff_dst", diff_dst.sizes(), {s.n, s.oc, s.oh, s.ow}, "from src and weight");
  py::object diff_src = py::none(), diff_weight = py::none(), diff_bias = py::none();
  with_type(src.dtype(), [&](auto t) {
    using T = decltype(t);
    if (need_src) {
      diff_src = conv2d_src_by_blocks(op, weight, diff_dst, s);
      if (diff_src.is_none()) diff_src = src_gradient<T>(op, s, weight, diff_dst.planes());
    }
    if (need_weight) {
      diff_weight = conv2d_weight_by_blocks(op, src, weight, diff_dst, s);
      if (diff_weight.is_none()) {
        diff_weight = weight_gradient<T>(op, s, src.planes(), weight, diff_dst.planes());
      }
    }
    if (need_bias) {
      diff_bias = conv2d_bias_by_blocks(op, diff_dst, s);
      if (diff_bias.is_none()) diff_bias = bias_gradient<T>(op, s, diff_dst.planes());
    }
  });
  return py::make_tuple(diff_src, diff_weight, diff_bias);
}

}  // namespace

void bind_conv2d(py::module_& m) {
  bind_conv2d_switches(m);
  m.def("conv2d", &conv2d, py::arg("src"), py::arg("weight"), py::arg("bias"), py::arg("stride"),
        py::arg("padding"), py::arg("dilation"), py::arg("groups"), py::arg("cache") = nullptr,
        py::arg("version") = 0, py::arg("scale") = py::none(), py::arg("residual") = py::none(),
        py::arg("clamp") = py::none(), py::arg("layout") = 0);
  m.def("conv2d_backward", &conv2d_backward, py::arg("src"), py::arg("weight"), py::arg("diff_dst"),
        py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("groups"),
        py::arg("need_src"), py::arg("need_weight"), py::arg("need_bias"));
}

}  // namespace rushlight::bindings
