#pragma once

#include <stdint.h>

#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

RUSHLIGHT_INLINE int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}
RUSHLIGHT_INLINE int64_t larger(int64_t a, int64_t b) {
  return a > b ? a : b;
}
RUSHLIGHT_INLINE int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
RUSHLIGHT_INLINE int64_t round_up(int64_t a, int64_t step) {
  return ceil_div(a, step) * step;
}

}  // namespace rushlight::RUSHLIGHT_ISA
