// Arguments that are not arrays: integers of any size, pairs, shapes, numbers.
#pragma once

#include <cstdint>

#include "bindings/arrays.h"

namespace rushlight::bindings {

struct Pair {
  int64_t h;
  int64_t w;
};

// TypeError if it is not an integer, ValueError if it does not fit into 64 bits.
int64_t integer(const char* op, const char* name, py::handle object);
// A sequence of integers.
Dims integers(const char* op, const char* name, py::handle object);
// A sequence of two integers, both of them at least `low`.
Pair pair(const char* op, const char* name, py::handle object, int64_t low);
double number(const char* op, const char* name, py::handle object);

// None, or a pair (low, high): what values are moved into. A limit of NaN is none.
struct ClampArgument {
  bool given = false;
  double low, high;  // NaN where not given

  ClampArgument(const char* op, py::handle object);
  // Whether zeros, as in the lanes of a block that no channel fills, stay zeros.
  bool keeps_zeros() const { return !(low > 0) && !(high < 0); }
};

bool flag(const char* op, const char* name, py::handle object);
// A NumPy dtype that is float32, float64, int64 or bool.
DType dtype_argument(const char* op, const char* name, py::handle object);

}  // namespace rushlight::bindings
