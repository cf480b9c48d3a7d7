#include "bindings/blocked.h"

#include "bindings/arguments.h"
#include "bindings/families.h"

namespace rushlight::bindings {
namespace {

template <class T>
const BlockedKernels<T>& kernels() {
  return *runtime::kernels<T>().blocked;
}

int64_t lanes_of(DType dtype) {
  int64_t lanes = 0;
  with_type(dtype, [&](auto t) { lanes = kernels<decltype(t)>().lanes; });
  return lanes;
}

// Set once, when the module is made.
PyTypeObject* blocked_type = nullptr;

ReorderShape reorder_shape(const Blocked::Sizes& sizes) {
  return {sizes[0], sizes[1], sizes[2] * sizes[3]};
}

}  // namespace

const Blocked* as_blocked(py::handle object) {
  // Asked for every operand: pybind11's own test takes as long as a tiny kernel.
  return Py_TYPE(object.ptr()) == blocked_type ? object.cast<const Blocked*>() : nullptr;
}

Blocked Blocked::from_planes(const char* op, const Array& planes) {
  if (planes.ndim() != 4) {
    raise_value(std::string(op) + ": src must have 4 dimensions, got shape " + planes.shape_text());
  }
  const Sizes sizes{planes.dim(0), planes.dim(1), planes.dim(2), planes.dim(3)};
  BlockedResult result(op, planes.dtype(), sizes);
  with_type(planes.dtype(), [&](auto t) {
    using T = decltype(t);
    const KernelScope scope(2 * planes.size());
    kernels<T>().to_blocked(scope.run(), reorder_shape(sizes), planes.data<T>(), result.data<T>());
  });
  return result.take();
}

py::object Blocked::plain() const {
  const Array from("plain", "blocked", array_);
  Result result("plain", from.dtype(), Dims(sizes_.begin(), sizes_.end()));
  with_type(from.dtype(), [&](auto t) {
    using T = decltype(t);
    const KernelScope scope(2 * from.size());
    kernels<T>().to_plain(scope.run(), reorder_shape(sizes_), from.data<T>(), result.data<T>());
  });
  return result.release();
}

Blocked Blocked::copy() const {
  return Blocked(array_.attr("copy")(), sizes_);
}

BlockedResult::BlockedResult(const char* op, DType dtype, const Blocked::Sizes& sizes)
    : sizes_(sizes) {
  const int64_t lanes = lanes_of(dtype);
  const int64_t blocks = checked_add(op, sizes[1], lanes - 1) / lanes;
  memory_ = Result(op, dtype, {sizes[0], blocks, sizes[2], sizes[3], lanes});
}

py::object SameLayout::turned(const char* op, const Elements& first, py::handle second) {
  const Blocked* blocked = as_blocked(second);
  if (first.is_blocked() == (blocked != nullptr)) {
    if (blocked != nullptr) {
      const auto& sizes = first.blocked()->sizes();
      check_sizes(op, "diff_dst", blocked->sizes(), Dims(sizes.begin(), sizes.end()), "as dst");
    }
    return {};
  }
  if (blocked != nullptr) return blocked->plain();
  const auto& sizes = first.blocked()->sizes();
  const Array planes(op, "diff_dst", second);
  check_shape(op, planes, Dims(sizes.begin(), sizes.end()), "as dst");
  return py::cast(Blocked::from_planes(op, planes));
}

Images::Images(const char* op, const char* name, py::handle object)
    : op_(op),
      name_(name),
      blocked_(as_blocked(object)),
      given_(op, name, Elements(object).array()) {}

const Array& Images::planes() {
  if (blocked_ == nullptr) return given_;
  if (!other_) {
    memory_ = blocked_->plain();
    other_.emplace(op_, name_, memory_);
  }
  return *other_;
}

const Array& Images::blocks() {
  if (blocked_ != nullptr) return given_;
  if (!other_) {
    memory_ = Blocked::from_planes(op_, given_).array();
    other_.emplace(op_, name_, memory_);
  }
  return *other_;
}

void bind_blocked(py::module_& m) {
  py::class_<Blocked> type(m, "Blocked", py::is_final());
  blocked_type = reinterpret_cast<PyTypeObject*>(type.ptr());
  type.def(py::init([](py::handle planes) {
             return Blocked::from_planes("Blocked", Array("Blocked", "src", planes));
           }),
           py::arg("src"))
      .def_property_readonly("array", &Blocked::array)
      .def_property_readonly("shape", &Blocked::shape)
      .def_property_readonly("dtype", [](const Blocked& b) { return b.array().attr("dtype"); })
      .def_property_readonly("ndim", [](const Blocked&) { return 4; })
      .def("copy", &Blocked::copy)
      .def("plain", &Blocked::plain);
}

}  // namespace rushlight::bindings
