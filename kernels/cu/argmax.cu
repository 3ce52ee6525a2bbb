// The likeliest token of each row of logits, after what is held against tokens that were seen or may not come.
#include "element.cuh"
#include "likeliest.cuh"

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

// best (rows), zeroed before: the largest `key_of` of a row's tokens; 0 where all are NaN or -inf.
extern "C" __global__ void argmax_f32(const float* logits, unsigned long long* best, int vocabulary) {
    const float* row = logits + blockIdx.y * (size_t)vocabulary;
    unsigned long long own = 0;
    for (unsigned token = blockIdx.x * blockDim.x + threadIdx.x; token < vocabulary; token += gridDim.x * blockDim.x) {
        const float logit = row[token];
        if (!(logit > -INFINITY)) continue;
        const unsigned long long key = key_of(logit, token);
        own = key > own ? key : own;
    }
    own = largest_of_warp(own);
    if (threadIdx.x % 32 == 0) atomicMax(&best[blockIdx.y], own);
}
