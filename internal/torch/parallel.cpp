// The threads of a worker. OpenMP's wait for each other at every loop by spinning, for a long time: beside two busy processes on two
// cores a run takes fifteen times as long. These spin for a moment, as long as it takes from one loop of a decode step to the next,
// and then sleep; and no range of a loop is anybody's own.
#include "parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace {

// Looks at a value before a thread sleeps, some 100 us. Fewer make a run on a quiet machine slower, up to a quarter, more one beside
// busy processes (docs/engine.md).
constexpr int kSpins = 3000;

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

class Pool {
 public:
  explicit Pool(int n) : members_(n) {
    for (int i = 1; i < n; i++) threads_.emplace_back([this] { work(); });
  }

  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stop_.store(true);
    }
    wake_.notify_all();
    for (auto& t : threads_) t.join();
  }

  int members() const { return members_; }

  void run(int64_t n, int64_t grain, LoopBody body, const void* f) {
    // Between two loops the state is closed, under a number of its own: a thread that still looks at the last loop while n_ is already
    // the next one's would else take a range that is neither's.
    const uint32_t loop = loop_of(state_.load(std::memory_order_relaxed)) + 2;
    state_.store(static_cast<uint64_t>(loop - 1) << 32 | kClosed, std::memory_order_seq_cst);
    body_ = body;
    f_ = f;
    grain_.store(grain, std::memory_order_relaxed);
    error_ = nullptr;
    done_.store(0, std::memory_order_relaxed);
    n_.store(n, std::memory_order_release);  // who sees it sees that the last loop is closed
    state_.store(static_cast<uint64_t>(loop) << 32, std::memory_order_seq_cst);
    if (sleeping_.load(std::memory_order_seq_cst) > 0) {
      std::lock_guard<std::mutex> lock(mutex_);
      wake_.notify_all();
    }
    take(loop);
    for (int i = 0; done_.load(std::memory_order_acquire) != n; i++) {
      if (i < kSpins) {
        relax();
        continue;
      }
      std::unique_lock<std::mutex> lock(mutex_);
      waiting_.store(true, std::memory_order_seq_cst);
      finished_.wait(lock, [&] { return done_.load(std::memory_order_seq_cst) == n; });
      waiting_.store(false, std::memory_order_relaxed);
    }
    if (error_) std::rethrow_exception(error_);
  }

 private:
  // The number of a loop and how far its ranges are taken, in one word, so that a thread that comes late takes nothing of the next loop by
  // the measures of the last.
  static uint32_t loop_of(uint64_t state) { return static_cast<uint32_t>(state >> 32); }
  static int64_t next_of(uint64_t state) { return static_cast<int64_t>(state & 0xffffffffu); }

  // How far a loop is taken that nobody may take anything of: farther than any loop goes.
  static constexpr uint64_t kClosed = 0xffffffffu;

  // Loops over elements are cut between vectors.
  static int64_t round_up(int64_t size) { return size < 16 ? size : (size + 15) / 16 * 16; }

  // Takes ranges of a loop until none is left. n_ may be the next loop's when it is read: then this one is closed, and the exchange fails.
  void take(uint32_t loop) {
    uint64_t state = state_.load(std::memory_order_acquire);
    while (loop_of(state) == loop) {
      const int64_t n = n_.load(std::memory_order_acquire), from = next_of(state);
      if (from >= n) return;
      const int64_t size = std::min(n - from, round_up(std::max(grain_.load(std::memory_order_relaxed), (n - from) / (2 * members_))));
      if (!state_.compare_exchange_weak(state, state + static_cast<uint64_t>(size), std::memory_order_acq_rel, std::memory_order_acquire)) continue;
      try {
        body_(f_, from, from + size);
      } catch (...) {
        std::lock_guard<std::mutex> lock(mutex_);
        error_ = std::current_exception();
      }
      if (done_.fetch_add(size, std::memory_order_seq_cst) + size == n && waiting_.load(std::memory_order_seq_cst)) {
        std::lock_guard<std::mutex> lock(mutex_);
        finished_.notify_one();
      }
      state = state_.load(std::memory_order_acquire);
    }
  }

  void work() {
    uint32_t seen = 0;
    for (int i = 0;; i++) {
      const uint32_t loop = loop_of(state_.load(std::memory_order_acquire));
      if (loop != seen) {
        seen = loop;
        take(loop);
        i = 0;
      } else if (i < kSpins) {
        relax();
      } else {
        std::unique_lock<std::mutex> lock(mutex_);
        sleeping_.fetch_add(1, std::memory_order_seq_cst);
        wake_.wait(lock, [&] { return stop_.load() || loop_of(state_.load(std::memory_order_seq_cst)) != seen; });
        sleeping_.fetch_sub(1, std::memory_order_relaxed);
        if (stop_.load()) return;
        i = 0;
      }
      if (stop_.load(std::memory_order_relaxed)) return;
    }
  }

  const int members_;
  std::vector<std::thread> threads_;
  alignas(64) std::atomic<uint64_t> state_{0};
  alignas(64) std::atomic<int64_t> done_{0};
  std::atomic<bool> waiting_{false};
  alignas(64) std::atomic<int64_t> n_{0}, grain_{1};
  LoopBody body_ = nullptr;  // with f_: read only by who has taken a range, which keeps the loop from ending
  const void* f_ = nullptr;
  std::exception_ptr error_;
  std::mutex mutex_;
  std::condition_variable wake_, finished_;
  std::atomic<int> sleeping_{0};
  std::atomic<bool> stop_{false};
};

thread_local int wanted = 1;
thread_local std::unique_ptr<Pool> pool;  // of the thread that asks; it ends with it

}  // namespace

void set_threads(int n) { wanted = std::max(n, 1); }

int threads() { return wanted; }

void run_loop(int64_t n, int64_t grain, LoopBody body, const void* f) {
  if (n >= INT64_C(1) << 31) return body(f, 0, n);  // a state has no room for it
  if (pool == nullptr || pool->members() != wanted) pool = std::make_unique<Pool>(wanted);
  pool->run(n, std::max<int64_t>(grain, 1), body, f);
}

// For tests: loops of changing lengths one after another, whose elements are counted; returns how many loops had an element that was
// not computed exactly once before the loop was over.
extern "C" int64_t gsm_check_loops(int threads, int64_t loops) {
  const int was = wanted;
  set_threads(threads);
  constexpr int64_t most = 4096;
  std::vector<std::atomic<int>> count(most);
  uint64_t random = 1;
  int64_t bad = 0;
  for (int64_t l = 0; l < loops; l++) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    const int64_t n = 16 + static_cast<int64_t>(random >> 40) % (most - 16), grain = 1 + static_cast<int64_t>(random >> 33) % 64;
    for (auto& c : count) c.store(0, std::memory_order_relaxed);
    parallel_for(n, grain, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; i++) count[i].fetch_add(1, std::memory_order_relaxed);
    });
    for (int64_t i = 0; i < most; i++) {
      if (count[i].load(std::memory_order_relaxed) != (i < n ? 1 : 0)) {
        bad++;
        break;
      }
    }
  }
  set_threads(was);
  return bad;
}
