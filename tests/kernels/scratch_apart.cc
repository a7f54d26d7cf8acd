// The kernels' memory with every piece allocated by itself, so that the address sanitizer sees its bounds.
// Takes the place of keras_gates/kernels/source/memory.cc in the fuzz driver.
#include "memory.h"

#include <cstdlib>
#include <new>

namespace gates {

Block take_block(size_t bytes) {
  constexpr size_t alignment = 64;
  void* data = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (!data) throw std::bad_alloc();
  return {static_cast<char*>(data), bytes};
}

void prefer_large_pages(void*, size_t) {}

void return_block(Block block) { std::free(block.data); }

void* Scratch::take_bytes(size_t bytes) {
  blocks_.push_back(take_block(bytes + 64));  // the spare line that the kernels count on
  return blocks_.back().data;
}

Scratch::~Scratch() {
  for (const Block& block : blocks_) return_block(block);
}

}  // namespace gates
