#include "bindings/blocked.h"

#include <cstring>
#include <deque>

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

// The blocks of an argument, if it has some that kernels can read.
const Blocked* readable(py::handle object) {
  const Blocked* blocked = as_blocked(object);
  if (blocked == nullptr) return nullptr;
  return blocked->fits(Array("Blocked", "array", blocked->array()).dtype()) ? blocked : nullptr;
}

// Images side by side along their channels; None where a part other than the last does not fill its
// blocks.
py::object join(const py::sequence& parts) {
  const char* op = "join_blocks";
  std::deque<Array> arrays;  // which never move
  Blocked::Sizes sizes{};
  for (size_t i = 0; i < parts.size(); ++i) {
    const Blocked* part = as_blocked(parts[i]);
    if (part == nullptr) raise_type(std::string(op) + ": parts must be Blocked");
    if (readable(parts[i]) == nullptr) return py::none();
    arrays.emplace_back(op, "part", part->array());
    const Array& array = arrays.back();
    if (i == 0) sizes = part->sizes();
    if (i > 0) sizes[1] = checked_add(op, sizes[1], part->sizes()[1]);
    const bool last = i + 1 == parts.size();
    if (!last && array.dim(1) * array.dim(4) != part->sizes()[1]) return py::none();
    check_same_dtype(op, arrays.front(), array);
    check_sizes(op, "part", part->sizes(), {sizes[0], part->sizes()[1], sizes[2], sizes[3]},
                "as the first");
  }
  if (arrays.empty()) raise_value(std::string(op) + ": there must be a part");
  BlockedResult result(op, arrays.front().dtype(), sizes);
  char* to = result.data<char>();
  for (int64_t image = 0; image < sizes[0]; ++image) {
    for (const Array& array : arrays) {
      const int64_t bytes = array.size() / sizes[0] * item_size(array.dtype());
      std::memcpy(to, array.data<char>() + image * bytes, static_cast<size_t>(bytes));
      to += bytes;
    }
  }
  return result.release();
}

// Of blocks that were made before another instruction set was chosen.
py::object plain_of_other_lanes(const Blocked& blocked, const Array& from) {
  const auto& [n, c, h, w] = blocked.sizes();
  const int64_t lanes = blocked.lanes(), blocks = (c + lanes - 1) / lanes, spatial = h * w;
  Result result("plain", from.dtype(), {n, c, h, w});
  with_type(from.dtype(), [&](auto t) {
    using T = decltype(t);
    T* to = result.data<T>();
    for (int64_t plane = 0; plane < n * c; ++plane) {
      const int64_t channel = plane % c, block = plane / c * blocks + channel / lanes;
      const T* pixel = from.data<T>() + block * spatial * lanes + channel % lanes;
      for (int64_t i = 0; i < spatial; ++i, pixel += lanes) *to++ = *pixel;
    }
  });
  return result.release();
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

bool Blocked::fits(DType dtype) const {
  return lanes_ == lanes_of(dtype);
}

py::object Blocked::plain() const {
  const Array from("plain", "blocked", array_);
  if (!fits(from.dtype())) return plain_of_other_lanes(*this, from);
  Result result("plain", from.dtype(), Dims(sizes_.begin(), sizes_.end()));
  with_type(from.dtype(), [&](auto t) {
    using T = decltype(t);
    const KernelScope scope(2 * from.size());
    kernels<T>().to_plain(scope.run(), reorder_shape(sizes_), from.data<T>(), result.data<T>());
  });
  return result.release();
}

py::object Blocked::shared_plain() {
  const auto found = [this] { return shared_ ? py::object(shared_()) : py::object(py::none()); };
  py::object array = found();
  if (!array.is_none()) return array;
  py::object made = plain();
  array = found();  // another thread may have been faster
  if (!array.is_none()) return array;
  shared_ = py::weakref(made);
  return made;
}

Blocked Blocked::copy() const {
  return Blocked(array_.attr("copy")(), sizes_, lanes_);
}

BlockedResult::BlockedResult(const char* op, DType dtype, const Blocked::Sizes& sizes)
    : sizes_(sizes), lanes_(lanes_of(dtype)) {
  const int64_t blocks = checked_add(op, sizes[1], lanes_ - 1) / lanes_;
  memory_ = Result(op, dtype, {sizes[0], blocks, sizes[2], sizes[3], lanes_});
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
      blocked_(readable(object)),
      memory_(blocked_ == nullptr && as_blocked(object) ? as_blocked(object)->plain()
                                                        : py::object()),
      given_(op, name, memory_ ? py::handle(memory_) : Elements(object).array()) {}

const Array& Images::planes() {
  if (blocked_ == nullptr) return given_;
  if (!other_) {
    turned_ = blocked_->plain();
    other_.emplace(op_, name_, turned_);
  }
  return *other_;
}

const Array& Images::blocks() {
  if (blocked_ != nullptr) return given_;
  if (!other_) {
    turned_ = Blocked::from_planes(op_, given_).array();
    other_.emplace(op_, name_, turned_);
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
      .def("plain", &Blocked::plain)
      .def("shared_plain", &Blocked::shared_plain);
  m.def("join_blocks", &join, py::arg("parts"));
}

}  // namespace rushlight::bindings
