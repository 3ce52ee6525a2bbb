// Products of queries on a grid with SAM's tables of relative positions, along rows and along columns, in one launch: what
// attention adds to its scores.
#include "element.cuh"

namespace {

constexpr int MOST_SIDE = 64, MOST_WIDTH = 80, LINE_THREADS = 256;

// q (B, heads, side side, d) by its strides; tables (side, d, side): of line, of element, of key. out (2, B, heads, side side,
// side): out[0, .., (y, x), k] = q[(y, x)] . down[y, :, k], out[1, .., (y, x), k] = q[(y, x)] . along[x, :, k].
// Blocks along x are lines, along y the two directions. A thread sums keys x, x + 16, .. of tokens y, y + 16, .. of a line.
template <class T>
__device__ __forceinline__ void relative(const T* q, const T* down, const T* along, T* out, long long batch_stride,
                                         long long head_stride, long long token_stride, int batch_heads, int heads, int side,
                                         int d) {
    __shared__ float tokens[MOST_SIDE * (MOST_WIDTH + 1)];
    __shared__ float table[MOST_WIDTH * MOST_SIDE];
    const int line = blockIdx.x % side, number = blockIdx.x / side, columns = blockIdx.y;
    const T* given = (columns ? along : down) + line * (size_t)d * side;
    const T* from = q + number / heads * batch_stride + number % heads * head_stride;
    for (int i = threadIdx.x; i < d * side; i += LINE_THREADS) {
        table[i] = wide(given[i]);
        const int token = columns ? i / d * side + line : line * side + i / d;
        tokens[i / d * (d + 1) + i % d] = wide(from[token * token_stride + i % d]);
    }
    __syncthreads();
    const int x = threadIdx.x % 16, y = threadIdx.x / 16;
    float sums[4][4] = {};
    for (int k = 0; k < d; k++) {
        float left[4], right[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            left[i] = y + i * 16 < side ? tokens[(y + i * 16) * (d + 1) + k] : 0;
            right[i] = x + i * 16 < side ? table[k * side + x + i * 16] : 0;
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
#pragma unroll
            for (int j = 0; j < 4; j++) sums[i][j] += left[i] * right[j];
        }
    }
    const size_t all = (size_t)batch_heads * side * side * side;
    T* to = out + columns * all + number * (size_t)side * side * side;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int at = y + i * 16, token = columns ? at * side + line : line * side + at;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            if (at < side && x + j * 16 < side) to[token * (size_t)side + x + j * 16] = narrow<T>(sums[i][j]);
        }
    }
}

}  // namespace

#define RELATIVE(suffix, T)                                                                                                  \
    extern "C" __global__ void __launch_bounds__(LINE_THREADS) relative_##suffix(                                            \
        const T* q, const T* down, const T* along, T* out, long long batch_stride, long long head_stride,                    \
        long long token_stride, int batch_heads, int heads, int side, int d) {                                               \
        relative(q, down, along, out, batch_stride, head_stride, token_stride, batch_heads, heads, side, d);                 \
    }
FOR_EACH_TYPE(RELATIVE)
