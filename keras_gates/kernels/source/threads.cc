#include "threads.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "api.h"
#include "process.h"

namespace gates {

// A thread that is kept from call to call: where the cores are busy, the system can take milliseconds to let a
// new one run, but wakes one that waits at once. It never ends; nobody needs to know when the process does.
class Worker {
 public:
  // Throws std::system_error where the system gives no thread.
  Worker() {
    std::thread thread([this] { work(); });
    handle_ = thread.native_handle();
    thread.detach();
  }

  // Where the thread may run from now on.
  void stay_on(const cpu_set_t& cores) { pthread_setaffinity_np(handle_, sizeof cores, &cores); }

  void start(std::function<void()> job) {
    std::lock_guard<std::mutex> lock(mutex_);
    job_ = std::move(job);
    changed_.notify_all();
  }

  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return !job_; });
  }

  Worker* next = nullptr;  // in a list of workers

 private:
  void work() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return bool(job_); });
      lock.unlock();
      job_();
      lock.lock();
      job_ = nullptr;
      changed_.notify_all();
    }
  }

  pthread_t handle_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> job_;  // empty while there is nothing to do
};

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
  cpu_set_t cores;
  const int count = sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores) : 1;
  return std::max(1, count);
}

namespace {

// The cores for the workers of the calling thread: all but its own. A virtual machine sees a core that sleeps as
// taken, so that the system wakes a worker on the caller's core and leaves it there, half the speed, for long.
bool other_cores(cpu_set_t& cores) {
  if (sched_getaffinity(0, sizeof cores, &cores) != 0) return false;
  const int here = sched_getcpu();
  if (here >= 0) CPU_CLR(here, &cores);
  return CPU_COUNT(&cores) > 0;
}

// A list of up to so many workers that have nothing to do, those that are new among them; how many they are.
Worker* take_workers(int wanted, int& count) {
  Worker* taken = nullptr;
  const auto add = [&](Worker* worker) {
    worker->next = taken;
    taken = worker;
    count++;
  };
  Process& p = process();
  {
    std::lock_guard<std::mutex> lock(p.mutex);
    while (count < wanted && p.idle) {
      Worker* const first = p.idle;
      p.idle = first->next;
      add(first);
    }
  }
  try {
    while (count < wanted) add(new Worker);
  } catch (const std::exception&) {
    // The system gives no more threads: those there are share the work.
  }
  return taken;
}

void return_workers(Worker* workers) {
  Process& p = process();
  std::lock_guard<std::mutex> lock(p.mutex);
  while (workers) {
    Worker* const rest = workers->next;
    workers->next = p.idle;
    p.idle = workers;
    workers = rest;
  }
}

using Share = std::function<void(int, int)>;

void run_on_workers(int wanted, const Share& work) {
  int count = 0;
  Worker* const workers = take_workers(wanted - 1, count);
  const int threads = 1 + count;
  cpu_set_t cores;
  const bool elsewhere = workers && other_cores(cores);
  int thread = 0;
  for (Worker* worker = workers; worker; worker = worker->next) {
    thread++;
    if (elsewhere) worker->stay_on(cores);
    worker->start([&work, thread, threads] { work(thread, threads); });
  }
  work(0, threads);
  for (Worker* worker = workers; worker; worker = worker->next) worker->wait();
  return_workers(workers);
}

// What each thread of an OpenMP team runs.
struct Region {
  const KerasGatesOpenMP& openmp;
  int wanted;
  const Share& work;

  // The team may be larger or smaller than wanted.
  void run() const {
    const int thread = openmp.thread(), threads = std::min(wanted, openmp.threads());
    if (thread < threads) work(thread, threads);
  }
};

// The team is as large as the framework's own: for a smaller one, OpenMP would end threads and later start new ones.
void run_on_team(const KerasGatesOpenMP& openmp, int wanted, const Share& work) {
  Region region{openmp, wanted, work};
  openmp.parallel([](void* data) { static_cast<Region*>(data)->run(); }, &region, 0, 0);
}

}  // namespace

void run_on_threads(int wanted, const KerasGatesOpenMP* openmp, const Share& work) {
  const int granted = start_running(std::max(1, wanted));
  if (openmp && granted > 1 && !process().forked) run_on_team(*openmp, granted, work);
  else run_on_workers(granted, work);
  stop_running(granted);
}

void Barrier::wait(int threads) {
  const int round = round_.load(std::memory_order_acquire);
  if (waiting_.fetch_add(1, std::memory_order_acq_rel) == threads - 1) {
    waiting_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
    return;
  }
  // The wait is short, and who sleeps may be woken on the core of the other.
  while (round_.load(std::memory_order_acquire) == round) std::this_thread::yield();
}

}  // namespace gates
