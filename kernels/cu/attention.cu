// softmax(scale q k^T + added) v in f32 throughout, without tensor cores: tiles of keys with a running maximum and sum, nothing
// of the scores in memory. The arithmetic of flash.cu's 16-bit elements costs a GPU a tenth of this.
//
// 16 x 8 threads. A thread scores rows y, y + 16, .. against keys x, x + 8, .., and sums pairs of columns of these rows.
#include "attention.cuh"

namespace {

constexpr int DOWN = 16, ACROSS = 8, ATTENTION_THREADS = DOWN * ACROSS;

// `count` rows of WIDTH elements to shared memory; what is not there is zero. `place` gives where a row begins, or -1.
template <int WIDTH, class Place>
__device__ __forceinline__ void fetch(float* to, const float* from, int count, int d, bool aligned, Place place) {
    constexpr int PITCH = WIDTH + 4, CHUNKS = WIDTH / 4;
    for (int i = threadIdx.x; i < count * CHUNKS; i += ATTENTION_THREADS) {
        const int row = i / CHUNKS, column = i % CHUNKS * 4;
        const long long at = place(row);
        float4 x = {0, 0, 0, 0};
        if (at >= 0 && aligned) {
            if (column < d) x = *reinterpret_cast<const float4*>(from + at + column);
        } else if (at >= 0) {
            if (column < d) x.x = from[at + column];
            if (column + 1 < d) x.y = from[at + column + 1];
            if (column + 2 < d) x.z = from[at + column + 2];
            if (column + 3 < d) x.w = from[at + column + 3];
        }
        *reinterpret_cast<float4*>(to + row * PITCH + column) = x;
    }
}

// `added`: bias, or down and along of a grid of keys; null without.
template <int D>
__device__ __forceinline__ void attend(const Share<float>& mine, const Shape& s, const float* bias, const float* down,
                                       const float* along) {
    constexpr int ROWS = D > 64 ? 32 : 64, KEYS = D > 80 ? 16 : 32, PITCH = D + 4, SHARES = KEYS + 4;
    constexpr int MY_ROWS = ROWS / DOWN, MY_KEYS = KEYS / ACROSS, PAIRS = D / (2 * ACROSS);
    __shared__ __align__(16) float queries[ROWS * PITCH];
    __shared__ __align__(16) float keys[KEYS * PITCH];
    __shared__ __align__(16) float values[KEYS * PITCH];
    __shared__ __align__(16) float shares[ROWS * SHARES];
    const int x = threadIdx.x % ACROSS, y = threadIdx.x / ACROSS;
    const bool aligned = s.aligned;

    fetch<D>(queries, mine.q, ROWS, s.d, aligned, [&](int row) {
        const int r = mine.row + row;
        return r < mine.rows ? r / s.pack * s.q_token + r % s.pack * s.q_head : -1;
    });
    int of_query[MY_ROWS];
    size_t of_head[MY_ROWS];  // the row's number among all queries of all heads
#pragma unroll
    for (int i = 0; i < MY_ROWS; i++) {
        const int row = min(mine.row + y + i * DOWN, mine.rows - 1);
        of_query[i] = row / s.pack;
        of_head[i] = mine.batch * (size_t)s.heads + mine.head + row % s.pack;
    }

    float sums[MY_ROWS][PAIRS][2] = {}, most[MY_ROWS], total[MY_ROWS] = {};
#pragma unroll
    for (int i = 0; i < MY_ROWS; i++) most[i] = NEVER;
    for (int first = mine.key; first < mine.keys; first += KEYS) {
        fetch<D>(keys, mine.k, KEYS, s.d, aligned, [&](int i) { return first + i < mine.keys ? (first + i) * s.k_token : -1; });
        fetch<D>(values, mine.v, KEYS, s.d, aligned, [&](int i) { return first + i < mine.keys ? (first + i) * s.v_token : -1; });
        __syncthreads();

        float score[MY_ROWS][MY_KEYS] = {};
#pragma unroll 4
        for (int k = 0; k < D; k += 4) {
            float4 q[MY_ROWS];
#pragma unroll
            for (int i = 0; i < MY_ROWS; i++) q[i] = *reinterpret_cast<const float4*>(queries + (y + i * DOWN) * PITCH + k);
#pragma unroll
            for (int j = 0; j < MY_KEYS; j++) {
                const float4 key = *reinterpret_cast<const float4*>(keys + (x + j * ACROSS) * PITCH + k);
#pragma unroll
                for (int i = 0; i < MY_ROWS; i++) {
                    score[i][j] += q[i].x * key.x;
                    score[i][j] += q[i].y * key.y;
                    score[i][j] += q[i].z * key.z;
                    score[i][j] += q[i].w * key.w;
                }
            }
        }
#pragma unroll
        for (int i = 0; i < MY_ROWS; i++) {
            float peak = most[i];
#pragma unroll
            for (int j = 0; j < MY_KEYS; j++) {
                const int key = first + x + j * ACROSS;
                const bool seen = key < mine.keys && key <= of_query[i] + mine.offset;
                float added = 0;
                if (seen && down) {
                    const size_t row = of_head[i] * s.queries + of_query[i];
                    added = down[row * s.grid_rows + key / s.grid_columns] + along[row * s.grid_columns + key % s.grid_columns];
                } else if (seen && bias) {
                    const size_t head = of_head[i] % s.heads;
                    added = bias[mine.batch * s.bias_batch + head * s.bias_head + of_query[i] * s.bias_query + key * s.bias_key];
                }
                score[i][j] = seen ? score[i][j] * s.scale + added : NEVER;
                peak = fmaxf(peak, score[i][j]);
            }
            for (int lanes = 1; lanes < ACROSS; lanes *= 2) peak = fmaxf(peak, __shfl_xor_sync(0xffffffff, peak, lanes));
            // A row that has seen no key yet: powers of minus infinity are 0, not those of nothing at all.
            const float base = peak == NEVER ? 0 : peak, kept = expf(most[i] - base);
            most[i] = peak;
            total[i] *= kept;
#pragma unroll
            for (int j = 0; j < MY_KEYS; j++) {
                const float share = expf(score[i][j] - base);
                total[i] += share;
                shares[(y + i * DOWN) * SHARES + x + j * ACROSS] = share;
            }
#pragma unroll
            for (int c = 0; c < PAIRS; c++) {
                sums[i][c][0] *= kept;
                sums[i][c][1] *= kept;
            }
        }
        // A row's shares are read by the lanes of the warp that wrote them.
        __syncwarp();
#pragma unroll 4
        for (int key = 0; key < KEYS; key++) {
            float share[MY_ROWS];
#pragma unroll
            for (int i = 0; i < MY_ROWS; i++) share[i] = shares[(y + i * DOWN) * SHARES + key];
#pragma unroll
            for (int c = 0; c < PAIRS; c++) {
                const float2 value = *reinterpret_cast<const float2*>(values + key * PITCH + c * 2 * ACROSS + x * 2);
#pragma unroll
                for (int i = 0; i < MY_ROWS; i++) {
                    sums[i][c][0] += share[i] * value.x;
                    sums[i][c][1] += share[i] * value.y;
                }
            }
        }
        __syncthreads();
    }

#pragma unroll
    for (int i = 0; i < MY_ROWS; i++) {
        float sum = total[i];
        for (int lanes = 1; lanes < ACROSS; lanes *= 2) sum += __shfl_xor_sync(0xffffffff, sum, lanes);
        const float share = sum > 0 ? 1.f / sum : 0;
        const int row = mine.row + y + i * DOWN;
        if (row >= mine.rows) continue;
        float* out = mine.out + (row / s.pack * (size_t)s.heads + row % s.pack) * s.d;
#pragma unroll
        for (int c = 0; c < PAIRS; c++) {
            const int column = c * 2 * ACROSS + x * 2;
            if (column < s.d) out[column] = sums[i][c][0] * share;
            if (column + 1 < s.d) out[column + 1] = sums[i][c][1] * share;
        }
    }
}

}  // namespace

#define ATTENTION(D)                                                                                                             \
    extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 2) attention_##D##_f32(                                      \
        const float* q, const float* k, const float* v, float* out, const unsigned* segments, const float* bias,                 \
        const float* down, const float* along, Shape s) {                                                                        \
        const Share<float> mine = share(q, k, v, out, segments, s, D > 64 ? 32 : 64);                                            \
        if (mine.row < mine.rows) attend<D>(mine, s, bias, down, along);                                                         \
    }                                                                                                                            \
    extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 2) attention_ragged_##D##_f32(                               \
        const float* q, float* out, Sequences<float> all, const unsigned* cached, Shape s) {                                     \
        const Share<float> mine = share_of_sequence(q, out, all, cached, s, D > 64 ? 32 : 64);                                   \
        if (mine.row < mine.rows) attend<D>(mine, s, nullptr, nullptr, nullptr);                                                 \
    }
ATTENTION(32)
ATTENTION(64)
ATTENTION(80)
ATTENTION(128)
