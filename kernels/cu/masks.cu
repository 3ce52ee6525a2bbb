// What decides on a mask before any of its logits leaves the device: how many lie above two thresholds, and the box of those
// above a third. Counts and bounds are integers, the same in every order.
#include "element.cuh"

namespace {
constexpr int MASK_THREADS = 256;
}

// logits (.., side, side); which (blocks): the mask of each block. facts (blocks, 6): cells above `high`, cells above `low`; first
// and last column, first and last row above `threshold`, the firsts ~0 where there is none. Cells x0 .. x1, y0 .. y1 count.
template <class T>
__device__ __forceinline__ void mask_facts(const T* logits, const unsigned* which, unsigned* facts, int side, int x0, int x1, int y0,
                                           int y1, float threshold, float high, float low) {
    __shared__ unsigned found[6];
    if (threadIdx.x < 6) found[threadIdx.x] = threadIdx.x == 2 || threadIdx.x == 4 ? ~0u : 0;
    __syncthreads();
    const T* mask = logits + which[blockIdx.x] * (size_t)side * side;
    const int width = x1 - x0, cells = width * (y1 - y0);
    unsigned above_high = 0, above_low = 0, left = ~0u, right = 0, top = ~0u, bottom = 0;
    for (int i = threadIdx.x; i < cells; i += MASK_THREADS) {
        const unsigned x = x0 + i % width, y = y0 + i / width;
        const float value = wide(mask[y * (size_t)side + x]);
        above_high += value > high;
        above_low += value > low;
        if (value > threshold) {
            left = min(left, x);
            right = max(right, x);
            top = min(top, y);
            bottom = max(bottom, y);
        }
    }
    atomicAdd(&found[0], above_high);
    atomicAdd(&found[1], above_low);
    atomicMin(&found[2], left);
    atomicMax(&found[3], right);
    atomicMin(&found[4], top);
    atomicMax(&found[5], bottom);
    __syncthreads();
    if (threadIdx.x < 6) facts[blockIdx.x * 6 + threadIdx.x] = found[threadIdx.x];
}

#define MASKS(suffix, T)                                                                                                     \
    extern "C" __global__ void mask_facts_##suffix(const T* logits, const unsigned* which, unsigned* facts, int side, int x0, \
                                                   int x1, int y0, int y1, float threshold, float high, float low) {         \
        mask_facts(logits, which, facts, side, x0, x1, y0, y1, threshold, high, low);                                        \
    }
FOR_EACH_TYPE(MASKS)
