#include "kernels/arithmetic.h"

#include "kernels/family.h"
#include "kernels/integers.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

constexpr int64_t kTask = 16384;  // elements per task, about

// Where a row of the index space starts in each operand.
struct Place {
  int64_t index[BroadcastShape::max_dims];
  int64_t a, b;

  // The start of row number `row`.
  Place(const BroadcastShape& s, int64_t row) : a(0), b(0) {
    for (int d = s.ndim - 2; d >= 0; --d) {
      index[d] = row % s.size[d];
      row /= s.size[d];
      a += index[d] * s.a_step[d];
      b += index[d] * s.b_step[d];
    }
  }

  void next_row(const BroadcastShape& s) {
    for (int d = s.ndim - 2; d >= 0; --d) {
      a += s.a_step[d];
      b += s.b_step[d];
      if (++index[d] < s.size[d]) return;
      index[d] = 0;
      a -= s.size[d] * s.a_step[d];
      b -= s.size[d] * s.b_step[d];
    }
  }
};

// dst[i] = op(a, b) over a row whose operands advance (true) or stay.
template <bool A, bool B, class T, class Op>
RUSHLIGHT_INLINE void row_of(int64_t n, const T* a, const T* b, T* dst, const Op& op) {
  const T a0 = *a, b0 = *b;
  for_each_vector<T>(0, n, [&](auto v, int64_t i) {
    using V = decltype(v);
    op(A ? V::load(a + i) : V::broadcast(a0), B ? V::load(b + i) : V::broadcast(b0)).store(dst + i);
  });
}

template <class T, class Op>
void row(const BroadcastShape& s, int64_t n, const T* a, const T* b, T* dst, const Op& op) {
  const bool a_moves = s.a_step[s.ndim - 1] != 0, b_moves = s.b_step[s.ndim - 1] != 0;
  if (a_moves && b_moves) {
    row_of<true, true>(n, a, b, dst, op);
  } else if (a_moves) {
    row_of<true, false>(n, a, b, dst, op);
  } else if (b_moves) {
    row_of<false, true>(n, a, b, dst, op);
  } else {
    row_of<false, false>(n, a, b, dst, op);
  }
}

template <class T, class Op>
void each(const Run& run, const BroadcastShape& s, const T* a, const T* b, T* dst, const Op& op) {
  const int64_t n = s.size[s.ndim - 1];
  int64_t rows = 1;
  for (int d = 0; d + 1 < s.ndim; ++d) rows *= s.size[d];
  if (n == 0 || rows == 0) return;
  if (n > kTask) {
    // A task is a piece of a long row.
    const int64_t pieces = ceil_div(n, kTask);
    parallel(run, rows * pieces, [&](int64_t task, int) {
      const int64_t r = task / pieces, begin = task % pieces * kTask;
      const Place at(s, r);
      const int64_t a0 = at.a + begin * s.a_step[s.ndim - 1];
      const int64_t b0 = at.b + begin * s.b_step[s.ndim - 1];
      row(s, smaller(kTask, n - begin), a + a0, b + b0, dst + r * n + begin, op);
    });
    return;
  }
  const int64_t step = kTask / n;
  parallel(run, ceil_div(rows, step), [&](int64_t task, int) {
    const int64_t end = smaller((task + 1) * step, rows);
    Place at(s, task * step);
    for (int64_t r = task * step; r < end; ++r) {
      row(s, n, a + at.a, b + at.b, dst + r * n, op);
      at.next_row(s);
    }
  });
}

template <class T>
void add(const Run& run, const BroadcastShape& s, const T* a, const T* b, T* dst) {
  each(run, s, a, b, dst, [](auto x, auto y) { return x + y; });
}

template <class T>
void sub(const Run& run, const BroadcastShape& s, const T* a, const T* b, T* dst) {
  each(run, s, a, b, dst, [](auto x, auto y) { return x - y; });
}

template <class T>
void mul(const Run& run, const BroadcastShape& s, const T* a, const T* b, T* dst) {
  each(run, s, a, b, dst, [](auto x, auto y) { return x * y; });
}

template <class T>
void div(const Run& run, const BroadcastShape& s, const T* a, const T* b, T* dst) {
  each(run, s, a, b, dst, [](auto x, auto y) { return x / y; });
}

template <class T>
void expand(const Run& run, const BroadcastShape& s, const T* a, const T*, T* dst) {
  each(run, s, a, a, dst, [](auto x, auto) { return x; });
}

}  // namespace

RUSHLIGHT_DEFINE_FAMILY(ArithmeticKernels, arithmetic, add<T>, sub<T>, mul<T>, div<T>, expand<T>)

}  // namespace rushlight::RUSHLIGHT_ISA
