// What a step of decoding takes and leaves in device memory at fixed addresses, so that a graph of it can be launched again and again:
// tokens, positions, lengths of caches, and what is held against tokens.
#include "element.cuh"
#include "likeliest.cuh"

// Bits of a token's byte in `noted`.
constexpr unsigned SEEN = 1, ENDS = 2;
// Words of `counts`: steps done; then of each sequence the tokens in its cache, and whether its answer has ended.
constexpr int STEPS = 0, LENGTHS = 1;

// x (rows, width): the embedding's rows of `tokens`; cos and sin (rows, half): those of this step in the tables
// (steps, rows, half). Blocks along y are rows.
template <class T>
__device__ __forceinline__ void begin(const T* embedding, const T* cosines, const T* sines, const unsigned* tokens, const unsigned* counts,
                                      T* x, T* cos, T* sin, int width, int half) {
    const size_t row = blockIdx.y, token = tokens[row], table = (counts[STEPS] * (size_t)gridDim.y + row) * half;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < width; i += gridDim.x * blockDim.x) {
        x[row * width + i] = embedding[token * width + i];
        if (i >= half) continue;
        cos[row * half + i] = cosines[table + i];
        sin[row * half + i] = sines[table + i];
    }
}
#define BEGIN(suffix, T)                                                                                                       \
    extern "C" __global__ void begin_step_##suffix(const T* embedding, const T* cosines, const T* sines, const unsigned* tokens, \
                                                   const unsigned* counts, T* x, T* cos, T* sin, int width, int half) {        \
        begin(embedding, cosines, sines, tokens, counts, x, cos, sin, width, half);                                            \
    }
FOR_EACH_TYPE(BEGIN)

// As `penalise` and `argmax` of argmax.cu, of tokens as they are `noted` (rows, vocabulary): those seen have the penalty, those that
// end an answer are barred until `least` tokens are there; one was before the first step. best (rows), 0 before: as there.
extern "C" __global__ void likeliest_f32(const float* logits, const unsigned char* noted, const unsigned* counts,
                                         unsigned long long* best, int vocabulary, float penalty, int least) {
    const size_t first = blockIdx.y * (size_t)vocabulary;
    const bool barred = counts[STEPS] + 1 < least;
    unsigned long long own = 0;
    for (unsigned token = blockIdx.x * blockDim.x + threadIdx.x; token < vocabulary; token += gridDim.x * blockDim.x) {
        const unsigned of_it = noted[first + token];
        float logit = logits[first + token];
        if (of_it & SEEN) logit = logit < 0 ? logit * penalty : logit / penalty;
        if (!(logit > -INFINITY) || ((of_it & ENDS) && barred)) continue;
        const unsigned long long key = key_of(logit, token);
        own = key > own ? key : own;
    }
    own = largest_of_warp(own);
    if (threadIdx.x % 32 == 0) atomicMax(&best[blockIdx.y], own);
}

// The tokens found are those of the next step; 0 where an answer had ended. With `best` null they are found elsewhere. One block, a
// thread a row.
extern "C" __global__ void end_step_f32(unsigned long long* best, unsigned char* noted, unsigned* tokens, unsigned* counts, int rows,
                                        int vocabulary) {
    const int row = threadIdx.x;
    if (row == 0) counts[STEPS]++;
    if (row >= rows) return;
    unsigned &length = counts[LENGTHS + row], &ended = counts[LENGTHS + rows + row];
    length++;
    if (!best) return;
    const unsigned token = best[row] == 0 ? 0 : ~unsigned(best[row]);
    best[row] = 0;
    tokens[row] = ended ? 0 : token;
    if (ended) return;
    unsigned char& of_it = noted[row * (size_t)vocabulary + token];
    ended = (of_it & ENDS) != 0;
    of_it |= SEEN;
}
