// How kernels share out work. The number of chunks is chosen from the shape alone, never from the
// number of threads: that is what makes results the same bits for any thread count.
#pragma once

#include <stdint.h>

namespace rushlight {

using ParallelBody = void (*)(void* context, int64_t chunk, int slot);

// Calls body(context, chunk, slot) once for every chunk in [0, chunks). At most `slots` threads
// take part, each with its own slot in [0, slots), so that slot-local workspaces need no locks.
// Defined by the runtime.
void parallel_for(int64_t chunks, int slots, ParallelBody body, void* context);

// What a kernel may use: threads, and memory of the size that its *_workspace function asked for.
struct Run {
  int slots;
  void* workspace;
};

}  // namespace rushlight

#ifdef RUSHLIGHT_ISA
namespace rushlight::RUSHLIGHT_ISA {

template <class Body>
inline void parallel(const Run& run, int64_t chunks, const Body& body) {
  ParallelBody call = [](void* context, int64_t chunk, int slot) {
    (*static_cast<const Body*>(context))(chunk, slot);
  };
  // One compiled copy of the body for one thread and for many: inlined here, the compiler might
  // fuse other multiplications and additions than in the copy for threads, and round differently.
  asm("" : "+r"(call));
  void* context = const_cast<Body*>(&body);
  if (run.slots == 1 || chunks == 1) {
    for (int64_t i = 0; i < chunks; ++i) call(context, i, 0);
    return;
  }
  parallel_for(chunks, run.slots, call, context);
}

// Splits n elements into runs of a fixed size and calls body(begin, end) for each.
template <class Body>
inline void parallel_elements(const Run& run, int64_t n, const Body& body) {
  constexpr int64_t chunk = 16384;
  parallel(run, (n + chunk - 1) / chunk, [&](int64_t i, int) {
    const int64_t begin = i * chunk;
    body(begin, begin + chunk < n ? begin + chunk : n);
  });
}

}  // namespace rushlight::RUSHLIGHT_ISA
#endif
