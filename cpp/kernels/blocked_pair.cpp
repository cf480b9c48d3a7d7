// A pointwise convolution on blocked images and the depthwise one behind it, as nets for small
// machines have them: the image between them, the largest of such a net, is never made. A task
// computes a band of it for one group of channels, and takes that further while it is in the
// second-level cache.
#include "kernels/blocked_conv.h"
#include "kernels/red_zone.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

// How a pair is cut, from its sizes alone.
template <class T>
struct PairPlan {
  static constexpr int64_t lanes = Native<T>::lanes;
  static constexpr int64_t kMost = 229376 / int64_t{sizeof(T)};  // elements of a band

  const Conv2dShape& second;
  ChannelGroups<T> groups;
  int64_t band, bands;  // output rows to a task
  int64_t rows;         // of the first's result that a band reads, at most

  PairPlan(const Conv2dShape& first, const Conv2dShape& second) : second(second), groups(first.oc) {
    constexpr int64_t fewest_tasks = 6;
    const int64_t reach = (second.kh - 1) * second.dilation_h + 1;
    const int64_t fitting = kMost / (kGroupBlocks * second.iw * lanes);
    band = second.oh;
    if (fitting < second.ih) {
      band = smaller(band, larger(1, (fitting - reach) / second.stride_h + 1));
    }
    bands = ceil_div(second.oh, band);
    bands = larger(bands, smaller(second.oh, ceil_div(fewest_tasks, second.n * groups.count)));
    band = ceil_div(second.oh, bands);
    rows = smaller(second.ih, (band - 1) * second.stride_h + reach);
  }

  // Whether a band stays in the second-level cache, and few rows are computed twice.
  bool is_worth_it() const {
    constexpr double most_repeated = 1.2;
    const double repeated = static_cast<double>(bands * rows) / static_cast<double>(second.ih);
    return buffer() <= kMost && repeated <= most_repeated;
  }
  int64_t buffer() const { return kGroupBlocks * rows * second.iw * lanes; }
};

bool is_pointwise(const Conv2dShape& s) {
  return s.kh == 1 && s.kw == 1 && s.stride_h == 1 && s.stride_w == 1 && s.padding_h == 0 &&
         s.padding_w == 0 && s.groups == 1;
}

}  // namespace

template <class T>
bool blocked_pairs(const Conv2dShape& first, const Conv2dShape& second) {
  if (!is_pointwise(first) || first.n != second.n || first.oc != second.ic) return false;
  if (first.oh != second.ih || first.ow != second.iw) return false;
  if (blocked_algorithm<T>(first, false) != BlockedAlgorithm::direct) return false;
  if (blocked_algorithm<T>(second, false) != BlockedAlgorithm::depthwise) return false;
  return PairPlan<T>(first, second).is_worth_it();
}

template <class T>
int64_t blocked_pair_workspace(const Conv2dShape& first, const Conv2dShape& second, int slots) {
  return slots * (PairPlan<T>(first, second).buffer() + red_zone<T>)*int64_t{sizeof(T)};
}

template <class T>
void blocked_pair(const Run& run, const Conv2dShape& first, const Conv2dShape& second, const T* src,
                  const T* pointwise, const Epilogue<T>& between, const T* depthwise,
                  const Epilogue<T>& epilogue, T* dst) {
  const PairPlan<T> plan(first, second);
  const ChannelGroups<T>& groups = plan.groups;
  constexpr int64_t lanes = PairPlan<T>::lanes;
  const int64_t src_image = ceil_div(first.ic, lanes) * first.ih * first.iw * lanes;
  const int64_t plane = second.oh * second.ow * lanes, taps = second.kh * second.kw * lanes;
  parallel(run, second.n * plan.bands * groups.count, [&](int64_t task, int slot) {
    const int64_t group = task % groups.count, band = task / groups.count % plan.bands;
    const int64_t image = task / (groups.count * plan.bands);
    const int64_t oy = band * plan.band, end = smaller(second.oh, oy + plan.band);
    if (oy >= end) return;
    const int64_t reach = (second.kh - 1) * second.dilation_h + 1;
    const int64_t above = oy * second.stride_h - second.padding_h;
    const int64_t below = (end - 1) * second.stride_h - second.padding_h + reach;
    const int64_t top = smaller(second.ih, larger(0, above));
    const int64_t rows = larger(top, smaller(second.ih, below)) - top;
    T* buffer = slot_region(static_cast<T*>(run.workspace), plan.buffer(), slot);
    blocked_pointwise_rows(first, src + image * src_image, pointwise, between, group, top, rows,
                           buffer);
    for (int64_t r = 0; r < groups.blocks_of(group); ++r) {
      const int64_t block = group * kGroupBlocks + r;
      const int64_t at = (image * groups.blocks + block) * plane + oy * second.ow * lanes;
      blocked_depthwise_rows(second, buffer + r * rows * second.iw * lanes, top,
                             depthwise + block * taps, epilogue.at(block * lanes, at), oy, end,
                             dst + at);
    }
  });
}

#define RUSHLIGHT_BLOCKED_PAIR(T)                                                                 \
  template bool blocked_pairs<T>(const Conv2dShape& first, const Conv2dShape& second);            \
  template int64_t blocked_pair_workspace<T>(const Conv2dShape& first, const Conv2dShape& second, \
                                             int slots);                                          \
  template void blocked_pair<T>(const Run& run, const Conv2dShape& first,                         \
                                const Conv2dShape& second, const T* src, const T* pointwise,      \
                                const Epilogue<T>& between, const T* depthwise,                   \
                                const Epilogue<T>& epilogue, T* dst);
RUSHLIGHT_BLOCKED_PAIR(float)
RUSHLIGHT_BLOCKED_PAIR(double)

}  // namespace rushlight::RUSHLIGHT_ISA
