// Vectors of floats as wide as the processor's registers, by the compiler's vector extensions.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace gates {

#if defined(__AVX512F__)
constexpr int lanes = 16;
#elif defined(__AVX__)
constexpr int lanes = 8;
#else
constexpr int lanes = 4;
#endif

using real = float;  // a lane of a vector
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
  if (n >= lanes) store(p, v);
  else std::memcpy(p, &v, n * sizeof(float));
}

inline vec keep_some(vec v, int n) {
  vec kept{};
  std::memcpy(&kept, &v, (n < lanes ? n : lanes) * sizeof(float));
  return kept;
}

// The sum of all lanes.
inline float total(vec v) {
  float sum = 0;
  for (int j = 0; j < lanes; j++) sum += v[j];
  return sum;
}

// Numbers of bfloat16: the upper half of a float, rounded to the nearest even one. Two of them make a pair, which lies
// where a float would, the first in its lower half.
typedef uint16_t halves __attribute__((vector_size(lanes * 2)));
typedef uint32_t pair __attribute__((may_alias));
typedef uint32_t uvec __attribute__((vector_size(lanes * 4)));

inline vec multiply_add(vec sum, float a, vec b) { return sum + a * b; }

#if defined(__AVX512BF16__)
constexpr bool has_bfloat16 = true;  // whether the processor multiplies pairs

inline halves narrow(vec v) { return (halves)_mm512_cvtneps_pbh((__m512)v); }

// sum + a.first * b.first + a.second * b.second in every lane, of the pairs in b.
inline vec multiply_add(vec sum, pair a, vec b) {
  return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(int(a)), (__m512bh)b);
}
#else
constexpr bool has_bfloat16 = false;

inline halves narrow(vec v) {
  uvec bits;
  std::memcpy(&bits, &v, sizeof bits);
  const uvec rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
  return __builtin_convertvector(v == v ? rounded : uvec{} + 0x7FC0, halves);
}

inline vec multiply_add(vec sum, pair a, vec b) {
  uvec bits;
  std::memcpy(&bits, &b, sizeof bits);
  const auto as_floats = [](uvec bits) {
    vec v;
    std::memcpy(&v, &bits, sizeof v);
    return v;
  };
  const auto product = [&](pair a, uvec b) { return as_floats(uvec{} + a) * as_floats(b); };
  return sum + product(a << 16, bits << 16) + product(a & 0xFFFF0000, bits & 0xFFFF0000);
}
#endif

// The pairs of two vectors' lanes, in the lanes of a vector.
inline vec join(vec first, vec second) {
  const uvec bits = __builtin_convertvector(narrow(first), uvec) | __builtin_convertvector(narrow(second), uvec) << 16;
  vec pairs;
  std::memcpy(&pairs, &bits, sizeof pairs);
  return pairs;
}

// A NaN compares false and so passes through.
inline vec clamp(vec x, float low, float high) {
  x = x < fill(low) ? fill(low) : x;
  return x > fill(high) ? fill(high) : x;
}

// e^x = power (1 + rest): x = n ln 2 + r with |r| <= ln 2 / 2, a polynomial for e^r - 1 (coefficients: Cephes), n into
// the exponent. Adding and subtracting 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits.
struct Exponential {
  vec power, rest;
};

inline Exponential exponential(vec x) {
  constexpr float rounder = 12582912.f, log2_e = 1.44269504f, ln_2_high = 0.693359375f, ln_2_low = -2.12194440e-4f;
  const vec shifted = x * log2_e + rounder;
  const vec n = shifted - rounder;
  const vec r = (x - n * ln_2_high) - n * ln_2_low;
  vec p = 1.9875691500e-4f * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  ivec bits, scale;
  std::memcpy(&bits, &shifted, sizeof bits);
  scale = (bits - 0x4B400000 + 127) << 23;
  vec power;
  std::memcpy(&power, &scale, sizeof power);
  return {power, p * (r * r) + r};
}

// e^x within 2 ulp, exactly 0 below -87.7 and infinite above 88.4.
inline vec exp(vec x) {
  // At the bounds n is -127, which has the bits of zero, and 128, which has those of infinity.
  const Exponential e = exponential(clamp(x, -88.f, 89.f));
  return e.power * (1.f + e.rest);
}

// log(1 + x) for 0 <= x <= 1 within 2 ulp: 2 artanh(s) = 2 (s + s^3 / 3 + s^5 / 5 + ...) with s = x / (2 + x) <= 1/3.
inline vec log_1p(vec x) {
  const vec s = x / (2.f + x), q = s * s;
  vec sum = 1.f / 15 * q + 1.f / 13;
  sum = sum * q + 1.f / 11;
  sum = sum * q + 1.f / 9;
  sum = sum * q + 1.f / 7;
  sum = sum * q + 1.f / 5;
  sum = sum * q + 1.f / 3;
  return 2.f * s + 2.f * s * (q * sum);
}

// Towards zero, and the remainder of a division whose quotient is rounded down.
inline vec trunc(vec x) {
  for (int j = 0; j < lanes; j++) x[j] = __builtin_truncf(x[j]);
  return x;
}

inline vec remainder(vec x, vec by) {
  vec quotient = x / by;
  for (int j = 0; j < lanes; j++) quotient[j] = __builtin_floorf(quotient[j]);
  return x - quotient * by;
}

// The magnitude of x, and a magnitude with the sign of x.
inline vec abs(vec x) {
  ivec bits;
  std::memcpy(&bits, &x, sizeof bits);
  bits &= 0x7FFFFFFF;
  std::memcpy(&x, &bits, sizeof bits);
  return x;
}

inline vec with_sign_of(vec x, vec magnitude) {
  ivec sign, bits;
  std::memcpy(&sign, &x, sizeof sign);
  std::memcpy(&bits, &magnitude, sizeof bits);
  bits |= sign & INT32_MIN;
  std::memcpy(&magnitude, &bits, sizeof bits);
  return magnitude;
}

// sigma(-|x|) = e^-|x| / (1 + e^-|x|) and sigma(|x|) = 1 - sigma(-|x|), which rounds once where sigma is close to one:
// the derivative sigma (1 - sigma) of an open gate is no better than that.
inline vec sigmoid(vec x) {
  const vec e = exp(-abs(x)), below = e / (1.f + e);
  return x > fill(0.f) ? 1.f - below : below;
}

// tanh |x| = (e^2|x| - 1) / (e^2|x| + 1) within 3 ulp. For |x| > 1 it is 1 - 2 / (e^2|x| + 1), which rounds once where it
// is close to one: the derivative 1 - tanh^2 is no better than that. It is exactly 1 from where that is the nearest float.
// (One that is 1 earlier, as TensorFlow's, cuts off derivatives of up to 5e-7, which a memory that forgets nothing adds
// up.) A NaN compares false and so passes through.
inline vec tanh(vec x) {
  constexpr float by_complement = 1.f, saturated = 9.0109133f;
  const vec a = abs(x);
  const Exponential e = exponential(a + a);
  const vec expm1 = e.power * e.rest + (e.power - 1.f);
  const vec quotient = (a > fill(by_complement) ? fill(2.f) : expm1) / (expm1 + 2.f);
  const vec of_a = a > fill(by_complement) ? 1.f - quotient : quotient;
  return with_sign_of(x, a > fill(saturated) ? fill(1.f) : of_a);
}

}  // namespace gates
