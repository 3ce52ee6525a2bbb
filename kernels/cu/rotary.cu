// Rotary positions by halves, x cos + rotate_half(x) sin, and what follows them in a decoder: new keys and values go behind those
// of their sequences' caches.
#include "attention.cuh"

// Element i of the first half of a row and its partner, d / 2 further on, turned. With a table of the element type every
// operation is rounded to it, as PyTorch's are; with one of f32 only the results are.
template <class T, class Table>
__device__ __forceinline__ void turn(const T* row, T* out, const Table* cos, const Table* sin, int half, int i) {
    const float a = wide(row[i]), b = wide(row[i + half]), c = wide(cos[i]), s = wide(sin[i]);
    // Products and sums apart: contracted they would be rounded once less than they are elsewhere.
    const float ac = wide(narrow<Table>(__fmul_rn(a, c))), bs = wide(narrow<Table>(__fmul_rn(b, s)));
    const float bc = wide(narrow<Table>(__fmul_rn(b, c))), as = wide(narrow<Table>(__fmul_rn(a, s)));
    out[i] = narrow<T>(__fadd_rn(ac, -bs));
    out[i + half] = narrow<T>(__fadd_rn(bc, as));
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
        const size_t table = batch * table_stride + token * (size_t)half;
        turn(x + batch * batch_stride + head * head_stride + token * token_stride, out + row * (size_t)(2 * half), cos + table,
             sin + table, half, i);
    }
}

// k and v (kv heads, tokens of all sequences, d) by their strides, k turned, to the end of each cache. Tables (tokens, d / 2).
// Blocks along y are sequences.
template <class T>
__device__ __forceinline__ void append(const T* k, const T* v, const T* cos, const T* sin, const Sequences<T>& all,
                                       const unsigned* cached, long long k_head, long long k_token, long long v_head,
                                       long long v_token, int kv_heads, int half) {
    const int sequence = blockIdx.y, tokens = all.queries[sequence], first = all.first[sequence];
    const int behind = all.keys_of(sequence, cached) - tokens;
    T *keys = const_cast<T*>(all.k[sequence]), *values = const_cast<T*>(all.v[sequence]);
    const int pairs = tokens * kv_heads * half;
    for (int at = blockIdx.x * blockDim.x + threadIdx.x; at < pairs; at += gridDim.x * blockDim.x) {
        const int i = at % half, head = at / half % kv_heads, token = at / half / kv_heads;
        const size_t to = (head * (size_t)all.room[sequence] + behind + token) * (2 * half);
        const size_t table = (first + token) * (size_t)half;
        turn(k + head * k_head + (first + token) * k_token, keys + to, cos + table, sin + table, half, i);
        const T* value = v + head * v_head + (first + token) * v_token;
        values[to + i] = value[i];
        values[to + i + half] = value[i + half];
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
    extern "C" __global__ void append_##suffix(const T* k, const T* v, const T* cos, const T* sin, Sequences<T> all,              \
                                               const unsigned* cached, long long k_head, long long k_token, long long v_head,     \
                                               long long v_token, int kv_heads, int half) {                                       \
        append(k, v, cos, sin, all, cached, k_head, k_token, v_head, v_token, kv_heads, half);                                            \
    }
FOR_EACH_TYPE(ROTATIONS)
