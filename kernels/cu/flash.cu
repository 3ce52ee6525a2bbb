// softmax(scale q k^T + added) v in bf16 and f16 on tensor cores: tiles of keys with a running maximum and sum, scores and sums
// in f32, nothing of them in memory (FlashAttention-2, arXiv 2307.08691). SAM's decomposed relative positions are added where
// the scores are: a tile of keys is whole rows of the grid, each in SIDE places, so that what a column adds stays in registers
// and what a row adds is one number.
//
// Four warps of 16 rows. While a tile is computed the next is copied.
#include "attention.cuh"
#include "tensor_core.cuh"

namespace {

constexpr int ROWS = 64, THREADS = 128;
constexpr float LOG2_E = 1.4426950408889634f;
using tensor_core::product;

__device__ __forceinline__ uint32_t pair(float low, float high, __nv_bfloat16) {
    const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&both);
}
__device__ __forceinline__ uint32_t pair(float low, float high, __half) {
    const __half2 both = __floats2half2_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&both);
}

// Starts copies of `count` rows of WIDTH elements to shared memory; what is not there is zero. `place` gives the element at
// which a row begins, or -1.
template <int WIDTH, class T, class Place>
__device__ __forceinline__ void fetch(T* to, const T* from, int count, int d, bool aligned, Place place) {
    constexpr int PITCH = WIDTH + 8, CHUNKS = WIDTH / 8;
    for (int i = threadIdx.x; i < count * CHUNKS; i += THREADS) {
        const int row = i / CHUNKS, column = i % CHUNKS * 8;
        const long long at = place(row);
        T* into = to + row * PITCH + column;
        if (aligned) {
            const bool there = at >= 0 && column < d;
            tensor_core::copy_async_16(into, there ? from + at + column : from, there ? 16 : 0);
        } else {
            for (int e = 0; e < 8; e++) into[e] = at >= 0 && column + e < d ? from[at + column + e] : narrow<T>(0.f);
        }
    }
}

// D: d rounded up to what there is; SIDE: places of a row of the grid of keys, 0 without one; BIASED: whether `bias` is added.
template <class T, int D, int SIDE, bool BIASED>
__device__ __forceinline__ void flash(const Share<T>& mine, const Shape& s, const T* bias, const T* down, const T* along) {
    constexpr int KEYS = D > 80 ? 32 : 64, PITCH = D + 8;
    constexpr int GROUPS = SIDE ? KEYS / SIDE : 1, PLACES = SIDE ? SIDE : 8;
    __shared__ __align__(16) T keys[2][KEYS * PITCH];
    __shared__ __align__(16) T values[2][KEYS * PITCH];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
    const bool aligned = s.aligned;

    auto key_at = [&](int tile, int place) {
        if (SIDE) {
            const int y = tile * GROUPS + place / PLACES, x = place % PLACES;
            return y < s.grid_rows && x < s.grid_columns ? y * s.grid_columns + x : -1;
        }
        const int key = mine.key + tile * KEYS + place;
        return key < mine.keys ? key : -1;
    };
    auto start = [&](int tile) {
        auto of = [&](long long stride) {
            return [&, stride](int place) {
                const int key = key_at(tile, place);
                return key < 0 ? -1 : key * stride;
            };
        };
        fetch<D>(keys[tile % 2], mine.k, KEYS, s.d, aligned, of(s.k_token));
        fetch<D>(values[tile % 2], mine.v, KEYS, s.d, aligned, of(s.v_token));
        tensor_core::copy_commit();
    };

    // Queries pass through the second stage's memory into registers: keys' and values' lie one behind the other in halves.
    uint32_t query[D / 16][4];
    constexpr int AT_ONCE = KEYS;
    for (int from = 0; from < ROWS; from += AT_ONCE) {
        fetch<D>(keys[1], mine.q, AT_ONCE, s.d, aligned, [&](int row) {
            const int r = mine.row + from + row;
            return r < mine.rows ? r / s.pack * s.q_token + r % s.pack * s.q_head : -1;
        });
        tensor_core::copy_commit();
        tensor_core::copy_wait<0>();
        __syncthreads();
        if (warp * 16 >= from && warp * 16 < from + AT_ONCE) {
            const T* rows = keys[1] + (warp * 16 - from + lane % 16) * PITCH + lane / 16 * 8;
#pragma unroll
            for (int k = 0; k < D / 16; k++) tensor_core::ldmatrix_x4(query[k], rows + k * 16);
        }
        __syncthreads();
    }

    const int tiles = SIDE ? (s.grid_rows + GROUPS - 1) / GROUPS : (mine.keys - mine.key + KEYS - 1) / KEYS;
    const float scale = s.scale * LOG2_E;
    // Of this lane's rows, g and g + 8 of the warp's.
    int of_query[2];
    const T *biases[2], *downs[2];
    float across[PLACES / 8][4];  // what columns add, where the scores of a row of the grid lie
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = min(mine.row + warp * 16 + g + half * 8, mine.rows - 1);
        const int q = row / s.pack, head = mine.head + row % s.pack;
        of_query[half] = q;
        if (BIASED) biases[half] = bias + mine.batch * s.bias_batch + head * s.bias_head + q * s.bias_query;
        if (SIDE) {
            const size_t at = (mine.batch * (size_t)s.heads + head) * s.queries + q;
            downs[half] = down + at * s.grid_rows;
            for (int n = 0; n < PLACES / 8; n++) {
                for (int i = 0; i < 2; i++) {
                    const int x = n * 8 + t * 2 + i;
                    across[n][half * 2 + i] = x < s.grid_columns ? wide(along[at * s.grid_columns + x]) * LOG2_E : NEVER;
                }
            }
        }
    }

    float sums[D / 8][4] = {}, most[2] = {NEVER, NEVER}, total[2] = {0, 0};
    start(0);
    for (int tile = 0; tile < tiles; tile++) {
        tensor_core::copy_wait<0>();
        // This tile has come for all, and all have left the one whose memory the next takes.
        __syncthreads();
        if (tile + 1 < tiles) start(tile + 1);
        const T *k = keys[tile % 2], *v = values[tile % 2];

        float score[KEYS / 8][4] = {};
#pragma unroll
        for (int step = 0; step < D / 16; step++) {
#pragma unroll
            for (int n = 0; n < KEYS / 16; n++) {
                uint32_t b[4];
                tensor_core::ldmatrix_x4(b, k + (n * 16 + lane % 8 + lane / 16 * 8) * PITCH + step * 16 + lane / 8 % 2 * 8);
                const uint32_t left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
                product(score[2 * n], query[step], left, T());
                product(score[2 * n + 1], query[step], right, T());
            }
        }
        if (SIDE) {
#pragma unroll
            for (int group = 0; group < GROUPS; group++) {
                const int y = tile * GROUPS + group;
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const float row = y < s.grid_rows ? wide(downs[half][y]) * LOG2_E : NEVER;
#pragma unroll
                    for (int n = 0; n < PLACES / 8; n++) {
#pragma unroll
                        for (int i = half * 2; i < half * 2 + 2; i++) {
                            float& x = score[group * (PLACES / 8) + n][i];
                            x = x * scale + (row + across[n][i]);
                        }
                    }
                }
            }
        } else {
            // Only the last tiles hold keys that some row does not see.
            const int first = mine.key + tile * KEYS;
            const bool all_seen = first + KEYS <= mine.keys && first + KEYS - 1 <= mine.row / s.pack + mine.offset;
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const int key = first + n * 8 + t * 2 + i % 2;
                    const bool seen = all_seen || (key < mine.keys && key <= of_query[i / 2] + mine.offset);
                    float x = score[n][i] * scale;
                    if (BIASED && seen) x += wide(biases[i / 2][key * s.bias_key]) * LOG2_E;
                    score[n][i] = seen ? x : NEVER;
                }
            }
        }

#pragma unroll
        for (int half = 0; half < 2; half++) {
            float peak = most[half];
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++) peak = fmaxf(peak, fmaxf(score[n][half * 2], score[n][half * 2 + 1]));
            peak = fmaxf(peak, __shfl_xor_sync(0xffffffff, peak, 1));
            peak = fmaxf(peak, __shfl_xor_sync(0xffffffff, peak, 2));
            // A row that has seen no key yet: powers of minus infinity are 0, not those of nothing at all.
            const float base = peak == NEVER ? 0 : peak, kept = tensor_core::power_of_2(most[half] - base);
            most[half] = peak;
            float sum = 0;
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
                for (int i = half * 2; i < half * 2 + 2; i++) sum += score[n][i] = tensor_core::power_of_2(score[n][i] - base);
            }
            total[half] = total[half] * kept + sum;
#pragma unroll
            for (int n = 0; n < D / 8; n++) {
                sums[n][half * 2] *= kept;
                sums[n][half * 2 + 1] *= kept;
            }
        }

        // Two neighbouring tiles of 8 scores are the left operand of 16 keys as they lie.
#pragma unroll
        for (int step = 0; step < KEYS / 16; step++) {
            const uint32_t share[4] = {pair(score[2 * step][0], score[2 * step][1], T()), pair(score[2 * step][2], score[2 * step][3], T()),
                                       pair(score[2 * step + 1][0], score[2 * step + 1][1], T()),
                                       pair(score[2 * step + 1][2], score[2 * step + 1][3], T())};
#pragma unroll
            for (int n = 0; n < D / 16; n++) {
                uint32_t b[4];
                tensor_core::ldmatrix_x4_trans(b, v + (step * 16 + lane % 16) * PITCH + n * 16 + lane / 16 * 8);
                const uint32_t left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
                product(sums[2 * n], share, left, T());
                product(sums[2 * n + 1], share, right, T());
            }
        }
    }

#pragma unroll
    for (int half = 0; half < 2; half++) {
        float sum = total[half];
        sum += __shfl_xor_sync(0xffffffff, sum, 1);
        sum += __shfl_xor_sync(0xffffffff, sum, 2);
        const float share = sum > 0 ? 1.f / sum : 0;
        const int row = mine.row + warp * 16 + g + half * 8;
        if (row >= mine.rows) continue;
        T* out = mine.out + (row / s.pack * (size_t)s.heads + row % s.pack) * s.d;
#pragma unroll
        for (int n = 0; n < D / 8; n++) {
            const int column = n * 8 + t * 2;
            const float low = sums[n][half * 2] * share, high = sums[n][half * 2 + 1] * share;
            if (column + 1 < s.d && s.d % 2 == 0) {
                *reinterpret_cast<uint32_t*>(out + column) = pair(low, high, T());
            } else {
                if (column < s.d) out[column] = narrow<T>(low);
                if (column + 1 < s.d) out[column + 1] = narrow<T>(high);
            }
        }
    }
}

}  // namespace

// 8.x and later hold two such blocks at once.
#define FLASH(D, suffix, T)                                                                                                        \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) flash_##D##_##suffix(const T* q, const T* k, const T* v, T* out,      \
                                                                                  const unsigned* segments, Shape s) {             \
        const Share<T> mine = share(q, k, v, out, segments, s, ROWS);                                                              \
        if (mine.row < mine.rows) flash<T, D, 0, false>(mine, s, nullptr, nullptr, nullptr);                                       \
    }
#define FLASH_RAGGED(D, suffix, T)                                                                                                 \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) flash_ragged_##D##_##suffix(                                          \
        const T* q, T* out, Sequences<T> all, const unsigned* cached, Shape s) {                                                   \
        const Share<T> mine = share_of_sequence(q, out, all, cached, s, ROWS);                                                     \
        if (mine.row < mine.rows) flash<T, D, 0, false>(mine, s, nullptr, nullptr, nullptr);                                       \
    }
#define FLASH_BIAS(D, suffix, T)                                                                                                   \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) flash_bias_##D##_##suffix(const T* q, const T* k, const T* v, T* out, \
                                                                                       const T* bias, Shape s) {                   \
        const Share<T> mine = share(q, k, v, out, nullptr, s, ROWS);                                                               \
        if (mine.row < mine.rows) flash<T, D, 0, true>(mine, s, bias, nullptr, nullptr);                                           \
    }
#define FLASH_GRID(SIDE, D, suffix, T)                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) flash_grid##SIDE##_##D##_##suffix(                                    \
        const T* q, const T* k, const T* v, T* out, const T* down, const T* along, Shape s) {                                      \
        const Share<T> mine = share(q, k, v, out, nullptr, s, ROWS);                                                               \
        if (mine.row < mine.rows) flash<T, D, SIDE, false>(mine, s, nullptr, down, along);                                         \
    }
#define FLASHES(suffix, T)                                                                                      \
    FLASH(32, suffix, T) FLASH(64, suffix, T) FLASH(80, suffix, T) FLASH(128, suffix, T)                        \
    FLASH_RAGGED(32, suffix, T) FLASH_RAGGED(64, suffix, T) FLASH_RAGGED(128, suffix, T)                        \
    FLASH_BIAS(32, suffix, T) FLASH_BIAS(64, suffix, T) FLASH_BIAS(128, suffix, T)                              \
    FLASH_GRID(16, 32, suffix, T) FLASH_GRID(16, 64, suffix, T) FLASH_GRID(16, 80, suffix, T)                   \
    FLASH_GRID(64, 32, suffix, T) FLASH_GRID(64, 64, suffix, T) FLASH_GRID(64, 80, suffix, T)
FLASHES(bf16, __nv_bfloat16)
FLASHES(f16, __half)
