#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

namespace gates {
namespace {

constexpr size_t large_page = size_t(2) << 20;
constexpr size_t kept_bytes = size_t(64) << 20;

// What all calls of the process share. A child of a fork has none of its parent's threads: it starts afresh.
struct Process {
  std::mutex mutex;
  std::condition_variable released;
  int running = 0;
  std::vector<Scratch::Block> store;
  size_t stored = 0;
};

Process& process();

void before_fork() { process().mutex.lock(); }
void after_fork_in_parent() { process().mutex.unlock(); }
void after_fork_in_child() {
  process().running = 0;
  process().mutex.unlock();
}

// Never destroyed: kernels may still run while the process ends.
Process& process() {
  static Process* shared = [] {
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    return new Process;
  }();
  return *shared;
}

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

void prefer_large_pages(void* memory, size_t bytes) {
  const auto begin = (reinterpret_cast<uintptr_t>(memory) + large_page - 1) / large_page * large_page;
  const auto end = (reinterpret_cast<uintptr_t>(memory) + bytes) / large_page * large_page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);  // a wish: may fail
}

void* Scratch::take_bytes(size_t bytes) {
  bytes = (bytes + 127) / 64 * 64;  // a spare line lets vectors run over the end of a row
  if (blocks_.empty() || used_ + bytes > blocks_.back().size) {
    const size_t size = std::max(large_page, (bytes + large_page - 1) / large_page * large_page);
    blocks_.reserve(blocks_.size() + 1);
    Process& p = process();
    std::unique_lock<std::mutex> lock(p.mutex);
    const auto fits = std::find_if(p.store.begin(), p.store.end(), [&](const Block& b) { return b.size >= size; });
    if (fits != p.store.end()) {
      blocks_.push_back(*fits);
      p.stored -= fits->size;
      p.store.erase(fits);
    } else {
      lock.unlock();
      void* data = std::aligned_alloc(large_page, size);
      if (!data) throw std::bad_alloc();
      prefer_large_pages(data, size);
      blocks_.push_back({static_cast<char*>(data), size});
    }
    used_ = 0;
  }
  void* piece = blocks_.back().data + used_;
  used_ += bytes;
  return piece;
}

Scratch::~Scratch() {
  Process& p = process();
  std::lock_guard<std::mutex> lock(p.mutex);
  for (const Block& block : blocks_) {
    if (p.stored + block.size > kept_bytes) {
      std::free(block.data);
      continue;
    }
    p.store.push_back(block);
    p.stored += block.size;
  }
}

}  // namespace gates
