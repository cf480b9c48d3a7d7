// The arguments of conv2d: checked settings and shapes, and the switches of its algorithms.
#pragma once

#include <cstdint>
#include <span>

#include "bindings/arguments.h"
#include "bindings/arrays.h"

namespace rushlight::bindings {

struct ConvSettings {
  Pair stride, padding, dilation;
  int64_t groups;

  ConvSettings(const char* op, py::handle stride_object, py::handle padding_object,
               py::handle dilation_object, py::handle groups_object);
};

// The shape of a convolution of [n, ic, ih, iw] with [oc, ic / groups, kh, kw], with the algorithm
// that is forced, if any. Raises where the sizes do not fit.
Conv2dShape conv2d_shape(const char* op, std::span<const int64_t> src,
                         std::span<const int64_t> weight, const ConvSettings& set);

int64_t work_of_conv2d(const Conv2dShape& shape);

// Only a forward that cannot run as forced raises: a gradient that cannot is computed as usual.
template <class T>
void check_conv_algorithm(const char* op, const Conv2dShape& shape);

bool is_winograd_enabled();

void bind_conv2d_switches(py::module_& m);

}  // namespace rushlight::bindings
