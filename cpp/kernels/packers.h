// Packers bring operands into panels. A packer is a small functor; panels are WIDTH wide, `outer`
// runs along the width (rows of A, columns of B) and k along the reduction:
//
//   template <int WIDTH> void pack(T* panel, int64_t outer, int count, int64_t k0, int64_t kc)
//   const
//
// fills panel[k][w] with element (outer + w, k0 + k) for w < count and with zeros up to WIDTH, and
//
//   bool reads_along_outer() const
//
// says whether neighbours along the width are neighbours in memory, and not those along k. A packer
// may also have
//
//   const T* in_place(int64_t outer, int count, int64_t* step) const
//
// which gives element (outer, 0) where `count` columns from `outer` on are neighbours in memory,
// with the elements from one k to the next in *step; else null.
#pragma once

#include <stdint.h>
#include <string.h>

#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

template <class T>
RUSHLIGHT_INLINE void copy_run(T* to, const T* from, int64_t count) {
  using V = Native<T>;
  int64_t i = 0;
  for (; i + V::lanes <= count; i += V::lanes) V::load(from + i).store(to + i);
  if (i < count) V::copy_partial(to + i, from + i, count - i);
}

// to[i] = from[2 * i]. A vector is only read where more follows: the last pair may not exist.
template <class V, class T>
RUSHLIGHT_INLINE int64_t copy_every_second_with(T* to, const T* from, int64_t i, int64_t count) {
  for (; i + V::lanes < count; i += V::lanes) {
    even_lanes(V::load(from + 2 * i), V::load(from + 2 * i + V::lanes)).store(to + i);
  }
  return i;
}
template <class T>
RUSHLIGHT_INLINE void copy_every_second(T* to, const T* from, int64_t count) {
  constexpr int lanes = Native<T>::lanes;
  int64_t i = copy_every_second_with<Native<T>>(to, from, 0, count);
  if constexpr (lanes >= 8) i = copy_every_second_with<Vec<T, lanes / 2>>(to, from, i, count);
  if constexpr (lanes >= 16) i = copy_every_second_with<Vec<T, lanes / 4>>(to, from, i, count);
  for (; i < count; ++i) to[i] = from[2 * i];
}

template <class T>
RUSHLIGHT_INLINE void zero_run(T* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = 0;
}

template <int WIDTH, class T>
inline void zero_columns(T* panel, int64_t from, int64_t kc) {
  if (from == WIDTH) return;
  for (int64_t k = 0; k < kc; ++k) zero_run(panel + k * WIDTH + from, WIDTH - from);
}

// A matrix with any two strides: transposed and sliced views need no copy of their own.
template <class T>
struct MatrixPacker {
  const T* data;
  int64_t outer_stride;
  int64_t k_stride;

  bool reads_along_outer() const { return outer_stride == 1; }
  const T* in_place(int64_t outer, int, int64_t* step) const {
    *step = k_stride;
    return outer_stride == 1 ? data + outer : nullptr;
  }

  template <int WIDTH>
  void pack(T* panel, int64_t outer, int count, int64_t k0, int64_t kc) const {
    const T* from = data + outer * outer_stride + k0 * k_stride;
    if (outer_stride == 1) {
      pack_rows<WIDTH>(panel, from, count, kc);
    } else if (k_stride == 1) {
      pack_columns<WIDTH>(panel, from, count, kc);
      zero_columns<WIDTH>(panel, count, kc);
    } else if (count == WIDTH) {
      pack_strided<WIDTH>(panel, from, WIDTH, kc);
    } else {
      pack_strided<WIDTH>(panel, from, count, kc);
      zero_columns<WIDTH>(panel, count, kc);
    }
  }

 private:
  template <int WIDTH>
  void pack_rows(T* panel, const T* from, int count, int64_t kc) const {
    constexpr int line = 64 / int{sizeof(T)};
    if (count == WIDTH) {
      for (int64_t k = 0; k < kc; ++k, from += k_stride, panel += WIDTH) {
        // Of the next panel: no machine foresees so many rows, each from a page of its own.
        for (int i = 0; i < WIDTH; i += line) __builtin_prefetch(from + WIDTH + i);
        memcpy(panel, from, sizeof(T) * WIDTH);
      }
      return;
    }
    for (int64_t k = 0; k < kc; ++k) copy_run(panel + k * WIDTH, from + k * k_stride, count);
    zero_columns<WIDTH>(panel, count, kc);
  }

  // The transposing case, in blocks of four elements of four, or at the end of two, rows.
  template <int WIDTH>
  void pack_columns(T* panel, const T* from, int count, int64_t kc) const {
    int w = 0;
    if constexpr (WIDTH >= 4) {
      for (; w + 4 <= count; w += 4) turn<4, WIDTH>(panel + w, from + w * outer_stride, kc);
    }
    if constexpr (WIDTH >= 2) {
      for (; w + 2 <= count; w += 2) turn<2, WIDTH>(panel + w, from + w * outer_stride, kc);
    }
    if (w == count) return;
    for (int64_t k = 0; k < kc; ++k) panel[k * WIDTH + w] = from[w * outer_stride + k];
  }
  template <int ROWS, int WIDTH>
  RUSHLIGHT_INLINE void turn(T* to, const T* rows, int64_t kc) const {
    int64_t k = 0;
    for (; k + 4 <= kc; k += 4, to += 4 * WIDTH) {
      if constexpr (ROWS == 4) transpose_4x4(rows + k, outer_stride, to, WIDTH);
      if constexpr (ROWS == 2) transpose_2x4(rows + k, outer_stride, to, WIDTH);
    }
    for (; k < kc; ++k, to += WIDTH) {
      for (int i = 0; i < ROWS; ++i) to[i] = rows[i * outer_stride + k];
    }
  }

  template <int WIDTH>
  RUSHLIGHT_INLINE void pack_strided(T* panel, const T* from, int count, int64_t kc) const {
    for (int64_t k = 0; k < kc; ++k) {
      for (int w = 0; w < count; ++w) panel[k * WIDTH + w] = from[w * outer_stride + k * k_stride];
    }
  }
};

// The planes of several images side by side: outer is the pixel, counted over all images, k the
// channel.
template <class T>
struct PlanesPacker {
  const T* data;
  int64_t plane;
  int64_t image_stride;

  bool reads_along_outer() const { return true; }
  const T* in_place(int64_t outer, int count, int64_t* step) const {
    const int64_t image = outer / plane, pixel = outer % plane;
    *step = plane;
    return pixel + count <= plane ? data + image * image_stride + pixel : nullptr;
  }

  template <int WIDTH>
  void pack(T* panel, int64_t outer, int count, int64_t k0, int64_t kc) const {
    int64_t image = outer / plane, pixel = outer % plane;
    if (pixel + count <= plane) {
      const MatrixPacker<T> one{data + image * image_stride, 1, plane};
      return one.template pack<WIDTH>(panel, pixel, count, k0, kc);
    }
    for (int64_t done = 0; done < count; ++image, pixel = 0) {
      const int64_t length = plane - pixel < count - done ? plane - pixel : count - done;
      const T* from = data + image * image_stride + k0 * plane + pixel;
      for (int64_t k = 0; k < kc; ++k) copy_run(panel + k * WIDTH + done, from + k * plane, length);
      done += length;
    }
    zero_columns<WIDTH>(panel, count, kc);
  }
};

}  // namespace rushlight::RUSHLIGHT_ISA
