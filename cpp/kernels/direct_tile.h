// The innermost part of the direct convolution: a register tile of output channels by neighbouring
// positions, and how its sums come to dst.
#pragma once

#include <stdint.h>

#include "kernels/epilogue.h"
#include "kernels/integers.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {

// The same vector, in a register from here on: the compiler would rather read memory again for
// every use of it, which is slow where vectors cross cache lines.
template <class V>
RUSHLIGHT_INLINE V in_register(V v) {
#if RUSHLIGHT_TEST_ONLY
  // Vectors there are wider than registers.
#elif defined(__AVX512F__)
  asm("" : "+v"(v.raw));
#elif defined(__x86_64__)
  asm("" : "+x"(v.raw));
#elif defined(__aarch64__)
  asm("" : "+w"(v.raw));
#endif
  return v;
}

// What a tile sums up: every tap of every channel.
template <class T>
struct DirectOperands {
  const int64_t* offsets;  // of the taps in a channel's planes
  int64_t taps;
  int64_t channels, channel_stride;
  const T* src;     // position 0 of the tile under offset 0
  const T* weight;  // [channel][tap][rows of the tile]
};

// sums[i][position] = (or +=) sum of weight * src, for ROWS output channels and VECTORS vectors of
// positions.
template <int ROWS, int VECTORS, class T>
__attribute__((noinline)) void direct_tile(const DirectOperands<T>& operands, bool add, T* sums,
                                           int64_t ld) {
  using V = Native<T>;
  V acc[ROWS][VECTORS];
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; ++v) acc[i][v] = V::zero();
  }
  const T* weight = operands.weight;
  const T* channel = operands.src;
  const int64_t* const end = operands.offsets + operands.taps;
  for (int64_t c = 0; c < operands.channels; ++c, channel += operands.channel_stride) {
    for (const int64_t* offset = operands.offsets; offset != end; ++offset, weight += ROWS) {
      const T* src = channel + *offset;
      if constexpr (ROWS >= VECTORS) {
        V x[VECTORS];
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; ++v) x[v] = V::load(src + v * V::lanes);
#pragma GCC unroll 16
        for (int i = 0; i < ROWS; ++i) {
          const V w = V::broadcast(weight[i]);
#pragma GCC unroll 8
          for (int v = 0; v < VECTORS; ++v) acc[i][v] = fma(w, x[v], acc[i][v]);
        }
      } else {
        V w[ROWS];
#pragma GCC unroll 16
        for (int i = 0; i < ROWS; ++i) w[i] = V::broadcast(weight[i]);
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; ++v) {
          const V x = in_register(V::load(src + v * V::lanes));
#pragma GCC unroll 16
          for (int i = 0; i < ROWS; ++i) acc[i][v] = fma(w[i], x, acc[i][v]);
        }
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; ++v) {
      T* to = sums + i * ld + v * V::lanes;
      if (add) acc[i][v] += V::load(to);
      acc[i][v].store(to);
    }
  }
}

// Registers of the machine; RUSHLIGHT_VECTOR_BYTES says how long they are.
#if defined(__aarch64__)
constexpr int kRegisters = 32;
#else
constexpr int kRegisters = RUSHLIGHT_VECTOR_BYTES == 64 ? 32 : 16;
#endif

// A shape of tile: output channels by as many vectors as the registers hold, and by about half as
// many for the end of a band.
template <class T>
struct DirectTile {
  using Function = void (*)(const DirectOperands<T>&, bool, T*, int64_t);
  int rows, vectors, few_vectors;
  double speed;  // about, of that which multiplications alone would allow
  Function many, few;
};

template <int ROWS, int VECTORS, class T>
constexpr DirectTile<T> direct_shape(double speed) {
  constexpr int half = (VECTORS + 1) / 2;
  return {ROWS, VECTORS, half, speed, direct_tile<ROWS, VECTORS, T>, direct_tile<ROWS, half, T>};
}

// The best first among equals.
template <class T>
constexpr auto direct_shapes() {
  if constexpr (kRegisters == 32) {
    struct {
      DirectTile<T> at[9] = {
          direct_shape<8, 3, T>(1),   direct_shape<12, 2, T>(1),  direct_shape<10, 2, T>(1),
          direct_shape<6, 4, T>(1),   direct_shape<5, 4, T>(1),   direct_shape<4, 6, T>(0.9),
          direct_shape<3, 6, T>(0.8), direct_shape<2, 6, T>(0.6), direct_shape<1, 8, T>(0.4)};
    } shapes;
    return shapes;
  } else {
    struct {
      DirectTile<T> at[6] = {direct_shape<6, 2, T>(1),   direct_shape<5, 2, T>(0.95),
                             direct_shape<4, 3, T>(1),   direct_shape<3, 4, T>(1),
                             direct_shape<2, 5, T>(0.9), direct_shape<1, 8, T>(0.55)};
    } shapes;
    return shapes;
  }
}

// The shape that computes `channels` output channels soonest.
template <class T>
const DirectTile<T>& best_direct_tile(int64_t channels) {
  static constexpr auto shapes = direct_shapes<T>();
  const DirectTile<T>* best = shapes.at;
  double least = 0;
  for (const DirectTile<T>& each : shapes.at) {
    const double cost = static_cast<double>(round_up(channels, each.rows)) / each.speed;
    if (&each != best && cost >= least) continue;
    best = &each;
    least = cost;
  }
  return *best;
}

// Where sums of neighbouring positions go: dst[i][position], one plane per channel, of which `room`
// elements from here on are this task's to write.
template <class T>
struct DirectOutput {
  T* dst;
  int64_t plane;
  int64_t room;
  Epilogue<T> epilogue;
};

// Stores `count` positions of a row. Whole vectors are quickest: what stands behind the row is
// written later, with the next row, as long as it is this task's.
template <class T>
__attribute__((noinline)) void store_positions(const T* sums, int64_t ld, int64_t channels,
                                               int64_t count, const DirectOutput<T>& out) {
  using V = Native<T>;
  const bool whole = round_up(count, V::lanes) <= out.room;
  for (int64_t i = 0; i < channels; ++i, sums += ld) {
    const Epilogue<T> epilogue = out.epilogue.at(i, i * out.plane);
    T* to = out.dst + i * out.plane;
    if (!whole) {
      finish_run(sums, count, epilogue, to);
      continue;
    }
    for (int64_t j = 0; j < count; j += V::lanes) {
      V x = scale_and_shift(V::load(sums + j), epilogue);
      if (epilogue.residual != nullptr) x += V::load(epilogue.residual + j);
      activate(x, epilogue).store(to + j);
    }
  }
}

}  // namespace rushlight::RUSHLIGHT_ISA
