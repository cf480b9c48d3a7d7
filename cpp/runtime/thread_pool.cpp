#include "runtime/thread_pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

#include "kernels/parallel.h"
#include "runtime/environment.h"
#include "runtime/float_mode.h"
#include "runtime/limits.h"

namespace rushlight::runtime {
namespace {

inline void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// Spins until ready() holds or the gap between two layers of a network is over; returns whether it
// does. By the clock: a pause is ten times as long on some machines as on others. Who spins for
// longer has used up the time that the system owes it where others want the processor, and comes
// late to the job.
template <class Ready>
bool spin_until(const Ready& ready) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::microseconds most{20};
  constexpr int spins_per_look = 64;
  const auto spin = [&] {
    for (int i = 0; i < spins_per_look; ++i) {
      if (ready()) return true;
      pause_cpu();
    }
    return false;
  };
  if (spin()) return true;
  const Clock::time_point end = Clock::now() + most;
  while (Clock::now() < end) {
    if (spin()) return true;
  }
  return false;
}

struct Job {
  ParallelBody body = nullptr;
  void* context = nullptr;
  int64_t chunks = 0;
  int slots = 0;
};

// Neighbouring chunks. Each thread begins with the share that it had in the job before, so that
// what it wrote there is in its own caches, and then helps with the others.
struct alignas(64) Share {
  std::atomic<int64_t> next{0};
  int64_t end = 0;
};

constexpr int kMostShares = 64;

// One job at a time. The gate holds, in one word, the job's number, whether it is open, and how
// many workers joined: a worker that is slow to wake finds the gate closed and costs the caller
// nothing.
class ThreadPool {
 public:
  // False if the pool is busy, in which case nothing was run.
  bool try_run(const Job& job) {
    if (busy_.exchange(true, std::memory_order_acquire)) return false;
    grow(job.slots - 1);
    job_ = job;
    divide();
    finished_.store(0, std::memory_order_relaxed);
    const uint64_t number = (gate_.load(std::memory_order_relaxed) & kNumberMask) + kNumberOne;
    gate_.store(number | kOpen, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) > 0) wake();
    take_chunks(0, 0);
    close();
    busy_.store(false, std::memory_order_release);
    return true;
  }

 private:
  static constexpr uint64_t kOpen = 1u << 31;
  static constexpr uint64_t kJoinedMask = kOpen - 1;
  static constexpr uint64_t kNumberOne = uint64_t{1} << 32;
  static constexpr uint64_t kNumberMask = ~(kNumberOne - 1);

  void divide() {
    shares_in_use_ = std::min(job_.slots, kMostShares);
    for (int64_t i = 0; i < shares_in_use_; ++i) {
      shares_[i].next.store(job_.chunks * i / shares_in_use_, std::memory_order_relaxed);
      shares_[i].end = job_.chunks * (i + 1) / shares_in_use_;
    }
  }

  void take_chunks(int slot, int first_share) {
    for (int i = 0; i < shares_in_use_; ++i) {
      Share& share = shares_[(first_share + i) % shares_in_use_];
      while (share.next.load(std::memory_order_relaxed) < share.end) {
        const int64_t chunk = share.next.fetch_add(1, std::memory_order_relaxed);
        if (chunk < share.end) job_.body(job_.context, chunk, slot);
      }
    }
  }

  void close() {
    const uint64_t joined = gate_.fetch_and(~kOpen, std::memory_order_acq_rel) & kJoinedMask;
    const auto all_finished = [&] { return finished_.load(std::memory_order_acquire) == joined; };
    if (spin_until(all_finished)) return;
    while (!all_finished()) sched_yield();  // the worker may be waiting for this very processor
  }

  void wake() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
    }
    wake_up_.notify_all();
  }

  // Starts workers until there are `count`. The system may refuse: then the pool works with those
  // it has.
  void grow(int count) {
    if (started_ >= count || refused_) return;
    sigset_t all, old;
    sigfillset(&all);
    // Python's signal handlers belong to Python's threads.
    pthread_sigmask(SIG_SETMASK, &all, &old);
    try {
      for (; started_ < count; ++started_) {
        std::thread(&ThreadPool::work, this, started_ + 1).detach();
      }
    } catch (const std::system_error&) {
      refused_ = true;
    }
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
  }

  bool has_new_job(uint64_t seen) const {
    const uint64_t gate = gate_.load(std::memory_order_seq_cst);
    return (gate & kOpen) != 0 && (gate & kNumberMask) != seen;
  }

  void wait_for_job(uint64_t seen) {
    if (spin_until([&] { return has_new_job(seen); })) return;
    std::unique_lock<std::mutex> lock(mutex_);
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    wake_up_.wait(lock, [&] { return has_new_job(seen); });
    sleepers_.fetch_sub(1, std::memory_order_seq_cst);
  }

  // Joins the open job and returns this worker's slot in it, or 0 if there is none to join. `seen`
  // becomes the number of the last job that this worker has dealt with.
  int join(uint64_t& seen) {
    uint64_t gate = gate_.load(std::memory_order_acquire);
    while ((gate & kOpen) != 0 && (gate & kNumberMask) != seen) {
      if (!gate_.compare_exchange_weak(gate, gate + 1, std::memory_order_acq_rel)) continue;
      seen = gate & kNumberMask;
      return static_cast<int>(gate & kJoinedMask) + 1;
    }
    return 0;
  }

  void work(int worker) {
    const FlushDenormals flush;
    uint64_t seen = 0;
    for (;;) {
      wait_for_job(seen);
      const int slot = join(seen);
      if (slot == 0) continue;
      if (slot < job_.slots) take_chunks(slot, worker);
      finished_.fetch_add(1, std::memory_order_release);
    }
  }

  std::atomic<bool> busy_{false};
  int started_ = 0;  // guarded by busy_
  bool refused_ = false;
  Job job_;
  alignas(64) std::atomic<uint64_t> gate_{0};
  Share shares_[kMostShares];
  int shares_in_use_ = 0;
  alignas(64) std::atomic<uint64_t> finished_{0};
  alignas(64) std::atomic<int> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable wake_up_;
};

std::atomic<ThreadPool*> pool{nullptr};
std::atomic<int> thread_count{1};

// Never freed: its detached workers may outlive main, and a forked child has none of them and
// starts afresh.
ThreadPool& current_pool() {
  ThreadPool* found = pool.load(std::memory_order_acquire);
  if (found != nullptr) return *found;
  auto* fresh = new ThreadPool;
  if (pool.compare_exchange_strong(found, fresh, std::memory_order_acq_rel)) return *fresh;
  delete fresh;
  return *found;
}

}  // namespace

int num_threads() {
  return thread_count.load(std::memory_order_relaxed);
}

void set_num_threads(int count) {
  if (count < 1 || count > kMaxThreads) {
    throw std::invalid_argument("set_num_threads: n must be from 1 to " +
                                std::to_string(kMaxThreads) + ", got " + std::to_string(count));
  }
  thread_count.store(count, std::memory_order_relaxed);
}

void configure_threads_at_import() {
  const auto wanted = environment_integer("RUSHLIGHT_NUM_THREADS", 1, kMaxThreads);
  set_num_threads(wanted ? static_cast<int>(*wanted) : std::min(usable_cpus(), kMaxThreads));
  pthread_atfork(nullptr, nullptr, [] { pool.store(nullptr, std::memory_order_release); });
}

}  // namespace rushlight::runtime

namespace rushlight {

void parallel_for(int64_t chunks, int slots, ParallelBody body, void* context) {
  const int useful = static_cast<int>(std::min<int64_t>(chunks, slots));
  if (useful > 1 && runtime::current_pool().try_run({body, context, chunks, useful})) return;
  // One thread's worth of work, or a pool that is busy with another caller (or with the call that
  // this one is nested in): done here.
  for (int64_t i = 0; i < chunks; ++i) body(context, i, 0);
}

}  // namespace rushlight
