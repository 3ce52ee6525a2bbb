// The likeliest token of each row of logits, after what is held against tokens that were seen or may not come.
#include "element.cuh"

// tokens: of one row after the other, up to the end of each in `ends`; each token of a row once. A token's highest bit bars it;
// others divide or multiply their logit by `penalty`, away from being chosen.
extern "C" __global__ void penalise_f32(float* logits, const unsigned* tokens, const unsigned* ends, int vocabulary, float penalty) {
    const unsigned first = blockIdx.y == 0 ? 0 : ends[blockIdx.y - 1], end = ends[blockIdx.y];
    for (unsigned i = first + blockIdx.x * blockDim.x + threadIdx.x; i < end; i += gridDim.x * blockDim.x) {
        float& logit = logits[blockIdx.y * (size_t)vocabulary + (tokens[i] & 0x7fffffffu)];
        if (tokens[i] >> 31) logit = -INFINITY;
        else logit = logit < 0 ? logit * penalty : logit / penalty;
    }
}

// best (rows), zeroed before: the largest logit as an unsigned number of the same order, over ~token, so that the first of equals
// wins; 0 where all are NaN or -inf.
extern "C" __global__ void argmax_f32(const float* logits, unsigned long long* best, int vocabulary) {
    const float* row = logits + blockIdx.y * (size_t)vocabulary;
    unsigned long long own = 0;
    for (unsigned token = blockIdx.x * blockDim.x + threadIdx.x; token < vocabulary; token += gridDim.x * blockDim.x) {
        const float logit = row[token] + 0.f;  // one zero
        if (!(logit > -INFINITY)) continue;
        const unsigned bits = __float_as_uint(logit);
        const unsigned order = bits >> 31 ? ~bits : bits | 0x80000000u;
        const unsigned long long key = (unsigned long long)order << 32 | ~token;
        own = key > own ? key : own;
    }
    for (int lanes = 16; lanes > 0; lanes /= 2) {
        const unsigned long long other = __shfl_xor_sync(~0u, own, lanes);
        own = other > own ? other : own;
    }
    if (threadIdx.x % 32 == 0) atomicMax(&best[blockIdx.y], own);
}
