// What decides on a mask before anything of it leaves the device: how many of its logits, or of its pixels at a picture's size,
// lie above two thresholds, and the box of those above a third; then its pixels as bits. Counts and bounds are integers, the same
// in every order.
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

// A mask's pixels as bits, and its facts in pixels. A thread mixes 32 pixels of a column to a word, each as the CPU mixes it: first
// along a column of cells, then along the row, with every product and sum rounded. masks: addresses of logits (side, side), one for
// each row of blocks. columns (2 width + 1): the first cell of every pixel, then where its weights begin, and where the last ones
// end; rows likewise. bits (masks, words, width): bit i of word (j, x) is pixel (x, 32 j + i). facts (masks, 6), zeroed before, as
// those of mask_facts, but the firsts are the largest of ~first. No pixel passes a threshold of which no cell lies above `floor`.
template <class T>
__device__ __forceinline__ void draw_masks(const T* const* masks, const unsigned* columns, const unsigned* rows, const float* weights,
                                           unsigned* bits, unsigned* facts, int side, int width, int height, float threshold,
                                           float high, float low, float floor) {
    __shared__ unsigned found[6];
    const int place = threadIdx.y * 32 + threadIdx.x;
    if (place < 6) found[place] = 0;
    const int across = (width + 31) / 32, words = (height + 31) / 32;
    const int x = blockIdx.x % across * 32 + threadIdx.x, word = blockIdx.x / across * 8 + threadIdx.y;
    const int y0 = word * 32, y1 = min(y0 + 32, height);
    unsigned set = 0, above_high = 0, above_low = 0;
    bool near = false;
    if (x < width && word < words) {
        const unsigned first = columns[x], from = columns[width + x], taps = columns[width + x + 1] - from;
        const T* cells = masks[blockIdx.y] + first;
        const int bottom = rows[y1 - 1] + rows[height + y1] - rows[height + y1 - 1];
        for (int row = rows[y0]; row < bottom; ++row) {
            for (unsigned i = 0; i < taps; ++i) near |= wide(cells[row * side + i]) > floor;
        }
        for (int y = y0; near && y < y1; ++y) {
            const unsigned begin = rows[height + y], end = rows[height + y + 1];
            float value = 0;
            for (unsigned i = 0; i < taps; ++i) {
                const T* cell = cells + rows[y] * side + i;
                float tall = 0;
                for (unsigned j = begin; j < end; ++j, cell += side) tall = __fadd_rn(tall, __fmul_rn(weights[j], wide(*cell)));
                value = __fadd_rn(value, __fmul_rn(weights[from + i], tall));
            }
            set |= unsigned(value > threshold) << (y - y0);
            above_high += value > high;
            above_low += value > low;
        }
        bits[(blockIdx.y * (size_t)words + word) * width + x] = set;
    }
    if (!__syncthreads_or(near)) return;
    if (near) {
        atomicAdd(&found[0], above_high);
        atomicAdd(&found[1], above_low);
    }
    if (set) {
        atomicMax(&found[2], ~unsigned(x));
        atomicMax(&found[3], unsigned(x));
        atomicMax(&found[4], ~unsigned(y0 + __ffs(set) - 1));
        atomicMax(&found[5], unsigned(y0 + 31 - __clz(set)));
    }
    __syncthreads();
    if (place < 2) atomicAdd(&facts[blockIdx.y * 6 + place], found[place]);
    else if (place < 6) atomicMax(&facts[blockIdx.y * 6 + place], found[place]);
}

#define DRAW_MASKS(suffix, T)                                                                                                  \
    extern "C" __global__ void draw_masks_##suffix(const T* const* masks, const unsigned* columns, const unsigned* rows,       \
                                                   const float* weights, unsigned* bits, unsigned* facts, int side, int width, \
                                                   int height, float threshold, float high, float low, float floor) {          \
        draw_masks(masks, columns, rows, weights, bits, facts, side, width, height, threshold, high, low, floor);              \
    }
FOR_EACH_TYPE(DRAW_MASKS)

// Boxes of such bits, one after the other. boxes (rows of blocks, 6): mask, first column, columns, first word, words, where in `out`.
extern "C" __global__ void crop_bits_u32(const unsigned* bits, const unsigned* boxes, unsigned* out, int words, int width) {
    const unsigned* box = boxes + blockIdx.y * 6;
    const unsigned columns = box[2], n = columns * box[4];
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        out[box[5] + i] = bits[(box[0] * (size_t)words + box[3] + i / columns) * width + box[1] + i % columns];
    }
}
