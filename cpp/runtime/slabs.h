// Large pages of the system, and regions of them that blocks smaller than such a page share:
// filling them takes fewer page faults, and reading them fewer walks through page tables.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace rushlight::runtime {

constexpr size_t kLargePage = size_t{2} << 20;

// Memory that std::free takes back, or null. What is as long as a large page begins where one does,
// and asks for such pages; the rest of it has small ones: of memory that nobody touches, less than
// one large page is taken.
inline void* memory_from_system(size_t bytes, size_t alignment) {
  const bool large = bytes >= kLargePage;
  void* memory = nullptr;
  if (posix_memalign(&memory, large ? kLargePage : alignment, bytes) != 0) return nullptr;
#ifdef MADV_HUGEPAGE
  if (large) madvise(memory, bytes / kLargePage * kLargePage, MADV_HUGEPAGE);  // or go without
#endif
  return memory;
}

// A region that is cut into blocks from front to end. Not safe for threads.
struct Slab {
  static constexpr size_t kBytes = 4 * kLargePage;

  char* memory;
  Slab* next;
  size_t used = 0;
  int64_t blocks = 0, idle = 0;  // cut off it, and those of them that nobody uses

  bool is_idle() const { return idle == blocks; }
};

class Slabs {
 public:
  // The next `bytes` of a slab, or null.
  char* cut(size_t bytes, Slab*& slab) {
    if (slabs_ == nullptr || slabs_->used + bytes > Slab::kBytes) {
      void* memory = memory_from_system(Slab::kBytes, kLargePage);
      auto* added = new (std::nothrow) Slab{static_cast<char*>(memory), slabs_};
      if (memory == nullptr || added == nullptr) {
        std::free(memory);
        delete added;
        return nullptr;
      }
      slabs_ = added;
    }
    slab = slabs_;
    slab->used += bytes;
    ++slab->blocks;
    return slab->memory + slab->used - bytes;
  }

  // Frees the slabs of which no block is in use.
  void free_idle() {
    for (Slab** link = &slabs_; *link != nullptr;) {
      Slab* slab = *link;
      if (!slab->is_idle()) {
        link = &slab->next;
        continue;
      }
      *link = slab->next;
      std::free(slab->memory);
      delete slab;
    }
  }

 private:
  Slab* slabs_ = nullptr;  // the newest first: the one that is cut
};

// Lets the system have the pages that lie wholly in a block, which reads as anything then.
inline void give_back_pages(void* block, int64_t bytes) {
  static const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<uintptr_t>(block);
  const uintptr_t begin = (first + page - 1) / page * page;
  const uintptr_t end = (first + static_cast<uintptr_t>(bytes)) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace rushlight::runtime
