// Conversions of 16-bit floats, to nearest even.
#pragma once
#include <cmath>
#include <cstdint>

namespace softcuda {

template <class To, class From> inline To bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof to);
  return to;
}

inline uint16_t half_bits(float f) {
  uint32_t u = bits<uint32_t>(f), sign = u >> 16 & 0x8000, magnitude = u & 0x7fffffff;
  if (magnitude > 0x7f800000) return uint16_t(sign | 0x7fff);        // NaN, as the hardware writes it
  if (magnitude >= 0x47800000) return uint16_t(sign | 0x7c00);       // 65536 and above; 65520 rounds up below
  if (magnitude < 0x38800000) {                                      // subnormal in half: in units of 2^-24
    return uint16_t(sign | uint32_t(std::nearbyint(bits<float>(magnitude) * 16777216.f)));
  }
  uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return uint16_t(sign | ((rounded - 0x38000000) >> 13));
}
inline float half_value(uint16_t h) {
  uint32_t sign = uint32_t(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3ff;
  if (exponent == 31) return bits<float>(sign | 0x7f800000 | mantissa << 13);
  if (exponent == 0) return bits<float>(sign | bits<uint32_t>(float(mantissa) * 5.9604644775390625e-8f));
  return bits<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

inline uint16_t bfloat16_bits(float f) {
  uint32_t u = bits<uint32_t>(f);
  if ((u & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return uint16_t((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
inline float bfloat16_value(uint16_t b) { return bits<float>(uint32_t(b) << 16); }

}  // namespace softcuda
