#pragma once

#include <stdint.h>

namespace rushlight {

// A weight in the order in which a kernel reads it. Of one weight and one kernel table, equal
// layouts are interchangeable.
struct PreparedWeight {
  int64_t bytes;   // 0: the kernel reads the weight as it is
  int64_t layout;  // a number that the kernel chooses
};

}  // namespace rushlight
