// The 8-bit float E4M3 in plain C++: no infinity, largest value 448, conversions saturate (as __nv_fp8_e4m3's do).
#pragma once
#include "cuda_bf16.h"

namespace softcuda {
inline float e4m3_value(uint8_t x) {
  int exponent = x >> 3 & 15, mantissa = x & 7;
  if (exponent == 15 && mantissa == 7) return bits<float>(0x7fffffffu);
  float v = exponent ? std::ldexp(1.f + mantissa / 8.f, exponent - 7) : std::ldexp(mantissa / 8.f, -6);
  return x & 0x80 ? -v : v;
}
inline uint8_t e4m3_bits(float f) {
  if (std::isnan(f)) return 0x7f;
  uint8_t sign = std::signbit(f) ? 0x80 : 0;
  float v = std::fabs(f);
  if (v >= 448.f) return sign | 0x7e;
  int exponent = 0;
  std::frexp(v, &exponent);                          // v = m * 2^exponent, m in [0.5, 1)
  int step = std::max(exponent - 1, -6) - 3;         // three bits of mantissa
  uint32_t units = uint32_t(std::nearbyint(std::ldexp(v, -step)));
  if (units < 8) return sign | uint8_t(units);       // subnormal
  return sign | std::min<uint32_t>(((step + 10) << 3) + (units - 8), 0x7e);
}
}  // namespace softcuda

using __nv_fp8_storage_t = unsigned char;
enum __nv_fp8_interpretation_t { __NV_E4M3, __NV_E5M2 };
struct __nv_fp8_e4m3 {
  __nv_fp8_storage_t __x;
  __nv_fp8_e4m3() = default;
  template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>
  explicit __nv_fp8_e4m3(T v) : __x(softcuda::e4m3_bits(float(v))) {}
  explicit __nv_fp8_e4m3(__half v) : __x(softcuda::e4m3_bits(float(v))) {}
  explicit __nv_fp8_e4m3(__nv_bfloat16 v) : __x(softcuda::e4m3_bits(float(v))) {}
  explicit operator float() const { return softcuda::e4m3_value(__x); }
};
inline __half_raw __nv_cvt_fp8_to_halfraw(__nv_fp8_storage_t x, __nv_fp8_interpretation_t) {
  return {softcuda::half_bits(softcuda::e4m3_value(x))};
}
