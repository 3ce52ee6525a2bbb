// What is drawn from, and what goes on with an answer that is held to a form, found where the logits lie.
#include "element.cuh"
#include "likeliest.cuh"

namespace {
// Of logits, rising, by sign, exponent and three bits of the fraction.
constexpr int BINS = 4096, BIN_SHIFT = 20;
constexpr int THREADS = 256;
}  // namespace

// bins (rows, BINS), zeroed before: how many logits of each row lie in each.
extern "C" __global__ void count_tokens_f32(const float* logits, unsigned* bins, int vocabulary) {
    const float* row = logits + blockIdx.y * (size_t)vocabulary;
    for (unsigned token = blockIdx.x * THREADS + threadIdx.x; token < vocabulary; token += gridDim.x * THREADS) {
        atomicAdd(&bins[blockIdx.y * BINS + (order_of(row[token]) >> BIN_SHIFT)], 1u);
    }
}

// found (rows, 1 + 2 most), zeroed before: how many logits lie in the bin of the k-th largest and above, then token and logit of
// `most` of them at most, in no order.
extern "C" __global__ void top_tokens_f32(const float* logits, const unsigned* bins, unsigned* found, int vocabulary, unsigned k, int most) {
    constexpr int OWN = BINS / THREADS;
    __shared__ unsigned sums[THREADS], lowest;
    bins += blockIdx.y * BINS;
    unsigned sum = 0;
    for (int i = 0; i < OWN; ++i) sum += bins[threadIdx.x * OWN + i];
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        unsigned above = 0;
        int group = THREADS - 1;
        while (group > 0 && above + sums[group] < k) above += sums[group--];
        int bin = group * OWN + OWN - 1;
        while (bin > group * OWN && above + bins[bin] < k) above += bins[bin--];
        lowest = unsigned(bin) << BIN_SHIFT;
    }
    __syncthreads();
    const float* row = logits + blockIdx.y * (size_t)vocabulary;
    found += blockIdx.y * (size_t)(1 + 2 * most);
    for (unsigned token = blockIdx.x * THREADS + threadIdx.x; token < vocabulary; token += gridDim.x * THREADS) {
        if (order_of(row[token]) < lowest) continue;
        const unsigned at = atomicAdd(found, 1u);
        if (at >= most) continue;
        found[1 + 2 * at] = token;
        found[2 + 2 * at] = __float_as_uint(row[token]);
    }
}

// rows: addresses of logits (vocabulary), one for each row of blocks; allowed: of bits, one a token, for each. parts (rows of blocks,
// blocks, 2): of the block's allowed logits the largest over ~token, so that the first of equals wins, 0 where all are NaN or -inf;
// and the bits of the sum, in f64, of e to the power of how far each lies below it.
extern "C" __global__ void best_tokens_f32(const float* const* rows, const unsigned* const* allowed, unsigned long long* parts,
                                           int vocabulary) {
    __shared__ unsigned long long keys[THREADS];
    __shared__ double sums[THREADS];
    const float* row = rows[blockIdx.y];
    const unsigned* bits = allowed[blockIdx.y];
    const unsigned first = blockIdx.x * THREADS + threadIdx.x, step = gridDim.x * THREADS;
    unsigned long long key = 0;
    for (unsigned token = first; token < vocabulary; token += step) {
        if (!(bits[token / 32] >> token % 32 & 1) || !(row[token] > -INFINITY)) continue;
        const unsigned long long own = key_of(row[token], token);
        key = own > key ? own : key;
    }
    keys[threadIdx.x] = key;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half && keys[threadIdx.x + half] > keys[threadIdx.x]) keys[threadIdx.x] = keys[threadIdx.x + half];
        __syncthreads();
    }
    key = keys[0];
    const unsigned order = key >> 32;
    const double largest = __uint_as_float(order >> 31 ? order & 0x7fffffffu : ~order);
    double sum = 0;
    for (unsigned token = first; key && token < vocabulary; token += step) {
        if (!(bits[token / 32] >> token % 32 & 1) || !(row[token] > -INFINITY)) continue;
        sum += exp(row[token] - largest);
    }
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x > 0) return;
    parts += (blockIdx.y * (size_t)gridDim.x + blockIdx.x) * 2;
    parts[0] = key;
    parts[1] = __double_as_longlong(sums[0]);
}
