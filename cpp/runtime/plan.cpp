#include "runtime/plan.h"

#include <algorithm>
#include <chrono>

#include "runtime/buffer_pool.h"
#include "runtime/float_mode.h"
#include "runtime/thread_pool.h"

namespace rushlight::runtime {
namespace {

constexpr int kSizeBits = 48;

int64_t nanoseconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

int64_t aligned(int64_t bytes) {
  constexpr int64_t unit = kAlignment;
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

void Plan::add(std::unique_ptr<Step> step) {
  steps_.push_back(std::move(step));
  known_workspace_ = 0;
}

int Plan::num_slots() {
  return num_threads();
}

int64_t Plan::workspace(int slots) const {
  const uint64_t known = known_workspace_.load(std::memory_order_relaxed);
  if (known >> kSizeBits == static_cast<uint64_t>(slots)) {
    return static_cast<int64_t>(known & ((uint64_t{1} << kSizeBits) - 1));
  }
  int64_t most = 0;
  for (const auto& step : steps_) {
    most = std::max(most, step->workspace(step->work() < kThreadedWork ? 1 : slots));
  }
  known_workspace_ = static_cast<uint64_t>(slots) << kSizeBits | static_cast<uint64_t>(most);
  return most;
}

bool Plan::run(const void* const* inputs, void* const* outputs) const {
  const int slots = num_slots();
  const int64_t scratch = workspace(slots), arena = aligned(arena_bytes_);
  char* block = nullptr;
  if (arena + scratch > 0) {
    block = static_cast<char*>(pool_allocate(arena + scratch));
    if (block == nullptr) return false;
  }
  const FlushDenormals flush;
  const Memory memory{block, inputs, outputs};
  int64_t before = nanoseconds();
  for (const auto& step : steps_) {
    lift_red_zones(block + arena, scratch);
    step->run(memory, {step->work() < kThreadedWork ? 1 : slots, block + arena});
    const int64_t now = nanoseconds();
    step->took(now - before);
    before = now;
  }
  if (block != nullptr) pool_free(block);
  return true;
}

}  // namespace rushlight::runtime
