#include "runtime/environment.h"

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

namespace rushlight::runtime {

std::optional<int64_t> environment_integer(const char* name, int64_t low, int64_t high) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') return std::nullopt;
  const char* end = text + std::strlen(text);
  int64_t value = 0;
  const auto [stopped, error] = std::from_chars(text, end, value);
  if (error != std::errc() || stopped != end || value < low || value > high) {
    throw std::invalid_argument(std::string(name) + ": expected an integer from " +
                                std::to_string(low) + " to " + std::to_string(high) + ", got '" +
                                text + "'");
  }
  return value;
}

}  // namespace rushlight::runtime
