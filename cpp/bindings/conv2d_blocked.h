// conv2d and its gradients on images in blocks of channels, where kernels take them.
#pragma once

#include "bindings/blocked.h"
#include "bindings/conv2d_arguments.h"
#include "bindings/prepared.h"

namespace rushlight::bindings {

// When the result of a convolution may be blocked.
enum class ResultLayout {
  plain,  // never
  kept,   // where src is blocked, or an image of so few channels that it is read as it is
  any     // also where a plain src is turned
};

// The result, or None where plain kernels have to make it.
py::object conv2d_by_blocks(const char* op, Images& src, const Array& weight,
                            py::handle weight_object, py::handle scale, py::handle bias,
                            const ClampArgument& clamp, const Conv2dShape& shape,
                            ResultLayout layout, WeightCacheObject* cache, int64_t version);

// Each of these is None where plain kernels have to make it.
py::object conv2d_src_by_blocks(const char* op, const Array& weight, Images& diff_dst,
                                const Conv2dShape& shape);
py::object conv2d_weight_by_blocks(const char* op, Images& src, const Array& weight,
                                   Images& diff_dst, const Conv2dShape& shape);
py::object conv2d_bias_by_blocks(const char* op, Images& diff_dst, const Conv2dShape& shape);

}  // namespace rushlight::bindings
