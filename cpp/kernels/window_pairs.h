// Which positions of a small image meet which positions of the result, and under which tap: a table
// for planes of so few pixels that most windows hang over an edge.
#pragma once

#include <stdint.h>

#include "kernels/conv2d.h"
#include "kernels/conv2d_window.h"

namespace rushlight::RUSHLIGHT_ISA {

struct WindowPair {
  int32_t tap, src, dst;
};

// Pairs in groups: all that share a position of dst, a position of src, or a tap.
struct WindowPairs {
  static constexpr int64_t most_positions = 64, most_taps = 64, most_pairs = 2048;
  enum class By { dst, src, tap };

  int64_t groups = 0;
  int32_t begin[most_positions + 1];  // of each group, and the end of the last
  WindowPair pairs[most_pairs];

  // Whether nothing is empty, and all is small enough: planes, windows, and sizes to count with.
  static bool fit(const Conv2dShape& s) {
    constexpr double most_elements = 1.7e13;
    if (s.n == 0 || s.ic == 0 || s.oc == 0 || s.oh == 0 || s.ow == 0) return false;
    const double rows = static_cast<double>(s.n) + most_positions;
    const double channels = static_cast<double>(s.ic) + static_cast<double>(s.oc) + most_positions;
    if (rows * channels * most_positions > most_elements) return false;
    if (s.ih > most_positions || s.iw > most_positions || s.ih * s.iw > most_positions)
      return false;
    if (s.oh > most_positions || s.ow > most_positions || s.oh * s.ow > most_positions)
      return false;
    if (s.kh > most_taps || s.kw > most_taps || s.kh * s.kw > most_taps) return false;
    return count(s) <= most_pairs;
  }

  // Of a shape whose sizes fit.
  static int64_t count(const Conv2dShape& s) {
    int64_t down = 0, across = 0;
    for (int64_t ky = 0; ky < s.kh; ++ky) {
      const Inside rows(source_row(s, 0, ky), s.stride_h, s.oh, s.ih);
      down += rows.high - rows.low;
    }
    for (int64_t kx = 0; kx < s.kw; ++kx) {
      const Inside cols(source_col(s, 0, kx), s.stride_w, s.ow, s.iw);
      across += cols.high - cols.low;
    }
    return down * across;
  }

  WindowPairs(const Conv2dShape& s, By by) {
    const int64_t sizes[] = {s.oh * s.ow, s.ih * s.iw, s.kh * s.kw};
    groups = sizes[static_cast<int>(by)];
    const auto group_of = [by](const WindowPair& pair) {
      return by == By::dst ? pair.dst : by == By::src ? pair.src : pair.tap;
    };
    // Counted, then sorted into their groups.
    for (int64_t i = 0; i <= groups; ++i) begin[i] = 0;
    for_each(s, [&](const WindowPair& pair) { ++begin[group_of(pair) + 1]; });
    for (int64_t i = 0; i < groups; ++i) begin[i + 1] += begin[i];
    int32_t next[most_positions];
    for (int64_t i = 0; i < groups; ++i) next[i] = begin[i];
    for_each(s, [&](const WindowPair& pair) { pairs[next[group_of(pair)]++] = pair; });
  }

 private:
  template <class Body>
  static void for_each(const Conv2dShape& s, const Body& body) {
    for (int64_t ky = 0; ky < s.kh; ++ky) {
      const Inside rows(source_row(s, 0, ky), s.stride_h, s.oh, s.ih);
      for (int64_t kx = 0; kx < s.kw; ++kx) {
        const Inside cols(source_col(s, 0, kx), s.stride_w, s.ow, s.iw);
        for (int64_t oy = rows.low; oy < rows.high; ++oy) {
          for (int64_t ox = cols.low; ox < cols.high; ++ox) {
            const int64_t src = source_row(s, oy, ky) * s.iw + source_col(s, ox, kx);
            body(WindowPair{static_cast<int32_t>(ky * s.kw + kx), static_cast<int32_t>(src),
                            static_cast<int32_t>(oy * s.ow + ox)});
          }
        }
      }
    }
  }
};

}  // namespace rushlight::RUSHLIGHT_ISA
