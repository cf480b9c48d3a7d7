#include <cmath>

#include "bindings/arguments.h"
#include "bindings/arrays.h"
#include "bindings/families.h"

namespace rushlight::bindings {
namespace {

void check_like_param(const char* op, const Array& param, const Array& other) {
  if (!other) return;
  check_same_dtype(op, param, other);
  check_shape(op, other, param.dims(), "as param");
}

void sgd_step(py::handle param_object, py::handle grad_object, py::handle momentum_buffer_object,
              bool first_step, py::handle lr, py::handle momentum, py::handle dampening,
              py::handle weight_decay, bool nesterov, bool maximize) {
  const char* op = "sgd_step";
  const Array param(op, "param", param_object, Access::write);
  const Array grad(op, "grad", grad_object);
  const Array buffer =
      Array::optional(op, "momentum_buffer", momentum_buffer_object, Access::write);
  check_like_param(op, param, grad);
  check_like_param(op, param, buffer);
  const SgdSettings settings{first_step,
                             number(op, "lr", lr),
                             number(op, "momentum", momentum),
                             number(op, "dampening", dampening),
                             number(op, "weight_decay", weight_decay),
                             nesterov,
                             maximize};
  const int64_t n = param.size();
  with_type(param.dtype(), [&](auto t) {
    using T = decltype(t);
    const KernelScope scope(2 * n);
    runtime::kernels<T>().optim->sgd(scope.run(), n, settings, grad.data<T>(),
                                     param.mutable_data<T>(), buffer.mutable_data<T>());
  });
}

void adam_step(py::handle param_object, py::handle grad_object, py::handle exp_avg_object,
               py::handle exp_avg_sq_object, py::handle max_exp_avg_sq_object,
               py::handle step_object, py::handle lr_object, py::handle beta1_object,
               py::handle beta2_object, py::handle eps, py::handle weight_decay, bool decoupled,
               bool maximize) {
  const char* op = "adam_step";
  const Array param(op, "param", param_object, Access::write);
  const Array grad(op, "grad", grad_object);
  const Array exp_avg(op, "exp_avg", exp_avg_object, Access::write);
  const Array exp_avg_sq(op, "exp_avg_sq", exp_avg_sq_object, Access::write);
  const Array max_exp_avg_sq =
      Array::optional(op, "max_exp_avg_sq", max_exp_avg_sq_object, Access::write);
  for (const Array* other : {&grad, &exp_avg, &exp_avg_sq, &max_exp_avg_sq}) {
    check_like_param(op, param, *other);
  }
  const int64_t step = integer(op, "step", step_object);
  if (step < 1) {
    raise_value(std::string(op) + ": step must be at least 1, got " + std::to_string(step));
  }
  const double lr = number(op, "lr", lr_object);
  const double beta1 = number(op, "beta1", beta1_object);
  const double beta2 = number(op, "beta2", beta2_object);
  const double steps = static_cast<double>(step);
  const AdamSettings settings{lr / (1 - std::pow(beta1, steps)),
                              std::sqrt(1 - std::pow(beta2, steps)),
                              lr,
                              beta1,
                              beta2,
                              number(op, "eps", eps),
                              number(op, "weight_decay", weight_decay),
                              decoupled,
                              maximize};
  const int64_t n = param.size();
  with_type(param.dtype(), [&](auto t) {
    using T = decltype(t);
    const KernelScope scope(4 * n);
    runtime::kernels<T>().optim->adam(
        scope.run(), n, settings, grad.data<T>(), param.mutable_data<T>(),
        exp_avg.mutable_data<T>(), exp_avg_sq.mutable_data<T>(), max_exp_avg_sq.mutable_data<T>());
  });
}

}  // namespace

void bind_optim(py::module_& m) {
  m.def("sgd_step", &sgd_step, py::arg("param"), py::arg("grad"), py::arg("momentum_buffer"),
        py::arg("first_step"), py::arg("lr"), py::arg("momentum"), py::arg("dampening"),
        py::arg("weight_decay"), py::arg("nesterov"), py::arg("maximize"));
  m.def("adam_step", &adam_step, py::arg("param"), py::arg("grad"), py::arg("exp_avg"),
        py::arg("exp_avg_sq"), py::arg("max_exp_avg_sq"), py::arg("step"), py::arg("lr"),
        py::arg("beta1"), py::arg("beta2"), py::arg("eps"), py::arg("weight_decay"),
        py::arg("decoupled"), py::arg("maximize"));
}

}  // namespace rushlight::bindings
