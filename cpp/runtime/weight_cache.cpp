#include "runtime/weight_cache.h"

#include <pthread.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <mutex>
#include <utility>

#include "runtime/buffer_pool.h"
#include "runtime/environment.h"
#include "runtime/limits.h"
#include "runtime/slabs.h"

namespace rushlight::runtime {
namespace {

// One lock for all caches: it is held for a few comparisons, and a fork has one to think of.
struct State {
  std::mutex mutex;
  std::vector<WeightCache*> caches;
  WeightCacheStats stats{0, std::numeric_limits<int64_t>::max(), 0};
};

// Never freed: weights may outlive the interpreter's last module.
State& state() {
  static State* const instance = new State;
  return *instance;
}

}  // namespace

std::shared_ptr<WeightBlock> WeightBlock::make(int64_t bytes, Limit limit) {
  {
    const std::lock_guard<std::mutex> lock(state().mutex);
    WeightCacheStats& stats = state().stats;
    if (limit == Limit::obeyed && bytes > stats.limit - stats.bytes) return nullptr;
    stats.bytes += bytes;
    ++stats.blocks;
  }
  void* data = memory_from_system(static_cast<size_t>(bytes), kAlignment);
  // Made even without memory, so that the destructor gives back what was counted.
  std::shared_ptr<WeightBlock> block(new WeightBlock(data, bytes));
  return data == nullptr ? nullptr : block;
}

WeightBlock::~WeightBlock() {
  std::free(data_);
  const std::lock_guard<std::mutex> lock(state().mutex);
  state().stats.bytes -= bytes_;
  --state().stats.blocks;
}

WeightCache::WeightCache() {
  const std::lock_guard<std::mutex> lock(state().mutex);
  state().caches.push_back(this);
}

WeightCache::~WeightCache() {
  std::vector<Entry> dropped;  // freed after the lock, which a block's destructor takes
  const std::lock_guard<std::mutex> lock(state().mutex);
  std::erase(state().caches, this);
  dropped.swap(entries_);
}

WeightCache::Found WeightCache::find(const void* weight, int64_t version, const WeightKey& key) {
  std::vector<Entry> dropped;
  {
    const std::lock_guard<std::mutex> lock(state().mutex);
    if (weight != weight_ || version != version_) {
      dropped.swap(entries_);
      weight_ = weight;
      version_ = version;
      return {};
    }
    for (const Entry& each : entries_) {
      if (each.key == key) return {each.block};
    }
  }
  return {WeightBlock::make(key.prepared.bytes), true};
}

void WeightCache::keep(const void* weight, int64_t version, const WeightKey& key,
                       std::shared_ptr<WeightBlock> block) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  if (weight != weight_ || version != version_) return;
  for (const Entry& each : entries_) {
    if (each.key == key) return;  // another thread was faster
  }
  entries_.push_back({key, std::move(block)});
}

WeightCacheStats weight_cache_stats() {
  const std::lock_guard<std::mutex> lock(state().mutex);
  return state().stats;
}

void set_weight_cache_limit(int64_t bytes) {
  const std::lock_guard<std::mutex> lock(state().mutex);
  state().stats.limit = bytes;
}

void empty_weight_caches() {
  std::vector<WeightCache::Entry> dropped;
  const std::lock_guard<std::mutex> lock(state().mutex);
  for (WeightCache* cache : state().caches) {
    std::move(cache->entries_.begin(), cache->entries_.end(), std::back_inserter(dropped));
    cache->entries_.clear();
  }
}

void configure_weight_cache_at_import() {
  constexpr int64_t most = std::numeric_limits<int64_t>::max();
  const auto wanted = environment_integer("RUSHLIGHT_WEIGHT_CACHE_LIMIT", 0, most);
  set_weight_cache_limit(wanted.value_or(usable_memory() / 4));
  // As for the buffer pool: a child must not find the lock closed.
  pthread_atfork([] { state().mutex.lock(); }, [] { state().mutex.unlock(); },
                 [] { state().mutex.unlock(); });
}

}  // namespace rushlight::runtime
