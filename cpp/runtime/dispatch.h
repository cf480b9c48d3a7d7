// Which kernel table runs.
#pragma once

#include <atomic>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/table.h"

namespace rushlight::runtime {

extern std::atomic<const KernelTable*> current_table;

inline const KernelTable& table() {
  return *current_table.load(std::memory_order_acquire);
}

template <class T>
const Kernels<T>& kernels();
template <>
inline const Kernels<float>& kernels<float>() {
  return table().f32;
}
template <>
inline const Kernels<double>& kernels<double>() {
  return table().f64;
}

// Names of the tables that this machine can run, best first, test-only ones last.
std::vector<std::string> isa_names();

// Throws std::invalid_argument, listing the valid names, if `name` is unknown or cannot run here.
void set_isa(std::string_view name);

// The table named by RUSHLIGHT_ISA, else the best. Throws as set_isa does.
void choose_isa_at_import();

}  // namespace rushlight::runtime
