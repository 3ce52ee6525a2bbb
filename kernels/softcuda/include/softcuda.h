// What a kernel sees of CUDA C++ when g++ compiles it for the software device: qualifiers, built-in variables,
// barriers, warp exchanges, atomics, vector types and arithmetic. Included before every translated source; the
// translator (toolkit/softcc) sees to __global__ and __shared__.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>

#include "softcuda/abi.h"
#include "softcuda/float16.h"

#define __device__
#define __host__
#define __constant__ static
#define __managed__
#define __noinline__ __attribute__((noinline))
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __grid_constant__
#ifndef __restrict__
#define __restrict__ __restrict
#endif

struct alignas(8) uint2 { unsigned x, y; };

#define threadIdx (softcuda::softcuda_place.thread)
#define blockIdx (softcuda::softcuda_place.block)
#define blockDim (softcuda::softcuda_place.block_dim)
#define gridDim (softcuda::softcuda_place.grid_dim)
constexpr int warpSize = 32;

// Barriers and fences. Memory is as the C++ program left it, so a fence has nothing to do.
__forceinline__ void __syncthreads() { softcuda::softcuda_block_barrier(0, 0); }
__forceinline__ int __syncthreads_count(int p) { return softcuda::softcuda_block_barrier(1, p); }
__forceinline__ int __syncthreads_and(int p) { return softcuda::softcuda_block_barrier(2, p); }
__forceinline__ int __syncthreads_or(int p) { return softcuda::softcuda_block_barrier(3, p); }
__forceinline__ void __syncwarp(unsigned mask = ~0u) { softcuda::softcuda_warp_barrier(mask); }
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
inline void __trap() { softcuda::softcuda_trap("__trap()"); }
#define printf softcuda::softcuda_printf
#undef assert
#define assert(condition) ((condition) ? void() : softcuda::softcuda_trap("assertion failed: " #condition))

// Warp exchanges; `width` splits the warp into parts of 32, 16, 8, 4 or 2 lanes.
namespace softcuda {
template <class T> __forceinline__ T exchange(unsigned mask, T value, int source) {
  static_assert(sizeof(T) <= 8);
  uint64_t raw = 0;
  __builtin_memcpy(&raw, &value, sizeof value);
  raw = softcuda_warp_exchange(mask, raw, source);
  __builtin_memcpy(&value, &raw, sizeof value);
  return value;
}
}  // namespace softcuda
template <class T> __forceinline__ T __shfl_sync(unsigned mask, T v, int lane, int width = 32) {
  int self = softcuda::softcuda_lane(), base = self & ~(width - 1);
  return softcuda::exchange(mask, v, base + (lane & (width - 1)));
}
template <class T> __forceinline__ T __shfl_xor_sync(unsigned mask, T v, int lanes, int width = 32) {
  int self = softcuda::softcuda_lane(), to = self ^ lanes;
  return softcuda::exchange(mask, v, to < (self & ~(width - 1)) + width ? to : self);
}
template <class T> __forceinline__ T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32) {
  int self = softcuda::softcuda_lane(), to = self + int(by);
  return softcuda::exchange(mask, v, to < (self & ~(width - 1)) + width ? to : self);
}
template <class T> __forceinline__ T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32) {
  int self = softcuda::softcuda_lane(), to = self - int(by);
  return softcuda::exchange(mask, v, to >= (self & ~(width - 1)) ? to : self);
}
__forceinline__ unsigned __ballot_sync(unsigned mask, int p) { return softcuda::softcuda_warp_ballot(mask, p); }
__forceinline__ int __any_sync(unsigned mask, int p) { return softcuda::softcuda_warp_ballot(mask, p) != 0; }
__forceinline__ int __all_sync(unsigned mask, int p) {
  return (softcuda::softcuda_warp_ballot(mask, p) & mask) == (softcuda::softcuda_active_lanes() & mask);
}
inline unsigned __activemask() { return softcuda::softcuda_active_lanes(); }

// Atomics: threads run one at a time, so a plain read and write is indivisible; the checks are told, from the kernel's
// own line.
namespace softcuda {
template <class T, class F> __attribute__((no_sanitize("thread"), noinline)) T update(T* p, F f) {
  T old = *p;
  *p = f(old);
  return old;
}
}  // namespace softcuda
#define SOFTCUDA_ATOMIC(name, expression)                                                            \
  template <class T, class U> __forceinline__ T name(T* p, U value) {                                \
    const T v = T(value);                                                                            \
    softcuda::softcuda_atomic(p, sizeof(T));                                                         \
    return softcuda::update(p, [v](T old) __attribute__((no_sanitize("thread"))) -> T { return T(expression); }); \
  }
SOFTCUDA_ATOMIC(atomicAdd, old + v)
SOFTCUDA_ATOMIC(atomicSub, old - v)
SOFTCUDA_ATOMIC(atomicMax, old < v ? v : old)
SOFTCUDA_ATOMIC(atomicMin, v < old ? v : old)
SOFTCUDA_ATOMIC(atomicAnd, old & v)
SOFTCUDA_ATOMIC(atomicOr, old | v)
SOFTCUDA_ATOMIC(atomicXor, old ^ v)
SOFTCUDA_ATOMIC(atomicExch, v)
SOFTCUDA_ATOMIC(atomicInc, old >= v ? 0 : old + 1)
SOFTCUDA_ATOMIC(atomicDec, old == 0 || old > v ? v : old - 1)
#undef SOFTCUDA_ATOMIC
template <class T> __forceinline__ T atomicCAS(T* p, T expected, T wanted) {
  softcuda::softcuda_atomic(p, sizeof(T));
  return softcuda::update(p, [=](T old) __attribute__((no_sanitize("thread"))) { return old == expected ? wanted : old; });
}

// Vector types.
#define SOFTCUDA_VECTOR(type, base)                                                       \
  struct alignas(2 * sizeof(base)) type##2 { base x, y; };                                \
  struct type##3 { base x, y, z; };                                                       \
  struct alignas(4 * sizeof(base) > 16 ? 16 : 4 * sizeof(base)) type##4 { base x, y, z, w; }; \
  inline type##2 make_##type##2(base x, base y) { return {x, y}; }                        \
  inline type##3 make_##type##3(base x, base y, base z) { return {x, y, z}; }             \
  inline type##4 make_##type##4(base x, base y, base z, base w) { return {x, y, z, w}; }
SOFTCUDA_VECTOR(float, float)
SOFTCUDA_VECTOR(double, double)
SOFTCUDA_VECTOR(int, int)
SOFTCUDA_VECTOR(char, signed char)
SOFTCUDA_VECTOR(uchar, unsigned char)
SOFTCUDA_VECTOR(short, short)
SOFTCUDA_VECTOR(ushort, unsigned short)
SOFTCUDA_VECTOR(longlong, long long)
#undef SOFTCUDA_VECTOR
struct alignas(16) uint4 { unsigned x, y, z, w; };
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// Arithmetic.
using std::isinf;
using std::isnan;
using std::signbit;
template <class A, class B> inline std::common_type_t<A, B> min(A a, B b) {
  using C = std::common_type_t<A, B>;
  return C(b) < C(a) ? C(b) : C(a);
}
template <class A, class B> inline std::common_type_t<A, B> max(A a, B b) {
  using C = std::common_type_t<A, B>;
  return C(a) < C(b) ? C(b) : C(a);
}
template <class T> inline T __ldg(const T* p) { return *p; }
inline unsigned __float_as_uint(float f) { return softcuda::bits<unsigned>(f); }
inline int __float_as_int(float f) { return softcuda::bits<int>(f); }
inline float __uint_as_float(unsigned u) { return softcuda::bits<float>(u); }
inline float __int_as_float(int i) { return softcuda::bits<float>(i); }
inline long long __double_as_longlong(double d) { return softcuda::bits<long long>(d); }
inline double __longlong_as_double(long long l) { return softcuda::bits<double>(l); }
inline float rsqrtf(float x) { return 1.f / std::sqrt(x); }
inline double rsqrt(double x) { return 1. / std::sqrt(x); }
inline float normcdff(float x) { return 0.5f * erfcf(x * -0.70710678118654752f); }
inline double normcdf(double x) { return 0.5 * erfc(x * -0.70710678118654752); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float x) { return 1.f / x; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline float __saturatef(float x) { return x < 0 ? 0 : x > 1 ? 1 : x; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline unsigned __brev(unsigned x) {
  unsigned r = 0;
  for (int i = 0; i < 32; i++) r |= (x >> i & 1) << (31 - i);
  return r;
}
inline int __mul24(int a, int b) { return a * b; }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((uint64_t(a) * b) >> 32); }
inline int __float2int_rn(float x) { return int(rintf(x)); }
inline int __float2int_rz(float x) { return int(x); }
inline float __int2float_rn(int x) { return float(x); }

#ifdef SOFTCUDA_CHECKED
// As functions, so that block copies of a kernel's own are seen like every other access.
namespace softcuda {
extern "C" void* softcuda_memset(void* to, int value, size_t bytes);
extern "C" void* softcuda_memcpy(void* to, const void* from, size_t bytes);
}
#define memset softcuda::softcuda_memset
#define memcpy softcuda::softcuda_memcpy
#endif
