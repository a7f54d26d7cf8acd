// Memory that is kept from call to call: fetching fresh pages can take as long as a short call's products.
#pragma once

#include <cstddef>
#include <vector>

namespace gates {

// Whole large pages, on a boundary of theirs.
struct Block {
  char* data;
  size_t size;
};

// A block of at least so many bytes, from a small store of the process or else fresh. Throws std::bad_alloc.
Block take_block(size_t bytes);

// Back to the store, or to the system where the store is full.
void return_block(Block block);

// Asks for large pages where a large piece of fresh memory, of whomever, is about to be filled.
void prefer_large_pages(void* data, size_t bytes);

// Memory for one call, in aligned pieces.
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

 private:
  void* take_bytes(size_t bytes);

  std::vector<Block> blocks_;
  size_t used_ = 0;  // of the last block
};

}  // namespace gates
