// Convolutions as one product whose left operand is read where it lies in the picture: rows are output pixels, columns outputs,
// and what a row has is its window, tap by tap, all channels of each. Windows are never in memory. Bias, activation and residual
// are applied to the f32 sums. A transposed convolution whose stride is its kernel is the same with a window of one pixel: its
// columns are the outputs of every cell of kernel, and each cell is written where it belongs.
//
// A block has 128 rows and 64 columns of the product, or 32. A step is 64 bytes of each of its rows and columns, copied while the
// two steps before are computed: 16-bit elements by tensor cores, f32 by fused multiply-adds, 8 x 8 or 8 x 4 sums a thread, or, where
// that is allowed, by tensor cores as TF32.
//
// Depthwise convolutions are at the end.
#include "element.cuh"
#include "tensor_core.cuh"

// Sizes of one convolution on (B, H, W, C), as in ../src/ops/conv2d/geometry.rs.
struct Geometry {
    int batch, height, width, channels, kh, kw, stride, padding, out_height, out_width;
};

// Parameters of a kernel, and the structure out of them.
#define GEOMETRY                                                                                                             \
    int batch, int height, int width, int channels, int kh, int kw, int stride, int padding, int out_height, int out_width
#define GIVEN \
    { batch, height, width, channels, kh, kw, stride, padding, out_height, out_width }

namespace {

constexpr int ROWS = 128, THREADS = 128, STAGES = 3;
// Vectors of 16 bytes in a step. Rows lie 80 bytes apart, so that the same vector of eight of them meets every bank once.
constexpr int VECTORS = 4, PITCH_BYTES = 80;

template <class T> constexpr int WIDTH = 16 / sizeof(T);
template <class T> struct __align__(16) Vector { T of[WIDTH<T>]; };

template <class T> struct Call {
    const T *x, *weight, *bias, *residual;  // weight (columns, kh kw C); bias and residual may be null
    T* y;
    float* parts;  // (shares, rows, columns): sums of every share, where the steps are shared out among blocks; else null
    int outputs, cell_rows, cell_columns, activation, shares;
    bool aligned;  // whether bias, residual and y can be read and written by vectors
    Geometry g;

    __device__ __forceinline__ int rows() const { return g.batch * g.out_height * g.out_width; }
    __device__ __forceinline__ int columns() const { return outputs * cell_rows * cell_columns; }
    // Where an element of the product belongs.
    __device__ __forceinline__ size_t place(int row, int column) const {
        if (columns() == outputs) return row * (size_t)outputs + column;
        const int cell = column / outputs, line = row / g.out_width * cell_rows + cell / cell_columns;
        const int across = row % g.out_width * cell_columns + cell % cell_columns;
        return (line * (size_t)(g.out_width * cell_columns) + across) * outputs + column % outputs;
    }
    __device__ __forceinline__ void write(float sum, int row, int column) const {
        const size_t at = place(row, column);
        const float value = activated(sum + (bias ? wide(bias[column % outputs]) : 0), activation);
        y[at] = narrow<T>(residual ? value + wide(residual[at]) : value);
    }
    // The same of neighbours in one cell, which are overwritten.
    __device__ __forceinline__ void write_vector(float* sums, int row, int column) const {
        const size_t at = place(row, column);
#pragma unroll 2
        for (int e = 0; e < WIDTH<T>; e++) {
            sums[e] = activated(sums[e] + (bias ? wide(bias[column % outputs + e]) : 0), activation);
        }
        Vector<T> added, out;
        if (residual) added = *reinterpret_cast<const Vector<T>*>(residual + at);
#pragma unroll
        for (int e = 0; e < WIDTH<T>; e++) out.of[e] = narrow<T>(residual ? sums[e] + wide(added.of[e]) : sums[e]);
        *reinterpret_cast<Vector<T>*>(y + at) = out;
    }
};

// What a thread copies: in every step the same one of the four vectors, of four rows and of COLUMNS / 32 columns.
// EVEN: channels are whole vectors, which begin at multiples of 16 bytes.
template <class T, int COLUMNS, bool EVEN> struct Source {
    static constexpr int PITCH = PITCH_BYTES / sizeof(T);
    const Call<T>& call;
    int column, vector;               // the first column; the vector, counted along a row of the product
    int pixel[4], top[4], left[4];    // where the windows of the rows begin
    int channel, down, along;         // EVEN: where in a window the vector lies

    __device__ __forceinline__ Source(const Call<T>& c, int first_row, int first_column, int step) : call(c) {
        const Geometry& g = c.g;
        column = first_column + threadIdx.x / VECTORS;
        vector = step * VECTORS + threadIdx.x % VECTORS;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int row = first_row + threadIdx.x / VECTORS + 32 * i, line = row / g.out_width;
            // No window reaches into the picture from so far above.
            const int y = line % g.out_height * g.stride - g.padding;
            top[i] = row < c.rows() ? y : -(1 << 30);
            left[i] = row % g.out_width * g.stride - g.padding;
            pixel[i] = (line / g.out_height * g.height + y) * g.width + left[i];
        }
        if (EVEN) {
            const int tap = vector * WIDTH<T> / g.channels;
            channel = vector * WIDTH<T> % g.channels;
            down = tap / g.kw;
            along = tap % g.kw;
        }
    }

    __device__ __forceinline__ bool inside(int i, int y, int x) const {
        return y < call.g.kh && unsigned(top[i] + y) < unsigned(call.g.height) && unsigned(left[i] + x) < unsigned(call.g.width);
    }

    // Starts copies of a step, the next after the last one.
    __device__ __forceinline__ void start(T* tile) {
        const Geometry& g = call.g;
        const int length = g.kh * g.kw * g.channels, at = vector * WIDTH<T>;
        T* to = tile + threadIdx.x / VECTORS * PITCH + threadIdx.x % VECTORS * WIDTH<T>;
        if (EVEN) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const bool there = inside(i, down, along);
                const T* from = there ? call.x + (size_t)(pixel[i] + down * g.width + along) * g.channels + channel : call.x;
                tensor_core::copy_async_16(to + 32 * i * PITCH, from, there ? 16 : 0);
            }
#pragma unroll
            for (int i = 0; i < COLUMNS / 32; i++) {
                const bool there = at < length && column + 32 * i < call.columns();
                const T* from = there ? call.weight + (size_t)(column + 32 * i) * length + at : call.weight;
                tensor_core::copy_async_16(to + (ROWS + 32 * i) * PITCH, from, there ? 16 : 0);
            }
            channel += VECTORS * WIDTH<T>;
            while (channel >= g.channels) {
                channel -= g.channels;
                if (++along == g.kw) along = 0, ++down;
            }
        } else {
#pragma unroll 1
            for (int e = 0; e < WIDTH<T>; e++) {
                const int tap = (at + e) / g.channels, y = tap / g.kw, x = tap % g.kw;
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const size_t from = (size_t)(pixel[i] + y * g.width + x) * g.channels + (at + e) % g.channels;
                    to[32 * i * PITCH + e] = inside(i, y, x) ? call.x[from] : narrow<T>(0.f);
                }
#pragma unroll
                for (int i = 0; i < COLUMNS / 32; i++) {
                    const bool there = at + e < length && column + 32 * i < call.columns();
                    to[(ROWS + 32 * i) * PITCH + e] = there ? call.weight[(size_t)(column + 32 * i) * length + at + e] : narrow<T>(0.f);
                }
            }
        }
        vector += VECTORS;
        tensor_core::copy_commit();
    }
};

// Sums of a thread, by tensor cores from elements T that are multiplied as UNIT. `add`: of the products of a step, ROWS rows of windows and behind them COLUMNS of the weight; `lay`: into
// shared memory, rows COLUMNS + 8 apart.
template <class T, class UNIT, int COLUMNS> struct Sums {
    static constexpr int PITCH = PITCH_BYTES / sizeof(T);
    static constexpr int ACROSS = COLUMNS / 32, TALL = ROWS * ACROSS / 4 / 16;  // warps side by side; tiles of 16 rows of each
    float of[TALL][4][4] = {};

    static __device__ __forceinline__ int row() { return threadIdx.x / 32 / ACROSS * TALL * 16; }
    static __device__ __forceinline__ int column() { return threadIdx.x / 32 % ACROSS * 32; }

    __device__ __forceinline__ void add(const T* tile) {
        const int lane = threadIdx.x % 32;
        const T* rows = tile + (row() + lane % 16) * PITCH + lane / 16 * WIDTH<T>;
        const T* columns = tile + (ROWS + column() + lane % 8 + lane / 16 * 8) * PITCH + lane / 8 % 2 * WIDTH<T>;
#pragma unroll
        for (int k = 0; k < VECTORS * WIDTH<T>; k += 2 * WIDTH<T>) {
            uint32_t b[2][4];
#pragma unroll
            for (int n = 0; n < 2; n++) {
                tensor_core::ldmatrix_x4(b[n], columns + n * 16 * PITCH + k);
                tensor_core::round_for_product(b[n], UNIT());
            }
#pragma unroll
            for (int m = 0; m < TALL; m++) {
                uint32_t a[4];
                tensor_core::ldmatrix_x4(a, rows + m * 16 * PITCH + k);
                tensor_core::round_for_product(a, UNIT());
#pragma unroll
                for (int n = 0; n < 4; n++) {
                    const uint32_t right[2] = {b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]};
                    tensor_core::product(of[m][n], a, right, UNIT());
                }
            }
        }
    }
    __device__ __forceinline__ void lay(float* to) const {
        const int lane = threadIdx.x % 32;
        to += (row() + lane / 4) * (COLUMNS + 8) + column() + lane % 4 * 2;
#pragma unroll
        for (int m = 0; m < TALL; m++) {
#pragma unroll
            for (int i = 0; i < 16; i += 2) {
                float* at = to + (m * 16 + i % 4 / 2 * 8) * (COLUMNS + 8) + i / 4 * 8;
                *reinterpret_cast<float2*>(at) = {of[m][i / 4][i % 4], of[m][i / 4][i % 4 + 1]};
            }
        }
    }
};

// The same by fused multiply-adds.
template <int COLUMNS> struct Sums<float, float, COLUMNS> {
    static constexpr int PITCH = PITCH_BYTES / sizeof(float);
    static constexpr int ACROSS = 8, DOWN = THREADS / ACROSS;  // threads; their rows and columns lie as far apart
    float of[ROWS / DOWN][COLUMNS / ACROSS] = {};

    __device__ __forceinline__ void add(const float* tile) {
        const float* rows = tile + threadIdx.x / ACROSS * PITCH;
        const float* columns = tile + (ROWS + threadIdx.x % ACROSS) * PITCH;
#pragma unroll
        for (int k = 0; k < VECTORS * 4; k += 4) {
            float4 a[ROWS / DOWN];
#pragma unroll
            for (int i = 0; i < ROWS / DOWN; i++) a[i] = *reinterpret_cast<const float4*>(rows + i * DOWN * PITCH + k);
#pragma unroll
            for (int j = 0; j < COLUMNS / ACROSS; j++) {
                const float4 b = *reinterpret_cast<const float4*>(columns + j * ACROSS * PITCH + k);
#pragma unroll
                for (int i = 0; i < ROWS / DOWN; i++) {
                    of[i][j] += a[i].x * b.x;
                    of[i][j] += a[i].y * b.y;
                    of[i][j] += a[i].z * b.z;
                    of[i][j] += a[i].w * b.w;
                }
            }
        }
    }
    __device__ __forceinline__ void lay(float* to) const {
        to += threadIdx.x / ACROSS * (COLUMNS + 8) + threadIdx.x % ACROSS;
#pragma unroll
        for (int i = 0; i < ROWS / DOWN; i++) {
#pragma unroll
            for (int j = 0; j < COLUMNS / ACROSS; j++) to[i * DOWN * (COLUMNS + 8) + j * ACROSS] = of[i][j];
        }
    }
};

template <class T, class UNIT, int COLUMNS, bool EVEN> __device__ __forceinline__ void convolve(const Call<T>& call) {
    constexpr int TILE = (ROWS + COLUMNS) * PITCH_BYTES / sizeof(T), LINE = COLUMNS + 8;
    __shared__ __align__(16) unsigned char memory[STAGES * (ROWS + COLUMNS) * PITCH_BYTES];
    static_assert(ROWS * LINE * sizeof(float) <= sizeof(memory), "the sums take the place of the stages");
    T* tiles = reinterpret_cast<T*>(memory);
    const int rows = call.rows(), columns = call.columns();
    // Neighbouring blocks read the same windows.
    const int across = (columns + COLUMNS - 1) / COLUMNS, down = (rows + ROWS - 1) / ROWS;
    const int first_column = blockIdx.x % across * COLUMNS, first_row = blockIdx.x / across % down * ROWS;
    const int share = blockIdx.x / across / down, depth = VECTORS * WIDTH<T>;
    const long long steps = (call.g.kh * call.g.kw * call.g.channels + depth - 1) / depth;
    const int begin = steps * share / call.shares, end = steps * (share + 1) / call.shares;

    Source<T, COLUMNS, EVEN> source(call, first_row, first_column, begin);
    Sums<T, UNIT, COLUMNS> sums;
#pragma unroll
    for (int step = 0; step < STAGES - 1; step++) {
        if (begin + step < end) source.start(tiles + step * TILE);
        else tensor_core::copy_commit();
    }
#pragma unroll 1
    for (int step = 0; step < end - begin; step++) {
        tensor_core::copy_wait<STAGES - 2>();
        // This step has come for all, and all have left the one whose memory the next copies take.
        __syncthreads();
        if (begin + step + STAGES - 1 < end) source.start(tiles + (step + STAGES - 1) % STAGES * TILE);
        else tensor_core::copy_commit();
        sums.add(tiles + step % STAGES * TILE);
    }

    __syncthreads();
    float* laid = reinterpret_cast<float*>(memory);
    sums.lay(laid);
    __syncthreads();
    if (call.parts || !call.aligned) {
#pragma unroll 1
        for (int i = threadIdx.x; i < ROWS * COLUMNS; i += THREADS) {
            const int row = first_row + i / COLUMNS, column = first_column + i % COLUMNS;
            if (row >= rows || column >= columns) continue;
            const float sum = laid[i / COLUMNS * LINE + i % COLUMNS];
            if (call.parts) call.parts[(share * (size_t)rows + row) * columns + column] = sum;
            else call.write(sum, row, column);
        }
        return;
    }
#pragma unroll 1
    for (int i = threadIdx.x * WIDTH<T>; i < ROWS * COLUMNS; i += THREADS * WIDTH<T>) {
        const int row = first_row + i / COLUMNS, column = first_column + i % COLUMNS;
        if (row < rows && column < columns) call.write_vector(laid + i / COLUMNS * LINE + i % COLUMNS, row, column);
    }
}

// Adds the shares up. Threads along x take columns, along y rows.
template <class T> __device__ __forceinline__ void join(const Call<T>& call) {
    const int rows = call.rows(), columns = call.columns(), column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= columns) return;
    for (int row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
        float sum = 0;
        for (int share = 0; share < call.shares; share++) sum += call.parts[(share * (size_t)rows + row) * columns + column];
        call.write(sum, row, column);
    }
}

}  // namespace

#define CALL(T)                                                                                                             \
    const T *x, const T *weight, const T *bias, const T *residual, T *y, float *parts, int outputs, int cell_rows,         \
        int cell_columns, int activation, int shares, int aligned, GEOMETRY
#define GIVEN_CALL(T)                                                                                                      \
    Call<T> {                                                                                                              \
        x, weight, bias, residual, y, parts, outputs, cell_rows, cell_columns, activation, shares, aligned != 0, GIVEN     \
    }
// Two blocks fit on every architecture, three where there is the shared memory.
#define IMPLICIT(name, UNIT, COLUMNS, EVEN, suffix, T)                                                                     \
    extern "C" __global__ void __launch_bounds__(THREADS, 3) name##_##suffix(CALL(T)) {                                    \
        convolve<T, UNIT, COLUMNS, EVEN>(GIVEN_CALL(T));                                                                   \
    }
#define IMPLICITS(suffix, T)                                                                                               \
    IMPLICIT(implicit, T, 64, true, suffix, T)                                                                             \
    IMPLICIT(implicit_uneven, T, 64, false, suffix, T)                                                                     \
    extern "C" __global__ void join_##suffix(CALL(T)) { join(GIVEN_CALL(T)); }
FOR_EACH_TYPE(IMPLICITS)
// For few outputs of f32, where columns of nothing would cost as much as the product; and for products as TF32.
IMPLICIT(implicit_narrow, float, 32, true, f32, float)
IMPLICIT(implicit_tf32, tensor_core::Tf32, 64, true, f32, float)
IMPLICIT(implicit_narrow_tf32, tensor_core::Tf32, 32, true, f32, float)

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

#define DEPTHWISE(suffix, T)                                                                                                  \
    extern "C" __global__ void depthwise_##suffix(const T* x, const T* weight, const T* bias, const T* residual, T* y,       \
                                                  int activation, GEOMETRY) {                                                \
        depthwise(x, weight, bias, residual, y, GIVEN, activation);                                                          \
    }
FOR_EACH_TYPE(DEPTHWISE)
