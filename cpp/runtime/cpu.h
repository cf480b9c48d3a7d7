#pragma once

#include <cstdint>

namespace rushlight::runtime {

// The Feature bits (kernels/table.h) that both this processor and its operating system support.
uint32_t cpu_features();

}  // namespace rushlight::runtime
