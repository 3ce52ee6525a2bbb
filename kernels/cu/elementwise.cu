// What follows a product, and functions of two tensors: one read and one write of each element.
#include "element.cuh"

// x = residual + f(x + bias) in place, x (rows, columns). `bias` (columns) and `residual` may be null; the residual's rows
// repeat after `residual_rows`. Threads along x take columns, along y rows.
template <class T>
__device__ __forceinline__ void epilogue(T* x, const T* bias, const T* residual, int rows, int columns, int residual_rows,
                                         int activation) {
    const int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= columns) return;
    const float shift = bias ? wide(bias[column]) : 0;
    for (int row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
        const size_t at = row * (size_t)columns + column;
        float y = activated(wide(x[at]) + shift, activation);
        if (residual) y += wide(residual[row % residual_rows * (size_t)columns + column]);
        x[at] = narrow<T>(y);
    }
}

// y = silu(gate) * up
template <class T> __device__ __forceinline__ void silu_mul(const T* gate, const T* up, T* y, unsigned long long n) {
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x) {
        y[i] = narrow<T>(activated(wide(gate[i]), 2) * wide(up[i]));
    }
}

#define ELEMENTWISE(suffix, T)                                                                                          \
    extern "C" __global__ void epilogue_##suffix(T* x, const T* bias, const T* residual, int rows, int columns,         \
                                                 int residual_rows, int activation) {                                   \
        epilogue(x, bias, residual, rows, columns, residual_rows, activation);                                          \
    }                                                                                                                   \
    extern "C" __global__ void silu_mul_##suffix(const T* gate, const T* up, T* y, unsigned long long n) {              \
        silu_mul(gate, up, y, n);                                                                                       \
    }
FOR_EACH_TYPE(ELEMENTWISE)
