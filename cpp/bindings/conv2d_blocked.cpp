#include "bindings/conv2d_blocked.h"

#include <vector>

namespace rushlight::bindings {
namespace {

int64_t whole_lines(int64_t bytes) {
  return (bytes + 63) / 64 * 64;
}

struct Route {
  bool blocked = false;
  bool plain_src = false;
};

// Whether an algorithm was forced, or images are so small that vectors are better filled with them:
// blocks that are there already, of pixels that fill a vector, are not worth turning for that.
template <class T>
bool left_to_planes(const Conv2dShape& s, bool in_blocks) {
  if (s.algorithm != ConvAlgorithm::automatic) return true;
  if (in_blocks && s.oh * s.ow >= runtime::kernels<T>().blocked->lanes) return false;
  return runtime::kernels<T>().conv2d->algorithm(s) == ConvAlgorithm::chwn;
}

// Whether so many output channels fill their blocks: what is turned for little is better not
// turned.
bool fill_blocks(int64_t channels, int64_t lanes) {
  return 4 * channels >= 3 * ((channels + lanes - 1) / lanes * lanes);
}

template <class T>
Route route_of(const Conv2dShape& s, bool src_blocked, ResultLayout layout) {
  const BlockedKernels<T>& kernels = *runtime::kernels<T>().blocked;
  if (2 * s.oc < kernels.lanes) return {};  // most lanes would be empty
  const bool few = s.ic <= kFewChannels && s.groups == 1;
  if (!src_blocked && !few && layout == ResultLayout::kept) return {};
  if (left_to_planes<T>(s, src_blocked)) return {};
  const bool accepts = kernels.algorithm(s, false) != BlockedAlgorithm::none;
  if (src_blocked) return {accepts, false};
  if (few) {
    const bool pays = layout == ResultLayout::any || fill_blocks(s.oc, kernels.lanes);
    return {pays && kernels.algorithm(s, true) != BlockedAlgorithm::none, true};
  }
  const bool turned = runtime::kernels<T>().conv2d->algorithm(s) == ConvAlgorithm::blocked;
  return {accepts && turned, false};
}

// Values of the channels with zeros for the lanes without one; null where there are none and none
// are needed.
template <class T>
class FilledUp {
 public:
  FilledUp(const char* op, const char* name, py::handle object, const Array& weight, int64_t lanes,
           bool needed = false) {
    const Array values = Array::optional(op, name, object);
    check_same_dtype(op, weight, values);
    check_shape(op, values, {weight.dim(0)}, "as weight has outputs");
    if (!values && !needed) return;
    if (values) values_.assign(values.data<T>(), values.data<T>() + values.size());
    values_.resize(static_cast<size_t>((weight.dim(0) + lanes - 1) / lanes * lanes));
    data_ = values_.data();
  }
  const T* data() const { return data_; }

 private:
  std::vector<T> values_;
  const T* data_ = nullptr;
};

template <class T>
void run_blocked(const char* op, const Conv2dShape& s, bool plain_src, const T* src,
                 const T* weight, CachedWeight& cached, const Epilogue<T>& epilogue, T* dst) {
  const BlockedKernels<T>& kernels = *runtime::kernels<T>().blocked;
  {
    KernelScope scope(work_of_conv2d(s));
    T* prepared = cached.data<T>();
    const bool fresh = prepared == nullptr;
    // A weight that is not kept is prepared at the end of the workspace.
    const int64_t bytes = whole_lines(kernels.workspace(s, plain_src, scope.slots()));
    const int64_t more = fresh ? kernels.prepared(s, plain_src).bytes : 0;
    const Run& run = scope.with_workspace(op, checked_add(op, bytes, more));
    if (fresh) prepared = reinterpret_cast<T*>(static_cast<char*>(run.workspace) + bytes);
    if (fresh || cached.is_new()) kernels.prepare(run, s, plain_src, weight, prepared);
    kernels.conv2d(scope.again(), s, plain_src, src, prepared, epilogue, dst);
  }
  cached.keep();
}

}  // namespace

py::object conv2d_by_blocks(const char* op, Images& src, const Array& weight,
                            py::handle weight_object, py::handle scale_object,
                            py::handle bias_object, const ClampArgument& clamp,
                            const Conv2dShape& s, ResultLayout layout, WeightCacheObject* cache,
                            int64_t version) {
  // Kernels count on sizes whose products fit; what no machine holds is refused where it is made.
  constexpr int64_t most = int64_t{1} << 40;  // elements
  const int64_t sizes[] = {s.n, s.oc, s.oh, s.ow};
  if (layout == ResultLayout::plain || element_count(op, sizes, 4) > most) return py::none();
  return with_type(src.dtype(), [&](auto t) -> py::object {
    using T = decltype(t);
    const Route route = route_of<T>(s, src.is_blocked(), layout);
    if (!route.blocked) return py::none();
    const BlockedKernels<T>& kernels = *runtime::kernels<T>().blocked;
    const FilledUp<T> scale(op, "scale", scale_object, weight, kernels.lanes);
    const bool scales = scale.data() != nullptr;
    const FilledUp<T> shift(op, "bias", bias_object, weight, kernels.lanes, scales);
    Epilogue<T> epilogue{scale.data(), shift.data()};
    set_clamp(clamp, epilogue);
    BlockedResult dst(op, src.dtype(), {s.n, s.oc, s.oh, s.ow});
    const Array& from = route.plain_src ? src.given() : src.blocks();
    CachedWeight cached(
        cache, version, weight_object, weight,
        {&kernels, kernels.prepared(s, route.plain_src), {s.oc, s.ic, s.kh, s.kw, s.groups}});
    run_blocked(op, s, route.plain_src, from.data<T>(), weight.data<T>(), cached, epilogue,
                dst.data<T>());
    return dst.release();
  });
}

py::object conv2d_src_by_blocks(const char* op, const Array& weight, Images& diff_dst,
                                const Conv2dShape& s) {
  return with_type(diff_dst.dtype(), [&](auto t) -> py::object {
    using T = decltype(t);
    const BlockedGradientKernels<T>& kernels = *runtime::kernels<T>().blocked_gradients;
    if (!diff_dst.is_blocked() || left_to_planes<T>(s, true) || !kernels.src_accepts(s)) {
      return py::none();
    }
    BlockedResult diff_src(op, diff_dst.dtype(), {s.n, s.ic, s.ih, s.iw});
    {
      KernelScope scope(work_of_conv2d(s));
      const Run& run = scope.with_workspace(op, kernels.src_workspace(s, scope.slots()));
      kernels.src(run, s, weight.data<T>(), diff_dst.given().data<T>(), diff_src.data<T>());
    }
    return diff_src.release();
  });
}

py::object conv2d_weight_by_blocks(const char* op, Images& src, const Array& weight,
                                   Images& diff_dst, const Conv2dShape& s) {
  return with_type(diff_dst.dtype(), [&](auto t) -> py::object {
    using T = decltype(t);
    const BlockedGradientKernels<T>& kernels = *runtime::kernels<T>().blocked_gradients;
    const bool in_blocks = src.is_blocked() || diff_dst.is_blocked();
    if (!in_blocks || left_to_planes<T>(s, true)) return py::none();
    const bool plain_src = !src.is_blocked() && s.ic <= kFewChannels;
    if (!kernels.weight_accepts(s, plain_src)) return py::none();
    const T* from = (plain_src ? src.given() : src.blocks()).template data<T>();
    const T* diff = diff_dst.blocks().template data<T>();
    Result diff_weight = Result::like(op, weight);
    {
      KernelScope scope(work_of_conv2d(s));
      const int64_t bytes = kernels.weight_workspace(s, plain_src, scope.slots());
      kernels.weight(scope.with_workspace(op, bytes), s, plain_src, from, diff,
                     diff_weight.data<T>());
    }
    return diff_weight.release();
  });
}

py::object conv2d_bias_by_blocks(const char* op, Images& diff_dst, const Conv2dShape& s) {
  return with_type(diff_dst.dtype(), [&](auto t) -> py::object {
    using T = decltype(t);
    if (!diff_dst.is_blocked()) return py::none();
    Result diff_bias(op, diff_dst.dtype(), {s.oc});
    {
      const KernelScope scope(diff_dst.given().size());
      runtime::kernels<T>().blocked_gradients->bias(
          scope.run(), s, diff_dst.given().template data<T>(), diff_bias.data<T>());
    }
    return diff_bias.release();
  });
}

}  // namespace rushlight::bindings
