#include <pybind11/stl.h>

#include "bindings/arguments.h"
#include "bindings/arrays.h"
#include "bindings/blocked.h"
#include "bindings/families.h"
#include "bindings/windows.h"

namespace rushlight::bindings {
namespace {

struct Settings {
  Pair kernel, stride, padding, dilation{1, 1};
  bool ceil_mode, count_include_pad = true;
  int64_t divisor = 0;

  Settings(const char* op, py::handle kernel_object, py::handle stride_object,
           py::handle padding_object, bool ceil)
      : kernel(pair(op, "kernel_size", kernel_object, 1)),
        stride(pair(op, "stride", stride_object, 1)),
        padding(pair(op, "padding", padding_object, 0)),
        ceil_mode(ceil) {}
};

Settings avg_settings(const char* op, py::handle kernel, py::handle stride, py::handle padding,
                      bool ceil_mode, bool count_include_pad, py::handle divisor) {
  Settings set(op, kernel, stride, padding, ceil_mode);
  set.count_include_pad = count_include_pad;
  if (divisor.is_none()) return set;
  set.divisor = integer(op, "divisor_override", divisor);
  if (set.divisor < 1) {
    raise_value(std::string(op) + ": divisor_override must be at least 1, got " +
                std::to_string(set.divisor));
  }
  return set;
}

std::string dims_text(const Dims& dims) {
  return py::str(py::tuple(py::cast(dims)));
}

// [n, c, ih, iw] or [c, ih, iw]; only the batch may be empty.
PoolShape plane_shape(const char* op, const Dims& src) {
  const size_t ndim = src.size();
  if (ndim != 3 && ndim != 4) {
    raise_value(std::string(op) + ": src must have 3 or 4 dimensions, got shape " + dims_text(src));
  }
  for (size_t i = ndim - 3; i < ndim; ++i) {
    if (src[i] < 1) {
      raise_value(std::string(op) + ": only the batch of src may be empty, got shape " +
                  dims_text(src));
    }
  }
  PoolShape shape{};
  shape.planes = element_count(op, src.data(), static_cast<int>(ndim) - 2);
  shape.ih = src[ndim - 2];
  shape.iw = src[ndim - 1];
  return shape;
}

int64_t pool_count(const char* op, const char* axis, const Window& window) {
  const int64_t count = window_count(op, axis, window);
  const int64_t span = (window.kernel - 1) * window.dilation + 1;
  if (window.padding > span / 2) {
    raise_value(std::string(op) + ": padding must be at most half of the kernel along the " + axis +
                ", got padding=" + std::to_string(window.padding) + " and a kernel that spans " +
                std::to_string(span));
  }
  checked_add(op, checked_add(op, window.size, window.padding), span);
  return count;
}

PoolShape window_shape(const char* op, const Dims& src, const Settings& set) {
  PoolShape shape = plane_shape(op, src);
  shape.kh = set.kernel.h;
  shape.kw = set.kernel.w;
  shape.stride_h = set.stride.h;
  shape.stride_w = set.stride.w;
  shape.padding_h = set.padding.h;
  shape.padding_w = set.padding.w;
  // With a single tap the dilation means nothing, and a huge one must not enter the arithmetic.
  shape.dilation_h = set.kernel.h == 1 ? 1 : set.dilation.h;
  shape.dilation_w = set.kernel.w == 1 ? 1 : set.dilation.w;
  shape.count_include_pad = set.count_include_pad;
  shape.divisor = set.divisor;
  shape.oh = pool_count(
      op, "height",
      {shape.ih, shape.kh, shape.stride_h, shape.padding_h, shape.dilation_h, set.ceil_mode});
  shape.ow = pool_count(
      op, "width",
      {shape.iw, shape.kw, shape.stride_w, shape.padding_w, shape.dilation_w, set.ceil_mode});
  return shape;
}

PoolShape adaptive_shape(const char* op, const Dims& src, Pair out) {
  PoolShape shape = plane_shape(op, src);
  shape.oh = out.h;
  shape.ow = out.w;
  checked_mul(op, checked_add(op, shape.ih, 1), checked_add(op, shape.oh, 1));
  checked_mul(op, checked_add(op, shape.iw, 1), checked_add(op, shape.ow, 1));
  return shape;
}

Dims dst_dims(Dims src, const PoolShape& shape) {
  src[src.size() - 2] = shape.oh;
  src[src.size() - 1] = shape.ow;
  return src;
}

void check_rank(const char* op, const Array& diff_dst, const Dims& src) {
  if (diff_dst.ndim() == static_cast<int>(src.size())) return;
  raise_value(std::string(op) + ": diff_dst has shape " + diff_dst.shape_text() +
              ", which cannot come from src_shape " + dims_text(src));
}

// With `lanes` values to an element.
int64_t work_of_pool(const PoolShape& s, int64_t lanes = 1) {
  return work_of({s.planes, s.oh, s.ow, s.kh, s.kw, lanes}) +
         work_of({s.planes, s.ih, s.iw, lanes});
}

template <bool ADAPTIVE>
py::tuple run_max(const char* op, const Array& src, const PoolShape& shape) {
  const Dims dims = dst_dims(src.dims(), shape);
  Result dst(op, src.dtype(), dims), indices(op, DType::i64, dims);
  with_type(src.dtype(), [&](auto t) {
    using T = decltype(t);
    const auto& kernels = *runtime::kernels<T>().pooling;
    const KernelScope scope(work_of_pool(shape));
    (ADAPTIVE ? kernels.adaptive_max : kernels.max)(scope.run(), shape, src.data<T>(),
                                                    dst.data<T>(), indices.data<int64_t>());
  });
  return py::make_tuple(dst.release(), indices.release());
}

template <bool ADAPTIVE>
py::object run_avg(const char* op, const Array& src, const PoolShape& shape) {
  Result dst(op, src.dtype(), dst_dims(src.dims(), shape));
  with_type(src.dtype(), [&](auto t) {
    using T = decltype(t);
    const auto& kernels = *runtime::kernels<T>().pooling;
    const KernelScope scope(work_of_pool(shape));
    (ADAPTIVE ? kernels.adaptive_avg : kernels.avg)(scope.run(), shape, src.data<T>(),
                                                    dst.data<T>());
  });
  return dst.release();
}

template <bool ADAPTIVE>
py::object run_avg_backward(const char* op, const Array& diff_dst, const Dims& src,
                            const PoolShape& shape) {
  check_shape(op, diff_dst, dst_dims(src, shape), "from src_shape");
  Result diff_src(op, diff_dst.dtype(), src);
  with_type(diff_dst.dtype(), [&](auto t) {
    using T = decltype(t);
    const auto& kernels = *runtime::kernels<T>().pooling;
    const KernelScope scope(work_of_pool(shape));
    (ADAPTIVE ? kernels.adaptive_avg_backward : kernels.avg_backward)(
        scope.run(), shape, diff_dst.data<T>(), diff_src.data<T>());
  });
  return diff_src.release();
}

py::tuple max_pool2d(py::handle src_object, py::handle kernel_size, py::handle stride,
                     py::handle padding, py::handle dilation, bool ceil_mode) {
  const char* op = "max_pool2d";
  const Array src(op, "src", src_object);
  Settings set(op, kernel_size, stride, padding, ceil_mode);
  set.dilation = pair(op, "dilation", dilation, 1);
  return run_max<false>(op, src, window_shape(op, src.dims(), set));
}

py::tuple adaptive_max_pool2d(py::handle src_object, py::handle output_size) {
  const char* op = "adaptive_max_pool2d";
  const Array src(op, "src", src_object);
  const Pair out = pair(op, "output_size", output_size, 0);
  return run_max<true>(op, src, adaptive_shape(op, src.dims(), out));
}

py::object max_pool2d_backward(py::handle diff_dst_object, py::handle indices_object,
                               py::handle src_shape) {
  const char* op = "max_pool2d_backward";
  const Array diff_dst(op, "diff_dst", diff_dst_object);
  const Array indices(op, "indices", indices_object, DType::i64);
  const Dims src = integers(op, "src_shape", src_shape);
  PoolShape shape = plane_shape(op, src);
  check_shape(op, indices, diff_dst.dims(), "as diff_dst");
  check_rank(op, diff_dst, src);
  shape.oh = diff_dst.dim(diff_dst.ndim() - 2);
  shape.ow = diff_dst.dim(diff_dst.ndim() - 1);
  check_shape(op, diff_dst, dst_dims(src, shape), "from src_shape");
  Result diff_src(op, diff_dst.dtype(), src);
  int64_t bad = -1;
  with_type(diff_dst.dtype(), [&](auto t) {
    using T = decltype(t);
    const KernelScope scope(work_of_pool(shape));
    bad = runtime::kernels<T>().pooling->max_backward(scope.run(), shape, diff_dst.data<T>(),
                                                      indices.data<int64_t>(), diff_src.data<T>());
  });
  if (bad >= 0) {
    raise(PyExc_IndexError, std::string(op) + ": index " +
                                std::to_string(indices.data<int64_t>()[bad]) +
                                " lies outside the plane of src_shape " + dims_text(src));
  }
  return diff_src.release();
}

py::object avg_pool2d(py::handle src_object, py::handle kernel_size, py::handle stride,
                      py::handle padding, bool ceil_mode, bool count_include_pad,
                      py::handle divisor_override) {
  const char* op = "avg_pool2d";
  const Array src(op, "src", src_object);
  const Settings set = avg_settings(op, kernel_size, stride, padding, ceil_mode, count_include_pad,
                                    divisor_override);
  return run_avg<false>(op, src, window_shape(op, src.dims(), set));
}

py::object avg_pool2d_backward(py::handle diff_dst_object, py::handle src_shape,
                               py::handle kernel_size, py::handle stride, py::handle padding,
                               bool ceil_mode, bool count_include_pad,
                               py::handle divisor_override) {
  const char* op = "avg_pool2d_backward";
  const Array diff_dst(op, "diff_dst", diff_dst_object);
  const Dims src = integers(op, "src_shape", src_shape);
  const Settings set = avg_settings(op, kernel_size, stride, padding, ceil_mode, count_include_pad,
                                    divisor_override);
  return run_avg_backward<false>(op, diff_dst, src, window_shape(op, src, set));
}

py::object adaptive_avg_pool2d(py::handle src_object, py::handle output_size) {
  const char* op = "adaptive_avg_pool2d";
  const Array src(op, "src", src_object);
  const Pair out = pair(op, "output_size", output_size, 0);
  return run_avg<true>(op, src, adaptive_shape(op, src.dims(), out));
}

py::object adaptive_avg_pool2d_backward(py::handle diff_dst_object, py::handle src_shape) {
  const char* op = "adaptive_avg_pool2d_backward";
  const Array diff_dst(op, "diff_dst", diff_dst_object);
  const Dims src = integers(op, "src_shape", src_shape);
  plane_shape(op, src);
  check_rank(op, diff_dst, src);
  const Pair out{diff_dst.dim(diff_dst.ndim() - 2), diff_dst.dim(diff_dst.ndim() - 1)};
  return run_avg_backward<true>(op, diff_dst, src, adaptive_shape(op, src, out));
}

const Blocked& blocked_argument(const char* op, const char* name, py::handle object) {
  const Blocked* blocked = as_blocked(object);
  if (blocked == nullptr) raise_type(std::string(op) + ": " + name + " must be Blocked");
  if (!blocked->fits(Array(op, name, blocked->array()).dtype())) {
    raise_value(std::string(op) + ": " + name + " was made for another instruction set");
  }
  return *blocked;
}

// The windows of a maximum over images in blocks; `planes` counts blocks.
PoolShape blocked_windows(const char* op, const Blocked& src, py::handle kernel_size,
                          py::handle stride, py::handle padding, py::handle dilation,
                          bool ceil_mode) {
  Settings set(op, kernel_size, stride, padding, ceil_mode);
  set.dilation = pair(op, "dilation", dilation, 1);
  const Array array(op, "src", src.array());
  return window_shape(op, {array.dim(0), array.dim(1), array.dim(2), array.dim(3)}, set);
}

py::object max_pool2d_blocked(py::handle src_object, py::handle kernel_size, py::handle stride,
                              py::handle padding, py::handle dilation, bool ceil_mode) {
  const char* op = "max_pool2d";
  const Blocked& src = blocked_argument(op, "src", src_object);
  const PoolShape shape =
      blocked_windows(op, src, kernel_size, stride, padding, dilation, ceil_mode);
  const Array from(op, "src", src.array());
  BlockedResult dst(op, from.dtype(), {src.sizes()[0], src.sizes()[1], shape.oh, shape.ow});
  with_type(from.dtype(), [&](auto t) {
    using T = decltype(t);
    const BlockedKernels<T>& kernels = *runtime::kernels<T>().blocked;
    const KernelScope scope(work_of_pool(shape, kernels.lanes));
    kernels.max_pool(scope.run(), shape, from.data<T>(), dst.data<T>());
  });
  return dst.release();
}

py::object max_pool2d_blocked_backward(py::handle src_object, py::handle dst_object,
                                       py::handle diff_dst_object, py::handle kernel_size,
                                       py::handle stride, py::handle padding, py::handle dilation,
                                       bool ceil_mode) {
  const char* op = "max_pool2d_backward";
  const Blocked& src = blocked_argument(op, "src", src_object);
  const PoolShape shape =
      blocked_windows(op, src, kernel_size, stride, padding, dilation, ceil_mode);
  Images dst(op, "dst", dst_object), diff_dst(op, "diff_dst", diff_dst_object);
  const Dims expected{src.sizes()[0], src.sizes()[1], shape.oh, shape.ow};
  check_sizes(op, "dst", dst.sizes(), expected, "from src");
  check_sizes(op, "diff_dst", diff_dst.sizes(), expected, "from src");
  const Array from(op, "src", src.array());
  check_same_dtype(op, from, dst.given());
  check_same_dtype(op, from, diff_dst.given());
  BlockedResult diff_src(op, from.dtype(), src.sizes());
  const Array &most = dst.blocks(), &diff = diff_dst.blocks();
  with_type(from.dtype(), [&](auto t) {
    using T = decltype(t);
    const KernelScope scope(work_of_pool(shape, runtime::kernels<T>().blocked->lanes));
    runtime::kernels<T>().blocked_gradients->max_pool(
        scope.run(), shape, from.data<T>(), most.data<T>(), diff.data<T>(), diff_src.data<T>());
  });
  return diff_src.release();
}

ReorderShape mean_shape(const Blocked::Sizes& sizes) {
  return {sizes[0], sizes[1], sizes[2] * sizes[3]};
}

// The mean of each plane, [n, c, 1, 1].
py::object global_mean(py::handle src_object) {
  const char* op = "adaptive_avg_pool2d";
  const Blocked& src = blocked_argument(op, "src", src_object);
  plane_shape(op, Dims(src.sizes().begin(), src.sizes().end()));
  const Array from(op, "src", src.array());
  Result dst(op, from.dtype(), {src.sizes()[0], src.sizes()[1], 1, 1});
  with_type(from.dtype(), [&](auto t) {
    using T = decltype(t);
    const KernelScope scope(from.size());
    runtime::kernels<T>().blocked->mean(scope.run(), mean_shape(src.sizes()), from.data<T>(),
                                        dst.data<T>());
  });
  return dst.release();
}

py::object global_mean_backward(py::handle diff_dst_object, py::handle src_shape) {
  const char* op = "adaptive_avg_pool2d_backward";
  const Array diff_dst(op, "diff_dst", diff_dst_object);
  const Dims src = integers(op, "src_shape", src_shape);
  if (src.size() != 4) raise_value(std::string(op) + ": src_shape must have 4 sizes");
  plane_shape(op, src);
  check_shape(op, diff_dst, {src[0], src[1], 1, 1}, "from src_shape");
  const Blocked::Sizes sizes{src[0], src[1], src[2], src[3]};
  BlockedResult diff_src(op, diff_dst.dtype(), sizes);
  with_type(diff_dst.dtype(), [&](auto t) {
    using T = decltype(t);
    const KernelScope scope(work_of({sizes[0], sizes[1], sizes[2], sizes[3]}));
    runtime::kernels<T>().blocked_gradients->mean(scope.run(), mean_shape(sizes),
                                                  diff_dst.data<T>(), diff_src.data<T>());
  });
  return diff_src.release();
}

}  // namespace

void bind_pooling(py::module_& m) {
  m.def("max_pool2d", &max_pool2d, py::arg("src"), py::arg("kernel_size"), py::arg("stride"),
        py::arg("padding"), py::arg("dilation"), py::arg("ceil_mode"));
  m.def("max_pool2d_backward", &max_pool2d_backward, py::arg("diff_dst"), py::arg("indices"),
        py::arg("src_shape"));
  m.def("avg_pool2d", &avg_pool2d, py::arg("src"), py::arg("kernel_size"), py::arg("stride"),
        py::arg("padding"), py::arg("ceil_mode"), py::arg("count_include_pad"),
        py::arg("divisor_override"));
  m.def("avg_pool2d_backward", &avg_pool2d_backward, py::arg("diff_dst"), py::arg("src_shape"),
        py::arg("kernel_size"), py::arg("stride"), py::arg("padding"), py::arg("ceil_mode"),
        py::arg("count_include_pad"), py::arg("divisor_override"));
  m.def("adaptive_avg_pool2d", &adaptive_avg_pool2d, py::arg("src"), py::arg("output_size"));
  m.def("adaptive_avg_pool2d_backward", &adaptive_avg_pool2d_backward, py::arg("diff_dst"),
        py::arg("src_shape"));
  m.def("max_pool2d_blocked", &max_pool2d_blocked, py::arg("src"), py::arg("kernel_size"),
        py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("ceil_mode"));
  m.def("max_pool2d_blocked_backward", &max_pool2d_blocked_backward, py::arg("src"), py::arg("dst"),
        py::arg("diff_dst"), py::arg("kernel_size"), py::arg("stride"), py::arg("padding"),
        py::arg("dilation"), py::arg("ceil_mode"));
  m.def("global_mean", &global_mean, py::arg("src"));
  m.def("global_mean_backward", &global_mean_backward, py::arg("diff_dst"), py::arg("src_shape"));
  m.def("adaptive_max_pool2d", &adaptive_max_pool2d, py::arg("src"), py::arg("output_size"));
}

}  // namespace rushlight::bindings
