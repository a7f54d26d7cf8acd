// Who does which rows of a batch, and which of them a step moves.
#pragma once

#include <algorithm>
#include <vector>

#include "job.h"
#include "product.h"

namespace gates {

struct Slice {
  int begin, end;
  int rows() const { return end - begin; }
};

// A sequence's position in x and mask of a step, which counts in the order of processing.
inline int position(const Sequences& in, int step) { return in.go_backwards ? in.time - 1 - step : step; }

inline bool is_active(const Sequences& in, int row, int step) {
  return !in.mask || in.mask[size_t(row) * in.time + position(in, step)];
}

// The rows of a slice that a step moves: fills `rows`, returns how many. The others cost nothing.
inline int active_rows(const Sequences& in, Slice slice, int step, int* rows) {
  int count = 0;
  for (int row = slice.begin; row < slice.end; row++)
    if (is_active(in, row, step)) rows[count++] = row;
  return count;
}

// Slices for threads to take through all steps, so that they never wait for each other within a sequence, of no more
// rows than leave a step's gates in the cache. They are of about equal work, but for the last share of each thread,
// which is cut into a large slice and a small one: a thread whose core another process keeps busy too leaves the small
// ones to the others.
inline std::vector<Slice> slices_of(const Sequences& in) {
  constexpr int most_rows = 64, quarters = 4;
  const int rounds = std::max(1, (in.batch + in.threads * most_rows - 1) / (in.threads * most_rows));
  const int shares = std::min(in.batch, in.threads * rounds);
  const bool cuts = in.threads > 1 && in.batch >= 2 * tile_rows * in.threads * rounds;  // else below the rows of a tile
  std::vector<int> sizes(cuts ? shares - in.threads : shares, quarters);
  if (cuts) {
    sizes.resize(shares, quarters - 1);
    sizes.resize(shares + in.threads, 1);
  }
  std::vector<long> work(in.batch + 1, 0);  // of the rows before
  for (int row = 0; row < in.batch; row++) {
    const bool* mask = in.mask ? in.mask + size_t(row) * in.time : nullptr;
    work[row + 1] = work[row] + 1 + (mask ? std::count(mask, mask + in.time, true) : in.time);
  }
  std::vector<Slice> slices;
  long before = 0;  // quarters of shares
  int begin = 0;
  for (int size : sizes) {
    before += size;
    const long end_of_work = work.back() * before / (quarters * long(shares));
    const int end = int(std::upper_bound(work.begin(), work.end(), end_of_work) - work.begin()) - 1;
    if (begin < end) slices.push_back({begin, end});
    begin = std::max(begin, end);
  }
  return slices;
}

inline int most_rows(const std::vector<Slice>& slices) {
  int most = 0;
  for (const Slice& slice : slices) most = std::max(most, slice.rows());
  return most;
}

}  // namespace gates
