// The cells of the kernels a second time, with one double in the place of a vector of floats: `in_double::gates`.
//
// `cells.h` is read again inside a namespace of its own, where `vec` and what acts on it are those below. What it
// includes has been included before, outside.
#pragma once

#include <array>
#include <cmath>
#include <initializer_list>

#include "job.h"
#include "vector.h"

namespace in_double {
namespace gates {

using ::gates::Activation, ::gates::CellSpec;

using real = double;
using vec = double;

inline vec load(const real* p) { return *p; }
inline void add_to(real* p, vec v) { *p += v; }
inline vec fill(double x) { return x; }
inline vec abs(vec x) { return std::fabs(x); }
inline vec exp(vec x) { return std::exp(x); }
inline vec log_1p(vec x) { return std::log1p(x); }
inline vec trunc(vec x) { return std::trunc(x); }
inline vec remainder(vec x, vec by) { return x - std::floor(x / by) * by; }
inline vec sigmoid(vec x) { return 1 / (1 + std::exp(-x)); }
inline vec tanh(vec x) { return std::tanh(x); }

}  // namespace gates

#include "cells.h"

}  // namespace in_double
