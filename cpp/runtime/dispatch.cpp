#include "runtime/dispatch.h"

#include <cstdlib>
#include <stdexcept>

#include "runtime/cpu.h"

#define X(name)                          \
  namespace rushlight::name {            \
  extern const KernelTable kernel_table; \
  }
#include "tables.inc"
#undef X

namespace rushlight::runtime {
namespace {

const KernelTable* const all_tables[] = {
#define X(name) &rushlight::name::kernel_table,
#include "tables.inc"
#undef X
};

std::vector<const KernelTable*> runnable_tables() {
  const uint32_t features = cpu_features();
  std::vector<const KernelTable*> found;
  for (const bool test_only : {false, true}) {
    for (const KernelTable* table : all_tables) {
      const bool runs = (table->features & ~features) == 0;
      if (runs && table->test_only == test_only) found.push_back(table);
    }
  }
  return found;
}

std::string joined_names() {
  std::string text;
  for (const std::string& name : isa_names()) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

std::atomic<const KernelTable*> current_table{nullptr};

std::vector<std::string> isa_names() {
  std::vector<std::string> names;
  for (const KernelTable* table : runnable_tables()) names.emplace_back(table->name);
  return names;
}

void set_isa(std::string_view name) {
  for (const KernelTable* table : runnable_tables()) {
    if (name != table->name) continue;
    current_table.store(table, std::memory_order_release);
    return;
  }
  bool known = false;
  for (const KernelTable* table : all_tables) known = known || name == table->name;
  throw std::invalid_argument("instruction set '" + std::string(name) + "' " +
                              (known ? "cannot run on this machine" : "is unknown") +
                              "; valid here: " + joined_names());
}

void choose_isa_at_import() {
  const char* forced = std::getenv("RUSHLIGHT_ISA");
  if (forced != nullptr && *forced != '\0') {
    try {
      set_isa(forced);
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument(std::string("RUSHLIGHT_ISA: ") + error.what());
    }
    return;
  }
  const std::vector<const KernelTable*> tables = runnable_tables();
  if (tables.empty() || tables.front()->test_only) {
    throw std::runtime_error("this processor runs none of the compiled instruction sets");
  }
  current_table.store(tables.front(), std::memory_order_release);
}

}  // namespace rushlight::runtime
