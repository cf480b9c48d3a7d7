#include "kernels/summation.h"

#include <math.h>

#include "kernels/family.h"
#include "kernels/integers.h"
#include "kernels/reduce.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

constexpr int64_t kTask = 32768;   // elements per task, about
constexpr int64_t kFewTasks = 64;  // below this many tasks each sum is cut into parts
constexpr int64_t kMostParts = 256;
constexpr int64_t kColumns = 128;    // kept neighbours that are summed together
constexpr int64_t kColumnRun = 256;  // rows summed in the element type before they go to double

// A sum with what its roundings lost (Neumaier 1974): millions of terms cost no digits.
struct Total {
  double sum = 0, lost = 0;

  void add(double x) {
    const double next = sum + x;
    lost += fabs(sum) >= fabs(x) ? (sum - next) + x : (x - next) + sum;
    sum = next;
  }
  // The correction of an infinite sum is not a number.
  double value() const { return isfinite(sum) ? sum + lost : sum; }
};

int64_t count_of(const Loop& loop) {
  int64_t count = 1;
  for (int d = 0; d < loop.ndim; ++d) count *= loop.size[d];
  return count;
}

// A place in a loop: its offset, and how to step on.
class Cursor {
 public:
  Cursor(const Loop& loop, int64_t at) : loop_(loop) {
    for (int d = loop.ndim - 1; d >= 0; --d) {
      index_[d] = at % loop.size[d];
      at /= loop.size[d];
      offset_ += index_[d] * loop.step[d];
    }
  }
  int64_t offset() const { return offset_; }
  void next() {
    for (int d = loop_.ndim - 1; d >= 0; --d) {
      offset_ += loop_.step[d];
      if (++index_[d] < loop_.size[d]) return;
      index_[d] = 0;
      offset_ -= loop_.size[d] * loop_.step[d];
    }
  }

 private:
  const Loop& loop_;
  int64_t index_[Loop::max_dims];
  int64_t offset_ = 0;
};

// How the work is cut: into blocks of results, and where those are few, each into parts that are
// added up at the end. Decided by the shape alone.
struct Cut {
  int64_t outputs, width, blocks, terms, piece, parts;

  explicit Cut(const SumShape& s) {
    const int64_t rows = count_of(s.summed), kept = count_of(s.kept);
    if (s.inner_is_kept) {
      // A block is some columns of one kept row; its terms are the summed rows.
      width = smaller(s.length, kColumns);
      outputs = kept * s.length;
      blocks = kept * (width == 0 ? 0 : ceil_div(s.length, width));
      piece = 1;
      terms = rows;
    } else {
      // A block is one result; its terms are pieces of the summed rows.
      width = 1;
      outputs = blocks = kept;
      piece = larger(ceil_div(s.length, kTask), 1);
      terms = rows * piece;
    }
    const int64_t size = terms * (s.inner_is_kept ? width : s.length / piece);
    parts = blocks < kFewTasks ? larger(smaller(smaller(size / kTask, kMostParts), terms), 1) : 1;
  }
};

// The sum of terms [begin, end) of one result.
template <class T>
double sum_of_rows(const SumShape& s, const Cut& cut, const T* src, int64_t begin, int64_t end) {
  Total total;
  Cursor row(s.summed, begin / cut.piece);
  for (int64_t term = begin; term < end; ++term) {
    const int64_t from = term % cut.piece * kTask, to = smaller(from + kTask, s.length);
    for (int64_t i = from; i < to; i += kSumRun) {
      total.add(static_cast<double>(sum_run(src + row.offset() + i, smaller(kSumRun, to - i))));
    }
    if (to == s.length) row.next();
  }
  return total.value();
}

// The sums of rows [begin, end) in `width` columns.
template <class T>
void sum_of_columns(const SumShape& s, const T* src, int64_t width, int64_t begin, int64_t end,
                    double* sums) {
  Total totals[kColumns];
  Cursor row(s.summed, begin);
  for (int64_t r = begin; r < end; r += kColumnRun) {
    T part[kColumns] = {};
    for (int64_t i = r; i < smaller(r + kColumnRun, end); ++i) {
      const T* from = src + row.offset();
      for_each_vector<T>(0, width, [&](auto v, int64_t j) {
        using V = decltype(v);
        (V::load(part + j) + V::load(from + j)).store(part + j);
      });
      row.next();
    }
    for (int64_t j = 0; j < width; ++j) totals[j].add(static_cast<double>(part[j]));
  }
  for (int64_t j = 0; j < width; ++j) sums[j] = totals[j].value();
}

// The sums of part `part` of block `block`; returns where the block's results begin, and how many
// there are in `width`.
template <class T>
int64_t sum_part(const SumShape& s, const Cut& cut, const T* src, int64_t block, int64_t part,
                 double* sums, int64_t* width) {
  const int64_t begin = cut.terms * part / cut.parts, end = cut.terms * (part + 1) / cut.parts;
  *width = 1;
  if (!s.inner_is_kept) {
    sums[0] = sum_of_rows(s, cut, src + Cursor(s.kept, block).offset(), begin, end);
    return block;
  }
  const int64_t across = ceil_div(s.length, cut.width);
  const int64_t column = block % across * cut.width;
  *width = smaller(cut.width, s.length - column);
  const T* from = src + Cursor(s.kept, block / across).offset() + column;
  sum_of_columns(s, from, *width, begin, end, sums);
  return block / across * s.length + column;
}

int64_t sum_workspace(const SumShape& s) {
  const Cut cut(s);
  return cut.parts == 1 ? 0 : cut.parts * cut.outputs * static_cast<int64_t>(sizeof(double));
}

template <class T>
void sum(const Run& run, const SumShape& s, const T* src, T* dst) {
  const Cut cut(s);
  if (cut.parts == 1) {
    const int64_t size =
        larger(cut.terms * cut.width * (s.inner_is_kept ? 1 : s.length / cut.piece), 1);
    const int64_t step = larger(kTask / size, 1);
    parallel(run, ceil_div(cut.blocks, step), [&](int64_t task, int) {
      for (int64_t b = task * step; b < smaller((task + 1) * step, cut.blocks); ++b) {
        double sums[kColumns];
        int64_t width;
        const int64_t at = sum_part(s, cut, src, b, 0, sums, &width);
        for (int64_t j = 0; j < width; ++j) dst[at + j] = static_cast<T>(sums[j] / s.divisor);
      }
    });
    return;
  }
  double* partial = static_cast<double*>(run.workspace);
  parallel(run, cut.blocks * cut.parts, [&](int64_t task, int) {
    const int64_t part = task % cut.parts;
    double sums[kColumns];
    int64_t width;
    const int64_t at = sum_part(s, cut, src, task / cut.parts, part, sums, &width);
    for (int64_t j = 0; j < width; ++j) partial[part * cut.outputs + at + j] = sums[j];
  });
  for (int64_t i = 0; i < cut.outputs; ++i) {
    Total total;
    for (int64_t p = 0; p < cut.parts; ++p) total.add(partial[p * cut.outputs + i]);
    dst[i] = static_cast<T>(total.value() / s.divisor);
  }
}

}  // namespace

RUSHLIGHT_DEFINE_FAMILY(SummationKernels, summation, sum_workspace, sum<T>)

}  // namespace rushlight::RUSHLIGHT_ISA
