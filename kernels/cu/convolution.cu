// Convolutions on (B, H, W, C): the patches of an ordinary one laid out for a product, and depthwise ones whole.
#include "element.cuh"

// Sizes of one convolution, as in ../src/ops/conv2d/geometry.rs.
struct Geometry {
    int batch, height, width, channels, kh, kw, stride, padding, out_height, out_width;
};

// patches (B H' W', kh kw C): the window of each output pixel, zeros where it leaves the image. Threads along x take the
// elements of a patch, blocks along y output pixels.
template <class T> __device__ __forceinline__ void patches(const T* x, T* out, const Geometry& g) {
    const int length = g.kh * g.kw * g.channels;
    const int element = blockIdx.x * blockDim.x + threadIdx.x;
    if (element >= length) return;
    const int channel = element % g.channels, tap = element / g.channels;
    const int pixels = g.batch * g.out_height * g.out_width;
    for (int pixel = blockIdx.y * blockDim.y + threadIdx.y; pixel < pixels; pixel += gridDim.y * blockDim.y) {
        const int column = pixel % g.out_width * g.stride + tap % g.kw - g.padding;
        const int row = pixel / g.out_width % g.out_height * g.stride + tap / g.kw - g.padding;
        const int image = pixel / g.out_width / g.out_height;
        const bool inside = row >= 0 && row < g.height && column >= 0 && column < g.width;
        const size_t from = ((image * (size_t)g.height + row) * g.width + column) * g.channels + channel;
        out[pixel * (size_t)length + element] = inside ? x[from] : narrow<T>(0.f);
    }
}

// y = residual + f(sum over the window of x weight + bias), weight (kh, kw, C), sums in f32.
template <class T>
__device__ __forceinline__ void depthwise(const T* x, const T* weight, const T* bias, const T* residual, T* y, const Geometry& g,
                                          int activation) {
    const int channel = blockIdx.x * blockDim.x + threadIdx.x;
    if (channel >= g.channels) return;
    const int pixels = g.batch * g.out_height * g.out_width;
    for (int pixel = blockIdx.y * blockDim.y + threadIdx.y; pixel < pixels; pixel += gridDim.y * blockDim.y) {
        const int left = pixel % g.out_width * g.stride - g.padding;
        const int top = pixel / g.out_width % g.out_height * g.stride - g.padding;
        const size_t image = pixel / g.out_width / g.out_height * (size_t)g.height;
        float sum = 0;
        for (int i = top < 0 ? -top : 0; i < g.kh && top + i < g.height; i++) {
            for (int j = left < 0 ? -left : 0; j < g.kw && left + j < g.width; j++) {
                const size_t from = ((image + top + i) * g.width + left + j) * g.channels + channel;
                sum += wide(x[from]) * wide(weight[(i * g.kw + j) * g.channels + channel]);
            }
        }
        const size_t at = pixel * (size_t)g.channels + channel;
        sum = activated(sum + (bias ? wide(bias[channel]) : 0), activation);
        y[at] = narrow<T>(residual ? sum + wide(residual[at]) : sum);
    }
}

#define GEOMETRY                                                                                                             \
    int batch, int height, int width, int channels, int kh, int kw, int stride, int padding, int out_height, int out_width
#define GIVEN \
    { batch, height, width, channels, kh, kw, stride, padding, out_height, out_width }
#define CONVOLUTIONS(suffix, T)                                                                                              \
    extern "C" __global__ void patches_##suffix(const T* x, T* out, GEOMETRY) { patches(x, out, GIVEN); }                    \
    extern "C" __global__ void depthwise_##suffix(const T* x, const T* weight, const T* bias, const T* residual, T* y,       \
                                                  int activation, GEOMETRY) {                                                \
        depthwise(x, weight, bias, residual, y, GIVEN, activation);                                                          \
    }
FOR_EACH_TYPE(CONVOLUTIONS)
