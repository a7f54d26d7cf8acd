#include "threads.h"

#include <sched.h>

#include <algorithm>
#include <mutex>
#include <thread>
#include <vector>

#include "process.h"

namespace gates {
namespace {

int start_running(int wanted) {
  Process& p = process();
  std::unique_lock<std::mutex> lock(p.mutex);
  const int limit = available_threads();
  p.released.wait(lock, [&] { return p.running < limit; });
  const int granted = std::min(wanted, limit - p.running);
  p.running += granted;
  return granted;
}

void stop_running(int granted) {
  Process& p = process();
  {
    std::lock_guard<std::mutex> lock(p.mutex);
    p.running -= granted;
  }
  p.released.notify_all();
}

}  // namespace

int available_threads() {
  cpu_set_t set;
  const int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return std::max(1, count);
}

void run_on_threads(int wanted, const std::function<void(int, int)>& work) {
  const int granted = start_running(std::max(1, wanted));
  std::vector<std::thread> others;
  std::atomic<int> started{0};  // 0 until it is known how many threads there are
  try {
    others.reserve(granted);
    for (int thread = 1; thread < granted; thread++)
      others.emplace_back([&, thread] {
        while (!started.load(std::memory_order_acquire)) std::this_thread::yield();
        work(thread, started.load(std::memory_order_relaxed));
      });
  } catch (const std::exception&) {
    // The system gives no more threads: those there are share the work.
  }
  const int threads = 1 + int(others.size());
  started.store(threads, std::memory_order_release);
  work(0, threads);
  for (std::thread& other : others) other.join();
  stop_running(granted);
}

void Barrier::wait(int threads) {
  const int round = round_.load(std::memory_order_acquire);
  if (waiting_.fetch_add(1, std::memory_order_acq_rel) == threads - 1) {
    waiting_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
    return;
  }
  while (round_.load(std::memory_order_acquire) == round) std::this_thread::yield();
}

}  // namespace gates
