#include "kernels/affine.h"

#include "kernels/family.h"

namespace rushlight::RUSHLIGHT_ISA {
namespace {

// Planes are handed out by the handful, so that small ones do not cost a dispatch each.
constexpr int64_t kElementsPerChunk = 16384;

template <class T>
void affine_forward(const Run& run, const AffineShape& s, const T* src, const Epilogue<T>& epilogue,
                    T* dst) {
  const int64_t planes = s.n * s.c;
  if (planes == 0 || s.spatial == 0) return;
  const int64_t fitting = kElementsPerChunk / s.spatial, step = fitting < 1 ? 1 : fitting;
  parallel(run, (planes + step - 1) / step, [&](int64_t chunk, int) {
    const int64_t begin = chunk * step, end = begin + step < planes ? begin + step : planes;
    for (int64_t plane = begin; plane < end; ++plane) {
      const int64_t at = plane * s.spatial;
      finish_run(src + at, s.spatial, epilogue.at(plane % s.c, at), dst + at);
    }
  });
}

}  // namespace

RUSHLIGHT_DEFINE_FAMILY(AffineKernels, affine, affine_forward<T>)

}  // namespace rushlight::RUSHLIGHT_ISA
