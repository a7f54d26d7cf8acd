// Threads that share out one call's work.
#pragma once

#include <atomic>
#include <functional>

struct KerasGatesOpenMP;

namespace gates {

// As many threads as this process may run at once.
int available_threads();

// Runs work(thread, threads) on up to `wanted` threads, the calling one among them, and returns when all are
// done. All calls of a process together start no more threads than `available_threads`: a call that finds some
// of them busy works with the rest, and one that finds none free waits. The threads are those of `openmp`, or our own
// if that is null. `work` must not throw.
void run_on_threads(int wanted, const KerasGatesOpenMP* openmp,
                    const std::function<void(int thread, int threads)>& work);

// Where the threads of one call wait for each other.
class Barrier {
 public:
  void wait(int threads);

 private:
  std::atomic<int> waiting_{0}, round_{0};
};

}  // namespace gates
