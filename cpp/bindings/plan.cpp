// Whole nets in one call: what Python adds to a plan, step by step, and the run.
#include <pybind11/stl.h>

#include <algorithm>

#include "bindings/conv2d_arguments.h"
#include "bindings/families.h"
#include "bindings/plan_arguments.h"
#include "bindings/plan_places.h"
#include "bindings/windows.h"

namespace rushlight::bindings {
namespace {

using runtime::Place;

// conv2d and linear. A weight that a kernel prepares is not kept as it came.
template <class T, class Kernels, class Shape>
void add_product(PlanObject& self, const char* op, const Kernels& kernels, const Shape& shape,
                 int64_t work, const Array& weight, py::handle weight_object, PlanWeights& weights,
                 const std::string& name, const std::array<int64_t, 5>& sizes, Place src,
                 const runtime::EpiloguePlaces<T>& epilogue, Place dst) {
  const runtime::WeightKey key{&kernels, kernels.prepared(shape), sizes};
  std::shared_ptr<runtime::WeightBlock> block;
  Place raw;
  if (key.prepared.bytes > 0) {
    block = weights.find(op, name, key, [&](void* to) {
      KernelScope scope(work);
      const int64_t bytes = kernels.forward_workspace(shape, false, scope.slots());
      const Run& run = scope.with_workspace(op, bytes);
      kernels.prepare(run, shape, weight.data<T>(), static_cast<T*>(to));
    });
  } else {
    raw = self.constant(op, "weight", weight_object, weight.dtype(), weight.size());
  }
  self.plan.add(std::make_unique<runtime::ProductStep<T, Kernels, Shape>>(
      work, &kernels, shape, src, raw, std::move(block), epilogue, dst));
}

void add_conv2d(PlanObject& self, py::handle dst, py::handle src, py::handle src_shape,
                py::handle weight_object, py::handle stride, py::handle padding,
                py::handle dilation, py::handle groups, py::handle epilogue_object,
                PlanWeights& weights, const std::string& name) {
  const char* op = "plan.conv2d";
  const Array weight(op, "weight", weight_object);
  const Conv2dShape s = conv2d_shape(op, integers(op, "src_shape", src_shape), weight.sizes(),
                                     ConvSettings(op, stride, padding, dilation, groups));
  const DType dtype = weight.dtype();
  const int64_t bytes = bytes_of(op, {s.n, s.oc, s.oh, s.ow}, dtype);
  const Place from = self.source(op, "src", src, bytes_of(op, {s.n, s.ic, s.ih, s.iw}, dtype));
  const Place to = self.target(op, "dst", dst, bytes);
  with_type(dtype, [&](auto t) {
    using T = decltype(t);
    check_conv_algorithm<T>(op, s);
    add_product<T>(self, op, *runtime::kernels<T>().conv2d, s, work_of_conv2d(s), weight,
                   weight_object, weights, name, {s.oc, s.ic, s.kh, s.kw, s.groups}, from,
                   epilogue<T>(self, op, epilogue_object, dtype, s.oc, bytes), to);
  });
}

void add_linear(PlanObject& self, py::handle dst, py::handle src, py::handle rows_object,
                py::handle weight_object, py::handle epilogue_object, PlanWeights& weights,
                const std::string& name) {
  const char* op = "plan.linear";
  const Array weight(op, "weight", weight_object);
  if (weight.ndim() != 2) {
    raise_value(std::string(op) + ": weight must have 2 dimensions, got " + weight.shape_text());
  }
  const LinearShape s{integer(op, "rows", rows_object), weight.dim(1), weight.dim(0)};
  const DType dtype = weight.dtype();
  const int64_t bytes = bytes_of(op, {s.rows, s.oc}, dtype);
  const Place from = self.source(op, "src", src, bytes_of(op, {s.rows, s.ic}, dtype));
  const Place to = self.target(op, "dst", dst, bytes);
  with_type(dtype, [&](auto t) {
    using T = decltype(t);
    add_product<T>(self, op, *runtime::kernels<T>().linear, s, work_of({s.rows, s.ic, s.oc}),
                   weight, weight_object, weights, name, {s.oc, s.ic, 0, 0, 0}, from,
                   epilogue<T>(self, op, epilogue_object, dtype, s.oc, bytes), to);
  });
}

void add_affine(PlanObject& self, py::handle dst, py::handle src, py::handle shape,
                py::handle dtype_object, py::handle epilogue_object) {
  const char* op = "plan.affine";
  const Dims dims = dims_of(op, "shape", shape, 3);
  const DType dtype = floating(op, dtype_object);
  const int64_t bytes = bytes_of(op, {dims[0], dims[1], dims[2]}, dtype);
  const Place from = self.source(op, "src", src, bytes), to = self.target(op, "dst", dst, bytes);
  with_type(dtype, [&](auto t) {
    using T = decltype(t);
    self.plan.add(std::make_unique<runtime::AffineStep<T>>(
        2 * bytes / item_size(dtype), runtime::kernels<T>().affine,
        AffineShape{dims[0], dims[1], dims[2]}, from,
        epilogue<T>(self, op, epilogue_object, dtype, dims[1], bytes), to));
  });
}

void add_pointwise(PlanObject& self, const std::string& name, py::handle dst, py::handle src,
                   py::handle count_object, py::handle dtype_object, double a, double b) {
  const char* op = "plan.pointwise";
  constexpr int64_t work_per_element = 8;  // about half an exponential, in multiply-adds
  const int64_t count = integer(op, "count", count_object);
  const DType dtype = floating(op, dtype_object);
  const int64_t bytes = bytes_of(op, {count}, dtype);
  const Place from = self.source(op, "src", src, bytes), to = self.target(op, "dst", dst, bytes);
  with_type(dtype, [&](auto t) {
    using T = decltype(t);
    self.plan.add(std::make_unique<runtime::PointwiseStep<T>>(
        work_per_element * count, pointwise_function<T>(op, name), count, a, b, from, to));
  });
}

template <class T>
typename ArithmeticKernels<T>::Binary binary_kernel(const std::string& name) {
  const ArithmeticKernels<T>& kernels = *runtime::kernels<T>().arithmetic;
  if (name == "add") return kernels.add;
  if (name == "sub") return kernels.sub;
  if (name == "mul") return kernels.mul;
  if (name == "div") return kernels.div;
  if (name == "expand") return kernels.expand;
  raise_value("plan.binary: unknown operation '" + name + "'");
}

// How many elements from the first one steps can reach, that one included.
int64_t reach(const char* op, const Dims& sizes, const Dims& steps) {
  int64_t last = 1;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == 0) return 0;
    if (steps[i] < 0) raise_value(std::string(op) + ": steps must not be negative");
    last = checked_add(op, last, checked_mul(op, sizes[i] - 1, steps[i]));
  }
  return last;
}

// Sizes and steps of operands, collapsed as the kernels want them, are made in Python.
void add_binary(PlanObject& self, const std::string& name, py::handle dst, py::handle a,
                py::handle b, py::handle sizes_object, py::handle a_steps_object,
                py::handle b_steps_object, py::handle dtype_object) {
  const char* op = "plan.binary";
  const Dims sizes = integers(op, "sizes", sizes_object);
  const size_t n = sizes.size();
  if (n < 1 || n > BroadcastShape::max_dims) raise_value("plan.binary: sizes must be 1 to 32");
  const Dims a_steps = dims_of(op, "a_steps", a_steps_object, n);
  const Dims b_steps = dims_of(op, "b_steps", b_steps_object, n);
  if (a_steps.back() > 1 || b_steps.back() > 1)
    raise_value("plan.binary: last steps must be 0 or 1");
  const DType dtype = floating(op, dtype_object);
  const int64_t item = item_size(dtype);
  const int64_t count = element_count(op, sizes.data(), static_cast<int>(n));
  BroadcastShape shape{};
  shape.ndim = static_cast<int>(n);
  std::copy(sizes.begin(), sizes.end(), shape.size);
  std::copy(a_steps.begin(), a_steps.end(), shape.a_step);
  std::copy(b_steps.begin(), b_steps.end(), shape.b_step);
  const Place x = self.source(op, "a", a, checked_mul(op, reach(op, sizes, a_steps), item));
  const Place y = self.source(op, "b", b, checked_mul(op, reach(op, sizes, b_steps), item));
  const Place to = self.target(op, "dst", dst, checked_mul(op, count, item));
  with_type(dtype, [&](auto t) {
    using T = decltype(t);
    self.plan.add(std::make_unique<runtime::BinaryStep<T>>(2 * count, binary_kernel<T>(name), shape,
                                                           x, y, to));
  });
}

void add_pool(PlanObject& self, const std::string& kind, py::handle dst, py::handle src,
              py::handle src_shape, py::handle dst_plane, py::handle windows,
              bool count_include_pad, py::handle divisor, py::handle dtype_object) {
  const char* op = "plan.pool";
  const Dims from = dims_of(op, "src_shape", src_shape, 3);
  const Dims out = dims_of(op, "dst_plane", dst_plane, 2);
  const DType dtype = floating(op, dtype_object);
  const PoolShape s = pool_shape(op, from, out, windows, kind == "adaptive_avg", count_include_pad,
                                 integer(op, "divisor", divisor));
  const Place x = self.source(op, "src", src, bytes_of(op, {s.planes, s.ih, s.iw}, dtype));
  const Place to = self.target(op, "dst", dst, bytes_of(op, {s.planes, s.oh, s.ow}, dtype));
  const int64_t work =
      work_of({s.planes, s.oh, s.ow, std::max<int64_t>(s.kh, 1), std::max<int64_t>(s.kw, 1)}) +
      work_of({s.planes, s.ih, s.iw});
  with_type(dtype, [&](auto t) {
    using T = decltype(t);
    const PoolingKernels<T>* kernels = runtime::kernels<T>().pooling;
    std::unique_ptr<runtime::Step> step;
    if (kind == "max") {
      step = std::make_unique<runtime::MaxPoolStep<T>>(work, kernels, s, x, to);
    } else if (kind == "avg" || kind == "adaptive_avg") {
      const auto kernel = kind == "avg" ? kernels->avg : kernels->adaptive_avg;
      step = std::make_unique<runtime::AvgPoolStep<T>>(work, kernel, s, x, to);
    } else {
      raise_value("plan.pool: unknown kind '" + kind + "'");
    }
    self.plan.add(std::move(step));
  });
}

void add_log_softmax(PlanObject& self, py::handle dst, py::handle src, py::handle shape,
                     py::handle dtype_object) {
  const char* op = "plan.log_softmax";
  const Dims dims = dims_of(op, "shape", shape, 3);
  const DType dtype = floating(op, dtype_object);
  const int64_t bytes = bytes_of(op, {dims[0], dims[1], dims[2]}, dtype);
  const Place from = self.source(op, "src", src, bytes), to = self.target(op, "dst", dst, bytes);
  with_type(dtype, [&](auto t) {
    using T = decltype(t);
    self.plan.add(std::make_unique<runtime::LogSoftmaxStep<T>>(
        16 * bytes / item_size(dtype), runtime::kernels<T>().log_softmax,
        SoftmaxShape{dims[0], dims[1], dims[2]}, from, to));
  });
}

// a [batch, m, k] and b [batch, k, n], contiguous.
void add_matmul(PlanObject& self, py::handle dst, py::handle a, py::handle b, py::handle sizes,
                py::handle dtype_object) {
  const char* op = "plan.matmul";
  const Dims s = dims_of(op, "sizes", sizes, 4);
  const DType dtype = floating(op, dtype_object);
  const int64_t batch = s[0], m = s[1], n = s[2], k = s[3];
  const Place x = self.source(op, "a", a, bytes_of(op, {batch, m, k}, dtype));
  const Place y = self.source(op, "b", b, bytes_of(op, {batch, k, n}, dtype));
  const Place to = self.target(op, "dst", dst, bytes_of(op, {batch, m, n}, dtype));
  with_type(dtype, [&](auto t) {
    using T = decltype(t);
    self.plan.add(std::make_unique<runtime::MatmulStep<T>>(
        work_of({batch, m, n, k}), runtime::kernels<T>().matmul,
        MatmulShape{batch, m, n, k, m * k, k, 1, k * n, n, 1}, x, y, to));
  });
}

void add_copy(PlanObject& self, py::handle dst, py::handle src, py::handle sizes_object,
              py::handle src_steps_object, py::handle dst_steps_object, py::handle dtype_object) {
  const char* op = "plan.copy";
  const Dims sizes = integers(op, "sizes", sizes_object);
  const size_t n = sizes.size();
  if (n < 1 || n > runtime::CopyShape::max_dims) raise_value("plan.copy: sizes must be 1 to 8");
  const Dims src_steps = dims_of(op, "src_steps", src_steps_object, n);
  const Dims dst_steps = dims_of(op, "dst_steps", dst_steps_object, n);
  const DType dtype = floating(op, dtype_object);
  const int64_t item = item_size(dtype);
  runtime::CopyShape shape{};
  shape.ndim = static_cast<int>(n);
  std::copy(sizes.begin(), sizes.end(), shape.size);
  std::copy(src_steps.begin(), src_steps.end(), shape.src_step);
  std::copy(dst_steps.begin(), dst_steps.end(), shape.dst_step);
  const int64_t count = element_count(op, sizes.data(), static_cast<int>(n));
  const Place from =
      self.source(op, "src", src, checked_mul(op, reach(op, sizes, src_steps), item));
  const Place to = self.target(op, "dst", dst, checked_mul(op, reach(op, sizes, dst_steps), item));
  with_type(dtype, [&](auto t) {
    self.plan.add(std::make_unique<runtime::CopyStep<decltype(t)>>(2 * count, shape, from, to));
  });
}

void add_fill(PlanObject& self, py::handle dst, py::handle count_object, double value,
              py::handle dtype_object) {
  const char* op = "plan.fill";
  const int64_t count = integer(op, "count", count_object);
  const DType dtype = floating(op, dtype_object);
  const Place to = self.target(op, "dst", dst, bytes_of(op, {count}, dtype));
  with_type(dtype, [&](auto t) {
    using T = decltype(t);
    self.plan.add(std::make_unique<runtime::FillStep<T>>(count, count, static_cast<T>(value), to));
  });
}

void run_steps(const PlanObject& self, const void* const* inputs, void* const* outputs) {
  PyThreadState* state = PyEval_SaveThread();
  const bool done = self.plan.run(inputs, outputs);
  take_interpreter_back(state);
  if (!done) raise(PyExc_MemoryError, "plan: cannot allocate the memory of a run");
}

// Results go to the arrays of `out` where they are given.
py::list run_plan(const PlanObject& self, const py::sequence& arguments, py::handle out) {
  const char* op = "plan.run";
  const size_t count = self.inputs.size();
  if (arguments.size() != count) {
    raise_value("plan.run: needs " + std::to_string(count) + " inputs, got " +
                std::to_string(arguments.size()));
  }
  std::vector<std::unique_ptr<Array>> arrays;
  std::vector<const void*> inputs;
  for (size_t i = 0; i < count; ++i) {
    const py::object argument = arguments[i];
    arrays.push_back(std::make_unique<Array>(op, "input", argument, self.inputs[i].dtype));
    check_shape(op, *arrays.back(), self.inputs[i].dims, "as the plan was made for");
    inputs.push_back(arrays.back()->data<void>());
  }
  if (!out.is_none() && py::len(out) != self.outputs.size()) {
    raise_value("plan.run: out must hold " + std::to_string(self.outputs.size()) +
                " arrays, but holds " + std::to_string(py::len(out)));
  }
  py::list results;
  std::vector<void*> outputs;
  for (size_t i = 0; i < self.outputs.size(); ++i) {
    const PlanValue& value = self.outputs[i];
    if (out.is_none()) {
      Result result(op, value.dtype, value.dims);
      outputs.push_back(result.data<void>());
      results.append(result.release());
    } else {
      const py::object object = py::reinterpret_borrow<py::sequence>(out)[i];
      const Array array(op, "out", object, value.dtype, Access::write);
      check_shape(op, array, value.dims, "as the plan's result");
      outputs.push_back(array.mutable_data<void>());
      results.append(object);
    }
  }
  run_steps(self, inputs.data(), outputs.data());
  return results;
}

// The result for an input like the one that the plan was made for, of a plan with one of each; None
// for any other input, and where a plan made now would be another.
py::object run_again(const PlanObject& self, py::handle argument) {
  const char* op = "plan.run_again";
  if (self.inputs.size() != 1 || self.outputs.size() != 1) return py::none();
  if (!self.is_current() || !Array::is_floating(argument)) return py::none();
  const PlanValue &in = self.inputs[0], &out = self.outputs[0];
  const Array array(op, "input", argument);
  if (array.dtype() != in.dtype || !std::ranges::equal(array.sizes(), in.dims)) return py::none();
  Result result(op, out.dtype, out.dims);
  const void* from = array.data<void>();
  void* to = result.data<void>();
  run_steps(self, &from, &to);
  return result.release();
}

// Seconds that each step took in the last run.
std::vector<double> plan_times(const PlanObject& self) {
  std::vector<double> times;
  for (const auto& step : self.plan.steps()) {
    times.push_back(static_cast<double>(step->took()) * 1e-9);
  }
  return times;
}

}  // namespace

void bind_plan(py::module_& m) {
  py::class_<PlanWeights>(m, "PlanWeights")
      .def(py::init<>())
      .def_property_readonly("bytes", &PlanWeights::bytes);
  py::class_<PlanObject> plan(m, "Plan");
  plan.def(py::init<py::handle, py::handle, py::handle>(), py::arg("arena_bytes"),
           py::arg("inputs"), py::arg("outputs"))
      .def_property_readonly("steps", [](const PlanObject& self) { return self.plan.size(); })
      .def_property_readonly("arena_bytes",
                             [](const PlanObject& self) { return self.plan.arena_bytes(); })
      .def_property_readonly("workspace_bytes",
                             [](const PlanObject& self) { return self.plan.workspace_bytes(); })
      .def("conv2d", &add_conv2d)
      .def("linear", &add_linear)
      .def("affine", &add_affine)
      .def("pointwise", &add_pointwise)
      .def("binary", &add_binary)
      .def("pool", &add_pool)
      .def("log_softmax", &add_log_softmax)
      .def("matmul", &add_matmul)
      .def("copy", &add_copy)
      .def("fill", &add_fill)
      .def("run", &run_plan, py::arg("inputs"), py::arg("out") = py::none())
      .def("run_again", &run_again)
      .def("times", &plan_times);
  bind_blocked_steps(m, plan);
}

}  // namespace rushlight::bindings
