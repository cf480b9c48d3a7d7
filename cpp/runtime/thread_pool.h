// Threads for the kernels. parallel_for itself is declared in kernels/parallel.h.
#pragma once

#include <cstdint>

namespace rushlight::runtime {

// Below this much work (multiply-adds, or twice the elements) a kernel stays on one thread.
constexpr int64_t kThreadedWork = 65536;

constexpr int kMaxThreads = 1024;

int num_threads();

// Throws std::invalid_argument unless 1 <= count <= kMaxThreads.
void set_num_threads(int count);

// RUSHLIGHT_NUM_THREADS, else what the machine lets us use. Throws std::invalid_argument for a bad
// value.
void configure_threads_at_import();

}  // namespace rushlight::runtime
