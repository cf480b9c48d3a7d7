// A plan as Python builds it: places are checked against the sizes of what they lie in.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/arrays.h"
#include "runtime/plan.h"
#include "runtime/plan_steps.h"
#include "runtime/weight_cache.h"

namespace rushlight::bindings {

// The weights of a compiled module as kernels read them, shared by its plans. The name of a weight
// stands for its values.
class PlanWeights {
 public:
  // Made by `fill`, called with the memory, where there is none yet. Raises MemoryError. The
  // interpreter's lock guards the list; it is let go only inside `fill`.
  template <class Fill>
  std::shared_ptr<runtime::WeightBlock> find(const char* op, const std::string& name,
                                             const runtime::WeightKey& key, const Fill& fill) {
    for (const Entry& each : entries_) {
      if (each.name == name && each.key == key) return each.block;
    }
    auto block =
        runtime::WeightBlock::make(key.prepared.bytes, runtime::WeightBlock::Limit::ignored);
    if (block == nullptr) {
      raise(PyExc_MemoryError, std::string(op) + ": cannot allocate " +
                                   std::to_string(key.prepared.bytes) + " bytes for a weight");
    }
    drop_unused();
    fill(block->data());
    entries_.push_back({name, key, block});
    bytes_ += key.prepared.bytes;
    return block;
  }
  int64_t bytes() const { return bytes_; }

 private:
  // Lets go what only plans held that are gone.
  void drop_unused() {
    std::erase_if(entries_, [this](const Entry& each) {
      if (each.block.use_count() > 1) return false;
      bytes_ -= each.key.prepared.bytes;
      return true;
    });
  }

  struct Entry {
    std::string name;
    runtime::WeightKey key;
    std::shared_ptr<runtime::WeightBlock> block;
  };

  std::vector<Entry> entries_;
  int64_t bytes_ = 0;
};

// What an argument or a result of a plan is.
struct PlanValue {
  Dims dims;
  DType dtype;
  int64_t bytes;
};

struct PlanObject {
  PlanObject(py::handle arena_bytes, py::handle inputs, py::handle outputs);

  // What a step reads: a tuple (kind, index, offset) of which `bytes` bytes are used, or an array,
  // which is kept.
  runtime::Place source(const char* op, const char* name, py::handle object, int64_t bytes);
  // A source, or None.
  runtime::Place optional_source(const char* op, const char* name, py::handle object,
                                 int64_t bytes);
  // What a step writes: a tuple as above, in the arena or in a result.
  runtime::Place target(const char* op, const char* name, py::handle object, int64_t bytes);
  // An array of the dtype and of so many elements; or None.
  runtime::Place constant(const char* op, const char* name, py::handle object, DType dtype,
                          int64_t count);

  // Whether a plan made now would have the same kernels and algorithms.
  bool is_current() const;

  runtime::Plan plan;
  std::vector<PlanValue> inputs, outputs;

 private:
  runtime::Place inside(const char* op, const char* name, py::handle object, int64_t bytes) const;

  std::vector<py::object> kept_;
  const KernelTable* table_;
  bool has_winograd_;
};

}  // namespace rushlight::bindings
