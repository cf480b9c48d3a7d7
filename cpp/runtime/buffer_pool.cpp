#include "runtime/buffer_pool.h"

#include <pthread.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <new>
#include <utility>

#include "runtime/environment.h"
#include "runtime/limits.h"
#include "runtime/slabs.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define RUSHLIGHT_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RUSHLIGHT_SANITIZED 1
#endif
#endif
#ifdef RUSHLIGHT_SANITIZED
#include <sanitizer/asan_interface.h>
#endif

namespace rushlight::runtime {
namespace {

// Blocks from the first size to the second share slabs: smaller ones are the C library's.
constexpr size_t kLeastShared = size_t{16} << 10, kMostShared = kLargePage;

// Stands in the 64 bytes before every block; links the free blocks of one size class.
struct alignas(kAlignment) Header {
  Header* next;
  int64_t bytes;
  int size_class;
  bool returned = false;  // its pages are the system's again
  Slab* slab = nullptr;   // that it is a part of, if any
};
static_assert(sizeof(Header) == kAlignment);

constexpr int kMinShift = 6;  // the smallest block holds 64 bytes
constexpr int kSteps = 4;     // classes per power of two: at most a quarter is wasted
constexpr int kMaxShift = 48;
constexpr int kClasses = (kMaxShift - kMinShift) * kSteps;

// Class c holds blocks of (4 + c % 4) * 2^(c / 4 + 4) bytes.
int64_t class_bytes(int size_class) {
  return int64_t{kSteps + size_class % kSteps} << (size_class / kSteps + kMinShift - 2);
}

int class_of(int64_t bytes) {
  if (bytes <= (int64_t{1} << kMinShift)) return 0;
  const auto last = static_cast<uint64_t>(bytes - 1);
  const int shift = std::bit_width(last) - 1;
  const int step = static_cast<int>(last >> (shift - 2)) - kSteps;
  return (shift - kMinShift) * kSteps + step + 1;
}

// Under the address sanitizer blocks are never reused, are as long as was asked for to the byte,
// and lie between margins that nothing may touch, wider than a row of most images.
#ifdef RUSHLIGHT_SANITIZED
constexpr bool kSanitized = true;
constexpr size_t kMargin = 4096;
#else
constexpr bool kSanitized = false;
constexpr size_t kMargin = 0;
#endif

void close_margins([[maybe_unused]] const Header* header, [[maybe_unused]] size_t bytes) {
#ifdef RUSHLIGHT_SANITIZED
  const char* block = reinterpret_cast<const char*>(header + 1);
  __asan_poison_memory_region(block - sizeof(Header) - kMargin, kMargin + sizeof(Header));
  __asan_poison_memory_region(block + bytes, kMargin);
#endif
}

Header* header_of(void* block) {
  Header* header = static_cast<Header*>(block) - 1;
#ifdef RUSHLIGHT_SANITIZED
  __asan_unpoison_memory_region(header, sizeof(Header));
#endif
  return header;
}

void free_to_system(Header* header) {
  std::free(reinterpret_cast<char*>(header) - kMargin);
}

class BufferPool {
 public:
  void* allocate(int64_t bytes) noexcept {
    if (bytes < 0 || bytes >= (int64_t{1} << (kMaxShift - 1))) return nullptr;
    const int size_class = class_of(bytes);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (Header* header = free_[size_class]) {
        free_[size_class] = header->next;
        if (!header->returned) stats_.cached -= header->bytes;
        header->returned = false;
        if (header->slab != nullptr) --header->slab->idle;
        stats_.in_use += header->bytes;
        ++stats_.hits;
        return header + 1;
      }
    }
    return allocate_from_system(bytes, size_class);
  }

  void release(void* block) noexcept {
    Header* header = header_of(block);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stats_.in_use -= header->bytes;
      const bool keeps = stats_.cached + header->bytes <= stats_.limit;
      if (keeps || header->slab != nullptr) {
        stats_.cached += header->bytes;
        if (header->slab != nullptr) ++header->slab->idle;
        link(header);
        if (!keeps) return_pages(header);
        return;
      }
    }
    free_to_system(header);
  }

  void empty() noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (Header*& list : free_) {
      Header* header = std::exchange(list, nullptr);
      while (header != nullptr) empty(std::exchange(header, header->next));
    }
    slabs_.free_idle();
  }

  PoolStats stats() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return stats_;
  }

  void set_limit(int64_t bytes) { stats_.limit = kSanitized ? 0 : bytes; }

  std::mutex& mutex() { return mutex_; }

 private:
  void link(Header* header) {
    header->next = free_[header->size_class];
    free_[header->size_class] = header;
  }
  void return_pages(Header* header) {
    if (!header->returned) stats_.cached -= header->bytes;
    if (!header->returned) give_back_pages(header + 1, header->bytes);
    header->returned = true;
  }
  // Gives a block that nobody uses back, or what can be given back of it.
  void empty(Header* header) {
    if (header->slab == nullptr) {
      stats_.cached -= header->bytes;
      return free_to_system(header);
    }
    if (header->slab->is_idle()) {  // it goes with its slab
      if (!header->returned) stats_.cached -= header->bytes;
      return;
    }
    return_pages(header);
    link(header);
  }

  char* memory_for(size_t total, Slab*& slab) {
    const bool shared = stats_.limit > 0 && !kSanitized;
    if (!shared || total < kLeastShared || total >= kMostShared) {
      return static_cast<char*>(memory_from_system(total, kAlignment));
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    return slabs_.cut(total, slab);
  }
  void* allocate_from_system(int64_t wanted, int size_class) noexcept {
    // Without a cache a class has no use, and exact sizes let memory checkers see every overrun.
    const int64_t bytes =
        stats_.limit == 0 ? std::max<int64_t>(wanted, 1) : class_bytes(size_class);
    const size_t total = sizeof(Header) + static_cast<size_t>(bytes) + 2 * kMargin;
    Slab* slab = nullptr;
    char* memory = memory_for(total, slab);
    if (memory == nullptr) {
      empty();
      memory = memory_for(total, slab);
    }
    if (memory == nullptr) return nullptr;
    auto* header = new (memory + kMargin) Header{nullptr, bytes, size_class, false, slab};
    close_margins(header, static_cast<size_t>(bytes));
    const std::lock_guard<std::mutex> lock(mutex_);
    stats_.in_use += bytes;
    ++stats_.misses;
    return header + 1;
  }

  std::mutex mutex_;
  Header* free_[kClasses] = {};
  Slabs slabs_;
  PoolStats stats_{0, 0, std::numeric_limits<int64_t>::max(), 0, 0};
};

// Never freed: arrays may outlive the interpreter's last module.
BufferPool& pool() {
  static BufferPool* const instance = new BufferPool;
  return *instance;
}

}  // namespace

void* pool_allocate(int64_t bytes) noexcept {
  return pool().allocate(bytes);
}
void lift_red_zones([[maybe_unused]] void* workspace, [[maybe_unused]] int64_t bytes) noexcept {
#ifdef RUSHLIGHT_SANITIZED
  if (bytes > 0) __asan_unpoison_memory_region(workspace, static_cast<size_t>(bytes));
#endif
}

void pool_free(void* block) noexcept {
  pool().release(block);
}
void pool_empty_cache() noexcept {
  pool().empty();
#ifdef __GLIBC__
  malloc_trim(0);  // what was freed below its threshold, the C library would keep
#endif
}
PoolStats pool_stats() {
  return pool().stats();
}

void configure_pool_at_import() {
  constexpr int64_t most = std::numeric_limits<int64_t>::max();
  const int64_t usual = std::min<int64_t>(usable_memory() / 4, int64_t{2} << 30);
  pool().set_limit(environment_integer("RUSHLIGHT_POOL_LIMIT", 0, most).value_or(usual));
  // A fork while another thread holds the lock would leave the child with a lock that nobody opens.
  pthread_atfork([] { pool().mutex().lock(); }, [] { pool().mutex().unlock(); },
                 [] { pool().mutex().unlock(); });
}

}  // namespace rushlight::runtime
