// Functions that report or change how kernels run, and uninitialised arrays.
#include <algorithm>
#include <limits>

#include "bindings/arguments.h"
#include "bindings/arrays.h"
#include "bindings/families.h"
#include "runtime/weight_cache.h"

namespace rushlight::bindings {
namespace {

py::dict isa_probe() {
  const KernelTable& table = runtime::table();
  py::dict probe;
  probe["name"] = table.name;
  probe["lanes"] = table.vector_bytes / static_cast<int>(sizeof(float));
  probe["fma"] = table.fma;
  probe["macros"] = table.macros;
  return probe;
}

py::dict pool_stats() {
  const runtime::PoolStats stats = runtime::pool_stats();
  py::dict result;
  result["in_use"] = stats.in_use;
  result["cached"] = stats.cached;
  result["limit"] = stats.limit;
  result["hits"] = stats.hits;
  result["misses"] = stats.misses;
  return result;
}

py::dict build_info() {
  py::dict info;
#if defined(__clang__)
  info["compiler"] = "clang " __clang_version__;
#else
  info["compiler"] = "gcc " __VERSION__;
#endif
  info["flags"] = RUSHLIGHT_BUILD_FLAGS;
  info["isas"] = RUSHLIGHT_BUILD_ISAS;
  return info;
}

void set_num_threads(py::handle n) {
  const int64_t count = integer("set_num_threads", "n", n);
  constexpr int64_t most = std::numeric_limits<int>::max();
  runtime::set_num_threads(static_cast<int>(std::clamp<int64_t>(count, -1, most)));
}

// Errors name the operation.
py::object empty(py::handle shape, py::handle dtype_object, const std::string& operation) {
  const char* op = operation.c_str();
  const Dims dims = integers(op, "shape", shape);
  return Result(op, dtype_argument(op, "dtype", dtype_object), dims).release();
}

}  // namespace

void bind_config(py::module_& m) {
  m.attr("OperationError") = py::handle(operation_error());
  m.def("isa", [] { return runtime::table().name; });
  m.def("isas", [] {
    py::list names;
    for (const std::string& name : runtime::isa_names()) names.append(name);
    return names;
  });
  m.def("isa_probe", &isa_probe);
  m.def("set_isa", [](const std::string& name) { runtime::set_isa(name); }, py::arg("name"));
  m.def("get_num_threads", &runtime::num_threads);
  m.def("set_num_threads", &set_num_threads, py::arg("n"));
  m.def("pool_stats", &pool_stats);
  m.def("empty_cache", [] {
    runtime::empty_weight_caches();
    runtime::pool_empty_cache();
  });
  m.def("build_info", &build_info);
  m.def("empty", &empty, py::arg("shape"), py::arg("dtype"), py::arg("operation") = "empty");
}

}  // namespace rushlight::bindings
