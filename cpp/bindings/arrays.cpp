#include "bindings/arrays.h"

#include <cxxabi.h>
#include <unistd.h>

#include <algorithm>
#include <bit>

namespace rushlight::bindings {
namespace {

std::string type_text(py::handle object) {
  return Py_TYPE(object.ptr())->tp_name;
}

bool is_native(char byteorder) {
  return byteorder == '=' || byteorder == '|' ||
         byteorder == (std::endian::native == std::endian::little ? '<' : '>');
}

// The dtype of the array if it is one of ours.
bool find_dtype(py::detail::PyArray_Proxy* proxy, DType& dtype) {
  const auto* descr = py::detail::array_descriptor_proxy(proxy->descr);
  if (!is_native(descr->byteorder)) return false;
  switch (descr->type_num) {
    case Numpy::NPY_FLOAT_:
      dtype = DType::f32;
      return true;
    case Numpy::NPY_DOUBLE_:
      dtype = DType::f64;
      return true;
    case Numpy::NPY_BOOL_:
      dtype = DType::boolean;
      return true;
    case Numpy::NPY_LONG_:
    case Numpy::NPY_LONGLONG_:
      dtype = DType::i64;
      return descr->type_num == Numpy::NPY_LONGLONG_ || sizeof(long) == sizeof(int64_t);
    default:
      return false;
  }
}

py::detail::PyArray_Proxy* as_array(const char* op, const char* name, py::handle object) {
  if (!Numpy::get().PyArray_Check_(object.ptr())) {
    raise_type(std::string(op) + ": " + name + " must be a numpy.ndarray, got " +
               type_text(object));
  }
  return py::detail::array_proxy(object.ptr());
}

std::string dtype_text(py::detail::PyArray_Proxy* proxy) {
  const auto* descr = py::detail::array_descriptor_proxy(proxy->descr);
  const std::string text = py::str(py::handle(proxy->descr));
  return is_native(descr->byteorder) ? text : text + " (not in this machine's byte order)";
}

bool has_element_strides(py::detail::PyArray_Proxy* proxy, int64_t item) {
  for (int i = 0; i < proxy->nd; ++i) {
    if (proxy->strides[i] % item != 0) return false;
  }
  return true;
}

}  // namespace

void raise(PyObject* type, const std::string& text) {
  PyErr_SetString(type, text.c_str());
  throw py::error_already_set();
}

PyObject* operation_error() {
  static PyObject* const type = [] {
    const auto bases = py::make_tuple(py::handle(PyExc_ValueError), py::handle(PyExc_RuntimeError));
    return PyErr_NewExceptionWithDoc(
        "rushlight.OperationError",
        "A shape or value that an operation cannot work with.\n\n"
        "It is a ValueError; and a RuntimeError, which is what PyTorch raises there.",
        bases.ptr(), nullptr);
  }();
  return type;
}

const char* dtype_name(DType dtype) {
  static constexpr const char* names[] = {"float32", "float64", "int64", "bool"};
  return names[static_cast<int>(dtype)];
}

int64_t item_size(DType dtype) {
  static constexpr int64_t sizes[] = {4, 8, 8, 1};
  return sizes[static_cast<int>(dtype)];
}

PyObject* descriptor(DType dtype) {
  static PyObject* const cached[] = {
      Numpy::get().PyArray_DescrFromType_(Numpy::NPY_FLOAT_),
      Numpy::get().PyArray_DescrFromType_(Numpy::NPY_DOUBLE_),
      Numpy::get().PyArray_DescrFromType_(Numpy::NPY_INT64_),
      Numpy::get().PyArray_DescrFromType_(Numpy::NPY_BOOL_),
  };
  return cached[static_cast<int>(dtype)];
}

std::string shape_text(std::span<const int64_t> sizes) {
  std::string text = "(";
  for (const int64_t each : sizes) text += (text.size() > 1 ? ", " : "") + std::to_string(each);
  return text + (sizes.size() == 1 ? ",)" : ")");
}

int64_t checked_mul(const char* op, int64_t a, int64_t b) {
  int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) {
    raise_value(std::string(op) + ": size overflows 64 bits: " + std::to_string(a) + " * " +
                std::to_string(b));
  }
  return product;
}

int64_t checked_add(const char* op, int64_t a, int64_t b) {
  int64_t total = 0;
  if (__builtin_add_overflow(a, b, &total)) {
    raise_value(std::string(op) + ": size overflows 64 bits: " + std::to_string(a) + " + " +
                std::to_string(b));
  }
  return total;
}

int64_t element_count(const char* op, const int64_t* dims, int ndim) {
  int64_t count = 1;
  bool empty = false;
  for (int i = 0; i < ndim; ++i) {
    if (dims[i] < 0) {
      raise_value(std::string(op) + ": sizes must not be negative, got " + std::to_string(dims[i]) +
                  " in dimension " + std::to_string(i));
    }
    // A zero elsewhere must not hide that the other sizes overflow.
    if (dims[i] == 0)
      empty = true;
    else
      count = checked_mul(op, count, dims[i]);
  }
  return empty ? 0 : count;
}

Array::Array(const char* op, const char* name, py::handle object, Access access) : name_(name) {
  proxy_ = as_array(op, name, object);
  const bool known = find_dtype(proxy_, dtype_);
  if (!known || (dtype_ != DType::f32 && dtype_ != DType::f64)) {
    raise_type(std::string(op) + ": " + name + " must be float32 or float64, got " +
               dtype_text(proxy_));
  }
  take(op, object, access);
}

Array::Array(const char* op, const char* name, py::handle object, DType only, Access access)
    : name_(name) {
  proxy_ = as_array(op, name, object);
  if (!find_dtype(proxy_, dtype_) || dtype_ != only) {
    raise_type(std::string(op) + ": " + name + " must be " + dtype_name(only) + ", got " +
               dtype_text(proxy_));
  }
  take(op, object, access);
}

bool Array::is_floating(py::handle object) {
  if (!Numpy::get().PyArray_Check_(object.ptr())) return false;
  DType dtype;
  return find_dtype(py::detail::array_proxy(object.ptr()), dtype) &&
         (dtype == DType::f32 || dtype == DType::f64);
}

bool Array::is_writable_as_it_is() const {
  constexpr int writable =
      Numpy::NPY_ARRAY_C_CONTIGUOUS_ | Numpy::NPY_ARRAY_ALIGNED_ | Numpy::NPY_ARRAY_WRITEABLE_;
  return (proxy_->flags & writable) == writable;
}

void Array::take(const char* op, py::handle object, Access access) {
  constexpr int simple = Numpy::NPY_ARRAY_C_CONTIGUOUS_ | Numpy::NPY_ARRAY_ALIGNED_;
  const bool is_simple = (proxy_->flags & simple) == simple;
  if (access == Access::write) {
    if (is_writable_as_it_is()) return;
    raise_value(std::string(op) + ": " + name_ +
                " is changed in place and must be C-contiguous, aligned and writable");
  }
  if (is_simple) return;
  const bool is_aligned = (proxy_->flags & Numpy::NPY_ARRAY_ALIGNED_) != 0;
  if (access == Access::strided && is_aligned && has_element_strides(proxy_, item_size(dtype_))) {
    return;
  }
  copy_ = py::reinterpret_steal<py::object>(
      Numpy::get().PyArray_FromAny_(object.ptr(), nullptr, 0, 0, simple, nullptr));
  if (!copy_) throw py::error_already_set();
  proxy_ = py::detail::array_proxy(copy_.ptr());
}

int64_t Array::stride(int axis) const {
  return static_cast<int64_t>(proxy_->strides[axis]) / item_size(dtype_);
}

int64_t Array::size() const {
  int64_t count = 1;
  for (int i = 0; i < proxy_->nd; ++i) count *= static_cast<int64_t>(proxy_->dimensions[i]);
  return count;
}

std::string Array::shape_text() const {
  return bindings::shape_text(sizes());
}

Result::Result(const char* op, DType dtype, const int64_t* dims, int ndim) {
  constexpr int max_ndim = 32;
  if (ndim > max_ndim) {
    raise_value(std::string(op) + ": at most 32 dimensions, got " + std::to_string(ndim));
  }
  Py_intptr_t shape[max_ndim];
  for (int i = 0; i < ndim; ++i) shape[i] = dims[i];
  const int64_t bytes = checked_mul(op, element_count(op, dims, ndim), item_size(dtype));
  data_ = runtime::pool_allocate(bytes);
  if (data_ == nullptr) {
    raise(PyExc_MemoryError,
          std::string(op) + ": cannot allocate " + std::to_string(bytes) + " bytes");
  }
  auto owner = py::reinterpret_steal<py::object>(PyCapsule_New(data_, nullptr, [](PyObject* self) {
    runtime::pool_free(PyCapsule_GetPointer(self, nullptr));
  }));
  if (!owner) {
    runtime::pool_free(data_);
    throw py::error_already_set();
  }
  const Numpy& numpy = Numpy::get();
  PyObject* descr = descriptor(dtype);
  Py_INCREF(descr);  // NewFromDescr takes a reference over
  constexpr int flags =
      Numpy::NPY_ARRAY_C_CONTIGUOUS_ | Numpy::NPY_ARRAY_ALIGNED_ | Numpy::NPY_ARRAY_WRITEABLE_;
  object_ = py::reinterpret_steal<py::object>(numpy.PyArray_NewFromDescr_(
      numpy.PyArray_Type_, descr, ndim, shape, nullptr, data_, flags, nullptr));
  if (!object_) throw py::error_already_set();
  if (numpy.PyArray_SetBaseObject_(object_.ptr(), owner.release().ptr()) != 0) {
    throw py::error_already_set();
  }
}

Result Result::like(const char* op, const Array& array) {
  return Result(op, array.dtype(), array.dims());
}

int64_t work_of(std::initializer_list<int64_t> sizes) {
  constexpr double most = 1e18;
  double work = 1;
  for (const int64_t size : sizes) work *= static_cast<double>(size);
  return static_cast<int64_t>(work < most ? work : most);
}

void take_interpreter_back(PyThreadState* state) noexcept {
#if defined(__GLIBCXX__)
  // Before Python 3.14 the call ends such a thread with pthread_exit, whose unwinding would drop
  // references without holding the interpreter. Waiting for the process to end is what later
  // versions do.
  try {
    PyEval_RestoreThread(state);
  } catch (const abi::__forced_unwind&) {
    for (;;) pause();
  }
#else
  PyEval_RestoreThread(state);
#endif
}

const Run& KernelScope::with_workspace(const char* op, int64_t bytes) {
  if (bytes == 0) return run_;
  run_.workspace = runtime::pool_allocate(bytes);
  workspace_bytes_ = bytes;
  if (run_.workspace != nullptr) return run_;
  if (thread_state_ != nullptr) take_interpreter_back(std::exchange(thread_state_, nullptr));
  raise(PyExc_MemoryError,
        std::string(op) + ": cannot allocate a workspace of " + std::to_string(bytes) + " bytes");
}

void check_same_dtype(const char* op, const Array& first, const Array& other) {
  if (!other || first.dtype() == other.dtype()) return;
  raise_type(std::string(op) + ": " + other.name() + " is " + dtype_name(other.dtype()) + ", but " +
             first.name() + " is " + dtype_name(first.dtype()));
}

void check_shape(const char* op, const Array& array, const Dims& expected, const char* why) {
  if (array) check_sizes(op, array.name(), array.sizes(), expected, why);
}

void check_sizes(const char* op, const char* name, std::span<const int64_t> sizes,
                 const Dims& expected, const char* why) {
  if (std::equal(sizes.begin(), sizes.end(), expected.begin(), expected.end())) return;
  raise_value(std::string(op) + ": " + name + " has shape " + shape_text(sizes) + ", expected " +
              shape_text(expected) + " " + why);
}

}  // namespace rushlight::bindings
