// Layer norm and RMS norm of rows of n elements: a warp a row, two passes in f32.
#include "element.cuh"

constexpr int WARP = 32;

__device__ __forceinline__ float over_warp(float x) {
    for (int lanes = WARP / 2; lanes > 0; lanes /= 2) x += __shfl_xor_sync(0xffffffff, x, lanes);
    return x;
}

// y = (x - mean) / sqrt(variance + eps) * weight + bias
template <class T> __device__ __forceinline__ void layer_norm(const T* x, const T* weight, const T* bias, T* y, int n, float eps) {
    float sum = 0;
    for (int i = threadIdx.x; i < n; i += WARP) sum += wide(x[i]);
    const float mean = over_warp(sum) / n;
    sum = 0;
    for (int i = threadIdx.x; i < n; i += WARP) {
        const float centred = wide(x[i]) - mean;
        sum += centred * centred;
    }
    const float scale = 1.f / sqrtf(over_warp(sum) / n + eps);
    for (int i = threadIdx.x; i < n; i += WARP) {
        y[i] = narrow<T>((wide(x[i]) - mean) * scale * wide(weight[i]) + wide(bias[i]));
    }
}

// y = x / sqrt(mean square + eps), rounded to T, times weight
template <class T> __device__ __forceinline__ void rms_norm(const T* x, const T* weight, T* y, int n, float eps) {
    float sum = 0;
    for (int i = threadIdx.x; i < n; i += WARP) sum += wide(x[i]) * wide(x[i]);
    const float scale = 1.f / sqrtf(over_warp(sum) / n + eps);
    for (int i = threadIdx.x; i < n; i += WARP) {
        y[i] = narrow<T>(wide(narrow<T>(wide(x[i]) * scale)) * wide(weight[i]));
    }
}

// Blocks of (32, rows of a block); the last block may have fewer rows.
#define NORMS(suffix, T)                                                                                             \
    extern "C" __global__ void layer_norm_##suffix(const T* x, const T* weight, const T* bias, T* y, int rows, int n, \
                                                   float eps) {                                                       \
        const size_t row = blockIdx.x * (size_t)blockDim.y + threadIdx.y;                                             \
        if (row >= (size_t)rows) return;                                                                                      \
        layer_norm(x + row * n, weight, bias, y + row * n, n, eps);                                                   \
    }                                                                                                                 \
    extern "C" __global__ void rms_norm_##suffix(const T* x, const T* weight, T* y, int rows, int n, float eps) {     \
        const size_t row = blockIdx.x * (size_t)blockDim.y + threadIdx.y;                                             \
        if (row >= (size_t)rows) return;                                                                                      \
        rms_norm(x + row * n, weight, y + row * n, n, eps);                                                           \
    }
FOR_EACH_TYPE(NORMS)
