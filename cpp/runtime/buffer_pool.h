// Memory for results and workspaces: 64-byte aligned blocks that are kept for reuse, so that a
// training loop makes no page faults after its first step.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rushlight::runtime {

constexpr size_t kAlignment = 64;

struct PoolStats {
  int64_t in_use;  // bytes handed out
  int64_t cached;  // bytes kept for reuse
  int64_t limit;   // most bytes to keep
  int64_t hits;    // requests served from the cache
  int64_t misses;  // requests that went to the system
};

// A block of at least `bytes`, or null if the system has no memory left.
void* pool_allocate(int64_t bytes) noexcept;
void pool_free(void* block) noexcept;
// Lets all of a workspace be used again, by a kernel that divides it into other regions than the
// one before did; see kernels/red_zone.h.
void lift_red_zones(void* workspace, int64_t bytes) noexcept;
void pool_empty_cache() noexcept;
PoolStats pool_stats();

// RUSHLIGHT_POOL_LIMIT in bytes, else a quarter of the memory and at most 2 GiB. Throws
// std::invalid_argument.
void configure_pool_at_import();

}  // namespace rushlight::runtime
