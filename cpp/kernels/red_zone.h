// Memory that nothing may touch, between the regions of one workspace: in builds with the address
// sanitizer only. Elsewhere all of this is nothing.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "simd/vec.h"

#if defined(__SANITIZE_ADDRESS__)
#define RUSHLIGHT_RED_ZONES 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RUSHLIGHT_RED_ZONES 1
#endif
#endif

#ifdef RUSHLIGHT_RED_ZONES
extern "C" void __asan_poison_memory_region(void const volatile* address, size_t size);
#endif

namespace rushlight::RUSHLIGHT_ISA {

// Elements to leave behind a region. Whole cache lines, so that what follows stays aligned.
template <class T>
#ifdef RUSHLIGHT_RED_ZONES
constexpr int64_t red_zone = 1024 / int64_t{sizeof(T)};
#else
constexpr int64_t red_zone = 0;
#endif

// Forbids the red zone behind a region of `count` elements, and returns the region. The memory is
// usable again when the whole workspace is freed.
template <class T>
RUSHLIGHT_INLINE T* guarded(T* region, [[maybe_unused]] int64_t count) {
#ifdef RUSHLIGHT_RED_ZONES
  __asan_poison_memory_region(region + count, red_zone<T> * sizeof(T));
#endif
  return region;
}

// The region of one slot where every slot has one of `count` elements.
template <class T>
RUSHLIGHT_INLINE T* slot_region(T* regions, int64_t count, int slot) {
  return guarded(regions + slot * (count + red_zone<T>), count);
}

}  // namespace rushlight::RUSHLIGHT_ISA
