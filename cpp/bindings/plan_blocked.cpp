// The steps of plans on images in blocks of channels; see kernels/blocked.h.
#include <pybind11/stl.h>

#include <optional>
#include <span>

#include "bindings/conv2d_arguments.h"
#include "bindings/plan_arguments.h"
#include "runtime/plan_steps_blocked.h"

namespace rushlight::bindings {
namespace {

using runtime::Place;

template <class T>
const BlockedKernels<T>& blocked() {
  return *runtime::kernels<T>().blocked;
}

// Channels with those that fill the last block.
template <class T>
int64_t padded(int64_t channels) {
  const int64_t lanes = blocked<T>().lanes;
  return checked_add("plan", channels, lanes - 1) / lanes * lanes;
}

int64_t channel_block(py::handle dtype) {
  int64_t lanes = 0;
  with_type(floating("channel_block", dtype),
            [&](auto t) { lanes = blocked<decltype(t)>().lanes; });
  return lanes;
}

const char* name_of(BlockedAlgorithm algorithm) {
  switch (algorithm) {
    case BlockedAlgorithm::direct:
      return "blocked direct";
    case BlockedAlgorithm::depthwise:
      return "blocked depthwise";
    case BlockedAlgorithm::grouped:
      return "blocked grouped";
    case BlockedAlgorithm::winograd2:
      return "blocked winograd2";
    case BlockedAlgorithm::winograd4:
      return "blocked winograd4";
    case BlockedAlgorithm::none:
      break;
  }
  return "";
}

// None where a plain convolution has to do it.
std::optional<std::string> algorithm_of(py::handle src_shape, py::handle weight_shape,
                                        py::handle stride, py::handle padding, py::handle dilation,
                                        py::handle groups, py::handle dtype, bool src_blocked) {
  const char* op = "blocked_conv2d_algorithm";
  const Dims src = integers(op, "src_shape", src_shape);
  const Dims weight = integers(op, "weight_shape", weight_shape);
  const Conv2dShape s =
      conv2d_shape(op, src, weight, ConvSettings(op, stride, padding, dilation, groups));
  BlockedAlgorithm found = BlockedAlgorithm::none;
  with_type(floating(op, dtype),
            [&](auto t) { found = blocked<decltype(t)>().algorithm(s, !src_blocked); });
  if (found == BlockedAlgorithm::none) return std::nullopt;
  return name_of(found);
}

// The weight of a convolution as blocked kernels read it.
template <class T>
std::shared_ptr<runtime::WeightBlock> prepared_block(const char* op, const Conv2dShape& s,
                                                     bool plain_src, const Array& weight,
                                                     PlanWeights& weights,
                                                     const std::string& name) {
  const BlockedKernels<T>& kernels = blocked<T>();
  const runtime::WeightKey key{
      &kernels, kernels.prepared(s, plain_src), {s.oc, s.ic, s.kh, s.kw, s.groups}};
  return weights.find(op, name, key, [&](void* memory) {
    KernelScope scope(work_of_conv2d(s));
    const Run& run = scope.with_workspace(op, 0);
    kernels.prepare(run, s, plain_src, weight.data<T>(), static_cast<T*>(memory));
  });
}

void add_conv2d(PlanObject& self, py::handle dst, py::handle src, py::handle src_shape,
                py::handle weight_object, py::handle stride, py::handle padding,
                py::handle dilation, py::handle groups, py::handle epilogue_object,
                PlanWeights& weights, const std::string& name, bool src_blocked) {
  const char* op = "plan.blocked_conv2d";
  const Array weight(op, "weight", weight_object);
  const Conv2dShape s = conv2d_shape(op, integers(op, "src_shape", src_shape), weight.sizes(),
                                     ConvSettings(op, stride, padding, dilation, groups));
  const DType dtype = weight.dtype();
  with_type(dtype, [&](auto t) {
    using T = decltype(t);
    const BlockedKernels<T>& kernels = blocked<T>();
    const bool plain = !src_blocked;
    if (kernels.algorithm(s, plain) == BlockedAlgorithm::none) {
      raise_value(std::string(op) + ": no blocked kernel takes this convolution");
    }
    const int64_t ic = plain ? s.ic : padded<T>(s.ic), oc = padded<T>(s.oc);
    const int64_t bytes = bytes_of(op, {s.n, oc, s.oh, s.ow}, dtype);
    const Place from = self.source(op, "src", src, bytes_of(op, {s.n, ic, s.ih, s.iw}, dtype));
    const Place to = self.target(op, "dst", dst, bytes);
    const auto places = epilogue<T>(self, op, epilogue_object, dtype, oc, bytes, true);
    auto block = prepared_block<T>(op, s, plain, weight, weights, name);
    self.plan.add(std::make_unique<runtime::BlockedConv2dStep<T>>(
        work_of_conv2d(s), &kernels, s, plain, from, std::move(block), places, to));
  });
}

// One of a pair of convolutions, as Python gives it: (weight, stride, padding, dilation, groups,
// epilogue, name).
struct PairPart {
  py::tuple parts;
  Array weight;
  Conv2dShape shape;

  PairPart(const char* op, const char* name, py::handle object, std::span<const int64_t> src)
      : parts(checked(op, name, object)),
        weight(op, "weight", parts[0]),
        shape(conv2d_shape(op, src, weight.sizes(),
                           ConvSettings(op, parts[1], parts[2], parts[3], parts[4]))) {}

  Dims result() const { return {shape.n, shape.oc, shape.oh, shape.ow}; }
  py::object epilogue() const { return parts[5]; }
  std::string name() const { return parts[6].cast<std::string>(); }

 private:
  static py::tuple checked(const char* op, const char* name, py::handle object) {
    if (py::isinstance<py::tuple>(object) && py::len(object) == 7) {
      auto parts = py::reinterpret_borrow<py::tuple>(object);
      if (py::isinstance<py::str>(parts[6])) return parts;
    }
    raise_type(std::string(op) + ": " + name +
               " must be (weight, stride, padding, dilation, groups, epilogue, name)");
  }
};

void add_pair(PlanObject& self, py::handle dst, py::handle src, py::handle src_shape,
              py::handle first_object, py::handle second_object, PlanWeights& weights) {
  const char* op = "plan.blocked_pair";
  const PairPart first(op, "first", first_object, integers(op, "src_shape", src_shape));
  const PairPart second(op, "second", second_object, first.result());
  const DType dtype = first.weight.dtype();
  if (second.weight.dtype() != dtype) raise_type(std::string(op) + ": weights differ in dtype");
  with_type(dtype, [&](auto t) {
    using T = decltype(t);
    const Conv2dShape &a = first.shape, &b = second.shape;
    const BlockedKernels<T>& kernels = blocked<T>();
    if (!kernels.pairs(a, b)) raise_value(std::string(op) + ": no kernel takes this pair");
    const int64_t middle = padded<T>(a.oc), oc = padded<T>(b.oc);
    const int64_t bytes = bytes_of(op, {b.n, oc, b.oh, b.ow}, dtype);
    const Place from =
        self.source(op, "src", src, bytes_of(op, {a.n, padded<T>(a.ic), a.ih, a.iw}, dtype));
    const Place to = self.target(op, "dst", dst, bytes);
    const auto between = epilogue<T>(self, op, first.epilogue(), dtype, middle, 0, true);
    if (between.residual.kind != runtime::Place::Kind::none) {
      raise_value(std::string(op) + ": first takes no residual");
    }
    const auto places = epilogue<T>(self, op, second.epilogue(), dtype, oc, bytes, true);
    auto pointwise = prepared_block<T>(op, a, false, first.weight, weights, first.name());
    auto depthwise = prepared_block<T>(op, b, false, second.weight, weights, second.name());
    const int64_t work = checked_add(op, work_of_conv2d(a), work_of_conv2d(b));
    self.plan.add(std::make_unique<runtime::BlockedPairStep<T>>(work, &kernels, a, b, from,
                                                                std::move(pointwise), between,
                                                                std::move(depthwise), places, to));
  });
}

// Whether convolutions, each (src_shape, weight_shape, stride, padding, dilation, groups), are
// computed in one step.
bool is_pair(const py::tuple& first, const py::tuple& second, py::handle dtype) {
  const char* op = "blocked_pairs";
  const auto shape = [&](const py::tuple& c) {
    if (c.size() != 6) raise_type(std::string(op) + ": a convolution is described by six values");
    return conv2d_shape(op, integers(op, "src_shape", c[0]), integers(op, "weight_shape", c[1]),
                        ConvSettings(op, c[2], c[3], c[4], c[5]));
  };
  const Conv2dShape a = shape(first), b = shape(second);
  bool found = false;
  with_type(floating(op, dtype), [&](auto t) { found = blocked<decltype(t)>().pairs(a, b); });
  return found;
}

void add_pool(PlanObject& self, const std::string& kind, py::handle dst, py::handle src,
              py::handle src_shape, py::handle dst_plane, py::handle windows,
              bool count_include_pad, py::handle divisor, py::handle dtype_object) {
  const char* op = "plan.blocked_pool";
  const Dims from = dims_of(op, "src_shape", src_shape, 4);
  const Dims out = dims_of(op, "dst_plane", dst_plane, 2);
  const DType dtype = floating(op, dtype_object);
  with_type(dtype, [&](auto t) {
    using T = decltype(t);
    const BlockedKernels<T>& kernels = blocked<T>();
    const int64_t blocks = padded<T>(from[1]) / kernels.lanes;
    const Dims planes{checked_mul(op, from[0], blocks), from[2], from[3]};
    const PoolShape s = pool_shape(op, planes, out, windows, false, count_include_pad,
                                   integer(op, "divisor", divisor));
    const int64_t lanes = kernels.lanes;
    const Place x = self.source(op, "src", src, bytes_of(op, {s.planes, s.ih, s.iw, lanes}, dtype));
    const Place to =
        self.target(op, "dst", dst, bytes_of(op, {s.planes, s.oh, s.ow, lanes}, dtype));
    const int64_t work =
        work_of({s.planes, s.oh, s.ow, s.kh, s.kw, lanes}) + work_of({s.planes, s.ih, s.iw, lanes});
    if (kind != "max" && kind != "avg")
      raise_value(std::string(op) + ": unknown kind '" + kind + "'");
    self.plan.add(std::make_unique<runtime::AvgPoolStep<T>>(
        work, kind == "max" ? kernels.max_pool : kernels.avg_pool, s, x, to));
  });
}

// Between the layouts, and from blocked images to the plain means of their planes.
void add_reorder(PlanObject& self, const std::string& kind, py::handle dst, py::handle src,
                 py::handle shape, py::handle dtype_object) {
  const char* op = "plan.reorder";
  const Dims d = dims_of(op, "shape", shape, 3);
  const DType dtype = floating(op, dtype_object);
  with_type(dtype, [&](auto t) {
    using T = decltype(t);
    const BlockedKernels<T>& kernels = blocked<T>();
    const int64_t in_blocks = bytes_of(op, {d[0], padded<T>(d[1]), d[2]}, dtype);
    const int64_t plain = bytes_of(op, {d[0], d[1], d[2]}, dtype);
    typename runtime::ReorderStep<T>::Kernel kernel = kernels.mean;
    int64_t read = in_blocks, written = bytes_of(op, {d[0], d[1]}, dtype);
    if (kind == "to_blocked") {
      kernel = kernels.to_blocked, read = plain, written = in_blocks;
    } else if (kind == "to_plain") {
      kernel = kernels.to_plain, written = plain;
    } else if (kind != "mean") {
      raise_value(std::string(op) + ": unknown kind '" + kind + "'");
    }
    const Place from = self.source(op, "src", src, read), to = self.target(op, "dst", dst, written);
    self.plan.add(std::make_unique<runtime::ReorderStep<T>>(
        2 * (read + written) / item_size(dtype), kernel, ReorderShape{d[0], d[1], d[2]}, from, to));
  });
}

void add_affine(PlanObject& self, py::handle dst, py::handle src, py::handle shape,
                py::handle dtype_object, py::handle epilogue_object) {
  const char* op = "plan.blocked_affine";
  const Dims d = dims_of(op, "shape", shape, 3);
  const DType dtype = floating(op, dtype_object);
  with_type(dtype, [&](auto t) {
    using T = decltype(t);
    const int64_t channels = padded<T>(d[1]), bytes = bytes_of(op, {d[0], channels, d[2]}, dtype);
    const Place from = self.source(op, "src", src, bytes), to = self.target(op, "dst", dst, bytes);
    self.plan.add(std::make_unique<runtime::BlockedAffineStep<T>>(
        2 * bytes / item_size(dtype), &blocked<T>(), ReorderShape{d[0], d[1], d[2]}, from,
        epilogue<T>(self, op, epilogue_object, dtype, channels, bytes, true), to));
  });
}

}  // namespace

void bind_blocked_steps(py::module_& m, py::class_<PlanObject>& plan) {
  m.def("channel_block", &channel_block);
  m.def("blocked_conv2d_algorithm", &algorithm_of);
  m.def("blocked_pairs", &is_pair);
  plan.def("blocked_conv2d", &add_conv2d)
      .def("blocked_pair", &add_pair)
      .def("blocked_pool", &add_pool)
      .def("reorder", &add_reorder)
      .def("blocked_affine", &add_affine);
}

}  // namespace rushlight::bindings
