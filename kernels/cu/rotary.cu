// Rotary positions by halves, x cos + rotate_half(x) sin, and in a decoder what lies between a product and attention.
#include "attention.cuh"

// An element of the first half of a row and its partner, d / 2 further on, turned. With a table of the element type every
// operation is rounded to it, as PyTorch's are; with one of f32 only the results are.
template <class T, class Table>
__device__ __forceinline__ void turn(T first, T second, Table cos, Table sin, T& out_first, T& out_second) {
    const float a = wide(first), b = wide(second), c = wide(cos), s = wide(sin);
    // Products and sums apart: contracted they would be rounded once less than they are elsewhere.
    const float ac = wide(narrow<Table>(__fmul_rn(a, c))), bs = wide(narrow<Table>(__fmul_rn(b, s)));
    const float bc = wide(narrow<Table>(__fmul_rn(b, c))), as = wide(narrow<Table>(__fmul_rn(a, s)));
    out_first = narrow<T>(__fadd_rn(ac, -bs));
    out_second = narrow<T>(__fadd_rn(bc, as));
}

// x (B, heads, tokens, d) by its strides to (B, heads, tokens, d); tables (B or 1, tokens, d / 2). Threads along x take pairs,
// along y rows.
template <class T, class Table>
__device__ __forceinline__ void rotate(const T* x, T* out, const Table* cos, const Table* sin, long long batch_stride,
                                       long long head_stride, long long token_stride, long long table_stride, int rows, int heads,
                                       int tokens, int half) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= half) return;
    for (int row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
        const int token = row % tokens, head = row / tokens % heads, batch = row / tokens / heads;
        const size_t table = batch * table_stride + token * (size_t)half + i, to = row * (size_t)(2 * half) + i;
        const T* from = x + batch * batch_stride + head * head_stride + token * token_stride + i;
        turn(from[0], from[half], cos[table], sin[table], out[to], out[to + half]);
    }
}

// What a product made of new tokens, qkv (tokens of all sequences, (heads + 2 kv heads) d), and its bias, which may be null: queries,
// turned, to q (tokens, heads, d); keys, turned, and values to the end of each cache. Tables (tokens, d / 2). Blocks along y are
// sequences.
template <class T>
__device__ __forceinline__ void place(const T* qkv, const T* bias, T* q, const T* cos, const T* sin, const Sequences<T>& all,
                                      const unsigned* cached, int heads, int kv_heads, int half) {
    const int sequence = blockIdx.y, tokens = all.queries[sequence], first = all.first[sequence];
    const int behind = all.keys_of(sequence, cached) - tokens, rows = heads + 2 * kv_heads;
    const int pairs = tokens * rows * half;
    for (int at = blockIdx.x * blockDim.x + threadIdx.x; at < pairs; at += gridDim.x * blockDim.x) {
        const int i = at % half, row = at / half % rows, token = at / half / rows;
        const size_t from = ((first + token) * (size_t)rows + row) * (2 * half);
        const T a = shifted(qkv[from + i], bias, row * 2 * half + i);
        const T b = shifted(qkv[from + i + half], bias, row * 2 * half + i + half);
        // Heads of queries, then of keys, then of values.
        const int head = row < heads ? row : (row - heads) % kv_heads;
        const size_t to = (head * (size_t)all.room[sequence] + behind + token) * (2 * half);
        T* out = row < heads              ? q + ((first + token) * (size_t)heads + head) * (2 * half)
                 : row < heads + kv_heads ? const_cast<T*>(all.k[sequence]) + to
                                          : const_cast<T*>(all.v[sequence]) + to;
        if (row < heads + kv_heads) {
            const size_t table = (first + token) * (size_t)half + i;
            turn(a, b, cos[table], sin[table], out[i], out[i + half]);
        } else {
            out[i] = a;
            out[i + half] = b;
        }
    }
}

#define ROTATIONS(suffix, T)                                                                                                      \
    extern "C" __global__ void rotate_##suffix(const T* x, T* out, const T* cos, const T* sin, long long batch_stride,            \
                                               long long head_stride, long long token_stride, long long table_stride, int rows,   \
                                               int heads, int tokens, int half) {                                                 \
        rotate(x, out, cos, sin, batch_stride, head_stride, token_stride, table_stride, rows, heads, tokens, half);               \
    }                                                                                                                             \
    extern "C" __global__ void rotate_wide_##suffix(const T* x, T* out, const float* cos, const float* sin, long long batch_stride, \
                                                    long long head_stride, long long token_stride, long long table_stride,        \
                                                    int rows, int heads, int tokens, int half) {                                  \
        rotate(x, out, cos, sin, batch_stride, head_stride, token_stride, table_stride, rows, heads, tokens, half);               \
    }                                                                                                                             \
    extern "C" __global__ void place_##suffix(const T* qkv, const T* bias, T* q, const T* cos, const T* sin, Sequences<T> all,     \
                                              const unsigned* cached, int heads, int kv_heads, int half) {                        \
        place(qkv, bias, q, cos, sin, all, cached, heads, kv_heads, half);                                                        \
    }
FOR_EACH_TYPE(ROTATIONS)
