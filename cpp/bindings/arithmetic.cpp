// Arithmetic element by element on operands that broadcast.
#include <algorithm>
#include <cmath>
#include <optional>

#include "bindings/arguments.h"
#include "bindings/arrays.h"
#include "bindings/blocked.h"
#include "bindings/families.h"

namespace rushlight::bindings {
namespace {

constexpr int kMaxDims = BroadcastShape::max_dims;

// A floating-point array or a Python number; anything else is left to the caller.
class Operand {
 public:
  Operand(const char* op, const char* name, py::handle object, Access access = Access::strided) {
    if (PyFloat_Check(object.ptr())) {
      number_ = PyFloat_AS_DOUBLE(object.ptr());
    } else if (PyLong_CheckExact(object.ptr())) {
      number_ = PyLong_AsDouble(object.ptr());
      usable_ = number_ != -1.0 || PyErr_Occurred() == nullptr;
      PyErr_Clear();
    } else if (Array::is_floating(object)) {
      array_.emplace(op, name, object, access);
      usable_ = array_->ndim() <= kMaxDims;
    } else {
      usable_ = false;
    }
  }

  bool usable() const { return usable_; }
  bool is_array() const { return array_.has_value(); }
  const Array& array() const { return *array_; }
  int ndim() const { return array_ ? array_->ndim() : 0; }

  // The size of a dimension of the result, counted from the last one, and the step in it.
  int64_t size(int from_end) const {
    return from_end < ndim() ? array_->dim(ndim() - 1 - from_end) : 1;
  }
  int64_t step(int from_end) const {
    return size(from_end) == 1 ? 0 : array_->stride(ndim() - 1 - from_end);
  }

  template <class T>
  const T* data(T& room) const {
    if (array_) return array_->data<T>();
    room = static_cast<T>(number_);
    return &room;
  }

 private:
  std::optional<Array> array_;
  double number_ = 0;
  bool usable_ = true;
};

// The shape that operands broadcast to.
struct Shape {
  int ndim = 0;
  int64_t dims[kMaxDims];

  int64_t count(const char* op) const { return element_count(op, dims, ndim); }
};

bool broadcast(const Operand& a, const Operand& b, Shape& shape) {
  shape.ndim = std::max(a.ndim(), b.ndim());
  for (int i = 0; i < shape.ndim; ++i) {
    const int64_t x = a.size(i), y = b.size(i);
    if (x != y && x != 1 && y != 1) return false;
    shape.dims[shape.ndim - 1 - i] = x == 1 ? y : x;
  }
  return true;
}

// Whether a loop in the order of the result walks through the operand's memory in its own order.
// Other operands, such as transposed ones, are left to NumPy, which keeps their order in the
// result.
bool is_row_major(const Operand& operand) {
  int64_t inner = 0;
  for (int i = 0; i < operand.ndim(); ++i) {
    const int64_t step = std::abs(operand.step(i));
    if (step == 0) continue;
    if (step < inner) return false;
    inner = step;
  }
  return true;
}

// False where an operand has gaps between neighbours.
bool collapse(const Shape& shape, const Operand& a, const Operand& b, BroadcastShape& s) {
  // Built from the innermost dimension outwards, then turned round.
  int n = 0;
  for (int i = 0; i < shape.ndim; ++i) {
    const int64_t size = shape.dims[shape.ndim - 1 - i];
    if (size == 1) continue;
    const int64_t a_step = a.step(i), b_step = b.step(i);
    if (n > 0 && a_step == s.a_step[n - 1] * s.size[n - 1] &&
        b_step == s.b_step[n - 1] * s.size[n - 1]) {
      s.size[n - 1] *= size;
      continue;
    }
    s.size[n] = size;
    s.a_step[n] = a_step;
    s.b_step[n] = b_step;
    ++n;
  }
  if (n == 0) {
    s.size[0] = 1;
    s.a_step[0] = s.b_step[0] = 0;
    n = 1;
  }
  s.ndim = n;
  const auto close = [](int64_t step) { return step == 0 || step == 1; };
  if (!close(s.a_step[0]) || !close(s.b_step[0])) return false;
  std::reverse(s.size, s.size + n);
  std::reverse(s.a_step, s.a_step + n);
  std::reverse(s.b_step, s.b_step + n);
  return true;
}

// Whether a result may be written to `out` while `operand` is read: they are the same elements, or
// share no memory.
bool may_write(const Array& out, const Operand& operand) {
  if (!operand.is_array()) return true;
  const Array& array = operand.array();
  const char* const begin = out.data<char>();
  const char* const end = begin + out.size() * item_size(out.dtype());
  const char *low = array.data<char>(), *high = low + item_size(array.dtype());
  bool same = low == begin && array.ndim() == out.ndim();
  for (int i = 0; i < array.ndim(); ++i) {
    if (array.dim(i) == 0) return true;
    const int64_t reach = (array.dim(i) - 1) * array.stride(i) * item_size(array.dtype());
    (reach < 0 ? low : high) += reach;
    same = same && array.dim(i) == out.dim(i) &&
           (array.dim(i) == 1 || array.stride(i) == out.stride(i));
  }
  return same || high <= begin || end <= low;
}

bool has_shape(const Array& out, const Shape& shape) {
  if (out.ndim() != shape.ndim) return false;
  for (int i = 0; i < shape.ndim; ++i) {
    if (out.dim(i) != shape.dims[i]) return false;
  }
  return true;
}

template <class T>
using Member = typename ArithmeticKernels<T>::Binary ArithmeticKernels<T>::*;

void run_kernel(Member<float> f32, Member<double> f64, DType dtype, int64_t count,
                const BroadcastShape& s, const Operand& a, const Operand& b, void* dst) {
  with_type(dtype, [&](auto t) {
    using T = decltype(t);
    T a_room, b_room;
    const T *x = a.data<T>(a_room), *y = b.data<T>(b_room);
    const auto& kernels = *runtime::kernels<T>().arithmetic;
    const KernelScope scope(2 * count);
    if constexpr (sizeof(T) == sizeof(float)) {
      (kernels.*f32)(scope.run(), s, x, y, static_cast<T*>(dst));
    } else {
      (kernels.*f64)(scope.run(), s, x, y, static_cast<T*>(dst));
    }
  });
}

// Returns NotImplemented where NumPy has to do it: for other or different types, shapes that do
// not broadcast, operands in another order, and results that overlap an operand.
py::object binary(const char* op, Member<float> f32, Member<double> f64, py::handle a_object,
                  py::handle b_object, py::handle out_object) {
  const auto left_to_numpy = [] { return py::reinterpret_borrow<py::object>(Py_NotImplemented); };
  const Operand a(op, "a", a_object), b(op, "b", b_object);
  if (!a.usable() || !b.usable() || !(a.is_array() || b.is_array())) return left_to_numpy();
  if (a.is_array() && b.is_array() && a.array().dtype() != b.array().dtype()) {
    return left_to_numpy();
  }
  const DType dtype = a.is_array() ? a.array().dtype() : b.array().dtype();
  Shape shape;
  BroadcastShape s;
  if (!broadcast(a, b, shape) || !is_row_major(a) || !is_row_major(b)) return left_to_numpy();
  if (!collapse(shape, a, b, s)) return left_to_numpy();
  const int64_t count = shape.count(op);
  if (out_object.is_none()) {
    Result dst(op, dtype, shape.dims, shape.ndim);
    run_kernel(f32, f64, dtype, count, s, a, b, dst.data<void>());
    return dst.release();
  }
  if (!Array::is_floating(out_object)) return left_to_numpy();
  const Array out(op, "out", out_object, Access::strided);
  if (!out.is_writable_as_it_is() || out.dtype() != dtype || !has_shape(out, shape) ||
      !may_write(out, a) || !may_write(out, b)) {
    return left_to_numpy();
  }
  run_kernel(f32, f64, dtype, count, s, a, b, out.mutable_data<void>());
  return py::reinterpret_borrow<py::object>(out_object);
}

// Whether images are alike but for the second's planes, which may have one pixel.
bool fits_blocks(const Blocked& a, const Blocked& b) {
  const auto &x = a.sizes(), &y = b.sizes();
  return x == y || (x[0] == y[0] && x[1] == y[1] && y[2] == 1 && y[3] == 1);
}

// Blocked images are taken element by element; what meets another operand is left to the caller, as
// what `binary` leaves to NumPy.
py::object binary_of_any(const char* op, Member<float> f32, Member<double> f64, py::handle a,
                         py::handle b, py::handle out) {
  const Blocked *first = as_blocked(a), *second = as_blocked(b);
  if (first == nullptr && second == nullptr) return binary(op, f32, f64, a, b, out);
  if (first == nullptr || second == nullptr || !fits_blocks(*first, *second)) {
    return py::reinterpret_borrow<py::object>(Py_NotImplemented);
  }
  if (first->lanes() != second->lanes()) {
    raise_value(std::string(op) + ": operands were made for different instruction sets");
  }
  const Elements target(out);
  py::object found = binary(op, f32, f64, first->array(), second->array(), target.array());
  if (found.ptr() == Py_NotImplemented) return found;
  return out.is_none() ? py::cast(Blocked(std::move(found), first->sizes(), first->lanes()))
                       : py::reinterpret_borrow<py::object>(out);
}

py::object expand(py::handle src_object, py::handle shape_object) {
  const char* op = "expand";
  const Dims dims = integers(op, "shape", shape_object);
  const Array checked(op, "src", src_object);
  const Operand src(op, "src", src_object, Access::read);
  Shape shape;
  BroadcastShape s;
  const auto fits = [&] {
    if (dims.size() > kMaxDims || static_cast<size_t>(src.ndim()) > dims.size()) return false;
    shape.ndim = static_cast<int>(dims.size());
    std::copy(dims.begin(), dims.end(), shape.dims);
    for (int i = 0; i < src.ndim(); ++i) {
      if (src.size(i) != 1 && src.size(i) != shape.dims[shape.ndim - 1 - i]) return false;
    }
    return true;
  };
  if (!fits()) {
    raise_value(std::string(op) + ": src of shape " + src.array().shape_text() +
                " cannot be expanded to " + std::string(py::str(shape_object)));
  }
  collapse(shape, src, src, s);
  Result dst(op, src.array().dtype(), shape.dims, shape.ndim);
  run_kernel(&ArithmeticKernels<float>::expand, &ArithmeticKernels<double>::expand,
             src.array().dtype(), shape.count(op), s, src, src, dst.data<void>());
  return dst.release();
}

}  // namespace

void bind_arithmetic(py::module_& m) {
#define RUSHLIGHT_BINARY(name)                                             \
  m.def(                                                                   \
      #name,                                                               \
      [](py::handle a, py::handle b, py::handle out) {                     \
        return binary_of_any(#name, &ArithmeticKernels<float>::name,       \
                             &ArithmeticKernels<double>::name, a, b, out); \
      },                                                                   \
      py::arg("a"), py::arg("b"), py::arg("out") = py::none())
  RUSHLIGHT_BINARY(add);
  RUSHLIGHT_BINARY(sub);
  RUSHLIGHT_BINARY(mul);
  RUSHLIGHT_BINARY(div);
#undef RUSHLIGHT_BINARY
  m.def("expand", &expand, py::arg("src"), py::arg("shape"));
}

}  // namespace rushlight::bindings
