#include "kernels/probe.h"

#include "kernels/family.h"
#include "kernels/integers.h"
#include "kernels/reduce.h"
#include "simd/vec.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

template <class T>
void multiply_adds(const Run& run, int64_t count, T* sums) {
  using V = Native<T>;
  constexpr int chains = 12;  // enough to hide the latency, few enough for the registers
  const int64_t steps = ceil_div(count, kProbeChunks * chains * V::lanes);
  parallel(run, kProbeChunks, [&](int64_t chunk, int) {
    const V factor = V::broadcast(T{0.5}), term = V::broadcast(static_cast<T>(chunk + 1));
    V acc[chains];
#pragma GCC unroll 12
    for (int i = 0; i < chains; ++i) acc[i] = V::broadcast(static_cast<T>(i));
    for (int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 12
      for (int i = 0; i < chains; ++i) acc[i] = fma(acc[i], factor, term);
    }
#pragma GCC unroll 12
    for (int i = 1; i < chains; ++i) acc[0] += acc[i];
    sums[chunk] = sum(acc[0]);
  });
}

template <class T>
void copy(const Run& run, int64_t n, const T* src, T* dst) {
  const int64_t step = round_up(ceil_div(n, kProbeChunks), 64);
  parallel(run, kProbeChunks, [&](int64_t chunk, int) {
    const int64_t begin = smaller(n, chunk * step), end = smaller(n, begin + step);
    memcpy(dst + begin, src + begin, static_cast<size_t>(end - begin) * sizeof(T));
  });
}

template <class T>
void read(const Run& run, int64_t n, const T* src, T* sums) {
  const int64_t step = round_up(ceil_div(n, kProbeChunks), 64);
  parallel(run, kProbeChunks, [&](int64_t chunk, int) {
    const int64_t begin = smaller(n, chunk * step), end = smaller(n, begin + step);
    sums[chunk] = sum_run(src + begin, end - begin);
  });
}

}  // namespace

RUSHLIGHT_DEFINE_FAMILY(ProbeKernels, probe, multiply_adds<T>, copy<T>, read<T>)

}  // namespace rushlight::RUSHLIGHT_ISA
