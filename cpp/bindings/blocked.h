// Images in blocks of channels as Python holds them: what convolutions and the operations between
// them hand to each other without turning it back. See kernels/blocked.h.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "bindings/arrays.h"

namespace rushlight::bindings {

// [n, c, h, w] in an array [n, blocks, h, w, lanes]. Lanes without a channel hold zeros.
class Blocked {
 public:
  using Sizes = std::array<int64_t, 4>;

  // `array` must have the blocks of `sizes` as the instruction set in use cuts them.
  Blocked(py::object array, const Sizes& sizes, int64_t lanes)
      : array_(std::move(array)), sizes_(sizes), lanes_(lanes) {}
  // Of planes, checked. Raises TypeError and ValueError.
  static Blocked from_planes(const char* op, const Array& planes);

  const py::object& array() const { return array_; }
  const Sizes& sizes() const { return sizes_; }
  py::tuple shape() const { return py::make_tuple(sizes_[0], sizes_[1], sizes_[2], sizes_[3]); }
  int64_t lanes() const { return lanes_; }
  // Whether kernels can read it: no other instruction set was chosen since it was made.
  bool fits(DType dtype) const;
  // As a new array [n, c, h, w].
  py::object plain() const;
  // The same array for everybody who asks while somebody holds it.
  py::object shared_plain();
  Blocked copy() const;

 private:
  py::object array_;
  Sizes sizes_;
  int64_t lanes_;
  py::object shared_;  // a weak reference, if any
};

// Null for anything else.
const Blocked* as_blocked(py::handle object);

// A new blocked image.
class BlockedResult {
 public:
  BlockedResult() = default;
  BlockedResult(const char* op, DType dtype, const Blocked::Sizes& sizes);

  template <class T>
  T* data() const {
    return memory_.data<T>();
  }
  py::object release() { return data<void>() == nullptr ? py::none() : py::cast(take()); }
  Blocked take() { return Blocked(memory_.release(), sizes_, lanes_); }

 private:
  Result memory_;
  Blocked::Sizes sizes_{};
  int64_t lanes_ = 0;
};

// An argument that may be blocked, for operations that work element by element: its array, and what
// makes their result blocked again.
class Elements {
 public:
  explicit Elements(py::handle object) : blocked_(as_blocked(object)), object_(object) {}

  bool is_blocked() const { return blocked_ != nullptr; }
  py::handle array() const { return blocked_ == nullptr ? object_ : py::handle(blocked_->array()); }
  py::object wrap(py::object result) const {
    if (blocked_ == nullptr) return result;
    return py::cast(Blocked(std::move(result), blocked_->sizes(), blocked_->lanes()));
  }
  const Blocked* blocked() const { return blocked_; }

 private:
  const Blocked* blocked_;
  py::handle object_;
};

// Two arguments of an operation that works element by element: the second in the layout of the
// first.
class SameLayout {
 public:
  SameLayout(const char* op, py::handle first, py::handle second)
      : first_(first),
        turned_(turned(op, first_, second)),
        second_(turned_ ? py::handle(turned_) : second) {}

  const Elements& first() const { return first_; }
  const Elements& second() const { return second_; }

 private:
  // The second where it has to be turned, else null.
  static py::object turned(const char* op, const Elements& first, py::handle second);

  Elements first_;
  py::object turned_;
  Elements second_;
};

// Images in either layout, [n, c, h, w] by their sizes. The other layout is made when asked for.
class Images {
 public:
  Images(const char* op, const char* name, py::handle object);

  bool is_blocked() const { return blocked_ != nullptr; }
  const Blocked& blocked() const { return *blocked_; }
  DType dtype() const { return given_.dtype(); }
  std::span<const int64_t> sizes() const {
    return blocked_ == nullptr ? given_.sizes() : std::span<const int64_t>(blocked_->sizes());
  }
  // The array that was given, in either layout.
  const Array& given() const { return given_; }
  const Array& planes();
  const Array& blocks();

 private:
  const char *op_, *name_;
  const Blocked* blocked_;
  py::object memory_;  // where the blocks that were given could not be read
  Array given_;
  py::object turned_;
  std::optional<Array> other_;
};

// A result in the layout and of the sizes of an argument.
class LikeImages {
 public:
  LikeImages() = default;
  LikeImages(const char* op, const Images& images) : memory_(Result::like(op, images.given())) {
    if (images.is_blocked())
      like_.emplace(py::none(), images.blocked().sizes(), images.blocked().lanes());
  }

  template <class T>
  T* data() const {
    return memory_.data<T>();
  }
  py::object release() {
    if (data<void>() == nullptr || !like_) return memory_.release();
    return py::cast(Blocked(memory_.release(), like_->sizes(), like_->lanes()));
  }

 private:
  Result memory_;
  std::optional<Blocked> like_;  // where it is blocked: without an array
};

}  // namespace rushlight::bindings
