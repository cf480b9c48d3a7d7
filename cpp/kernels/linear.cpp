#include "kernels/linear.h"

#include "kernels/chwn.h"
#include "kernels/family.h"
#include "kernels/gemm.h"
#include "kernels/linear_rows.h"
#include "kernels/reduce.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

// Up to this many rows, packing the weight would cost more than it saves.
constexpr int64_t kFewRows = 3;
// Outputs computed at once by the row-dot kernel: as many as leave their sums in the registers, as
// the rows are read again for each lot.
template <int ROWS>
constexpr int dot_width = RUSHLIGHT_VECTOR_BYTES == 64 && ROWS == 1 ? 8 : 4;

template <class T>
struct LinearOperands {
  MatrixPacker<T> a_packer, b_packer;
  Output<T> output;

  MatrixPacker<T> a(int64_t) const { return a_packer; }
  int64_t a_index(int64_t) const { return 0; }
  MatrixPacker<T> b(int64_t) const { return b_packer; }
  Output<T> out(int64_t) const { return output; }
};

// dst[r][o] = dot(src row r, weight row o) for neighbouring rows of the weight, which are read
// once.
template <int ROWS, class T>
void dot_rows(const T* src, const T* weight, int64_t ic, T* dst, int64_t ldd) {
  using V = Native<T>;
  constexpr int width = dot_width<ROWS>;
  V acc[width][ROWS][2] = {};
  int64_t k = 0;
  for (; k + 2 * V::lanes <= ic; k += 2 * V::lanes) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      V x[ROWS];
#pragma GCC unroll 2
      for (int r = 0; r < ROWS; ++r) x[r] = V::load(src + r * ic + k + half * V::lanes);
#pragma GCC unroll 8
      for (int o = 0; o < width; ++o) {
        const V w = V::load(weight + o * ic + k + half * V::lanes);
#pragma GCC unroll 2
        for (int r = 0; r < ROWS; ++r) acc[o][r][half] = fma(x[r], w, acc[o][r][half]);
      }
    }
  }
  for (; k < ic; k += V::lanes) {
    const int64_t count = smaller(V::lanes, ic - k);
    const bool whole = count == V::lanes;
#pragma GCC unroll 8
    for (int o = 0; o < width; ++o) {
      const T* from = weight + o * ic + k;
      const V w = whole ? V::load(from) : V::load_partial(from, count);
#pragma GCC unroll 2
      for (int r = 0; r < ROWS; ++r) {
        const T* row = src + r * ic + k;
        acc[o][r][0] = fma(whole ? V::load(row) : V::load_partial(row, count), w, acc[o][r][0]);
      }
    }
  }
#pragma GCC unroll 8
  for (int o = 0; o < width; ++o) {
#pragma GCC unroll 2
    for (int r = 0; r < ROWS; ++r) dst[r * ldd + o] = sum(acc[o][r][0] + acc[o][r][1]);
  }
}

// dst[r][o] for ROWS rows and `count` neighbouring outputs.
template <int ROWS, class T>
void dot_block(const T* src, const T* weight, const LinearShape& s, int64_t count, T* dst) {
  constexpr int64_t width = dot_width<ROWS>;
  int64_t o = 0;
  for (; o + width <= count; o += width) {
    dot_rows<ROWS>(src, weight + o * s.ic, s.ic, dst + o, s.oc);
  }
  for (; o < count; ++o) {
    for (int64_t r = 0; r < ROWS; ++r) {
      dst[r * s.oc + o] = dot(src + r * s.ic, weight + o * s.ic, s.ic);
    }
  }
}

// Sums of neighbouring features from `i` on, with what stands behind them.
template <class V, class T>
RUSHLIGHT_INLINE V finished(V x, const Epilogue<T>& epilogue, int64_t i) {
  x = scale_and_shift(x, epilogue, [&](const T* values) { return V::load(values + i); });
  if (epilogue.residual != nullptr) x += V::load(epilogue.residual + i);
  return activate(x, epilogue);
}

// The epilogue of `count` neighbouring features of one row, in place.
template <class T>
void finish_features(const Epilogue<T>& epilogue, int64_t count, T* to) {
  for_each_vector<T>(0, count, [&](auto v, int64_t i) {
    using V = decltype(v);
    finished(V::load(to + i), epilogue, i).store(to + i);
  });
}

template <class T>
void forward_few_rows(const Run& run, const LinearShape& s, const T* src, const T* weight,
                      const Epilogue<T>& epilogue, T* dst) {
  constexpr int64_t step = 32;
  parallel(run, ceil_div(s.oc, step), [&](int64_t block, int) {
    const int64_t o = block * step, count = smaller(step, s.oc - o);
    for (int64_t r = 0; r < s.rows; r += 2) {
      const auto block = r + 1 < s.rows ? dot_block<2, T> : dot_block<1, T>;
      block(src + r * s.ic, weight + o * s.ic, s, count, dst + r * s.oc + o);
    }
    for (int64_t r = 0; r < s.rows; ++r) {
      const int64_t first = r * s.oc + o;
      finish_features(epilogue.at(o, first), count, dst + first);
    }
  });
}

// Whether a product with a packed weight is too small for gemm.
bool has_tile_rows(const LinearShape& s) {
  constexpr int64_t most_work = int64_t{1} << 21;
  return s.rows <= kMostTileRows && s.ic > 0 && s.ic * s.oc <= most_work / s.rows;
}

template <class T>
void forward_tile_rows(const Run& run, const LinearShape& s, const T* src, const T* prepared,
                       const Epilogue<T>& epilogue, T* dst) {
  constexpr int64_t work_per_task = 65536;
  const RowsByPanels<T> product{src, prepared, s.rows, s.oc, s.ic};
  const int64_t panels = ceil_div(s.oc, tile_cols<T>);
  const int64_t step = ceil_div(work_per_task, s.rows * s.ic * tile_cols<T>);
  const auto store = [&](int64_t row, int64_t column, const T* sums, int64_t count) {
    const int64_t first = row * s.oc + column;
    const Epilogue<T> e = epilogue.at(column, first);
    if (count == Native<T>::lanes) return finished(Native<T>::load(sums), e, 0).store(dst + first);
    copy_run(dst + first, sums, count);
    finish_features(e, count, dst + first);
  };
  parallel(run, ceil_div(panels, step), [&](int64_t task, int) {
    const int64_t end = smaller(panels, (task + 1) * step);
    for (int64_t panel = task * step; panel < end; ++panel) product.compute(panel, store);
  });
}

Conv2dShape pointwise(const LinearShape& s) {
  Conv2dShape c{};
  c.n = s.rows, c.ic = s.ic, c.oc = s.oc;
  c.ih = c.iw = c.oh = c.ow = c.kh = c.kw = 1;
  c.stride_h = c.stride_w = c.dilation_h = c.dilation_w = c.groups = 1;
  return c;
}
GemmShape forward_gemm(const LinearShape& s) {
  return {1, 1, s.rows, s.oc, s.ic};
}
GemmShape src_gemm(const LinearShape& s) {
  return {1, 1, s.rows, s.ic, s.oc};
}
GemmShape weight_gemm(const LinearShape& s) {
  return {1, 1, s.oc, s.ic, s.rows};
}

template <class T>
LinearOperands<T> forward_operands(const LinearShape& s, const T* src, const T* weight,
                                   const Epilogue<T>& epilogue, T* dst) {
  Output<T> out{dst, s.oc, false, epilogue};
  out.channels_are_columns = true;
  return {{src, s.ic, 1}, {weight, s.ic, 1}, out};
}

template <class T>
PreparedWeight linear_prepared(const LinearShape& s) {
  if (s.rows <= kFewRows) return {0, 0};
  return {packed_b_whole<T>(s.oc, s.ic) * int64_t{sizeof(T)}, 1};
}

template <class T>
void linear_prepare(const Run& run, const LinearShape& s, const T* weight, T* to) {
  const T* no_src = nullptr;
  T* no_dst = nullptr;
  const auto operands = forward_operands(s, no_src, weight, Epilogue<T>{}, no_dst);
  pack_operands<T>(run, forward_gemm(s), operands, nullptr, to);
}

// Vectors that rows may fill to meet a weight that is not packed as it lies, as images of one pixel
// whose convolution this is; of the gradient, those of diff_dst.
constexpr int64_t kRowVectors = RUSHLIGHT_VECTOR_BYTES == 64 ? 4 : 8;
constexpr int64_t kGradientRowVectors = 2;

template <class T>
bool has_rows_as_lanes(const LinearShape& s, int64_t vectors) {
  constexpr int64_t lanes = Native<T>::lanes, least_weights = 4096;
  return s.rows > kFewRows && 2 * s.rows > lanes && s.rows <= vectors * lanes &&
         s.ic >= ceil_div(least_weights, larger(1, s.oc)) && chwn_accepts(pointwise(s));
}

template <class T>
int64_t linear_forward_workspace(const LinearShape& s, bool is_prepared, int slots) {
  if (s.rows <= kFewRows) return 0;
  if (!is_prepared && has_rows_as_lanes<T>(s, kRowVectors)) {
    return chwn_forward_workspace<T>(pointwise(s), slots);
  }
  return gemm_workspace<T>(forward_gemm(s), slots, false, is_prepared);
}

template <class T>
void linear_forward(const Run& run, const LinearShape& s, const T* src, const T* weight,
                    const T* prepared, const Epilogue<T>& epilogue, T* dst) {
  if (s.rows <= kFewRows) return forward_few_rows(run, s, src, weight, epilogue, dst);
  if (prepared != nullptr && has_tile_rows(s)) {
    return forward_tile_rows(run, s, src, prepared, epilogue, dst);
  }
  if (prepared == nullptr && has_rows_as_lanes<T>(s, kRowVectors)) {
    // The same sums as those of the product, which may take its place once the weight is packed.
    return chwn_forward(run, pointwise(s), src, weight, epilogue, dst, block_k(s.ic));
  }
  gemm<T>(run, forward_gemm(s), forward_operands(s, src, weight, epilogue, dst),
          {nullptr, prepared});
}

template <class T>
int64_t linear_backward_workspace(const LinearShape& s, int slots) {
  const int64_t src = has_rows_as_lanes<T>(s, kGradientRowVectors)
                          ? chwn_backward_src_workspace<T>(pointwise(s), slots)
                          : gemm_workspace<T>(src_gemm(s), slots);
  return larger(src, gemm_workspace<T>(weight_gemm(s), slots));
}

// diff_src = diff_dst * weight
template <class T>
void linear_backward_src(const Run& run, const LinearShape& s, const T* weight, const T* diff_dst,
                         T* diff_src) {
  if (has_rows_as_lanes<T>(s, kGradientRowVectors)) {
    return chwn_backward_src(run, pointwise(s), weight, diff_dst, diff_src);
  }
  gemm<T>(run, src_gemm(s),
          LinearOperands<T>{{diff_dst, s.oc, 1}, {weight, 1, s.ic}, {diff_src, s.ic, false, {}}});
}

// diff_weight = diff_dst^T * src
template <class T>
void linear_backward_weight(const Run& run, const LinearShape& s, const T* src, const T* diff_dst,
                            T* diff_weight) {
  gemm<T>(run, weight_gemm(s),
          LinearOperands<T>{{diff_dst, 1, s.oc}, {src, 1, s.ic}, {diff_weight, s.ic, false, {}}});
}

template <class T>
void linear_backward_bias(const Run& run, const LinearShape& s, const T* diff_dst, T* diff_bias) {
  constexpr int columns = 64;
  parallel(run, ceil_div(s.oc, columns), [&](int64_t block, int) {
    const int64_t o = block * columns;
    const int count = static_cast<int>(smaller(columns, s.oc - o));
    sum_columns<T, columns>(diff_dst + o, s.rows, s.oc, count, diff_bias + o);
  });
}

}  // namespace

RUSHLIGHT_DEFINE_FAMILY(LinearKernels, linear, linear_prepared<T>, linear_prepare<T>,
                        linear_forward_workspace<T>, linear_forward<T>,
                        linear_backward_workspace<T>, linear_backward_src<T>,
                        linear_backward_weight<T>, linear_backward_bias<T>)

}  // namespace rushlight::RUSHLIGHT_ISA
