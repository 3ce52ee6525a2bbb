// Softmax of attention scores, with what is added to them: a warp a row. Scores are f32, the weights of the element type.
#include "element.cuh"

constexpr int WARP = 32;
constexpr float NEVER = -INFINITY;

enum Mask { NONE = 0, CAUSAL = 1, GRID = 2, BIAS = 3 };

// Strides of a bias (batch, heads, queries, keys) in elements; 0 where it is broadcast.
struct Strides {
    long long batch, head, query, key;
};

// Rows are (batch, head, query). CAUSAL: query i sees keys 0 ..= i + offset. GRID: keys lie on a grid of `side` columns, and
// down[row, key / side] + along[row, key % side] is added. BIAS: down is a bias. A row without any key is 0.
template <class T>
__device__ __forceinline__ void masked_softmax(const float* scores, T* weights, const T* down, const T* along, Strides strides,
                                               int mask, int heads, int queries, int keys, int offset, int side, size_t row,
                                               float scale) {
    const float* x = scores + row * keys;
    T* y = weights + row * keys;
    const int query = row % queries;
    const size_t head = row / queries % heads, batch = row / queries / heads;
    const int seen = mask == CAUSAL ? (query + offset + 1 < keys ? query + offset + 1 : keys) : keys;
    if (mask == GRID) {
        down += row * (keys / side);
        along += row * side;
    } else if (mask == BIAS) {
        down += batch * strides.batch + head * strides.head + query * strides.query;
    }
    auto score = [&](int key) {
        const float s = x[key] * scale;
        if (mask == GRID) return s + wide(down[key / side]) + wide(along[key % side]);
        if (mask == BIAS) return s + wide(down[key * strides.key]);
        return s;
    };
    float most = NEVER;
    for (int key = threadIdx.x; key < seen; key += WARP) most = fmaxf(most, score(key));
    for (int lanes = WARP / 2; lanes > 0; lanes /= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffff, most, lanes));
    float sum = 0;
    for (int key = threadIdx.x; key < seen; key += WARP) sum += most == NEVER ? 0 : expf(score(key) - most);
    for (int lanes = WARP / 2; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(0xffffffff, sum, lanes);
    const float share = sum > 0 ? 1.f / sum : 0;
    for (int key = threadIdx.x; key < keys; key += WARP) {
        y[key] = narrow<T>(key < seen && share > 0 ? expf(score(key) - most) * share : 0);
    }
}

// Blocks of (32, rows of a block).
#define SOFTMAX(suffix, T)                                                                                                 \
    extern "C" __global__ void masked_softmax_##suffix(const float* scores, T* weights, const T* down, const T* along,     \
                                                       long long batch_stride, long long head_stride,                      \
                                                       long long query_stride, long long key_stride, int mask, int rows,   \
                                                       int heads, int queries, int keys, int offset, int side,             \
                                                       float scale) {                                                      \
        const size_t row = blockIdx.x * (size_t)blockDim.y + threadIdx.y;                                                  \
        if (row >= (size_t)rows) return;                                                                                           \
        const Strides strides = {batch_stride, head_stride, query_stride, key_stride};                                     \
        masked_softmax(scores, weights, down, along, strides, mask, heads, queries, keys, offset, side, row, scale);       \
    }
FOR_EACH_TYPE(SOFTMAX)
