#include "kernels/conv2d_blocked.h"

#include "kernels/affine.h"
#include "kernels/blocked.h"
#include "kernels/blocked_conv.h"
#include "kernels/conv2d_window.h"
#include "kernels/family.h"
#include "kernels/integers.h"
#include "kernels/packers.h"
#include "kernels/red_zone.h"

namespace rushlight::RUSHLIGHT_ISA {

RUSHLIGHT_DECLARE_FAMILY(AffineKernels, affine)
RUSHLIGHT_DECLARE_FAMILY(BlockedKernels, blocked)

namespace {

// An image of few channels is read as it is.
bool reads_plain(const Conv2dShape& s) {
  return s.groups == 1 && s.ic <= kFewChannels;
}

// Whether a task takes images of its own from one layout to the other: what lies between stays in
// the second-level cache of one processor, and nobody waits for anybody. Else the tasks share what
// they compute for one portion after the other.
bool has_tasks(const Conv2dShape& s) {
  if (is_depthwise(s)) return false;  // whose own tasks do
  constexpr int64_t fewest_images = 8, most_weights = 64 * 64 * 9;
  return s.n >= fewest_images && s.ic / s.groups * s.oc * s.kh * s.kw <= most_weights;
}

// As many images as are taken at once.
Conv2dShape portion_of(const Conv2dShape& s, int64_t item) {
  if (is_depthwise(s)) return s;  // nothing lies between
  constexpr int64_t fewest_tasks = 8;
  const bool tasks = has_tasks(s);
  const int64_t most = tasks ? 1 << 18 : 1 << 20;  // bytes
  const int64_t image = (s.ic * s.ih * s.iw + s.oc * s.oh * s.ow) * item;
  Conv2dShape portion = s;
  if (tasks) portion.n = s.n / fewest_tasks;
  while (portion.n > 1 && (s.n % portion.n != 0 || portion.n * image > most)) --portion.n;
  return portion;
}

// The regions of the workspace, in elements.
template <class T>
struct Regions {
  static constexpr int64_t lanes = Native<T>::lanes;

  int64_t src, dst, values, weights;
  bool plain, tasks;
  bool direct;     // results are made plain
  bool padded;     // sources are
  bool depthwise;  // sources are read as they are, too

  // Of a portion of `whole`.
  Regions(const Conv2dShape& whole, const Conv2dShape& s, bool is_prepared)
      : plain(reads_plain(s)),
        tasks(has_tasks(whole)),
        direct(blocked_algorithm<T>(s, reads_plain(s)) == BlockedAlgorithm::direct),
        padded(direct && !plain && worth_padding(s)),
        depthwise(is_depthwise(s)) {
    src = plain || depthwise ? 0 : s.n * round_up(s.ic, lanes) * s.ih * s.iw;
    if (padded) src = padded_size<T>(s);
    dst = direct || depthwise ? 0 : s.n * round_up(s.oc, lanes) * s.oh * s.ow;
    values = round_up(s.oc, lanes);  // a scale or shift, filled up
    const int64_t prepared = blocked_kernels<T>.prepared(s, plain).bytes / int64_t{sizeof(T)};
    weights = is_prepared ? 0 : round_up(prepared, lanes);
  }

  // What all share, and the images between the layouts, of which tasks have some each.
  int64_t shared() const { return 2 * values + weights + 3 * red_zone<T>; }
  int64_t images() const { return src + dst + 2 * red_zone<T>; }
  DirectSource source() const { return padded ? DirectSource::padded : source_of(plain); }
  // Bytes that the convolution itself needs.
  int64_t inner(const Conv2dShape& s, int slots) const {
    constexpr int64_t item{sizeof(T)};
    if (depthwise) return blocked_depthwise_plain_workspace<T>(s, slots) * item;
    if (direct) return blocked_direct_workspace<T>(s, source(), true, slots) * item;
    return blocked_kernels<T>.workspace(s, plain, slots);
  }
};

// Takes regions from a workspace, one behind the other.
template <class T>
struct Carver {
  T* next;

  T* take(int64_t count) {
    T* region = guarded(next, count);
    next += count + red_zone<T>;
    return region;
  }
};

// Values per channel with zeros behind them, or null.
template <class T>
const T* filled_up(const T* values, int64_t count, int64_t padded, T* to) {
  if (values == nullptr) return nullptr;
  copy_run(to, values, count);
  zero_run(to + count, padded - count);
  return to;
}

}  // namespace

template <class T>
bool by_blocks_accepts(const Conv2dShape& s) {
  const Conv2dShape portion = portion_of(s, sizeof(T));
  return blocked_kernels<T>.algorithm(portion, reads_plain(s)) != BlockedAlgorithm::none;
}

template <class T>
PreparedWeight by_blocks_prepared(const Conv2dShape& s) {
  return blocked_kernels<T>.prepared(portion_of(s, sizeof(T)), reads_plain(s));
}

template <class T>
void by_blocks_prepare(const Run& run, const Conv2dShape& s, const T* weight, T* to) {
  blocked_kernels<T>.prepare(run, portion_of(s, sizeof(T)), reads_plain(s), weight, to);
}

// Elements for one task that works alone.
template <class T>
int64_t by_blocks_local(const Conv2dShape& portion, const Regions<T>& regions) {
  const int64_t inner = regions.inner(portion, 1);
  return round_up(regions.images() + ceil_div(inner, int64_t{sizeof(T)}), 64 / int64_t{sizeof(T)});
}

template <class T>
int64_t by_blocks_workspace(const Conv2dShape& s, bool is_prepared, int slots) {
  const Conv2dShape portion = portion_of(s, sizeof(T));
  const Regions<T> regions(s, portion, is_prepared);
  const int64_t shared = regions.shared() * int64_t{sizeof(T)};
  if (regions.tasks) return shared + slots * by_blocks_local(portion, regions) * int64_t{sizeof(T)};
  return shared + regions.images() * int64_t{sizeof(T)} + regions.inner(portion, slots);
}

namespace {

// Convolves one portion by way of blocks that begin at `workspace`.
template <class T>
void convolve_portion(const Run& run, const Conv2dShape& s, const Regions<T>& regions, T* workspace,
                      const T* src, const T* prepared, const Epilogue<T>& epilogue, T* dst) {
  const BlockedKernels<T>& kernels = blocked_kernels<T>;
  Carver<T> carver{workspace};
  T* image = carver.take(regions.src);
  T* result = carver.take(regions.dst);
  const Run inner{run.slots, carver.next};
  if (regions.depthwise) {
    return blocked_depthwise_plain(inner, s, src, prepared, epilogue, dst);
  }
  if (regions.padded) {
    to_padded(run, s, src, image);
  } else if (!regions.plain) {
    kernels.to_blocked(run, {s.n, s.ic, s.ih * s.iw}, src, image);
  }
  const T* from = regions.plain ? src : image;
  if (regions.direct) {
    return blocked_direct(inner, s, regions.source(), from, prepared, epilogue, dst, true);
  }
  kernels.conv2d(inner, s, regions.plain, from, prepared, epilogue, result);
  kernels.to_plain(run, {s.n, s.oc, s.oh * s.ow}, result, dst);
}

// `order` says how the filters lie where they are neither prepared nor as usual.
template <class T>
void convolve_by_blocks(const Run& run, const Conv2dShape& whole, const T* src, const T* weight,
                        const FilterOrder* order, const T* prepared, const Epilogue<T>& epilogue,
                        T* dst) {
  const BlockedKernels<T>& kernels = blocked_kernels<T>;
  const Conv2dShape s = portion_of(whole, sizeof(T));
  const Regions<T> regions(whole, s, prepared != nullptr);
  Carver<T> carver{static_cast<T*>(run.workspace)};
  T* scale = carver.take(regions.values);
  T* shift = carver.take(regions.values);
  T* weights = carver.take(regions.weights);
  T* images = carver.next;
  if (prepared == nullptr) {
    if (order == nullptr) {
      kernels.prepare(run, s, regions.plain, weight, weights);
    } else {
      blocked_prepare_filters(run, s, regions.plain, weight, *order, weights);
    }
    prepared = weights;
  }
  Epilogue<T> first = epilogue;
  first.scale = filled_up(epilogue.scale, s.oc, regions.values, scale);
  first.shift = filled_up(epilogue.shift, s.oc, regions.values, shift);
  first.residual = nullptr;
  // A residual is plain: it is added, and the activation follows, when the result is plain too.
  if (epilogue.residual != nullptr) first.activation = Activation::none;
  const auto portion = [&](const Run& by, int64_t i, T* workspace) {
    convolve_portion(by, s, regions, workspace, src + i * s.n * s.ic * s.ih * s.iw, prepared, first,
                     dst + i * s.n * s.oc * s.oh * s.ow);
  };
  if (regions.tasks) {
    const int64_t local = by_blocks_local(s, regions);
    parallel(run, whole.n / s.n,
             [&](int64_t i, int slot) { portion(Run{1, nullptr}, i, images + slot * local); });
  } else {
    for (int64_t i = 0; i < whole.n / s.n; ++i) portion(run, i, images);
  }
  if (epilogue.residual != nullptr) {
    Epilogue<T> last = epilogue;
    last.scale = last.shift = nullptr;
    affine_kernels<T>.forward(run, {whole.n, s.oc, s.oh * s.ow}, dst, last, dst);
  }
}

}  // namespace

template <class T>
void by_blocks_forward(const Run& run, const Conv2dShape& s, const T* src, const T* weight,
                       const T* prepared, const Epilogue<T>& epilogue, T* dst) {
  const FilterOrder* as_usual = nullptr;
  convolve_by_blocks(run, s, src, weight, as_usual, prepared, epilogue, dst);
}

template <class T>
double by_blocks_cost(const Conv2dShape& s) {
  constexpr double per_vector = 5, per_weight = 0.25;
  const Conv2dShape portion = portion_of(s, sizeof(T));
  const Regions<T> regions(s, portion, false);
  const int64_t results = portion.n * round_up(s.oc, Native<T>::lanes) * s.oh * s.ow;
  const double moved = static_cast<double>(regions.src + results) / double{Native<T>::lanes};
  const double cost = blocked_cost<T>(portion, regions.plain) + moved * per_vector;
  // Few channels leave most lanes empty, and take the memory of full ones.
  const int64_t fewest = regions.plain ? s.oc : smaller(s.ic, s.oc);
  const double waste = 4 * fewest < Native<T>::lanes ? 8 : 1;
  return waste * cost * static_cast<double>(s.n / portion.n) +
         static_cast<double>(regions.weights) * per_weight;
}

template <class T>
bool by_blocks_backward_accepts(const Conv2dShape& s) {
  if ((s.groups != 1 && !is_depthwise(s)) || s.stride_h != 1 || s.stride_w != 1) return false;
  const Conv2dShape m = mirrored(s);
  return m.padding_h >= 0 && m.padding_w >= 0 && by_blocks_accepts<T>(m);
}

template <class T>
int64_t by_blocks_backward_workspace(const Conv2dShape& s, int slots) {
  return by_blocks_workspace<T>(mirrored(s), false, slots);
}

template <class T>
void by_blocks_backward(const Run& run, const Conv2dShape& s, const T* weight, const T* diff_dst,
                        T* diff_src) {
  const int64_t taps = s.kh * s.kw;
  const FilterOrder turned{taps, s.ic * taps, true};
  const T* not_prepared = nullptr;
  convolve_by_blocks(run, mirrored(s), diff_dst, weight, &turned, not_prepared, Epilogue<T>{},
                     diff_src);
}

template <class T>
double by_blocks_backward_cost(const Conv2dShape& s) {
  return by_blocks_cost<T>(mirrored(s));
}

RUSHLIGHT_BY_BLOCKS(, float)
RUSHLIGHT_BY_BLOCKS(, double)

}  // namespace rushlight::RUSHLIGHT_ISA
