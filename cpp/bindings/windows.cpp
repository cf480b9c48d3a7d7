#include "bindings/windows.h"

namespace rushlight::bindings {
namespace {

[[noreturn]] void raise_overflow(const char* op, const char* axis, const char* what,
                                 int64_t value) {
  raise_value(std::string(op) + ": " + what + "=" + std::to_string(value) +
              " is too large along the " + axis + ": the window arithmetic overflows 64 bits");
}

}  // namespace

int64_t window_count(const char* op, const char* axis, const Window& w) {
  int64_t reach = 0;  // from the first tap to the last
  if (__builtin_mul_overflow(w.dilation, w.kernel - 1, &reach)) {
    raise_overflow(op, axis, "dilation", w.dilation);
  }
  int64_t both = 0, padded = 0;
  if (__builtin_mul_overflow(w.padding, int64_t{2}, &both) ||
      __builtin_add_overflow(w.size, both, &padded)) {
    raise_overflow(op, axis, "padding", w.padding);
  }
  const int64_t room = padded - reach - 1;
  // Rounding up lets a window hang over the end, also the only one.
  if (room < 0 && w.ceil_mode && room > -w.stride) return 1;
  if (room < 0) {
    raise_value(std::string(op) + ": the kernel spans " +
                std::to_string(static_cast<uint64_t>(reach) + 1) + " along the " + axis +
                ", but the padded input has only " + std::to_string(padded));
  }
  int64_t count = room / w.stride + 1;
  if (w.ceil_mode && room % w.stride != 0) {
    int64_t start = 0;
    if (__builtin_mul_overflow(count, w.stride, &start))
      raise_overflow(op, axis, "stride", w.stride);
    // The extra window must start inside the input or its left padding.
    if (start < w.size + w.padding) ++count;
  }
  return count;
}

}  // namespace rushlight::bindings
