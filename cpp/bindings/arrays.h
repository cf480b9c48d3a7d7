// NumPy arrays at the border: checked arguments in, pool memory out. Talks to NumPy's C interface
// directly, because pybind11's array types cost several times more than a tiny kernel.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/parallel.h"
#include "runtime/buffer_pool.h"
#include "runtime/dispatch.h"
#include "runtime/float_mode.h"
#include "runtime/thread_pool.h"

namespace rushlight::bindings {

namespace py = pybind11;
using Numpy = py::detail::npy_api;
using Dims = std::vector<int64_t>;

enum class DType { f32, f64, i64, boolean };

// Sets the Python error and throws it. The text starts with the name of the operation.
[[noreturn]] void raise(PyObject* type, const std::string& text);
// rushlight.OperationError: a ValueError, and a RuntimeError for those who know PyTorch's errors.
PyObject* operation_error();
[[noreturn]] inline void raise_value(const std::string& text) {
  raise(operation_error(), text);
}
[[noreturn]] inline void raise_type(const std::string& text) {
  raise(PyExc_TypeError, text);
}

const char* dtype_name(DType dtype);
int64_t item_size(DType dtype);
PyObject* descriptor(DType dtype);  // borrowed

// As Python prints a tuple.
std::string shape_text(std::span<const int64_t> sizes);

// 64-bit arithmetic that raises ValueError, naming the operation, where the result does not fit.
int64_t checked_mul(const char* op, int64_t a, int64_t b);
int64_t checked_add(const char* op, int64_t a, int64_t b);
int64_t element_count(const char* op, const int64_t* dims, int ndim);

enum class Access { read, strided, write };

// An array argument. Checked on construction: a NumPy array of native float32 or float64 (or of the
// one given type).
//   read     C-contiguous and aligned, by a copy where it must be
//   strided  aligned and with strides of whole elements, by a copy where it must be
//   write    must be C-contiguous, aligned and writable as it is
class Array {
 public:
  Array(const char* op, const char* name, py::handle object, Access access = Access::read);
  Array(const char* op, const char* name, py::handle object, DType only,
        Access access = Access::read);
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  // None gives an empty argument, which tests false.
  static Array optional(const char* op, const char* name, py::handle object,
                        Access access = Access::read) {
    return object.is_none() ? Array(name) : Array(op, name, object, access);
  }

  // Whether the object is a NumPy array of native float32 or float64.
  static bool is_floating(py::handle object);

  explicit operator bool() const { return proxy_ != nullptr; }
  DType dtype() const { return dtype_; }
  int ndim() const { return proxy_->nd; }
  int64_t dim(int axis) const { return static_cast<int64_t>(proxy_->dimensions[axis]); }
  int64_t stride(int axis) const;  // in elements
  int64_t size() const;
  std::span<const int64_t> sizes() const {
    return {reinterpret_cast<const int64_t*>(proxy_->dimensions), static_cast<size_t>(proxy_->nd)};
  }
  Dims dims() const { return Dims(proxy_->dimensions, proxy_->dimensions + proxy_->nd); }
  std::string shape_text() const;
  const char* name() const { return name_; }
  bool is_copy() const { return static_cast<bool>(copy_); }
  // Whether a kernel may write to it: C-contiguous, aligned and writable.
  bool is_writable_as_it_is() const;

  // Null for an absent optional argument.
  template <class T>
  const T* data() const {
    return proxy_ == nullptr ? nullptr : reinterpret_cast<const T*>(proxy_->data);
  }
  template <class T>
  T* mutable_data() const {
    return proxy_ == nullptr ? nullptr : reinterpret_cast<T*>(proxy_->data);
  }

 private:
  explicit Array(const char* name) : name_(name) {}
  void take(const char* op, py::handle object, Access access);

  const char* name_;
  DType dtype_ = DType::f32;
  py::detail::PyArray_Proxy* proxy_ = nullptr;
  py::object copy_;  // owns the contiguous copy, if one was made
};

// A new C-contiguous array in pool memory. Raises ValueError if the size overflows, MemoryError if
// there is none.
class Result {
 public:
  Result() = default;
  Result(const char* op, DType dtype, const int64_t* dims, int ndim);
  Result(const char* op, DType dtype, const Dims& dims)
      : Result(op, dtype, dims.data(), static_cast<int>(dims.size())) {}
  Result(const char* op, DType dtype, std::initializer_list<int64_t> dims)
      : Result(op, dtype, dims.begin(), static_cast<int>(dims.size())) {}
  static Result like(const char* op, const Array& array);

  template <class T>
  T* data() const {
    return static_cast<T*>(data_);
  }
  // The array, or None if this result was never made.
  py::object release() { return data_ == nullptr ? py::none() : std::move(object_); }

 private:
  py::object object_;
  void* data_ = nullptr;
};

// A product of sizes as an amount of work for KernelScope; it only has to be right while it is
// small.
int64_t work_of(std::initializer_list<int64_t> sizes);

// PyEval_RestoreThread, except that a thread that comes back while the interpreter is shutting down
// stops for good.
void take_interpreter_back(PyThreadState* state) noexcept;

// Around every kernel: flushes denormals, decides from the amount of work (multiply-adds, or twice
// the elements) whether threads take part, and then also lets other Python threads run; holds the
// workspace.
class KernelScope {
 public:
  explicit KernelScope(int64_t work)
      : run_{work < runtime::kThreadedWork ? 1 : runtime::num_threads(), nullptr},
        thread_state_(work < runtime::kThreadedWork ? nullptr : PyEval_SaveThread()) {}
  ~KernelScope() {
    if (thread_state_ != nullptr) take_interpreter_back(thread_state_);
    if (run_.workspace != nullptr) runtime::pool_free(run_.workspace);
  }
  KernelScope(const KernelScope&) = delete;
  KernelScope& operator=(const KernelScope&) = delete;

  int slots() const { return run_.slots; }
  const Run& run() const { return run_; }
  // Raises MemoryError.
  const Run& with_workspace(const char* op, int64_t bytes);
  // The same workspace for one more kernel.
  const Run& again() const {
    runtime::lift_red_zones(run_.workspace, workspace_bytes_);
    return run_;
  }

 private:
  Run run_;
  int64_t workspace_bytes_ = 0;
  PyThreadState* thread_state_;
  runtime::FlushDenormals flush_;
};

// Calls body(T{}) with the C++ type of a floating-point dtype.
template <class Body>
auto with_type(DType dtype, Body&& body) {
  return dtype == DType::f64 ? body(double{}) : body(float{});
}

void check_same_dtype(const char* op, const Array& first, const Array& other);
void check_shape(const char* op, const Array& array, const Dims& expected, const char* why);
void check_sizes(const char* op, const char* name, std::span<const int64_t> sizes,
                 const Dims& expected, const char* why);

}  // namespace rushlight::bindings
