// log_softmax and nll_loss.
#include "bindings/arguments.h"
#include "bindings/arrays.h"
#include "bindings/families.h"

namespace rushlight::bindings {
namespace {

SoftmaxShape softmax_shape(const char* op, const Array& src, py::handle dim_object) {
  const int ndim = src.ndim() > 0 ? src.ndim() : 1;  // a single number counts as one dimension
  const int64_t given = integer(op, "dim", dim_object);
  if (given < -ndim || given >= ndim) {
    raise(PyExc_IndexError, std::string(op) + ": dim must be from " + std::to_string(-ndim) +
                                " to " + std::to_string(ndim - 1) + ", got " +
                                std::to_string(given));
  }
  const int dim = static_cast<int>(given < 0 ? given + ndim : given);
  SoftmaxShape shape{1, 1, 1};
  for (int i = 0; i < src.ndim(); ++i) {
    (i < dim ? shape.outer : i == dim ? shape.c : shape.inner) *= src.dim(i);
  }
  return shape;
}

constexpr int64_t kWorkPerElement = 16;  // an exponential and two passes, in multiply-adds

py::object log_softmax(py::handle src_object, py::handle dim) {
  const char* op = "log_softmax";
  const Array src(op, "src", src_object);
  const SoftmaxShape shape = softmax_shape(op, src, dim);
  Result dst = Result::like(op, src);
  with_type(src.dtype(), [&](auto t) {
    using T = decltype(t);
    const KernelScope scope(kWorkPerElement * src.size());
    runtime::kernels<T>().log_softmax->forward(scope.run(), shape, src.data<T>(), dst.data<T>());
  });
  return dst.release();
}

py::object log_softmax_backward(py::handle dst_object, py::handle diff_dst_object, py::handle dim) {
  const char* op = "log_softmax_backward";
  const Array dst(op, "dst", dst_object);
  const Array diff_dst(op, "diff_dst", diff_dst_object);
  check_same_dtype(op, dst, diff_dst);
  check_shape(op, diff_dst, dst.dims(), "as dst");
  const SoftmaxShape shape = softmax_shape(op, dst, dim);
  Result diff_src = Result::like(op, dst);
  with_type(dst.dtype(), [&](auto t) {
    using T = decltype(t);
    const KernelScope scope(kWorkPerElement * dst.size());
    runtime::kernels<T>().log_softmax->backward(scope.run(), shape, dst.data<T>(),
                                                diff_dst.data<T>(), diff_src.data<T>());
  });
  return diff_src.release();
}

Reduction reduction_argument(const char* op, py::handle object) {
  const std::string text = py::isinstance<py::str>(object) ? std::string(py::str(object)) : "";
  if (text == "none") return Reduction::none;
  if (text == "mean") return Reduction::mean;
  if (text == "sum") return Reduction::sum;
  raise_value(std::string(op) + ": reduction must be 'none', 'mean' or 'sum', got " +
              std::string(py::repr(object)));
}

NllLossShape nll_shape(const char* op, const Dims& src, const Array& target, const Array& weight,
                       py::handle ignore_index, py::handle reduction) {
  if (src.size() < 2) {
    raise_value(std::string(op) + ": src must have at least 2 dimensions, got " +
                std::to_string(src.size()));
  }
  Dims expected = src;
  expected.erase(expected.begin() + 1);
  check_shape(op, target, expected, "as src without its classes");
  check_shape(op, weight, {src[1]}, "as src has classes");
  const int64_t spatial = element_count(op, src.data() + 2, static_cast<int>(src.size()) - 2);
  return {src[0], src[1], spatial, integer(op, "ignore_index", ignore_index),
          reduction_argument(op, reduction)};
}

void check_targets(const char* op, const Array& target, const NllLossShape& shape, int64_t bad) {
  if (bad < 0) return;
  raise(PyExc_IndexError, std::string(op) + ": target " +
                              std::to_string(target.data<int64_t>()[bad]) +
                              " is out of range for " + std::to_string(shape.c) + " classes");
}

py::tuple nll_loss(py::handle src_object, py::handle target_object, py::handle weight_object,
                   py::handle ignore_index, py::handle reduction) {
  const char* op = "nll_loss";
  const Array src(op, "src", src_object);
  const Array target(op, "target", target_object, DType::i64);
  const Array weight = Array::optional(op, "weight", weight_object);
  check_same_dtype(op, src, weight);
  const NllLossShape shape = nll_shape(op, src.dims(), target, weight, ignore_index, reduction);
  Result loss(op, src.dtype(), shape.reduction == Reduction::none ? target.dims() : Dims{});
  double total_weight = 0;
  int64_t bad = -1;
  with_type(src.dtype(), [&](auto t) {
    using T = decltype(t);
    const KernelScope scope(target.size());
    bad = runtime::kernels<T>().nll_loss->forward(shape, src.data<T>(), target.data<int64_t>(),
                                                  weight.data<T>(), loss.data<T>(), &total_weight);
  });
  check_targets(op, target, shape, bad);
  return py::make_tuple(loss.release(), total_weight);
}

py::object nll_loss_backward(py::handle diff_dst_object, py::handle target_object,
                             py::handle weight_object, py::handle ignore_index,
                             py::handle reduction, py::handle total_weight_object,
                             py::handle src_shape) {
  const char* op = "nll_loss_backward";
  const Array diff_dst(op, "diff_dst", diff_dst_object);
  const Array target(op, "target", target_object, DType::i64);
  const Array weight = Array::optional(op, "weight", weight_object);
  check_same_dtype(op, diff_dst, weight);
  const Dims dims = integers(op, "src_shape", src_shape);
  const NllLossShape shape = nll_shape(op, dims, target, weight, ignore_index, reduction);
  const bool reduced = shape.reduction != Reduction::none;
  check_shape(op, diff_dst, reduced ? Dims{} : target.dims(), "as the loss");
  const double total_weight = number(op, "total_weight", total_weight_object);
  Result diff_src(op, diff_dst.dtype(), dims);
  int64_t bad = -1;
  with_type(diff_dst.dtype(), [&](auto t) {
    using T = decltype(t);
    const KernelScope scope(element_count(op, dims.data(), static_cast<int>(dims.size())));
    bad = runtime::kernels<T>().nll_loss->backward(shape, diff_dst.data<T>(),
                                                   target.data<int64_t>(), weight.data<T>(),
                                                   total_weight, diff_src.data<T>());
  });
  check_targets(op, target, shape, bad);
  return diff_src.release();
}

}  // namespace

void bind_loss(py::module_& m) {
  m.def("log_softmax", &log_softmax, py::arg("src"), py::arg("dim"));
  m.def("log_softmax_backward", &log_softmax_backward, py::arg("dst"), py::arg("diff_dst"),
        py::arg("dim"));
  m.def("nll_loss", &nll_loss, py::arg("src"), py::arg("target"), py::arg("weight"),
        py::arg("ignore_index"), py::arg("reduction"));
  m.def("nll_loss_backward", &nll_loss_backward, py::arg("diff_dst"), py::arg("target"),
        py::arg("weight"), py::arg("ignore_index"), py::arg("reduction"), py::arg("total_weight"),
        py::arg("src_shape"));
}

}  // namespace rushlight::bindings
