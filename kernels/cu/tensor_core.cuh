// Tensor-core instructions of sm_80 and later: PTX under nvcc, plain C++ on the software device (docs/softcuda.md).
//
// Fragments of m16n8k16, g = lane / 4, t = lane % 4; a register holds two 16-bit elements, the lower column first:
//   A 16x16  a0 = (g, 2t..), a1 = (g + 8, 2t..), a2 = (g, 2t + 8..), a3 = (g + 8, 2t + 8..)
//   B 16x8   b0 = (k = 2t.., n = g), b1 = (k = 2t + 8.., n = g)
// of m16n8k8, elements of f32 rounded to TF32, each in a register of its own:
//   A 16x8   a0 = (g, t), a1 = (g + 8, t), a2 = (g, t + 4), a3 = (g + 8, t + 4)
//   B 8x8    b0 = (k = t, n = g), b1 = (k = t + 4, n = g)
// and of both:
//   C, D     c0, c1 = (g, 2t), (g, 2t + 1); c2, c3 = (g + 8, 2t), (g + 8, 2t + 1)
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

namespace tensor_core {

#ifndef SOFTCUDA

__device__ __forceinline__ uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

// d = a b + c, sums in f32.
__device__ __forceinline__ void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
                 : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
}
__device__ __forceinline__ void mma_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
                 : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
}

__device__ __forceinline__ void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4]) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
                 : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));
}
// An f32's bits to the nearest with 10 bits of fraction.
__device__ __forceinline__ uint32_t tf32(uint32_t x) {
    uint32_t y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(__uint_as_float(x)));
    return y;
}

// Four 8x8 matrices of 16-bit elements from shared memory: lane 8m + r gives the 16-byte aligned address of row r of
// matrix m, and receives of each matrix the elements (lane / 4, 2 (lane % 4)) and the next; `trans`: of its transpose. Of elements of
// 32 bits, four a row, it receives (lane / 4, lane % 4).
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}

// Starts a copy of 16 bytes from global to shared memory, of which the first `bytes` are read and the rest are zero.
__device__ __forceinline__ void copy_async_16(void* to, const void* from, int bytes = 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes) : "memory");
}
__device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until at most `pending` of this thread's newest groups are under way. Other threads see the data after a barrier.
template <int pending> __device__ __forceinline__ void copy_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory"); }

// 2^x to 2 units in the last place; 0 for minus infinity and where the result would be subnormal.
__device__ __forceinline__ float power_of_2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

#else

inline float element(uint32_t pair, int half, bool bf16) {
    const uint16_t bits = uint16_t(pair >> 16 * half);
    return bf16 ? softcuda::bfloat16_value(bits) : softcuda::half_value(bits);
}

struct Operands { uint32_t a[4], b[2]; };

// A row of A times a column of B, K terms, PAIR of them in a register; `element(register, which of it)`.
template <int K, int PAIR, class Element>
__device__ __attribute__((no_sanitize("thread"))) inline void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                                                const float (&c)[4], Element element) {
    Operands mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    const void* all[32];
    softcuda::softcuda_warp_show(&mine, all);
    const int g = softcuda::softcuda_lane() / 4, t = softcuda::softcuda_lane() % 4;
    float sums[4];
    for (int i = 0; i < 4; i++) {
        const int row = g + 8 * (i / 2), column = 2 * t + i % 2;
        float sum = 0;
        for (int k = 0; k < K; k++) {
            const int half = k / (K / 2), lane = k % (K / 2) / PAIR;
            auto* left = static_cast<const Operands*>(all[row % 8 * 4 + lane]);
            auto* right = static_cast<const Operands*>(all[column * 4 + lane]);
            sum += element(left->a[row / 8 + 2 * half], k % PAIR) * element(right->b[half], k % PAIR);
        }
        sums[i] = c[i] + sum;
    }
    softcuda::softcuda_warp_barrier(~0u);  // until all have read what this lane showed
    for (int i = 0; i < 4; i++) d[i] = sums[i];
}
inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4]) {
    mma<16, 2>(d, a, b, c, [](uint32_t pair, int half) { return element(pair, half, true); });
}
inline void mma_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4]) {
    mma<16, 2>(d, a, b, c, [](uint32_t pair, int half) { return element(pair, half, false); });
}
inline void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4]) {
    // The instruction reads no more than TF32 has.
    mma<8, 1>(d, a, b, c, [](uint32_t x, int) { return softcuda::bits<float>(x & ~0x1fffu); });
}
inline uint32_t tf32(uint32_t x) { return (x & 0x7fffffff) < 0x7f800000 ? (x + 0x1000) & ~0x1fffu : x; }

__device__ __attribute__((no_sanitize("thread"))) inline void gather(uint32_t (&r)[4], const void* row, bool transposed) {
    const void* rows[32];
    softcuda::softcuda_warp_show(row, rows);
    const int lane = softcuda::softcuda_lane();
    for (int m = 0; m < 4; m++) {
        uint16_t pair[2];
        for (int i = 0; i < 2; i++) {
            const int y = transposed ? 2 * (lane % 4) + i : lane / 4, x = transposed ? lane / 4 : 2 * (lane % 4) + i;
            pair[i] = static_cast<const uint16_t*>(rows[8 * m + y])[x];
        }
        r[m] = pair[0] | uint32_t(pair[1]) << 16;
    }
    softcuda::softcuda_warp_barrier(~0u);
}
__forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
    softcuda::softcuda_access(row, 16, 16, false);
    gather(r, row, false);
}
__forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
    softcuda::softcuda_access(row, 16, 16, false);
    gather(r, row, true);
}

__forceinline__ void copy_async_16(void* to, const void* from, int bytes = 16) {
    softcuda::softcuda_access(from, bytes, 16, false);
    softcuda::softcuda_access(to, 16, 16, true);
    softcuda::softcuda_copy_start(to, from, bytes);
}
__forceinline__ void copy_commit() { softcuda::softcuda_copy_commit(); }
template <int pending> __forceinline__ void copy_wait() { softcuda::softcuda_copy_wait(pending); }

__forceinline__ float power_of_2(float x) { return exp2f(x); }

#endif

// Stands for f32 elements that are multiplied as TF32.
struct Tf32 {};

// d += a b, by the type of the elements.
__device__ __forceinline__ void product(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], __nv_bfloat16) {
    mma_bf16(d, a, b, d);
}
__device__ __forceinline__ void product(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], __half) { mma_f16(d, a, b, d); }
__device__ __forceinline__ void product(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Tf32) { mma_tf32(d, a, b, d); }

// Elements as `product` takes them.
template <class T> __device__ __forceinline__ void round_for_product(uint32_t (&)[4], T) {}
__device__ __forceinline__ void round_for_product(uint32_t (&x)[4], Tf32) {
#pragma unroll
    for (int i = 0; i < 4; i++) x[i] = tf32(x[i]);
}

}  // namespace tensor_core
