// What the steps of plans have in common: sizes, types and epilogues as Python gives them.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>

#include "bindings/plan_places.h"
#include "bindings/windows.h"

namespace rushlight::bindings {

inline int64_t bytes_of(const char* op, std::initializer_list<int64_t> sizes, DType dtype) {
  return checked_mul(op, element_count(op, sizes.begin(), static_cast<int>(sizes.size())),
                     item_size(dtype));
}

inline DType floating(const char* op, py::handle object) {
  const DType dtype = dtype_argument(op, "dtype", object);
  if (dtype == DType::f32 || dtype == DType::f64) return dtype;
  raise_type(std::string(op) + ": dtype must be float32 or float64, got " + dtype_name(dtype));
}

inline Dims dims_of(const char* op, const char* name, py::handle object, size_t count) {
  Dims dims = integers(op, name, object);
  const bool negative = std::any_of(dims.begin(), dims.end(), [](int64_t d) { return d < 0; });
  if (dims.size() == count && !negative) return dims;
  raise_value(std::string(op) + ": " + name + " must be " + std::to_string(count) + " sizes, got " +
              shape_text(dims));
}

template <class T>
const PointwiseFunction<T>& pointwise_function(const char* op, const std::string& name) {
  const PointwiseKernels<T>& kernels = *runtime::kernels<T>().pointwise;
#define RUSHLIGHT_FUNCTION(function, Struct) \
  if (name == #function) return kernels.function;
  RUSHLIGHT_POINTWISE(RUSHLIGHT_FUNCTION)
#undef RUSHLIGHT_FUNCTION
  raise_value(std::string(op) + ": unknown function '" + name + "'");
}

// What stands behind the sums of a step: (scale, shift, residual, clamp). A step that is blocked
// takes a function and its settings, (name, a, b), in the place of the clamp too.
template <class T>
runtime::EpiloguePlaces<T> epilogue(PlanObject& self, const char* op, py::handle object,
                                    DType dtype, int64_t channels, int64_t bytes,
                                    bool blocked = false) {
  if (!py::isinstance<py::tuple>(object) || py::len(object) != 4) {
    raise_type(std::string(op) + ": epilogue must be (scale, shift, residual, clamp)");
  }
  const auto parts = py::reinterpret_borrow<py::tuple>(object);
  runtime::EpiloguePlaces<T> places;
  places.scale = self.constant(op, "scale", parts[0], dtype, channels);
  places.shift = self.constant(op, "shift", parts[1], dtype, channels);
  if (!parts[0].is_none() && parts[1].is_none()) {
    raise_value(std::string(op) + ": a scale needs a shift");
  }
  places.residual = self.optional_source(op, "residual", parts[2], bytes);
  const py::object clamp = parts[3];
  if (clamp.is_none()) return places;
  if (blocked && py::isinstance<py::tuple>(clamp) && py::len(clamp) == 3) {
    const auto function = py::reinterpret_borrow<py::tuple>(clamp);
    const py::object name = function[0];
    if (!py::isinstance<py::str>(name)) raise_type(std::string(op) + ": a function is a name");
    places.function = {pointwise_function<T>(op, name.cast<std::string>()).in_place,
                       number(op, "a", function[1]), number(op, "b", function[2])};
    return places;
  }
  const ClampArgument range(op, clamp);
  places.activation = Activation::clamp;
  places.low = static_cast<T>(range.low);
  places.high = static_cast<T>(range.high);
  return places;
}

inline Window window(const Dims& numbers, size_t axis, int64_t size) {
  // kernel, stride, padding and dilation, each of rows and columns
  return {size, numbers[axis], numbers[2 + axis], numbers[4 + axis], numbers[6 + axis]};
}

// Checks that every window begins inside the padded plane: sizes with ceil_mode are made in Python.
inline void check_pool(const char* op, const Window& window, int64_t out) {
  const bool positive = window.size > 0 && window.kernel > 0 && window.stride > 0 &&
                        window.dilation > 0 && window.padding >= 0 && out > 0;
  const int64_t span = positive ? checked_mul(op, window.kernel, window.dilation) : 0;
  const int64_t last = positive ? checked_mul(op, out - 1, window.stride) : 0;
  checked_add(op, span, checked_add(op, last, window.padding));
  if (positive && last < checked_add(op, window.size, window.padding)) return;
  raise_value(std::string(op) + ": " + std::to_string(out) + " windows do not fit");
}

// `from` is (planes, height, width), `out` the height and width of the result.
inline PoolShape pool_shape(const char* op, const Dims& from, const Dims& out, py::handle windows,
                            bool adaptive, bool count_include_pad, int64_t divisor) {
  PoolShape s{};
  s.planes = from[0], s.ih = from[1], s.iw = from[2], s.oh = out[0], s.ow = out[1];
  if (s.ih < 1 || s.iw < 1 || s.oh < 1 || s.ow < 1)
    raise_value(std::string(op) + ": planes must not be empty");
  s.count_include_pad = count_include_pad;
  s.divisor = divisor;
  if (!adaptive) {
    const Dims numbers = dims_of(op, "windows", windows, 8);
    check_pool(op, window(numbers, 0, s.ih), s.oh);
    check_pool(op, window(numbers, 1, s.iw), s.ow);
    s.kh = numbers[0], s.kw = numbers[1], s.stride_h = numbers[2], s.stride_w = numbers[3];
    s.padding_h = numbers[4], s.padding_w = numbers[5];
    s.dilation_h = numbers[6], s.dilation_w = numbers[7];
  }
  return s;
}

// Adds the steps for blocked images; see plan_blocked.cpp.
void bind_blocked_steps(py::module_& m, py::class_<PlanObject>& plan);

}  // namespace rushlight::bindings
