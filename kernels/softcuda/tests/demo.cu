// Three kernels that use what kernels use: tiles and barriers, vectors and warp exchanges, atomics. The tests break them
// one line at a time.
#include <cuda_runtime.h>

constexpr int TILE = 16;

// c (m, n) = a (m, k) b (k, n), row-major; blocks of TILE x TILE threads.
extern "C" __global__ void tiled_product(const float* a, const float* b, float* c, int m, int n, int k) {
    __shared__ float left[TILE][TILE], right[TILE][TILE];
    const int row = blockIdx.y * TILE + threadIdx.y, column = blockIdx.x * TILE + threadIdx.x;
    float sum = 0;
    for (int from = 0; from < k; from += TILE) {
        const int l = from + threadIdx.x, r = from + threadIdx.y;
        left[threadIdx.y][threadIdx.x] = row < m && l < k ? a[row * k + l] : 0;
        right[threadIdx.y][threadIdx.x] = r < k && column < n ? b[r * n + column] : 0;
        __syncthreads();
        for (int i = 0; i < TILE; i++) sum += left[threadIdx.y][i] * right[i][threadIdx.x];
        __syncthreads();
    }
    if (row < m && column < n) c[row * n + column] = sum;
}

// Softmax over the first `valid` of `columns` values of each row; a block of 128 threads a row, columns a multiple of 4.
extern "C" __global__ void row_softmax(const float* x, float* y, int columns, int valid) {
    extern __shared__ float values[];
    __shared__ float part[4];
    const float* from = x + blockIdx.x * columns;
    for (int i = threadIdx.x * 4; i < valid; i += blockDim.x * 4) {
        if (i + 4 <= valid) {
            const float4 four = *reinterpret_cast<const float4*>(from + i);
            values[i] = four.x, values[i + 1] = four.y, values[i + 2] = four.z, values[i + 3] = four.w;
        } else {
            for (int rest = i; rest < valid; rest++) values[rest] = from[rest];
        }
    }
    __syncthreads();
    float sum = 0;
    for (int i = threadIdx.x; i < valid; i += blockDim.x) {
        values[i] = expf(values[i]);
        sum += values[i];
    }
    for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(0xffffffff, sum, lanes);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
    __syncthreads();
    sum = part[0] + part[1] + part[2] + part[3];
    for (int i = threadIdx.x; i < columns; i += blockDim.x) y[blockIdx.x * columns + i] = i < valid ? values[i] / sum : 0;
}

// counts[v] += how often v occurs in x, v < 16.
extern "C" __global__ void histogram(const unsigned* x, unsigned* counts, int n) {
    __shared__ unsigned mine[16];
    if (threadIdx.x < 16) mine[threadIdx.x] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&mine[x[i]], 1u);
    __syncthreads();
    if (threadIdx.x < 16) atomicAdd(&counts[threadIdx.x], mine[threadIdx.x]);
}

// Within a warp: out[lane] = in of the lane to the right, through shared memory.
extern "C" __global__ void rotate(const float* in, float* out) {
    __shared__ float lanes[32];
    lanes[threadIdx.x] = in[threadIdx.x];
    __syncwarp();
    out[threadIdx.x] = lanes[(threadIdx.x + 1) % 32];
}

// The last thing each lane does is to read the lane beside it, or what all of them voted.
extern "C" __global__ void last_words(const float* in, float* out) {
    const int lane = threadIdx.y;
    out[lane] = __shfl_xor_sync(0xffffffff, in[lane], 1);
    out[32 + lane] = __popc(__ballot_sync(0xffffffff, in[lane] > 15));
    out[64 + lane] = __shfl_down_sync(0xffffffff, in[lane], 1);
}
