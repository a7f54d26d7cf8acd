// Vectors of floats as wide as the processor's registers, by the compiler's vector extensions.
#pragma once

#include <cstdint>
#include <cstring>

namespace gates {

#if defined(__AVX512F__)
constexpr int lanes = 16;
#elif defined(__AVX__)
constexpr int lanes = 8;
#else
constexpr int lanes = 4;
#endif

typedef float vec __attribute__((vector_size(lanes * 4)));
typedef int32_t ivec __attribute__((vector_size(lanes * 4)));
typedef float loose_vec __attribute__((vector_size(lanes * 4), aligned(4), may_alias));

inline vec load(const float* p) { return *reinterpret_cast<const loose_vec*>(p); }
inline void store(float* p, vec v) { *reinterpret_cast<loose_vec*>(p) = v; }
inline void add_to(float* p, vec v) { store(p, load(p) + v); }
inline vec fill(float x) { return vec{} + x; }

// The first n of a vector's lanes; the others read as zero and are not written.
inline vec load_some(const float* p, int n) {
  if (n >= lanes) return load(p);
  vec v{};
  std::memcpy(&v, p, n * sizeof(float));
  return v;
}

inline void store_some(float* p, vec v, int n) {
  if (n >= lanes)
    store(p, v);
  else
    std::memcpy(p, &v, n * sizeof(float));
}

inline vec keep_some(vec v, int n) {
  vec kept{};
  std::memcpy(&kept, &v, (n < lanes ? n : lanes) * sizeof(float));
  return kept;
}

// A NaN compares false and so passes through.
inline vec clamp(vec x, float low, float high) {
  x = x < fill(low) ? fill(low) : x;
  return x > fill(high) ? fill(high) : x;
}

// e^x within 2 ulp: x = n ln 2 + r with |r| <= ln 2 / 2, a polynomial for e^r (coefficients: Cephes), n into
// the exponent. Adding and subtracting 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits.
inline vec exp(vec x) {
  constexpr float rounder = 12582912.f, log2_e = 1.44269504f, ln_2_high = 0.693359375f, ln_2_low = -2.12194440e-4f;
  x = clamp(x, -87.f, 88.f);
  const vec shifted = x * log2_e + rounder;
  const vec n = shifted - rounder;
  const vec r = (x - n * ln_2_high) - n * ln_2_low;
  vec p = 1.9875691500e-4f * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + (r + 1.f);
  ivec bits, scale;
  std::memcpy(&bits, &shifted, sizeof bits);
  scale = (bits - 0x4B400000 + 127) << 23;
  vec power;
  std::memcpy(&power, &scale, sizeof power);
  return p * power;
}

inline vec sigmoid(vec x) { return 1.f / (1.f + exp(-x)); }

// tanh within 3 ulp as a quotient of polynomials in x^2 (coefficients as in Eigen); beyond the clamp it is 1.
inline vec tanh(vec x) {
  x = clamp(x, -7.90531111f, 7.90531111f);
  const vec s = x * x;
  vec p = -2.76076847742355e-16f * s + 2.00018790482477e-13f;
  p = p * s + -8.60467152213735e-11f;
  p = p * s + 5.12229709037114e-08f;
  p = p * s + 1.48572235717979e-05f;
  p = p * s + 6.37261928875436e-04f;
  p = p * s + 4.89352455891786e-03f;
  vec q = 1.19825839466702e-06f * s + 1.18534705686654e-04f;
  q = q * s + 2.26843463243900e-03f;
  q = q * s + 4.89352518554385e-03f;
  return x * p / q;
}

}  // namespace gates
