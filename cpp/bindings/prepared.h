// What forward of conv2d and linear take beside their tensors: the weight's cache and the epilogue.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <utility>

#include "bindings/arguments.h"
#include "kernels/epilogue.h"
#include "runtime/weight_cache.h"

namespace rushlight::bindings {

// What Python keeps beside a weight's storage. It holds on to the array that the blocks were made
// from, so that no other array can take its address.
struct WeightCacheObject {
  runtime::WeightCache cache;
  py::object array;
};

// The prepared form of a weight for one call: found, to be made, or none.
class CachedWeight {
 public:
  // Looks the weight up; no cache, and a weight that had to be copied, find nothing.
  CachedWeight(WeightCacheObject* cache, int64_t version, py::handle object, const Array& weight,
               const runtime::WeightKey& key);

  template <class T>
  T* data() const {
    return found_.block == nullptr ? nullptr : static_cast<T*>(found_.block->data());
  }
  bool is_new() const { return found_.is_new && found_.block != nullptr; }
  // Keeps a block that was new and has been filled.
  void keep() {
    if (is_new()) cache_->cache.keep(data_, version_, key_, std::move(found_.block));
  }

 private:
  WeightCacheObject* cache_;
  int64_t version_;
  const void* data_;
  runtime::WeightKey key_;
  runtime::WeightCache::Found found_;
};

template <class T>
void set_clamp(const ClampArgument& clamp, Epilogue<T>& epilogue) {
  if (!clamp.given) return;
  epilogue.activation = Activation::clamp;
  epilogue.low = static_cast<T>(clamp.low);
  epilogue.high = static_cast<T>(clamp.high);
}

// The arrays and numbers of an epilogue, checked against dst.
class EpilogueArguments {
 public:
  EpilogueArguments(const char* op, const Array& src, int64_t channels, const Dims& dst,
                    py::handle bias, py::handle scale, py::handle residual,
                    const ClampArgument& clamp);

  template <class T>
  Epilogue<T> get() const {
    const T* shift = shift_ ? shift_.data<T>() : zeros_.data<T>();
    Epilogue<T> epilogue{scale_.data<T>(), shift, residual_.data<T>()};
    set_clamp(clamp_, epilogue);
    return epilogue;
  }

 private:
  Array shift_, scale_, residual_;
  Result zeros_;  // a shift for a scale that came without
  ClampArgument clamp_;
};

// dst = the epilogue of a kernel family's forward, which reads a prepared weight where there is
// one.
template <class T, class Kernels, class Shape>
void run_forward(const char* op, const Kernels& kernels, const Shape& shape, int64_t work,
                 const T* src, const T* weight, CachedWeight& cached, const Epilogue<T>& epilogue,
                 T* dst) {
  {
    KernelScope scope(work);
    T* prepared = cached.data<T>();
    const int64_t bytes = kernels.forward_workspace(shape, prepared != nullptr, scope.slots());
    const Run& run = scope.with_workspace(op, bytes);
    if (cached.is_new()) kernels.prepare(run, shape, weight, prepared);
    kernels.forward(scope.again(), shape, src, weight, prepared, epilogue, dst);
  }
  cached.keep();
}

}  // namespace rushlight::bindings
