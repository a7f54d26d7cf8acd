// Threads that share out one call's work, and memory that is kept from call to call.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <vector>

namespace gates {

// As many threads as this process may run at once.
int available_threads();

// Runs work(thread, threads) on up to `wanted` threads, the calling one among them, and returns when all are
// done. All calls of a process together start no more threads than `available_threads`: a call that finds some
// of them busy works with the rest, and one that finds none free waits. `work` must not throw.
void run_on_threads(int wanted, const std::function<void(int thread, int threads)>& work);

// Where the threads of one call wait for each other.
class Barrier {
 public:
  void wait(int threads);

 private:
  std::atomic<int> waiting_{0}, round_{0};
};

// Memory for one call, in aligned pieces. Its blocks go back to a small store of the process, where the next call
// finds them with their pages in place: fetching fresh pages can take as long as a short call's products.
class Scratch {
 public:
  Scratch() = default;
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // Uninitialised memory for `count` values of a trivial type. Throws std::bad_alloc.
  template <class T>
  T* take(size_t count) {
    return static_cast<T*>(take_bytes(count * sizeof(T)));
  }

  struct Block {
    char* data;
    size_t size;
  };

 private:
  void* take_bytes(size_t bytes);

  std::vector<Block> blocks_;
  size_t used_ = 0;  // of the last block
};

// Asks for large pages under memory that is about to be written for the first time.
void prefer_large_pages(void* memory, size_t bytes);

}  // namespace gates
