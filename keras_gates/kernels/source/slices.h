// Who does which rows of a batch, and which of them a step moves.
#pragma once

#include <algorithm>
#include <vector>

#include "job.h"

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

// Slices for each thread to take through all steps, so that threads never wait for each other within a sequence:
// of about equal work, and of no more rows than leave a step's gates in the cache.
inline std::vector<Slice> slices_of(const Sequences& in) {
  constexpr int most_rows = 64;
  const int rounds = (in.batch + in.threads * most_rows - 1) / (in.threads * most_rows);
  const int wanted = std::min(in.batch, in.threads * rounds);
  std::vector<long> work(in.batch + 1, 0);  // of the rows before
  for (int row = 0; row < in.batch; row++) {
    const bool* mask = in.mask ? in.mask + size_t(row) * in.time : nullptr;
    work[row + 1] = work[row] + 1 + (mask ? std::count(mask, mask + in.time, true) : in.time);
  }
  std::vector<Slice> slices;
  for (int k = 0, begin = 0; k < wanted; k++) {
    const long share = work.back() * (k + 1) / wanted;
    const int end = int(std::upper_bound(work.begin(), work.end(), share) - work.begin()) - 1;
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
