// Sums over dimensions.
#include <algorithm>

#include "bindings/arguments.h"
#include "bindings/arrays.h"
#include "bindings/families.h"

namespace rushlight::bindings {
namespace {

// Which dimensions are summed: those named, or all for None.
std::vector<bool> summed_dims(const char* op, int ndim, py::handle object) {
  std::vector<bool> summed(static_cast<size_t>(ndim), object.is_none());
  if (object.is_none()) return summed;
  for (const int64_t dim : integers(op, "dims", object)) {
    if (dim < 0 || dim >= ndim || summed[static_cast<size_t>(dim)]) {
      raise_value(std::string(op) + ": dims must be different dimensions from 0 to " +
                  std::to_string(ndim - 1) + ", got " + std::string(py::str(object)));
    }
    summed[static_cast<size_t>(dim)] = true;
  }
  return summed;
}

SumShape sum_shape(const Array& src, const std::vector<bool>& summed, double divisor) {
  SumShape shape;
  shape.length = 1;
  shape.inner_is_kept = true;
  shape.divisor = divisor;
  int64_t step = 1;
  bool found_inner = false, last = false;
  // From the innermost dimension outwards; neighbours that are both summed or both kept are one.
  for (int d = src.ndim() - 1; d >= 0; --d) {
    const int64_t size = src.dim(d);
    if (size == 1) continue;
    const bool is_summed = summed[static_cast<size_t>(d)];
    Loop& loop = is_summed ? shape.summed : shape.kept;
    if (!found_inner) {
      shape.inner_is_kept = !is_summed;
      shape.length = size;
    } else if (is_summed != last) {
      loop.size[loop.ndim] = size;
      loop.step[loop.ndim++] = step;
    } else if (is_summed != shape.inner_is_kept && loop.ndim == 0) {
      shape.length *= size;
    } else {
      loop.size[loop.ndim - 1] *= size;
    }
    found_inner = true;
    last = is_summed;
    step *= size;
  }
  for (Loop* loop : {&shape.kept, &shape.summed}) {
    std::reverse(loop->size, loop->size + loop->ndim);
    std::reverse(loop->step, loop->step + loop->ndim);
  }
  return shape;
}

template <class T>
void sum_into(const char* op, const SumShape& shape, const Array& src, const Result& dst,
              int64_t count) {
  if (src.size() == 0) {
    std::fill_n(dst.data<T>(), count, static_cast<T>(0 / shape.divisor));
    return;
  }
  const auto& kernels = *runtime::kernels<T>().summation;
  KernelScope scope(src.size());
  const Run& run = scope.with_workspace(op, kernels.workspace(shape));
  kernels.sum(run, shape, src.data<T>(), dst.data<T>());
}

py::object sum(py::handle src_object, py::handle dims_object, bool keepdim, double divisor) {
  const char* op = "sum";
  const Array src(op, "src", src_object);
  if (src.ndim() > Loop::max_dims) {
    raise_value(std::string(op) + ": at most 32 dimensions, got " + std::to_string(src.ndim()));
  }
  const std::vector<bool> summed = summed_dims(op, src.ndim(), dims_object);
  int64_t dims[Loop::max_dims];
  int ndim = 0;
  for (int d = 0; d < src.ndim(); ++d) {
    if (!summed[static_cast<size_t>(d)]) {
      dims[ndim++] = src.dim(d);
    } else if (keepdim) {
      dims[ndim++] = 1;
    }
  }
  const SumShape shape = sum_shape(src, summed, divisor);
  Result dst(op, src.dtype(), dims, ndim);
  const int64_t count = element_count(op, dims, ndim);
  with_type(src.dtype(), [&](auto t) { sum_into<decltype(t)>(op, shape, src, dst, count); });
  return dst.release();
}

}  // namespace

void bind_summation(py::module_& m) {
  m.def("sum", &sum, py::arg("src"), py::arg("dims"), py::arg("keepdim"), py::arg("divisor"));
}

}  // namespace rushlight::bindings
