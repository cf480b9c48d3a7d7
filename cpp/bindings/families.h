// Every family of operations adds its functions to the module here.
#pragma once

#include <pybind11/pybind11.h>

namespace rushlight::bindings {

void bind_arithmetic(pybind11::module_& m);
void bind_batch_norm(pybind11::module_& m);
void bind_blocked(pybind11::module_& m);
void bind_config(pybind11::module_& m);
void bind_conv2d(pybind11::module_& m);
void bind_linear(pybind11::module_& m);
void bind_loss(pybind11::module_& m);
void bind_matmul(pybind11::module_& m);
void bind_optim(pybind11::module_& m);
void bind_plan(pybind11::module_& m);
void bind_pointwise(pybind11::module_& m);
void bind_pooling(pybind11::module_& m);
void bind_probe(pybind11::module_& m);
void bind_relu(pybind11::module_& m);
void bind_weight_cache(pybind11::module_& m);
void bind_summation(pybind11::module_& m);

}  // namespace rushlight::bindings
