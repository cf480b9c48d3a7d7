// Matrix products over packed panels, for matmul, linear and conv2d.
//
// Every A is packed once per call into shared memory. Tasks then own disjoint blocks of C; each
// packs the B it needs into memory of its slot, one block of K after the other.
#pragma once

#include <stdint.h>

#include "kernels/gemm_tile.h"
#include "kernels/packers.h"
#include "kernels/parallel.h"

namespace rushlight::RUSHLIGHT_ISA {

constexpr int64_t kMaxBlockK =
    288;  // divides by 9: blocks of a 3x3 convolution fall on whole channels
constexpr int64_t kMaxBlockN = 256;

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

// Bytes rounded so that what follows stays aligned for vectors.
RUSHLIGHT_INLINE int64_t aligned_bytes(int64_t bytes) {
  return round_up(bytes, 64);
}

// The length of the blocks that K is cut into: equal, so that no short block is left over. At
// least 1.
inline int64_t block_k(int64_t k) {
  if (k <= kMaxBlockK) return larger(k, 1);
  return round_up(ceil_div(k, ceil_div(k, kMaxBlockK)), 8);
}

// How C is cut into tasks: by the shape alone.
template <class T>
struct GemmSplit {
  int64_t m_step, n_step, m_blocks, n_blocks;

  GemmSplit(int64_t batch, int64_t m, int64_t n, int64_t k) {
    constexpr int64_t narrowest = 4 * tile_cols<T>, flattest = 8 * tile_rows;
    constexpr int64_t work_per_task = int64_t{1} << 21;
    const double work = static_cast<double>(batch) * static_cast<double>(m) *
                        static_cast<double>(n) * static_cast<double>(k);
    const double wanted = work / static_cast<double>(work_per_task);
    const int64_t tasks = wanted > 32 ? 32 : static_cast<int64_t>(wanted) + 1;
    n_step = smaller(round_up(n, tile_cols<T>), kMaxBlockN);
    // Columns first: a cut through them packs nothing twice.
    while (n_step > narrowest && batch * ceil_div(n, n_step) < tasks) {
      n_step = round_up(n_step / 2, tile_cols<T>);
    }
    n_blocks = ceil_div(n, n_step);
    m_step = round_up(m, tile_rows);
    while (m_step > flattest && batch * n_blocks * ceil_div(m, m_step) < tasks) {
      m_step = round_up(m_step / 2, tile_rows);
    }
    m_blocks = ceil_div(m, m_step);
  }
};

// Elements of a packed A.
RUSHLIGHT_INLINE int64_t packed_a_size(int64_t m, int64_t k) {
  return round_up(m, tile_rows) * k;
}

// Elements of a slot's packed B: one block of K by one block of columns.
RUSHLIGHT_INLINE int64_t packed_b_size() {
  return kMaxBlockK * kMaxBlockN;
}

// Packs A[0 .. m, k0 .. k0 + kc] as panels of tile_rows rows.
template <class T, class Packer>
void pack_a(const Packer& packer, int64_t m, int64_t k0, int64_t kc, T* packed) {
  for (int64_t i = 0; i < m; i += tile_rows) {
    const int rows = static_cast<int>(smaller(tile_rows, m - i));
    packer.template pack<tile_rows>(packed + i * kc, i, rows, k0, kc);
  }
}

// Packs B[k0 .. k0 + kc, n0 .. n0 + n] as panels of tile_cols columns.
template <class T, class Packer>
void pack_b(const Packer& packer, int64_t n0, int64_t n, int64_t k0, int64_t kc, T* packed) {
  for (int64_t j = 0; j < n; j += tile_cols<T>) {
    const int cols = static_cast<int>(smaller(tile_cols<T>, n - j));
    packer.template pack<tile_cols<T>>(packed + j * kc, n0 + j, cols, k0, kc);
  }
}

// A packed A and the window of its rows that one task multiplies.
template <class T>
struct PackedRows {
  const T* packed;
  int64_t m;      // rows of the whole A
  int64_t begin;  // a multiple of tile_rows
  int64_t end;
};

// C[rows of a, n0 .. n0 + n] = A * B. `out` is the window on C of this task; n <= kMaxBlockN.
template <class T, class PackerB>
void multiply_block(const PackedRows<T>& a, const PackerB& b, int64_t n0, int64_t n, int64_t k,
                    const Output<T>& out, T* b_panels) {
  const int64_t kc_step = block_k(k);
  const int64_t rows = a.end - a.begin;
  int64_t k0 = 0;
  do {  // at least once: an empty K still writes the epilogue
    const int64_t kc = smaller(kc_step, k - k0);
    const bool last = k0 + kc == k;
    pack_b(b, n0, n, k0, kc, b_panels);
    const T* panels = a.packed + k0 * round_up(a.m, tile_rows) + a.begin * kc;
    const Output<T> step{out.c, out.ldc, out.accumulate || k0 > 0,
                         last ? out.epilogue : Epilogue<T>{}};
    multiply_panels(rows, n, kc, panels, b_panels, step);
    k0 += kc;
  } while (k0 < k);
}

// `batch` products of one shape, over `a_count` different A.
struct GemmShape {
  int64_t batch, a_count, m, n, k;
};

template <class T>
int64_t gemm_workspace(const GemmShape& s, int slots) {
  const int64_t a = aligned_bytes(s.a_count * packed_a_size(s.m, s.k) * int64_t{sizeof(T)});
  return a + slots * packed_b_size() * int64_t{sizeof(T)};
}

// Operands gives, by value: packer a(i) for i < a_count, a_index(batch), packer b(batch), Output
// out(batch).
template <class T, class Operands>
void gemm(const Run& run, const GemmShape& s, const Operands& operands) {
  if (s.batch == 0 || s.m == 0 || s.n == 0) return;
  T* packed_a = static_cast<T*>(run.workspace);
  const int64_t a_size = packed_a_size(s.m, s.k);
  T* panels = reinterpret_cast<T*>(static_cast<char*>(run.workspace) +
                                   aligned_bytes(s.a_count * a_size * int64_t{sizeof(T)}));
  // Rows of A are packed in parallel too, a block of K at a time.
  const int64_t kc_step = block_k(s.k);
  const int64_t k_blocks = ceil_div(s.k, kc_step);
  parallel(run, s.a_count * k_blocks, [&](int64_t task, int) {
    const int64_t i = task / k_blocks, k0 = task % k_blocks * kc_step;
    const int64_t kc = smaller(kc_step, s.k - k0);
    T* packed = packed_a + i * a_size + k0 * round_up(s.m, tile_rows);
    pack_a(operands.a(i), s.m, k0, kc, packed);
  });

  const GemmSplit<T> split(s.batch, s.m, s.n, s.k);
  parallel(run, s.batch * split.m_blocks * split.n_blocks, [&](int64_t task, int slot) {
    const int64_t m_block = task % split.m_blocks;
    const int64_t n_block = task / split.m_blocks % split.n_blocks;
    const int64_t batch = task / (split.m_blocks * split.n_blocks);
    const int64_t m0 = m_block * split.m_step, n0 = n_block * split.n_step;
    const PackedRows<T> rows{packed_a + operands.a_index(batch) * a_size, s.m, m0,
                             smaller(s.m, m0 + split.m_step)};
    multiply_block(rows, operands.b(batch), n0, smaller(split.n_step, s.n - n0), s.k,
                   operands.out(batch).at(m0, n0), panels + slot * packed_b_size());
  });
}

}  // namespace rushlight::RUSHLIGHT_ISA
