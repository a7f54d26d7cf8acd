#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#include "process.h"

namespace gates {
namespace {

constexpr size_t large_page = size_t(2) << 20;
constexpr size_t kept_bytes = size_t(256) << 20;
constexpr size_t alignment = 64;

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

// The smallest block in store that is large enough, but not so large that it were wasted.
bool take_from_store(size_t size, Block& block) {
  Process& p = process();
  std::lock_guard<std::mutex> lock(p.mutex);
  auto best = p.store.end();
  for (auto b = p.store.begin(); b != p.store.end(); ++b)
    if (b->size >= size && b->size <= 2 * size && (best == p.store.end() || b->size < best->size)) best = b;
  if (best == p.store.end()) return false;
  block = *best;
  p.stored -= block.size;
  p.store.erase(best);
  return true;
}

}  // namespace

void prefer_large_pages(void* data, size_t bytes) {
  const size_t begin = round_up(reinterpret_cast<size_t>(data), large_page);
  const size_t end = (reinterpret_cast<size_t>(data) + bytes) / large_page * large_page;
  // a wish: where it is not granted, the pages are small
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

Block take_block(size_t bytes) {
  const size_t size = std::max(large_page, round_up(bytes, large_page));
  Block block;
  if (take_from_store(size, block)) return block;
  void* data = std::aligned_alloc(large_page, size);
  if (!data) throw std::bad_alloc();
  prefer_large_pages(data, size);
  return {static_cast<char*>(data), size};
}

void return_block(Block block) {
  Process& p = process();
  std::lock_guard<std::mutex> lock(p.mutex);
  while (!p.store.empty() && p.stored + block.size > kept_bytes) {
    p.stored -= p.store.front().size;
    std::free(p.store.front().data);
    p.store.erase(p.store.begin());
  }
  p.store.push_back(block);
  p.stored += block.size;
}

void* Scratch::take_bytes(size_t bytes) {
  bytes = round_up(bytes, alignment) + alignment;  // a spare line lets vectors run over the end of a row
  if (blocks_.empty() || used_ + bytes > blocks_.back().size) {
    blocks_.reserve(blocks_.size() + 1);
    blocks_.push_back(take_block(bytes));
    used_ = 0;
  }
  void* piece = blocks_.back().data + used_;
  used_ += bytes;
  return piece;
}

Scratch::~Scratch() {
  for (const Block& block : blocks_) return_block(block);
}

}  // namespace gates
