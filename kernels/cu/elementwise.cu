// What follows a product: one read and one write of each element.
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

// y = silu(gate) * up, both with their bias, which may be null: x (rows, 2 inner) holds the gate and, behind it, up of each row.
template <class T> __device__ __forceinline__ void gated(const T* x, const T* bias, T* y, int rows, int inner) {
    const int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= inner) return;
    for (int row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
        const T* of_row = x + row * (size_t)(2 * inner);
        const T gate = shifted(of_row[column], bias, column), up = shifted(of_row[inner + column], bias, inner + column);
        y[row * (size_t)inner + column] = narrow<T>(activated(wide(gate), 2) * wide(up));
    }
}

#define ELEMENTWISE(suffix, T)                                                                                          \
    extern "C" __global__ void epilogue_##suffix(T* x, const T* bias, const T* residual, int rows, int columns,         \
                                                 int residual_rows, int activation) {                                   \
        epilogue(x, bias, residual, rows, columns, residual_rows, activation);                                          \
    }                                                                                                                   \
    extern "C" __global__ void gated_##suffix(const T* x, const T* bias, T* y, int rows, int inner) {                   \
        gated(x, bias, y, rows, inner);                                                                                 \
    }
FOR_EACH_TYPE(ELEMENTWISE)
