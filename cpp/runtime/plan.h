// A net as a list of steps, each a kernel with its shapes and the places that it reads and writes.
// One call runs all of them; any number of threads may run one plan at the same time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/parallel.h"

namespace rushlight::runtime {

// Where an operand lies: so many bytes behind the start of the arena, of an argument of the call,
// or of memory that outlives the plan.
struct Place {
  enum class Kind { none, arena, input, output, constant };

  Kind kind = Kind::none;
  int64_t index = 0;  // of the input or output
  int64_t offset = 0;
  const void* constant = nullptr;
};

// What one call works on.
struct Memory {
  char* arena;
  const void* const* inputs;
  void* const* outputs;

  // Null for a place of kind none.
  template <class T>
  T* at(const Place& place) const {
    return static_cast<T*>(const_cast<void*>(address(place)));
  }

 private:
  const void* address(const Place& place) const {
    switch (place.kind) {
      case Place::Kind::arena:
        return arena + place.offset;
      case Place::Kind::input:
        return static_cast<const char*>(inputs[place.index]) + place.offset;
      case Place::Kind::output:
        return static_cast<char*>(outputs[place.index]) + place.offset;
      case Place::Kind::constant:
        return place.constant;
      case Place::Kind::none:
        break;
    }
    return nullptr;
  }
};

class Step {
 public:
  explicit Step(int64_t work) : work_(work) {}
  virtual ~Step() = default;
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;

  int64_t work() const { return work_; }
  virtual int64_t workspace(int) const { return 0; }  // bytes, for so many slots
  virtual void run(const Memory& memory, const Run& run) const = 0;

  // Nanoseconds of the last run, whichever thread did it: a clock costs less than deciding not to.
  void took(int64_t nanoseconds) const { took_.store(nanoseconds, std::memory_order_relaxed); }
  int64_t took() const { return took_.load(std::memory_order_relaxed); }

 private:
  int64_t work_;
  mutable std::atomic<int64_t> took_{0};
};

class Plan {
 public:
  explicit Plan(int64_t arena_bytes) : arena_bytes_(arena_bytes) {}

  void add(std::unique_ptr<Step> step);
  int64_t size() const { return static_cast<int64_t>(steps_.size()); }
  int64_t arena_bytes() const { return arena_bytes_; }
  // What the most demanding step needs beside its operands.
  int64_t workspace_bytes() const { return workspace(num_slots()); }

  // False if there is no memory.
  bool run(const void* const* inputs, void* const* outputs) const;
  const std::vector<std::unique_ptr<Step>>& steps() const { return steps_; }

 private:
  static int num_slots();
  int64_t workspace(int slots) const;

  int64_t arena_bytes_;
  std::vector<std::unique_ptr<Step>> steps_;
  // The workspace as last computed and the slots that it is for, in one word: 48 and 16 bits.
  mutable std::atomic<uint64_t> known_workspace_{0};
};

}  // namespace rushlight::runtime
