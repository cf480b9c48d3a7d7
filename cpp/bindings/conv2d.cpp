#include <pybind11/stl.h>

#include <atomic>
#include <optional>
#include <string>

#include "bindings/arguments.h"
#include "bindings/arrays.h"
#include "bindings/families.h"
#include "bindings/prepared.h"
#include "bindings/windows.h"
#include "runtime/environment.h"

namespace rushlight::bindings {
namespace {

struct Algorithm {
  const char* name;
  ConvAlgorithm algorithm;
};

constexpr Algorithm all_algorithms[] = {
    {"gemm", ConvAlgorithm::gemm},           {"direct", ConvAlgorithm::direct},
    {"depthwise", ConvAlgorithm::depthwise}, {"winograd2", ConvAlgorithm::winograd2},
    {"winograd4", ConvAlgorithm::winograd4},
};

std::atomic<ConvAlgorithm> forced_algorithm{ConvAlgorithm::automatic};
std::atomic<bool> winograd_enabled{true};

py::list conv_algorithms() {
  py::list names;
  for (const Algorithm& each : all_algorithms) names.append(each.name);
  return names;
}

void set_conv_algorithm(const std::optional<std::string>& name) {
  if (!name) {
    forced_algorithm = ConvAlgorithm::automatic;
    return;
  }
  std::string known;
  for (const Algorithm& each : all_algorithms) {
    if (*name == each.name) {
      forced_algorithm = each.algorithm;
      return;
    }
    known += (known.empty() ? "" : ", ") + std::string(each.name);
  }
  raise_value("set_conv_algorithm: name must be None or one of " + known + ", got '" + *name + "'");
}

// Only a forward that cannot run as forced raises: a gradient that cannot is computed as usual.
template <class T>
void check_algorithm(const char* op, const Conv2dShape& shape) {
  if (runtime::kernels<T>().conv2d->accepts(shape, shape.algorithm)) return;
  for (const Algorithm& each : all_algorithms) {
    if (each.algorithm != shape.algorithm) continue;
    raise_value(std::string(op) + ": the algorithm " + each.name +
                ", which set_conv_algorithm forces, does not accept this shape");
  }
}

struct Settings {
  Pair stride, padding, dilation;
  int64_t groups;

  Settings(const char* op, py::handle stride_object, py::handle padding_object,
           py::handle dilation_object, py::handle groups_object)
      : stride(pair(op, "stride", stride_object, 1)),
        padding(pair(op, "padding", padding_object, 0)),
        dilation(pair(op, "dilation", dilation_object, 1)),
        groups(integer(op, "groups", groups_object)) {
    if (groups < 1) {
      raise_value(std::string(op) + ": groups must be at least 1, got " + std::to_string(groups));
    }
  }
};

void check_channels(const char* op, const Array& src, const Array& weight, int64_t groups) {
  const int64_t ic = src.dim(1), oc = weight.dim(0);
  if (oc % groups != 0) {
    raise_value(std::string(op) + ": weight has " + std::to_string(oc) +
                " output channels, which groups=" + std::to_string(groups) + " does not divide");
  }
  if (ic % groups != 0 || weight.dim(1) != ic / groups) {
    raise_value(std::string(op) + ": weight has " + std::to_string(weight.dim(1)) +
                " input channels per group, but input has " + std::to_string(ic) +
                " channels and groups=" + std::to_string(groups));
  }
}

Conv2dShape checked_shape(const char* op, const Array& src, const Array& weight,
                          const Settings& set) {
  if (src.ndim() != 4 || weight.ndim() != 4) {
    raise_value(std::string(op) + ": src and weight must have 4 dimensions, got shapes " +
                src.shape_text() + " and " + weight.shape_text());
  }
  check_channels(op, src, weight, set.groups);
  const int64_t kh = weight.dim(2), kw = weight.dim(3);
  if (kh < 1 || kw < 1) {
    raise_value(std::string(op) + ": the kernel must be at least 1 x 1, got weight of shape " +
                weight.shape_text());
  }
  const int64_t ih = src.dim(2), iw = src.dim(3);
  const Window rows{ih, kh, set.stride.h, set.padding.h, set.dilation.h};
  const Window cols{iw, kw, set.stride.w, set.padding.w, set.dilation.w};
  const int64_t oh = window_count(op, "height", rows), ow = window_count(op, "width", cols);
  return {src.dim(0),
          src.dim(1),
          ih,
          iw,
          weight.dim(0),
          oh,
          ow,
          kh,
          kw,
          set.stride.h,
          set.stride.w,
          set.padding.h,
          set.padding.w,
          set.dilation.h,
          set.dilation.w,
          set.groups,
          forced_algorithm,
          winograd_enabled};
}

int64_t work_of_conv2d(const Conv2dShape& s) {
  return work_of({s.n, s.oc, s.oh, s.ow, s.ic / s.groups, s.kh, s.kw});
}

py::object conv2d(py::handle src_object, py::handle weight_object, py::handle bias,
                  py::handle stride, py::handle padding, py::handle dilation, py::handle groups,
                  WeightCacheObject* cache, int64_t version, py::handle scale, py::handle residual,
                  py::handle clamp) {
  const char* op = "conv2d";
  const Array src(op, "src", src_object);
  const Array weight(op, "weight", weight_object);
  check_same_dtype(op, src, weight);
  const Conv2dShape s =
      checked_shape(op, src, weight, Settings(op, stride, padding, dilation, groups));
  const EpilogueArguments epilogue(op, src, s.oc, {s.n, s.oc, s.oh, s.ow}, bias, scale, residual,
                                   clamp);
  Result dst(op, src.dtype(), {s.n, s.oc, s.oh, s.ow});
  with_type(src.dtype(), [&](auto t) {
    using T = decltype(t);
    check_algorithm<T>(op, s);
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
  const Conv2dShape shape =
      checked_shape(op, src, weight, Settings(op, stride, padding, dilation, groups));
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
  winograd_enabled = runtime::environment_integer("RUSHLIGHT_WINOGRAD", 0, 1).value_or(1) != 0;
  m.def("conv_algorithms", &conv_algorithms);
  m.def("set_conv_algorithm", &set_conv_algorithm, py::arg("name"));
  m.def("get_winograd", [] { return winograd_enabled.load(); });
  m.def("set_winograd", [](bool enabled) { winograd_enabled = enabled; }, py::arg("enabled"));
  m.def("conv2d", &conv2d, py::arg("src"), py::arg("weight"), py::arg("bias"), py::arg("stride"),
        py::arg("padding"), py::arg("dilation"), py::arg("groups"), py::arg("cache") = nullptr,
        py::arg("version") = 0, py::arg("scale") = py::none(), py::arg("residual") = py::none(),
        py::arg("clamp") = py::none());
  m.def("conv2d_backward", &conv2d_backward, py::arg("src"), py::arg("weight"), py::arg("diff_dst"),
        py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("groups"),
        py::arg("need_src"), py::arg("need_weight"), py::arg("need_bias"));
}

}  // namespace rushlight::bindings
