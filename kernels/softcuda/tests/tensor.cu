// c (16, 8) = a (16, k) b (8, k) transposed, in bf16 with f32 sums: one warp, two stages of copies under way.
#include "../../cu/tensor_core.cuh"

extern "C" __global__ void warp_product(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c, int k) {
    constexpr int ROW = 24;  // elements; 16 and a pad that keeps rows 16 bytes aligned
    __shared__ __align__(16) __nv_bfloat16 left[2][16 * ROW], right[2][16 * ROW];
    const int lane = threadIdx.x;
    auto start = [&](int stage, int from) {
        for (int i = lane; i < 32; i += 32) tensor_core::copy_async_16(&left[stage][i / 2 * ROW + i % 2 * 8], a + i / 2 * k + from + i % 2 * 8);
        for (int i = lane; i < 32; i += 32) {
            const bool there = i / 2 < 8;
            tensor_core::copy_async_16(&right[stage][i / 2 * ROW + i % 2 * 8], b + (there ? i / 2 * k + from + i % 2 * 8 : 0), there ? 16 : 0);
        }
        tensor_core::copy_commit();
    };
    float sum[4] = {0, 0, 0, 0};
    start(0, 0);
    for (int from = 0, stage = 0; from < k; from += 16, stage ^= 1) {
        if (from + 16 < k) start(stage ^ 1, from + 16);
        else tensor_core::copy_commit();
        tensor_core::copy_wait<1>();
        __syncwarp();
        uint32_t x[4], y[4];
        tensor_core::ldmatrix_x4(x, &left[stage][lane % 16 * ROW + lane / 16 * 8]);
        tensor_core::ldmatrix_x4(y, &right[stage][(lane % 8 + lane / 16 * 8) * ROW + lane / 8 % 2 * 8]);
        const uint32_t columns[2] = {y[0], y[1]};
        tensor_core::mma_bf16(sum, x, columns, sum);
        __syncwarp();
    }
    for (int i = 0; i < 4; i++) c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sum[i];
}
