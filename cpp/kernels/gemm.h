// Matrix products over packed panels, for matmul, linear and conv2d.
//
// Every A is packed once per call into shared memory, unless it comes packed. Tasks then own
// disjoint blocks of C; each packs the B it needs into memory of its slot, one block of K after the
// other.
#pragma once

#include <stdint.h>

#include "kernels/gemm_tile.h"
#include "kernels/integers.h"
#include "kernels/packers.h"
#include "kernels/parallel.h"
#include "kernels/red_zone.h"

namespace rushlight::RUSHLIGHT_ISA {

// Longer blocks would pass through C less often, shorter ones keep a panel of B in the first-level
// cache: measured.
constexpr int64_t kMaxBlockK = 256;
constexpr int64_t kMaxBlockN = 256;

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
    constexpr int64_t narrowest = 2 * tile_cols<T>, flattest = 8 * tile_rows;
    constexpr int64_t work_per_task = int64_t{1} << 18;
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

// Elements of a packed A and of a packed B. Block of K follows block of K, each with all its
// panels: the order depends on the size of the matrix alone.
RUSHLIGHT_INLINE int64_t packed_a_size(int64_t m, int64_t k) {
  return round_up(m, tile_rows) * k;
}
template <class T>
RUSHLIGHT_INLINE int64_t packed_b_whole(int64_t n, int64_t k) {
  return round_up(n, tile_cols<T>) * k;
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

// Packs B[k0 .. k0 + kc, n0 .. n0 + n] as panels of tile_cols columns. Where columns are neighbours
// in memory, all panels get some rows before the next: so long runs are read ahead by the machine,
// a panel's rows, from a page each, are not.
template <class T, class Packer>
void pack_b(const Packer& packer, int64_t n0, int64_t n, int64_t k0, int64_t kc, T* packed) {
  constexpr int64_t few_rows = 16;
  const int64_t step = packer.reads_along_outer() ? few_rows : larger(1, kc);
  for (int64_t k = 0; k < kc; k += step) {
    const int64_t rows = smaller(step, kc - k);
    for (int64_t j = 0; j < n; j += tile_cols<T>) {
      const int cols = static_cast<int>(smaller(tile_cols<T>, n - j));
      packer.template pack<tile_cols<T>>(packed + j * kc + k * tile_cols<T>, n0 + j, cols, k0 + k,
                                         rows);
    }
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

// C[rows of a] = A * B for n columns. panels(k0, kc) gives the packed block of B; `out` is the
// window on C.
template <class T, class Panels>
void multiply_block(const PackedRows<T>& a, int64_t n, int64_t k, const Output<T>& out,
                    const Panels& panels) {
  const int64_t kc_step = block_k(k);
  int64_t k0 = 0;
  do {  // at least once: an empty K still writes the epilogue
    const int64_t kc = smaller(kc_step, k - k0);
    const bool last = k0 + kc == k;
    const T* b = panels(k0, kc);
    const T* rows = a.packed + k0 * round_up(a.m, tile_rows) + a.begin * kc;
    Output<T> step = out;
    step.accumulate = out.accumulate || k0 > 0;
    if (!last) step.epilogue = {};
    multiply_panels(a.end - a.begin, n, kc, rows, b, step);
    k0 += kc;
  } while (k0 < k);
}

// `batch` products of one shape, over `a_count` different A.
struct GemmShape {
  int64_t batch, a_count, m, n, k;
};

// Columns of few elements, read by few rows of tiles, are not worth a copy; measured.
inline bool reads_in_place(const GemmShape& s) {
  constexpr int64_t most_elements = 32, most_tiles = 5;
  return s.k > 0 && s.k <= most_elements && s.m <= most_tiles * tile_rows;
}

// C[rows of a] = A * B for n columns from n0 on, read where they lie but for those that fill no
// panel, which `panel` takes.
template <class T, class Packer>
void multiply_in_place(const PackedRows<T>& a, const Packer& packer, int64_t n0, int64_t n,
                       int64_t k, const Output<T>& out, T* panel) {
  for (int64_t j = 0; j < n; j += tile_cols<T>) {
    const int cols = static_cast<int>(smaller(tile_cols<T>, n - j));
    Columns<T> b = Columns<T>::packed(panel);
    int64_t step;
    const T* first = cols == tile_cols<T> ? packer.in_place(n0 + j, cols, &step) : nullptr;
    if (first != nullptr) {
      b = {first, step};
    } else {
      packer.template pack<tile_cols<T>>(panel, n0 + j, cols, 0, k);
    }
    multiply_panel(0, a.end - a.begin, j, cols, k, a.packed + a.begin * k, b, out);
  }
}

// Operands that were packed before the call, or null: all A one after the other, all B likewise.
template <class T>
struct Packed {
  const T* a = nullptr;
  const T* b = nullptr;
};

// Where the parts of the workspace lie, in elements.
template <class T>
struct GemmPlan {
  GemmSplit<T> split;
  int64_t kc_step, k_blocks;
  int64_t a_size;    // of one packed A
  int64_t b_size;    // of one packed B
  int64_t shared_b;  // where the shared B begin
  int64_t local_b;   // where the slots' B begin
  bool packs_a;
  bool shares_b;  // tasks share packed columns
  bool packs_b;   // into shared memory

  GemmPlan(const GemmShape& s, bool has_a, bool has_b)
      : split(s.batch, s.m, s.n, s.k), packs_a(!has_a) {
    kc_step = block_k(s.k);
    k_blocks = ceil_div(s.k, kc_step);
    a_size = packed_a_size(s.m, s.k);
    b_size = packed_b_whole<T>(s.n, s.k);
    shares_b = split.m_blocks > 1 || has_b;
    packs_b = shares_b && !has_b;
    constexpr int64_t line = 64 / int64_t{sizeof(T)};
    shared_b = packs_a ? round_up(s.a_count * a_size, line) + red_zone<T> : 0;
    local_b = shared_b + (packs_b ? round_up(s.batch * b_size, line) + red_zone<T> : 0);
  }
};

template <class T>
int64_t gemm_workspace(const GemmShape& s, int slots, bool has_a = false, bool has_b = false) {
  if (s.batch == 0 || s.m == 0 || s.n == 0) return 0;
  const GemmPlan<T> plan(s, has_a, has_b);
  const int64_t local = plan.shares_b ? 0 : slots * (packed_b_size() + red_zone<T>);
  return (plan.local_b + local) * int64_t{sizeof(T)};
}

// Packs rows [begin, end) of a whole A, block of K by block of K. Whole rows, because reading on
// along a few rows is what the machine's prefetchers are good at.
template <class T, class Packer>
void pack_a_rows(const Packer& packer, const GemmShape& s, int64_t begin, int64_t end, T* packed) {
  const int64_t kc_step = block_k(s.k);
  for (int64_t i = begin; i < end; i += tile_rows) {
    const int rows = static_cast<int>(smaller(tile_rows, s.m - i));
    for (int64_t k0 = 0; k0 < s.k; k0 += kc_step) {
      const int64_t kc = smaller(kc_step, s.k - k0);
      packer.template pack<tile_rows>(packed + k0 * round_up(s.m, tile_rows) + i * kc, i, rows, k0,
                                      kc);
    }
  }
}

// A block of columns and of K of a whole B.
template <class T, class Packer>
void pack_b_block(const Packer& packer, const GemmShape& s, int64_t n0, int64_t k0, T* packed) {
  const int64_t kc = smaller(block_k(s.k), s.k - k0);
  pack_b(packer, n0, smaller(kMaxBlockN, s.n - n0), k0, kc,
         packed + k0 * round_up(s.n, tile_cols<T>) + n0 * kc);
}

// Packs all A and all B; what is null is left out.
template <class T, class Operands>
void pack_operands(const Run& run, const GemmShape& s, const Operands& operands, T* packed_a,
                   T* packed_b) {
  constexpr int64_t task_size = 32768;  // elements of A
  const int64_t a_step = larger(tile_rows, task_size / larger(1, s.k) / tile_rows * tile_rows);
  const int64_t a_blocks = ceil_div(s.m, a_step);
  const int64_t n_blocks = ceil_div(s.n, kMaxBlockN), kc_step = block_k(s.k);
  const int64_t b_blocks = n_blocks * ceil_div(s.k, kc_step);
  const int64_t a_tasks = packed_a == nullptr ? 0 : s.a_count * a_blocks;
  const int64_t b_tasks = packed_b == nullptr ? 0 : s.batch * b_blocks;
  parallel(run, a_tasks + b_tasks, [&](int64_t task, int) {
    if (task < a_tasks) {
      const int64_t i = task / a_blocks, begin = task % a_blocks * a_step;
      pack_a_rows(operands.a(i), s, begin, smaller(s.m, begin + a_step),
                  packed_a + i * packed_a_size(s.m, s.k));
      return;
    }
    const int64_t batch = (task - a_tasks) / b_blocks, block = (task - a_tasks) % b_blocks;
    pack_b_block(operands.b(batch), s, block % n_blocks * kMaxBlockN, block / n_blocks * kc_step,
                 packed_b + batch * packed_b_whole<T>(s.n, s.k));
  });
}

// Operands gives, by value: packer a(i) for i < a_count, a_index(batch), packer b(batch), Output
// out(batch).
template <class T, class Operands>
void gemm(const Run& run, const GemmShape& s, const Operands& operands, Packed<T> packed = {}) {
  if (s.batch == 0 || s.m == 0 || s.n == 0) return;
  const GemmPlan<T> plan(s, packed.a != nullptr, packed.b != nullptr);
  const GemmSplit<T>& split = plan.split;
  T* workspace = static_cast<T*>(run.workspace);
  T* own_a = plan.packs_a ? guarded(workspace, s.a_count * plan.a_size) : nullptr;
  T* own_b = plan.packs_b ? guarded(workspace + plan.shared_b, s.batch * plan.b_size) : nullptr;
  if (own_a != nullptr || own_b != nullptr) pack_operands(run, s, operands, own_a, own_b);
  const T* all_a = plan.packs_a ? own_a : packed.a;
  const T* all_b = plan.packs_b ? own_b : packed.b;
  parallel(run, s.batch * split.m_blocks * split.n_blocks, [&](int64_t task, int slot) {
    const int64_t block = task / split.m_blocks, batch = block / split.n_blocks;
    const int64_t m0 = task % split.m_blocks * split.m_step;
    const int64_t n0 = block % split.n_blocks * split.n_step;
    const int64_t n = smaller(split.n_step, s.n - n0);
    const PackedRows<T> rows{all_a + operands.a_index(batch) * plan.a_size, s.m, m0,
                             smaller(s.m, m0 + split.m_step)};
    const Output<T> out = operands.out(batch).at(m0, n0);
    if (plan.shares_b) {
      return multiply_block(rows, n, s.k, out, [&](int64_t k0, int64_t kc) {
        return all_b + batch * plan.b_size + k0 * round_up(s.n, tile_cols<T>) + n0 * kc;
      });
    }
    const auto b = operands.b(batch);
    T* local = slot_region(workspace + plan.local_b, packed_b_size(), slot);
    if constexpr (requires(int64_t* step) { b.in_place(n0, tile_cols<T>, step); }) {
      if (reads_in_place(s)) return multiply_in_place(rows, b, n0, n, s.k, out, local);
    }
    multiply_block(rows, n, s.k, out, [&](int64_t k0, int64_t kc) -> const T* {
      pack_b(b, n0, n, k0, kc, local);
      return local;
    });
  });
}

}  // namespace rushlight::RUSHLIGHT_ISA
