// What all calls of a process share.
#pragma once

#include <condition_variable>
#include <mutex>
#include <vector>

#include "memory.h"

namespace gates {

class Worker;

struct Process {
  std::mutex mutex;                  // guards what follows
  std::condition_variable released;  // some threads have finished
  int running = 0;                   // threads at work
  bool forked = false;               // in a child of a fork: OpenMP still counts on threads that are gone
  Worker* idle = nullptr;            // threads that wait for work
  std::vector<Block> store;          // memory not in use
  size_t stored = 0;                 // its bytes
};

// A child of a fork has none of its parent's threads: there, no thread is at work.
Process& process();

}  // namespace gates
