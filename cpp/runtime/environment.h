#pragma once

#include <cstdint>
#include <optional>

namespace rushlight::runtime {

// The environment variable as an integer in [low, high]; nothing if it is unset or empty. Throws
// std::invalid_argument that names the variable, what it holds and what it may hold.
std::optional<int64_t> environment_integer(const char* name, int64_t low, int64_t high);

}  // namespace rushlight::runtime
