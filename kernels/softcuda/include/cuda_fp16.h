// Half precision in plain C++: stored as 16 bits, computed in float, rounded to nearest even after every operation.
#pragma once
#include "softcuda.h"

namespace softcuda {
/// A 16-bit float over its two conversions. `Tag` makes distinct types of half and bfloat16.
template <uint16_t (*pack)(float), float (*unpack)(uint16_t)> struct Float16 {
  uint16_t __x;
  Float16() = default;
  template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>> Float16(T v) : __x(pack(float(v))) {}
  static Float16 raw(uint16_t x) { Float16 r; r.__x = x; return r; }
  operator float() const { return unpack(__x); }
  Float16& operator=(float v) { __x = pack(v); return *this; }
  friend Float16 operator+(Float16 a, Float16 b) { return float(a) + float(b); }
  friend Float16 operator-(Float16 a, Float16 b) { return float(a) - float(b); }
  friend Float16 operator*(Float16 a, Float16 b) { return float(a) * float(b); }
  friend Float16 operator/(Float16 a, Float16 b) { return float(a) / float(b); }
  // With a float the other side is rounded first, as NVIDIA's implicit conversions do.
#define SOFTCUDA_MIXED(op)                                                                                     \
  template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>                                        \
  friend Float16 operator op(Float16 a, T b) { return a op Float16(b); }                                       \
  template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>                                        \
  friend Float16 operator op(T a, Float16 b) { return Float16(a) op b; }
  SOFTCUDA_MIXED(+) SOFTCUDA_MIXED(-) SOFTCUDA_MIXED(*) SOFTCUDA_MIXED(/)
#undef SOFTCUDA_MIXED
  Float16 operator-() const { return raw(__x ^ 0x8000); }
  Float16& operator+=(Float16 b) { return *this = *this + b; }
  Float16& operator-=(Float16 b) { return *this = *this - b; }
  Float16& operator*=(Float16 b) { return *this = *this * b; }
  Float16& operator/=(Float16 b) { return *this = *this / b; }
#define SOFTCUDA_COMPARE(op)                                                                                   \
  friend bool operator op(Float16 a, Float16 b) { return float(a) op float(b); }                               \
  template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>                                        \
  friend bool operator op(Float16 a, T b) { return float(a) op float(b); }                                     \
  template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>                                        \
  friend bool operator op(T a, Float16 b) { return float(a) op float(b); }
  SOFTCUDA_COMPARE(==) SOFTCUDA_COMPARE(!=) SOFTCUDA_COMPARE(<)
  SOFTCUDA_COMPARE(>) SOFTCUDA_COMPARE(<=) SOFTCUDA_COMPARE(>=)
#undef SOFTCUDA_COMPARE
};
}  // namespace softcuda

using __half = softcuda::Float16<softcuda::half_bits, softcuda::half_value>;
using half = __half;
struct __half_raw {
  unsigned short x;
  operator __half() const { return __half::raw(x); }
};
struct alignas(4) __half2 { __half x, y; };
using half2 = __half2;

inline float __half2float(__half h) { return float(h); }
inline __half __float2half(float f) { return f; }
inline __half __float2half_rn(float f) { return f; }
inline unsigned short __half_as_ushort(__half h) { return h.__x; }
inline __half __ushort_as_half(unsigned short x) { return __half::raw(x); }
inline __half2 __floats2half2_rn(float x, float y) { return {x, y}; }
inline __half2 __halves2half2(__half x, __half y) { return {x, y}; }
inline float2 __half22float2(__half2 h) { return {float(h.x), float(h.y)}; }

// Functions that half and bfloat16 share.
#define SOFTCUDA_FLOAT16(type, pair)                                                                  \
  inline bool __hisnan(type a) { return std::isnan(float(a)); }                                       \
  inline type __habs(type a) { return type::raw(a.__x & 0x7fff); }                                    \
  inline type __hneg(type a) { return -a; }                                                           \
  inline type __hadd(type a, type b) { return a + b; }                                                \
  inline type __hsub(type a, type b) { return a - b; }                                                \
  inline type __hmul(type a, type b) { return a * b; }                                                \
  inline type __hdiv(type a, type b) { return a / b; }                                                \
  inline type __hfma(type a, type b, type c) { return std::fma(float(a), float(b), float(c)); }       \
  inline type __hmax(type a, type b) { return std::fmax(float(a), float(b)); }                        \
  inline type __hmin(type a, type b) { return std::fmin(float(a), float(b)); }                        \
  inline type __hmax_nan(type a, type b) { return __hisnan(a) ? a : __hisnan(b) ? b : __hmax(a, b); } \
  inline type __hmin_nan(type a, type b) { return __hisnan(a) ? a : __hisnan(b) ? b : __hmin(a, b); } \
  inline type hsqrt(type a) { return std::sqrt(float(a)); }                                           \
  inline type hrsqrt(type a) { return 1.f / std::sqrt(float(a)); }                                    \
  inline type hsin(type a) { return std::sin(float(a)); }                                             \
  inline type hcos(type a) { return std::cos(float(a)); }                                             \
  inline type hlog(type a) { return std::log(float(a)); }                                             \
  inline type hexp(type a) { return std::exp(float(a)); }                                             \
  inline pair __hadd2(pair a, pair b) { return {a.x + b.x, a.y + b.y}; }                              \
  inline pair __hsub2(pair a, pair b) { return {a.x - b.x, a.y - b.y}; }                              \
  inline pair __hmul2(pair a, pair b) { return {a.x * b.x, a.y * b.y}; }                              \
  inline pair __h2div(pair a, pair b) { return {a.x / b.x, a.y / b.y}; }
SOFTCUDA_FLOAT16(__half, __half2)
