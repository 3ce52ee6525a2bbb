// A picture of bytes as a network takes it: resized as the CPU resizes it, to the bit, with a value for each byte, in the order of
// the network's input.
#include "element.cuh"

namespace {
constexpr int CHANNELS = 3;
enum Along { NEITHER, ROWS, COLUMNS };

// Pixel `to` of `n` along an axis, of cells that lie `step` bytes apart. axis (2 n + 1): the first cell of every pixel, then where
// its weights begin, and where the last ones end. Weights are whole numbers that add up to about 1 << bits.
__device__ __forceinline__ unsigned char mixed(const unsigned char* cells, size_t step, const unsigned* axis, const int* weights,
                                               int bits, int n, int to) {
    cells += axis[to] * step;
    int sum = 1 << (bits - 1);
    for (unsigned i = axis[n + to]; i < axis[n + to + 1]; ++i, cells += step) sum += weights[i] * *cells;
    return min(max(sum >> bits, 0), 255);
}

// What every kernel is told of the last pass: x are the bytes before it, (.., from, 3).
struct Pass {
    const unsigned char* x;
    const unsigned* axis;
    const int* weights;
    int bits, along, from, width, height;

    __device__ __forceinline__ unsigned char at(int column, int row, int channel) const {
        switch (along) {
            case ROWS: return mixed(x + row * (size_t)from * CHANNELS + channel, CHANNELS, axis, weights, bits, width, column);
            case COLUMNS: return mixed(x + column * CHANNELS + channel, from * (size_t)CHANNELS, axis, weights, bits, height, row);
            default: return x[(row * (size_t)from + column) * CHANNELS + channel];
        }
    }
};
}  // namespace

// A pass that is not the last: x (outer, from, inner) to y (outer, to, inner).
extern "C" __global__ void resize_bytes_u8(const unsigned char* x, const unsigned* axis, const int* weights, unsigned char* y, int bits,
                                           int outer, int from, int to, int inner) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= to * inner) return;
    for (int row = blockIdx.y * blockDim.y + threadIdx.y; row < outer; row += gridDim.y * blockDim.y) {
        const unsigned char* cells = x + row * (size_t)from * inner + i % inner;
        y[row * (size_t)to * inner + i] = mixed(cells, inner, axis, weights, bits, to, i / inner);
    }
}

// y (3, rows, columns): the picture in the upper left corner, zeros beside it. levels (3, 256): the value of each byte.
template <class T>
__device__ __forceinline__ void planes(const Pass& pass, const float* levels, T* y, int rows, int columns) {
    const int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= columns) return;
    for (int line = blockIdx.y * blockDim.y + threadIdx.y; line < CHANNELS * rows; line += gridDim.y * blockDim.y) {
        const int channel = line / rows, row = line % rows;
        const bool inside = row < pass.height && column < pass.width;
        y[line * (size_t)columns + column] = narrow<T>(inside ? levels[channel * 256 + pass.at(column, row, channel)] : 0.f);
    }
}

// y (patches, 3, frames, side, side): squares of `side` pixels, those of a block of `merge` x `merge` one after the other.
template <class T>
__device__ __forceinline__ void squares(const Pass& pass, const float* levels, T* y, int side, int merge, int frames) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x, square = side * side;
    if (i >= pass.width * pass.height * CHANNELS) return;
    const int place = i % square, plane = i / square, channel = plane % CHANNELS, patch = plane / CHANNELS;
    const int inner = patch % (merge * merge), block = patch / (merge * merge), across = pass.width / (side * merge);
    const int column = (block % across * merge + inner % merge) * side + place % side;
    const int row = (block / across * merge + inner / merge) * side + place / side;
    const T value = narrow<T>(levels[channel * 256 + pass.at(column, row, channel)]);
    for (int frame = 0; frame < frames; ++frame) y[(plane * (size_t)frames + frame) * square + place] = value;
}

#define PICTURES(suffix, T)                                                                                                       \
    extern "C" __global__ void picture_planes_##suffix(const unsigned char* x, const unsigned* axis, const int* weights,          \
                                                       const float* levels, T* y, int bits, int along, int from, int width,       \
                                                       int height, int rows, int columns) {                                       \
        planes(Pass{x, axis, weights, bits, along, from, width, height}, levels, y, rows, columns);                               \
    }                                                                                                                             \
    extern "C" __global__ void picture_patches_##suffix(const unsigned char* x, const unsigned* axis, const int* weights,         \
                                                        const float* levels, T* y, int bits, int along, int from, int width,      \
                                                        int height, int side, int merge, int frames) {                            \
        squares(Pass{x, axis, weights, bits, along, from, width, height}, levels, y, side, merge, frames);                        \
    }
FOR_EACH_TYPE(PICTURES)

// y (3, height, width): mixed in f64 without rounding in between, first along rows, then along columns, less the channel's mean, over
// its deviation. x (.., from, 3); levels (256): of each byte; normal (6): means, then deviations.
extern "C" __global__ void picture_floats_f32(const unsigned char* x, const unsigned* columns, const unsigned* rows,
                                              const double* weights, const double* levels, const double* normal, float* y, int from,
                                              int width, int height) {
    const int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= width) return;
    const unsigned begin = columns[width + column], end = columns[width + column + 1];
    for (int line = blockIdx.y * blockDim.y + threadIdx.y; line < CHANNELS * height; line += gridDim.y * blockDim.y) {
        const int channel = line / height, row = line % height;
        const unsigned char* cells = x + (rows[row] * (size_t)from + columns[column]) * CHANNELS + channel;
        double value = 0;
        for (unsigned i = rows[height + row]; i < rows[height + row + 1]; ++i, cells += from * (size_t)CHANNELS) {
            double wide = 0;
            for (unsigned j = begin; j < end; ++j) {
                wide = __dadd_rn(wide, __dmul_rn(levels[cells[(j - begin) * CHANNELS]], weights[j]));
            }
            value = __dadd_rn(value, __dmul_rn(wide, weights[i]));
        }
        y[line * (size_t)width + column] = float((value - normal[channel]) / normal[CHANNELS + channel]);
    }
}
