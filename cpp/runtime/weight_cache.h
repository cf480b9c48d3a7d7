// Weights in the order in which kernels read them, kept while they do not change. Each weight has a
// cache of its own, which is freed with it; all together hold at most a limit.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/prepared_weight.h"

namespace rushlight::runtime {

// Memory of its own rather than the pool's: it is kept for long, and its size is exact.
class WeightBlock {
 public:
  // Whether the limit may refuse a block: not one that there is no other form of the weight beside.
  enum class Limit { obeyed, ignored };

  // Counts towards the limit. Null if the limit or the system refuses.
  static std::shared_ptr<WeightBlock> make(int64_t bytes, Limit limit = Limit::obeyed);
  ~WeightBlock();
  WeightBlock(const WeightBlock&) = delete;
  WeightBlock& operator=(const WeightBlock&) = delete;

  void* data() const { return data_; }

 private:
  WeightBlock(void* data, int64_t bytes) : data_(data), bytes_(bytes) {}

  void* data_;
  int64_t bytes_;
};

// What a block was made for, beside the weight's memory and version.
struct WeightKey {
  const void* kernels;  // of the instruction set and the element type
  PreparedWeight prepared;
  std::array<int64_t, 5> sizes;  // of the weight, and the groups

  bool operator==(const WeightKey& other) const {
    return kernels == other.kernels && prepared.bytes == other.prepared.bytes &&
           prepared.layout == other.prepared.layout && sizes == other.sizes;
  }
};

// The blocks of one weight. Safe to use from several threads.
class WeightCache {
 public:
  WeightCache();
  ~WeightCache();
  WeightCache(const WeightCache&) = delete;
  WeightCache& operator=(const WeightCache&) = delete;

  struct Found {
    std::shared_ptr<WeightBlock> block;  // or null
    bool is_new = false;                 // the block is to be filled, and then given to `keep`
  };

  // A weight is worth a block when the same version of the same memory is used again: training,
  // which uses each version once, pays nothing.
  Found find(const void* weight, int64_t version, const WeightKey& key);
  // Dropped unless the version is still the latest that was asked for.
  void keep(const void* weight, int64_t version, const WeightKey& key,
            std::shared_ptr<WeightBlock> block);

 private:
  friend void empty_weight_caches();

  struct Entry {
    WeightKey key;
    std::shared_ptr<WeightBlock> block;
  };

  const void* weight_ = nullptr;
  int64_t version_ = 0;
  std::vector<Entry> entries_;
};

struct WeightCacheStats {
  int64_t bytes;   // held by blocks
  int64_t limit;   // most bytes to hold
  int64_t blocks;  // how many
};

WeightCacheStats weight_cache_stats();
void set_weight_cache_limit(int64_t bytes);
// Frees the blocks of all weights.
void empty_weight_caches();

// RUSHLIGHT_WEIGHT_CACHE_LIMIT in bytes, else a quarter of the memory. Throws
// std::invalid_argument.
void configure_weight_cache_at_import();

}  // namespace rushlight::runtime
