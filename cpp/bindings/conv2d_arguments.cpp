#include "bindings/conv2d_arguments.h"

#include <pybind11/stl.h>

#include <atomic>
#include <optional>
#include <string>

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
    {"winograd4", ConvAlgorithm::winograd4}, {"blocked", ConvAlgorithm::blocked},
    {"chwn", ConvAlgorithm::chwn},
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

void check_channels(const char* op, std::span<const int64_t> src, std::span<const int64_t> weight,
                    int64_t groups) {
  const int64_t ic = src[1], oc = weight[0];
  if (oc % groups != 0) {
    raise_value(std::string(op) + ": weight has " + std::to_string(oc) +
                " output channels, which groups=" + std::to_string(groups) + " does not divide");
  }
  if (ic % groups != 0 || weight[1] != ic / groups) {
    raise_value(std::string(op) + ": weight has " + std::to_string(weight[1]) +
                " input channels per group, but input has " + std::to_string(ic) +
                " channels and groups=" + std::to_string(groups));
  }
}

}  // namespace

ConvSettings::ConvSettings(const char* op, py::handle stride_object, py::handle padding_object,
                           py::handle dilation_object, py::handle groups_object)
    : stride(pair(op, "stride", stride_object, 1)),
      padding(pair(op, "padding", padding_object, 0)),
      dilation(pair(op, "dilation", dilation_object, 1)),
      groups(integer(op, "groups", groups_object)) {
  if (groups < 1) {
    raise_value(std::string(op) + ": groups must be at least 1, got " + std::to_string(groups));
  }
}

Conv2dShape conv2d_shape(const char* op, std::span<const int64_t> src,
                         std::span<const int64_t> weight, const ConvSettings& set) {
  if (src.size() != 4 || weight.size() != 4) {
    raise_value(std::string(op) + ": src and weight must have 4 dimensions, got shapes " +
                shape_text(src) + " and " + shape_text(weight));
  }
  check_channels(op, src, weight, set.groups);
  const int64_t kh = weight[2], kw = weight[3];
  if (kh < 1 || kw < 1) {
    raise_value(std::string(op) + ": the kernel must be at least 1 x 1, got weight of shape " +
                shape_text(weight));
  }
  const int64_t ih = src[2], iw = src[3];
  const Window rows{ih, kh, set.stride.h, set.padding.h, set.dilation.h};
  const Window cols{iw, kw, set.stride.w, set.padding.w, set.dilation.w};
  const int64_t oh = window_count(op, "height", rows), ow = window_count(op, "width", cols);
  return {src[0],
          src[1],
          ih,
          iw,
          weight[0],
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

template <class T>
void check_conv_algorithm(const char* op, const Conv2dShape& shape) {
  if (runtime::kernels<T>().conv2d->accepts(shape, shape.algorithm)) return;
  for (const Algorithm& each : all_algorithms) {
    if (each.algorithm != shape.algorithm) continue;
    raise_value(std::string(op) + ": the algorithm " + each.name +
                ", which set_conv_algorithm forces, does not accept this shape");
  }
}

// The algorithm for a shape: what a plan's step of it is shown as.
std::string algorithm_of(py::handle src_shape, py::handle weight_shape, py::handle stride,
                         py::handle padding, py::handle dilation, py::handle groups,
                         py::handle dtype) {
  const char* op = "conv2d_algorithm";
  const Dims src = integers(op, "src_shape", src_shape);
  const Dims weight = integers(op, "weight_shape", weight_shape);
  const ConvSettings settings(op, stride, padding, dilation, groups);
  const Conv2dShape shape = conv2d_shape(op, src, weight, settings);
  ConvAlgorithm found = ConvAlgorithm::automatic;
  with_type(dtype_argument(op, "dtype", dtype),
            [&](auto t) { found = runtime::kernels<decltype(t)>().conv2d->algorithm(shape); });
  for (const Algorithm& each : all_algorithms) {
    if (each.algorithm == found) return each.name;
  }
  return "";
}

template void check_conv_algorithm<float>(const char* op, const Conv2dShape& shape);
template void check_conv_algorithm<double>(const char* op, const Conv2dShape& shape);

bool is_winograd_enabled() {
  return winograd_enabled;
}

void bind_conv2d_switches(py::module_& m) {
  winograd_enabled = runtime::environment_integer("RUSHLIGHT_WINOGRAD", 0, 1).value_or(1) != 0;
  m.def("conv_algorithms", &conv_algorithms);
  m.def("set_conv_algorithm", &set_conv_algorithm, py::arg("name"));
  m.def("conv2d_algorithm", &algorithm_of);
  m.def("get_winograd", &is_winograd_enabled);
  m.def("set_winograd", [](bool enabled) { winograd_enabled = enabled; }, py::arg("enabled"));
}

}  // namespace rushlight::bindings
