// What the operating system lets this process use.
#pragma once

#include <cstdint>

namespace rushlight::runtime {

// Processors allowed by the affinity mask and the cgroup quota (v1 or v2, rounded up), at least 1.
int usable_cpus();

// Bytes of memory: the machine's, or the cgroup's limit where that is lower.
int64_t usable_memory();

}  // namespace rushlight::runtime
