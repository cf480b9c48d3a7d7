#include "runtime/cpu.h"

#include "kernels/table.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace rushlight::runtime {

#if defined(__x86_64__)
namespace {

// Register state that the operating system saves and restores; without it the instructions fault or
// lose data.
uint64_t saved_state() {
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

constexpr bool has_bit(uint32_t word, int bit) {
  return ((word >> bit) & 1u) != 0;
}

}  // namespace

uint32_t cpu_features() {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0) return 0;
  uint32_t features = 0;
  const bool ssse3 = has_bit(c, 0) && has_bit(c, 9);
  if (ssse3 && has_bit(c, 19) && has_bit(c, 20) && has_bit(c, 23)) features |= kFeatureSse3To42;

  constexpr uint64_t ymm_state = 0x6, zmm_state = 0xe6;
  const bool osxsave = has_bit(c, 27), avx = has_bit(c, 28), fma = has_bit(c, 12);
  if (!osxsave || !avx) return features;
  const uint64_t state = saved_state();
  if ((state & ymm_state) != ymm_state) return features;
  if (fma) features |= kFeatureFma;

  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return features;
  if (has_bit(b, 5)) features |= kFeatureAvx2;
  const bool avx512 = has_bit(b, 16) && has_bit(b, 17) && has_bit(b, 30) && has_bit(b, 31);
  if (avx512 && (state & zmm_state) == zmm_state) features |= kFeatureAvx512;
  return features;
}

#else

// Vector instructions are part of the arm64 base architecture; its tables ask for nothing beyond
// it. A kernel that hides them (hwcap without ASIMD) leaves no table to run, which the dispatcher
// reports.
uint32_t cpu_features() {
#if defined(__aarch64__) && defined(__linux__)
  const bool has_vectors = (getauxval(AT_HWCAP) & HWCAP_ASIMD) != 0;
  return has_vectors ? uint32_t{kFeatureNeon} : 0;
#elif defined(__aarch64__)
  return kFeatureNeon;
#else
  return 0;
#endif
}

#endif

}  // namespace rushlight::runtime
