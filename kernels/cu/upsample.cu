// Bilinear resampling of (B, H, W, C) without antialiasing, at PyTorch's source positions.
#include "element.cuh"

// ATen's area_pixel_compute_source_index, in f32 as there.
__device__ __forceinline__ float source(int at, int from, int to, bool align_corners) {
    if (align_corners) return to > 1 ? __fmul_rn(float(from - 1) / (to - 1), float(at)) : 0;
    return fmaxf(__fadd_rn(__fmul_rn(float(from) / to, at + 0.5f), -0.5f), 0);
}

// Threads along x take channels, blocks along y output pixels.
template <class T>
__device__ __forceinline__ void upsample(const T* x, T* out, int batch, int height, int width, int channels, int out_height,
                                         int out_width, bool align_corners) {
    const int channel = blockIdx.x * blockDim.x + threadIdx.x;
    if (channel >= channels) return;
    const int pixels = batch * out_height * out_width;
    for (int pixel = blockIdx.y * blockDim.y + threadIdx.y; pixel < pixels; pixel += gridDim.y * blockDim.y) {
        const float down = source(pixel / out_width % out_height, height, out_height, align_corners);
        const float along = source(pixel % out_width, width, out_width, align_corners);
        const int top = min(int(down), height - 1), left = min(int(along), width - 1);
        const int bottom = min(top + 1, height - 1), right = min(left + 1, width - 1);
        const float low = fminf(fmaxf(down - top, 0), 1), near = fminf(fmaxf(along - left, 0), 1);
        const T* image = x + pixel / out_width / out_height * (size_t)height * width * channels + channel;
        auto pixel_at = [&](int row, int column) { return wide(image[(row * (size_t)width + column) * channels]); };
        const float upper = pixel_at(top, left) * (1 - near) + pixel_at(top, right) * near;
        const float lower = pixel_at(bottom, left) * (1 - near) + pixel_at(bottom, right) * near;
        out[pixel * (size_t)channels + channel] = narrow<T>(upper * (1 - low) + lower * low);
    }
}

#define UPSAMPLE(suffix, T)                                                                                               \
    extern "C" __global__ void upsample_##suffix(const T* x, T* out, int batch, int height, int width, int channels,      \
                                                 int out_height, int out_width, int align_corners) {                      \
        upsample(x, out, batch, height, width, channels, out_height, out_width, align_corners != 0);                      \
    }
FOR_EACH_TYPE(UPSAMPLE)
