#include "bindings/prepared.h"

#include <cstring>

#include "bindings/arguments.h"
#include "bindings/families.h"

namespace rushlight::bindings {

CachedWeight::CachedWeight(WeightCacheObject* cache, int64_t version, py::handle object,
                           const Array& weight, const runtime::WeightKey& key)
    : cache_(cache), version_(version), data_(weight.data<void>()), key_(key) {
  if (cache == nullptr || key.prepared.bytes == 0 || weight.is_copy()) return;
  found_ = cache->cache.find(data_, version, key);
  if (found_.block == nullptr || found_.is_new) {
    cache->array = py::reinterpret_borrow<py::object>(object);
  }
}

EpilogueArguments::EpilogueArguments(const char* op, const Array& src, int64_t channels,
                                     const Dims& dst, py::handle bias, py::handle scale,
                                     py::handle residual, const ClampArgument& clamp)
    : shift_(Array::optional(op, "bias", bias)),
      scale_(Array::optional(op, "scale", scale)),
      residual_(Array::optional(op, "residual", residual)),
      clamp_(clamp) {
  for (const Array* each : {&shift_, &scale_, &residual_}) check_same_dtype(op, src, *each);
  check_shape(op, shift_, {channels}, "as weight has outputs");
  check_shape(op, scale_, {channels}, "as weight has outputs");
  check_shape(op, residual_, dst, "the shape of the result");
  if (!scale_ || shift_) return;
  zeros_ = Result::like(op, scale_);
  std::memset(zeros_.data<void>(), 0, static_cast<size_t>(channels * item_size(src.dtype())));
}

void bind_weight_cache(py::module_& m) {
  py::class_<WeightCacheObject>(m, "WeightCache").def(py::init<>());
  m.def("weight_cache_stats", [] {
    const runtime::WeightCacheStats stats = runtime::weight_cache_stats();
    py::dict result;
    result["bytes"] = stats.bytes;
    result["limit"] = stats.limit;
    result["blocks"] = stats.blocks;
    return result;
  });
  m.def(
      "set_weight_cache_limit",
      [](py::handle limit) {
        const int64_t bytes = integer("set_weight_cache_limit", "limit", limit);
        if (bytes < 0) {
          raise_value("set_weight_cache_limit: limit must not be negative, got " +
                      std::to_string(bytes));
        }
        runtime::set_weight_cache_limit(bytes);
      },
      py::arg("limit"));
}

}  // namespace rushlight::bindings
