#include "bindings/arguments.h"
#include "bindings/arrays.h"
#include "bindings/blocked.h"
#include "bindings/families.h"

namespace rushlight::bindings {
namespace {

BatchNormShape checked_shape(const char* op, std::span<const int64_t> src) {
  if (src.size() < 2) {
    raise_value(std::string(op) + ": src must have at least 2 dimensions, got shape " +
                shape_text(src));
  }
  int64_t spatial = 1;
  for (size_t i = 2; i < src.size(); ++i) spatial *= src[i];
  return {src[0], src[1], spatial};
}

// One value per channel, of src's dtype; absent arguments pass.
void check_per_channel(const char* op, const Images& src, const Array& values) {
  check_same_dtype(op, src.given(), values);
  check_shape(op, values, {src.sizes()[1]}, "as src has channels");
}

// Calls body(kernels, run) for the layout of src; `work` is counted in its elements.
template <class T, class Body>
void with_kernels(const char* op, const Images& src, const BatchNormShape& shape, int64_t work,
                  const Body& body) {
  KernelScope scope(work * src.given().size());
  if (!src.is_blocked()) return body(*runtime::kernels<T>().batch_norm, scope.run());
  const BlockedNormKernels<T>& kernels = *runtime::kernels<T>().blocked_norm;
  body(kernels.norm, scope.with_workspace(op, kernels.workspace(shape)));
}

double checked_eps(const char* op, py::handle object, bool training) {
  const double eps = number(op, "eps", object);
  if (training ? eps > 0 : eps >= 0) return eps;
  raise_value(std::string("batch_norm: eps must ") +
              (training ? "be positive in training" : "not be negative") + ", but got " +
              std::string(py::str(object)));
}

template <class T>
Limits<T> limits_of(const ClampArgument& clamp) {
  return {static_cast<T>(clamp.low), static_cast<T>(clamp.high)};
}

ClampArgument checked_clamp(const char* op, py::handle object) {
  const ClampArgument clamp(op, object);
  if (clamp.keeps_zeros()) return clamp;
  raise_value(std::string(op) + ": clamp must let 0 pass, got " + std::to_string(clamp.low) +
              " to " + std::to_string(clamp.high));
}

py::tuple batch_norm_train(py::handle src_object, py::handle weight_object, py::handle bias_object,
                           py::handle running_mean_object, py::handle running_var_object,
                           py::handle momentum_object, py::handle eps_object,
                           py::handle clamp_object) {
  const char* op = "batch_norm_train";
  Images src(op, "src", src_object);
  const BatchNormShape shape = checked_shape(op, src.sizes());
  const Array weight = Array::optional(op, "weight", weight_object);
  const Array bias = Array::optional(op, "bias", bias_object);
  const Array running_mean =
      Array::optional(op, "running_mean", running_mean_object, Access::write);
  const Array running_var = Array::optional(op, "running_var", running_var_object, Access::write);
  for (const Array* values : {&weight, &bias, &running_mean, &running_var}) {
    check_per_channel(op, src, *values);
  }
  if (shape.n * shape.spatial == 1) {
    raise_value(
        "batch_norm: training needs more than 1 value per channel, but got input of shape " +
        shape_text(src.sizes()));
  }
  const double momentum = number(op, "momentum", momentum_object);
  const double eps = checked_eps(op, eps_object, true);
  const ClampArgument clamp = checked_clamp(op, clamp_object);
  LikeImages dst(op, src);
  Result mean(op, src.dtype(), {shape.c}), rstd(op, src.dtype(), {shape.c});
  with_type(src.dtype(), [&](auto t) {
    using T = decltype(t);
    with_kernels<T>(op, src, shape, 4, [&](const BatchNormKernels<T>& kernels, const Run& run) {
      kernels.train(run, shape, src.given().data<T>(), weight.data<T>(), bias.data<T>(),
                    running_mean.mutable_data<T>(), running_var.mutable_data<T>(), momentum, eps,
                    limits_of<T>(clamp), dst.data<T>(), mean.data<T>(), rstd.data<T>());
    });
  });
  return py::make_tuple(dst.release(), mean.release(), rstd.release());
}

py::tuple batch_norm_eval(py::handle src_object, py::handle weight_object, py::handle bias_object,
                          py::handle running_mean_object, py::handle running_var_object,
                          py::handle eps_object, py::handle clamp_object) {
  const char* op = "batch_norm_eval";
  Images src(op, "src", src_object);
  const BatchNormShape shape = checked_shape(op, src.sizes());
  const Array weight = Array::optional(op, "weight", weight_object);
  const Array bias = Array::optional(op, "bias", bias_object);
  const Array running_mean(op, "running_mean", running_mean_object);
  const Array running_var(op, "running_var", running_var_object);
  for (const Array* values : {&weight, &bias, &running_mean, &running_var}) {
    check_per_channel(op, src, *values);
  }
  const double eps = checked_eps(op, eps_object, false);
  const ClampArgument clamp = checked_clamp(op, clamp_object);
  LikeImages dst(op, src);
  Result mean(op, src.dtype(), {shape.c}), rstd(op, src.dtype(), {shape.c});
  with_type(src.dtype(), [&](auto t) {
    using T = decltype(t);
    with_kernels<T>(op, src, shape, 2, [&](const BatchNormKernels<T>& kernels, const Run& run) {
      kernels.eval(run, shape, src.given().data<T>(), weight.data<T>(), bias.data<T>(),
                   running_mean.data<T>(), running_var.data<T>(), eps, limits_of<T>(clamp),
                   dst.data<T>(), mean.data<T>(), rstd.data<T>());
    });
  });
  return py::make_tuple(dst.release(), mean.release(), rstd.release());
}

// Scale and shift of each channel: what evaluation comes to.
py::tuple batch_norm_factors(py::handle weight_object, py::handle bias_object,
                             py::handle running_mean_object, py::handle running_var_object,
                             py::handle eps_object) {
  const char* op = "batch_norm_factors";
  const Array running_mean(op, "running_mean", running_mean_object);
  const Array running_var(op, "running_var", running_var_object);
  const Array weight = Array::optional(op, "weight", weight_object);
  const Array bias = Array::optional(op, "bias", bias_object);
  for (const Array* values : {&weight, &bias, &running_mean, &running_var}) {
    check_same_dtype(op, running_mean, *values);
    check_shape(op, *values, {running_mean.size()}, "as running_mean has values");
  }
  const double eps = checked_eps(op, eps_object, false);
  Result scale = Result::like(op, running_mean), shift = Result::like(op, running_mean);
  with_type(running_mean.dtype(), [&](auto t) {
    using T = decltype(t);
    runtime::kernels<T>().batch_norm->factors(running_mean.size(), weight.data<T>(), bias.data<T>(),
                                              running_mean.data<T>(), running_var.data<T>(), eps,
                                              scale.data<T>(), shift.data<T>());
  });
  return py::make_tuple(scale.release(), shift.release());
}

py::tuple batch_norm_backward(py::handle src_object, py::handle weight_object,
                              py::handle mean_object, py::handle rstd_object,
                              py::handle diff_dst_object, bool training, bool need_src,
                              bool need_weight, bool need_bias, py::handle bias_object,
                              py::handle clamp_object) {
  const char* op = "batch_norm_backward";
  Images src(op, "src", src_object);
  const BatchNormShape shape = checked_shape(op, src.sizes());
  const Array weight = Array::optional(op, "weight", weight_object);
  const Array mean(op, "mean", mean_object);
  const Array rstd(op, "rstd", rstd_object);
  Images gradient(op, "diff_dst", diff_dst_object);
  const Array bias = Array::optional(op, "bias", bias_object);
  for (const Array* values : {&weight, &mean, &rstd, &bias}) check_per_channel(op, src, *values);
  check_same_dtype(op, src.given(), gradient.given());
  check_sizes(op, "diff_dst", gradient.sizes(), Dims(src.sizes().begin(), src.sizes().end()),
              "as src");
  const Array& diff_dst = src.is_blocked() ? gradient.blocks() : gradient.planes();
  const ClampArgument clamp = checked_clamp(op, clamp_object);
  if (clamp.given && !training) raise_value(std::string(op) + ": clamp needs training");
  LikeImages diff_src;
  Result diff_weight, diff_bias;
  if (need_src) diff_src = LikeImages(op, src);
  if (need_weight) diff_weight = Result(op, src.dtype(), {shape.c});
  if (need_bias) diff_bias = Result(op, src.dtype(), {shape.c});
  with_type(src.dtype(), [&](auto t) {
    using T = decltype(t);
    const NormClamp<T> behind{bias.data<T>(), limits_of<T>(clamp)};
    with_kernels<T>(op, src, shape, 4, [&](const BatchNormKernels<T>& kernels, const Run& run) {
      kernels.backward(run, shape, src.given().data<T>(), weight.data<T>(), mean.data<T>(),
                       rstd.data<T>(), diff_dst.data<T>(), training,
                       clamp.given ? &behind : nullptr, diff_src.data<T>(), diff_weight.data<T>(),
                       diff_bias.data<T>());
    });
  });
  return py::make_tuple(diff_src.release(), diff_weight.release(), diff_bias.release());
}

}  // namespace

void bind_batch_norm(py::module_& m) {
  m.def("batch_norm_train", &batch_norm_train, py::arg("src"), py::arg("weight"), py::arg("bias"),
        py::arg("running_mean"), py::arg("running_var"), py::arg("momentum"), py::arg("eps"),
        py::arg("clamp") = py::none());
  m.def("batch_norm_eval", &batch_norm_eval, py::arg("src"), py::arg("weight"), py::arg("bias"),
        py::arg("running_mean"), py::arg("running_var"), py::arg("eps"),
        py::arg("clamp") = py::none());
  m.def("batch_norm_factors", &batch_norm_factors, py::arg("weight"), py::arg("bias"),
        py::arg("running_mean"), py::arg("running_var"), py::arg("eps"));
  m.def("batch_norm_backward", &batch_norm_backward, py::arg("src"), py::arg("weight"),
        py::arg("mean"), py::arg("rstd"), py::arg("diff_dst"), py::arg("training"),
        py::arg("need_src"), py::arg("need_weight"), py::arg("need_bias"),
        py::arg("bias") = py::none(), py::arg("clamp") = py::none());
}

}  // namespace rushlight::bindings
