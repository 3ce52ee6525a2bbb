// Layer norm and RMS norm of rows of n elements, also of sums with a residual: a warp a row, or a block where rows are long; two passes
// in f32.
#include "element.cuh"

constexpr int WARP = 32, MOST_WARPS = 8;

// The sum over the threads of a row, to all of them. Blocks of more than a warp along x hold one row.
__device__ __forceinline__ float over_row(float x) {
    for (int lanes = WARP / 2; lanes > 0; lanes /= 2) x += __shfl_xor_sync(0xffffffff, x, lanes);
    if (blockDim.x == WARP) return x;
    __shared__ float of_warps[MOST_WARPS];
    __syncthreads();  // until all have read the sum before
    if (threadIdx.x % WARP == 0) of_warps[threadIdx.x / WARP] = x;
    __syncthreads();
    x = 0;
    for (int i = 0; i < int(blockDim.x) / WARP; i++) x += of_warps[i];
    return x;
}

// y = (x - mean) / sqrt(variance + eps) * weight + bias
template <class T> __device__ __forceinline__ void layer_norm(const T* x, const T* weight, const T* bias, T* y, int n, float eps) {
    float sum = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) sum += wide(x[i]);
    const float mean = over_row(sum) / n;
    sum = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        const float centred = wide(x[i]) - mean;
        sum += centred * centred;
    }
    const float scale = 1.f / sqrtf(over_row(sum) / n + eps);
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        y[i] = narrow<T>((wide(x[i]) - mean) * scale * wide(weight[i]) + wide(bias[i]));
    }
}

// y = x / sqrt(mean square + eps), rounded to T, times weight
template <class T> __device__ __forceinline__ void rms_norm(const T* x, const T* weight, T* y, int n, float eps) {
    float sum = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) sum += wide(x[i]) * wide(x[i]);
    const float scale = 1.f / sqrtf(over_row(sum) / n + eps);
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        y[i] = narrow<T>(wide(narrow<T>(wide(x[i]) * scale)) * wide(weight[i]));
    }
}

// y = residual + x + bias, and its norm; the bias may be null. Each thread reads again what it wrote itself.
template <class T>
__device__ __forceinline__ void onto_rms_norm(const T* x, const T* bias, const T* residual, const T* weight, T* y, T* normed, int n,
                                              float eps) {
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        y[i] = narrow<T>(wide(x[i]) + (bias ? wide(bias[i]) : 0) + wide(residual[i]));
    }
    rms_norm(y, weight, normed, n, eps);
}

// Blocks of (threads of a row, rows of a block); the last block may have fewer rows.
#define NORMS(suffix, T)                                                                                             \
    extern "C" __global__ void layer_norm_##suffix(const T* x, const T* weight, const T* bias, T* y, int rows, int n, \
                                                   float eps) {                                                       \
        const size_t row = blockIdx.x * (size_t)blockDim.y + threadIdx.y;                                             \
        if (row >= (size_t)rows) return;                                                                              \
        layer_norm(x + row * n, weight, bias, y + row * n, n, eps);                                                   \
    }                                                                                                                 \
    extern "C" __global__ void rms_norm_##suffix(const T* x, const T* weight, T* y, int rows, int n, float eps) {     \
        const size_t row = blockIdx.x * (size_t)blockDim.y + threadIdx.y;                                             \
        if (row >= (size_t)rows) return;                                                                              \
        rms_norm(x + row * n, weight, y + row * n, n, eps);                                                           \
    }                                                                                                                 \
    extern "C" __global__ void onto_rms_norm_##suffix(const T* x, const T* bias, const T* residual, const T* weight,  \
                                                      T* both, int rows, int n, float eps) {                          \
        const size_t row = blockIdx.x * (size_t)blockDim.y + threadIdx.y;                                             \
        if (row >= (size_t)rows) return;                                                                              \
        T* y = both + row * n;                                                                                        \
        onto_rms_norm(x + row * n, bias, residual + row * n, weight, y, y + (size_t)rows * n, n, eps);                \
    }
FOR_EACH_TYPE(NORMS)
