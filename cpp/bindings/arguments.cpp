#include "bindings/arguments.h"

#include <limits>

namespace rushlight::bindings {
namespace {

std::string argument(const char* op, const char* name) {
  return std::string(op) + ": " + name;
}

std::string text_of(py::handle object) {
  return py::repr(object);
}

}  // namespace

int64_t integer(const char* op, const char* name, py::handle object) {
  PyObject* number = object.ptr();
  py::object converted;
  if (!PyLong_CheckExact(number)) {
    converted = py::reinterpret_steal<py::object>(PyNumber_Index(number));
    if (!converted) {
      PyErr_Clear();
      raise_type(argument(op, name) + " must be an integer, got " + text_of(object));
    }
    number = converted.ptr();
  }
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
  if (overflow != 0) {
    raise_value(argument(op, name) + " does not fit into 64 bits, got " + text_of(object));
  }
  return value;
}

Dims integers(const char* op, const char* name, py::handle object) {
  const auto items = py::reinterpret_steal<py::object>(PySequence_Fast(object.ptr(), ""));
  if (!items) {
    PyErr_Clear();
    raise_type(argument(op, name) + " must be a sequence of integers, got " + text_of(object));
  }
  Dims values(static_cast<size_t>(PySequence_Fast_GET_SIZE(items.ptr())));
  for (size_t i = 0; i < values.size(); ++i) {
    const auto index = static_cast<Py_ssize_t>(i);
    values[i] = integer(op, name, PySequence_Fast_GET_ITEM(items.ptr(), index));
  }
  return values;
}

Pair pair(const char* op, const char* name, py::handle object, int64_t low) {
  if (!PyTuple_CheckExact(object.ptr()) && !PyList_CheckExact(object.ptr())) {
    raise_type(argument(op, name) + " must be a pair of integers, got " + text_of(object));
  }
  if (PySequence_Fast_GET_SIZE(object.ptr()) != 2) {
    raise_value(argument(op, name) + " must be a pair of integers, got " + text_of(object));
  }
  PyObject** items = PySequence_Fast_ITEMS(object.ptr());
  const Pair value{integer(op, name, items[0]), integer(op, name, items[1])};
  if (value.h < low || value.w < low) {
    raise_value(argument(op, name) + " must be at least " + std::to_string(low) + ", got " +
                text_of(object));
  }
  return value;
}

double number(const char* op, const char* name, py::handle object) {
  const double value = PyFloat_AsDouble(object.ptr());
  if (value == -1.0 && PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    raise_type(argument(op, name) + " must be a number, got " + text_of(object));
  }
  return value;
}

ClampArgument::ClampArgument(const char* op, py::handle object)
    : low(std::numeric_limits<double>::quiet_NaN()), high(low) {
  if (object.is_none()) return;
  if (!py::isinstance<py::tuple>(object) || py::len(object) != 2) {
    raise_type(std::string(op) + ": clamp must be None or a pair (low, high)");
  }
  const auto range = py::reinterpret_borrow<py::tuple>(object);
  given = true;
  low = number(op, "clamp", range[0]);
  high = number(op, "clamp", range[1]);
}

bool flag(const char* op, const char* name, py::handle object) {
  if (object.ptr() == Py_True) return true;
  if (object.ptr() == Py_False) return false;
  raise_type(argument(op, name) + " must be a bool, got " + text_of(object));
}

DType dtype_argument(const char* op, const char* name, py::handle object) {
  // PyArray_DescrConverter accepts what numpy.dtype() accepts, such as numpy.float32 itself.
  PyObject* converted = nullptr;
  if (Numpy::get().PyArray_DescrConverter_(object.ptr(), &converted) != 1) {
    throw py::error_already_set();
  }
  const auto descr = py::reinterpret_steal<py::object>(converted);
  for (const DType dtype : {DType::f32, DType::f64, DType::i64, DType::boolean}) {
    if (Numpy::get().PyArray_EquivTypes_(descr.ptr(), descriptor(dtype))) return dtype;
  }
  raise_type(argument(op, name) + " must be float32, float64, int64 or bool, got " +
             text_of(descr));
}

}  // namespace rushlight::bindings
