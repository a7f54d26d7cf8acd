#include "process.h"

#include <pthread.h>

#include <new>

namespace gates {
namespace {

void before_fork() { process().mutex.lock(); }
void after_fork_in_parent() { process().mutex.unlock(); }
void after_fork_in_child() {
  Process& p = process();
  p.running = 0;
  p.forked = true;
  p.idle = nullptr;
  new (&p.released) std::condition_variable;  // threads that waited on the old one are gone
  p.mutex.unlock();
}

}  // namespace

// Never destroyed: kernels may still run while the process ends.
Process& process() {
  static Process* shared = [] {
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    return new Process;
  }();
  return *shared;
}

}  // namespace gates
