// Elements of f32, bf16 and f16: read as f32, computed in f32, rounded once when written.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

__device__ __forceinline__ float wide(float x) { return x; }
__device__ __forceinline__ float wide(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float wide(__half x) { return __half2float(x); }

template <class T> __device__ __forceinline__ T narrow(float x);
template <> __device__ __forceinline__ float narrow<float>(float x) { return x; }
template <> __device__ __forceinline__ __nv_bfloat16 narrow<__nv_bfloat16>(float x) { return __float2bfloat16(x); }
template <> __device__ __forceinline__ __half narrow<__half>(float x) { return __float2half(x); }

// What a product left, with its bias, which may be null, rounded as if it had been written.
template <class T> __device__ __forceinline__ T shifted(T x, const T* bias, int i) {
    return bias ? narrow<T>(wide(x) + wide(bias[i])) : x;
}

// Declares a kernel for each element type: KERNEL(suffix, type).
#define FOR_EACH_TYPE(KERNEL) KERNEL(f32, float) KERNEL(bf16, __nv_bfloat16) KERNEL(f16, __half)

// By the numbers of `Activation::code` in ../src/ops/activation/mod.rs.
__device__ __forceinline__ float activated(float x, int activation) {
    switch (activation) {
        case 1: return 0.5f * x * erfcf(x * -0.70710678118654752f);  // exact GELU
        case 2: return x / (1.f + expf(-x));                         // SiLU
        case 3: return x > 0 ? x : 0;                                // ReLU
        default: return x;
    }
}
