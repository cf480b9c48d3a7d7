// Arithmetic of sliding windows, in 64 bits that never wrap.
#pragma once

#include <cstdint>

#include "bindings/arguments.h"
#include "bindings/arrays.h"

namespace rushlight::bindings {

// One axis of a convolution or a pooling.
struct Window {
  int64_t size;  // of the input
  int64_t kernel;
  int64_t stride;
  int64_t padding;
  int64_t dilation;
  bool ceil_mode = false;
};

// How many windows fit. Raises ValueError if the arithmetic overflows or no window fits.
int64_t window_count(const char* op, const char* axis, const Window& window);

}  // namespace rushlight::bindings
