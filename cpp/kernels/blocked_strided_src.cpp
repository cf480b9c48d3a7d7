#include "kernels/blocked_strided_src.h"

#include "kernels/blocked_conv.h"
#include "kernels/family.h"
#include "kernels/gemm.h"
#include "kernels/red_zone.h"

namespace rushlight::RUSHLIGHT_ISA {

RUSHLIGHT_DECLARE_FAMILY(BlockedKernels, blocked)

namespace {

// One direction of a phase: pixels first, first + stride, ... of src, which see every stride-th tap
// from `tap` on.
struct PhaseAxis {
  int64_t first, count;  // pixels
  int64_t tap, taps;
  int64_t padding;  // of the convolution that makes their gradient

  PhaseAxis(int64_t phase, int64_t size, int64_t kernel, int64_t stride, int64_t pad) {
    tap = phase;
    taps = kernel > phase ? ceil_div(kernel - phase, stride) : 0;
    // Pixel y sees tap + j * stride of output i - j with i = (y + pad - tap) / stride.
    const int64_t low = pad > phase ? ceil_div(pad - phase, stride) : -((phase - pad) / stride);
    first = low * stride + phase - pad;
    count = first < size ? ceil_div(size - first, stride) : 0;
    padding = taps - 1 - low;
  }
};

struct Phase {
  PhaseAxis rows, cols;

  Phase(const Conv2dShape& s, int64_t index)
      : rows(index / s.stride_w, s.ih, s.kh, s.stride_h, s.padding_h),
        cols(index % s.stride_w, s.iw, s.kw, s.stride_w, s.padding_w) {}

  bool exists() const { return rows.count > 0 && cols.count > 0; }
  bool sees() const { return rows.taps > 0 && cols.taps > 0; }

  // The convolution of diff_dst that makes its gradient.
  Conv2dShape shape(const Conv2dShape& s) const {
    Conv2dShape m = s;
    m.ic = s.oc, m.ih = s.oh, m.iw = s.ow;
    m.oc = s.ic, m.oh = rows.count, m.ow = cols.count;
    m.kh = rows.taps, m.kw = cols.taps;
    m.stride_h = m.stride_w = 1;
    m.padding_h = rows.padding, m.padding_w = cols.padding;
    return m;
  }
};

template <class Body>
void for_each_phase(const Conv2dShape& s, const Body& body) {
  for (int64_t i = 0; i < s.stride_h * s.stride_w; ++i) {
    const Phase phase(s, i);
    if (phase.exists()) body(phase);
  }
}

// The regions of the workspace, large enough for every phase, in elements.
template <class T>
struct Regions {
  int64_t taps = 0, weights = 0, image = 0;

  explicit Regions(const Conv2dShape& s) {
    for_each_phase(s, [&](const Phase& phase) {
      image = larger(image,
                     s.n * round_up(s.ic, Native<T>::lanes) * phase.rows.count * phase.cols.count);
      if (!phase.sees()) return;
      const Conv2dShape m = phase.shape(s);
      taps = larger(taps, round_up(s.oc * s.ic * m.kh * m.kw, Native<T>::lanes));
      weights = larger(weights, blocked_kernels<T>.prepared(m, false).bytes / int64_t{sizeof(T)});
    });
    weights = round_up(weights, Native<T>::lanes);
  }
  int64_t all() const {
    return round_up(taps + weights + image + 3 * red_zone<T>, 64 / int64_t{sizeof(T)});
  }
};

// The taps of a phase: to[o][i][ky][kx].
template <class T>
void gather_taps(const Run& run, const Conv2dShape& s, const Phase& phase, const T* weight, T* to) {
  const int64_t kh = phase.rows.taps, kw = phase.cols.taps;
  parallel(run, s.oc, [&](int64_t o, int) {
    for (int64_t i = 0; i < s.ic; ++i) {
      const T* from =
          weight + (o * s.ic + i) * s.kh * s.kw + phase.rows.tap * s.kw + phase.cols.tap;
      T* out = to + (o * s.ic + i) * kh * kw;
      for (int64_t ky = 0; ky < kh; ++ky) {
        for (int64_t kx = 0; kx < kw; ++kx) {
          out[ky * kw + kx] = from[ky * s.stride_h * s.kw + kx * s.stride_w];
        }
      }
    }
  });
}

// Puts the pixels of a phase, or zeros where `from` is null, in their places.
template <class T>
void scatter(const Run& run, const Conv2dShape& s, const Phase& phase, const T* from, T* diff_src) {
  using V = Native<T>;
  const int64_t rows = phase.rows.count, cols = phase.cols.count;
  parallel(run, s.n * ceil_div(s.ic, V::lanes), [&](int64_t plane, int) {
    for (int64_t y = 0; y < rows; ++y) {
      const int64_t row = plane * s.ih + phase.rows.first + y * s.stride_h;
      T* to = diff_src + (row * s.iw + phase.cols.first) * V::lanes;
      for (int64_t x = 0; x < cols; ++x) {
        const int64_t at = ((plane * rows + y) * cols + x) * V::lanes;
        const V value = from == nullptr ? V::zero() : V::load(from + at);
        value.store(to + x * s.stride_w * V::lanes);
      }
    }
  });
}

// Of the convolution of a phase. Each has its own, as they are not cut alike.
template <class T>
int64_t inner_workspace(const Conv2dShape& s, const Phase& phase, int slots) {
  if (!phase.sees()) return 0;
  return aligned_bytes(blocked_kernels<T>.workspace(phase.shape(s), false, slots)) +
         red_zone<T> * int64_t{sizeof(T)};
}

}  // namespace

template <class T>
bool blocked_strided_src_accepts(const Conv2dShape& s) {
  constexpr int64_t fewest_pixels = 2048, largest_stride = 4;
  if (s.dilation_h != 1 || s.dilation_w != 1 || s.n * s.ih * s.iw < fewest_pixels) return false;
  if (larger(s.stride_h, s.stride_w) > largest_stride) return false;
  bool accepts = true;
  for_each_phase(s, [&](const Phase& phase) {
    if (!phase.sees()) return;
    const Conv2dShape m = phase.shape(s);
    accepts = accepts && m.padding_h >= 0 && m.padding_w >= 0 &&
              blocked_algorithm<T>(m, false) != BlockedAlgorithm::none;
  });
  return accepts;
}

template <class T>
int64_t blocked_strided_src_workspace(const Conv2dShape& s, int slots) {
  int64_t inner = 0;
  for_each_phase(s, [&](const Phase& phase) { inner += inner_workspace<T>(s, phase, slots); });
  return Regions<T>(s).all() * int64_t{sizeof(T)} + inner;
}

template <class T>
void blocked_strided_src(const Run& run, const Conv2dShape& s, const T* weight, const T* diff_dst,
                         T* diff_src) {
  const Regions<T> regions(s);
  T* taps = guarded(static_cast<T*>(run.workspace), regions.taps);
  T* weights = guarded(taps + regions.taps + red_zone<T>, regions.weights);
  T* image = guarded(weights + regions.weights + red_zone<T>, regions.image);
  char* next = reinterpret_cast<char*>(taps + regions.all());
  for_each_phase(s, [&](const Phase& phase) {
    const T* made = nullptr;
    if (phase.sees()) {
      const Conv2dShape m = phase.shape(s);
      const int64_t count = m.kh * m.kw;
      const FilterOrder turned{count, s.ic * count, true};
      const T* gathered = taps;
      gather_taps(run, s, phase, weight, taps);
      blocked_prepare_filters(run, m, false, gathered, turned, weights);
      const Run inner{run.slots, next};
      next += inner_workspace<T>(s, phase, run.slots);
      blocked_kernels<T>.conv2d(inner, m, false, diff_dst, weights, Epilogue<T>{}, image);
      made = image;
    }
    scatter(run, s, phase, made, diff_src);
  });
}

RUSHLIGHT_BLOCKED_STRIDED_SRC(, float)
RUSHLIGHT_BLOCKED_STRIDED_SRC(, double)

}  // namespace rushlight::RUSHLIGHT_ISA
