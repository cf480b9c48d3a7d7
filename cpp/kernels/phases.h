// A source as a strided convolution reads it: zeros stand outside the image, and rows and columns
// are split into phases, so that under every tap neighbouring outputs read neighbouring elements.
//
// Rows follow one another so closely that outputs may run on from row to row: output (y, x) is
// position y * pitch + x of its plane, and under a tap it reads that position behind the tap's
// offset. Positions with x >= ow are of no use to anyone.
#pragma once

#include <stdint.h>

#include "kernels/conv2d.h"
#include "kernels/conv2d_window.h"
#include "kernels/integers.h"
#include "kernels/packers.h"

namespace rushlight::RUSHLIGHT_ISA {

// One axis. Tap k is read from phase k % phases.
struct PhasedAxis {
  int64_t size, outputs;  // of the image
  int64_t stride, dilation, padding;
  int64_t phases;
  int64_t reach;  // elements of a phase from the first tap to the last

  PhasedAxis(int64_t size, int64_t outputs, int64_t taps, int64_t stride, int64_t dilation,
             int64_t padding)
      : size(size),
        outputs(outputs),
        stride(stride),
        dilation(dilation),
        padding(padding),
        reach((taps - 1) * dilation / stride) {
    int64_t divisor = stride;
    for (int64_t rest = dilation; rest != 0;) {
      const int64_t next = divisor % rest;
      divisor = rest;
      rest = next;
    }
    phases = smaller(taps, stride / divisor);
  }

  RUSHLIGHT_INLINE int64_t offset(int64_t tap) const { return tap * dilation / stride; }
  // Where element i of a phase stands in the image; elements are `stride` apart.
  RUSHLIGHT_INLINE int64_t position(int64_t phase, int64_t i) const {
    return phase * dilation % stride + i * stride - padding;
  }

  // Zeros before every row that can do for those behind the row before.
  int64_t shared_zeros() const {
    int64_t fewest = reach;
    for (int64_t phase = 0; phase < phases; ++phase) {
      const int64_t count = outputs + reach;
      const Inside in(position(phase, 0), stride, count, size);
      fewest = smaller(fewest, smaller(in.low, count - in.high));
    }
    return fewest;
  }
};

// The phases of all channels of one group, for a band of output rows: [channel][phase of rows]
// [phase of columns][row][pitch].
struct PhasedBand {
  PhasedAxis rows, cols;
  int64_t pitch;
  int64_t outputs;  // rows of outputs

  PhasedBand(const Conv2dShape& s, int64_t outputs)
      : rows(s.ih, s.oh, s.kh, s.stride_h, s.dilation_h, s.padding_h),
        cols(s.iw, s.ow, s.kw, s.stride_w, s.dilation_w, s.padding_w),
        pitch(s.ow + cols.reach - cols.shared_zeros()),
        outputs(outputs) {}

  int64_t height() const { return outputs + rows.reach; }
  int64_t plane() const { return height() * pitch; }
  int64_t channel() const { return rows.phases * cols.phases * plane(); }
  // What vectors may read beyond the last plane.
  template <class T>
  int64_t slack(int vectors) const {
    return cols.reach + (vectors + 1) * Native<T>::lanes;
  }
  // Positions from the first output of a band to its last.
  int64_t positions(int64_t rows_of_outputs) const {
    return rows_of_outputs * pitch - (pitch - cols.outputs);
  }
  int64_t offset(int64_t ky, int64_t kx) const {
    const int64_t phase = ky % rows.phases * cols.phases + kx % cols.phases;
    return phase * plane() + rows.offset(ky) * pitch + cols.offset(kx);
  }
};

// Fills one row of a phase from a row of the image, of which [low, high) lies in the image.
template <class T>
RUSHLIGHT_INLINE void fill_row(const Inside& in, int64_t stride, int64_t pitch, const T* from,
                               T* to) {
  const int64_t count = smaller(in.high, pitch) - in.low;
  zero_run(to, smaller(in.low, pitch));
  if (count <= 0) return zero_run(to, pitch);
  if (stride == 1) {
    copy_run(to + in.low, from, count);
  } else if (stride == 2) {
    copy_every_second(to + in.low, from, count);
  } else {
    for (int64_t j = 0; j < count; ++j) to[in.low + j] = from[j * stride];
  }
  zero_run(to + in.low + count, pitch - in.low - count);
}

// Fills the band whose first row of outputs is `oy` for channels whose planes follow one another at
// `src`.
template <class T>
void fill_band(const PhasedBand& band, const T* src, int64_t channels, int64_t oy, T* to) {
  const PhasedAxis &rows = band.rows, &cols = band.cols;
  const int64_t height = band.height(), width = cols.outputs + cols.reach;
  for (int64_t c = 0; c < channels; ++c, src += rows.size * cols.size) {
    for (int64_t phase = 0; phase < rows.phases * cols.phases; ++phase) {
      const int64_t column = phase % cols.phases;
      const Inside in(cols.position(column, 0), cols.stride, width, cols.size);
      const int64_t x = cols.position(column, in.low);
      for (int64_t i = 0; i < height; ++i, to += band.pitch) {
        const int64_t y = rows.position(phase / cols.phases, oy + i);
        if (y < 0 || y >= rows.size || in.low >= in.high) {
          zero_run(to, band.pitch);
        } else {
          fill_row(in, cols.stride, band.pitch, src + y * cols.size + x, to);
        }
      }
    }
  }
}

}  // namespace rushlight::RUSHLIGHT_ISA
