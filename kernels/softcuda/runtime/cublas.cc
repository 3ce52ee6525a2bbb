// cuBLAS, as far as candle calls it: batched products with strides, column-major, sums in f32 (f64 for doubles).
#include <cstdio>
#include <cstring>
#include <vector>

#include "../include/softcuda/float16.h"
#include "capture.h"
#include "counters.h"
#include "findings.h"
#include "heap.h"
#include "product.h"
#include "shadow.h"
#include "status.h"
#include "stream.h"

using namespace softcuda;

namespace {

enum BlasStatus : int { BLAS_SUCCESS = 0, BLAS_INVALID_VALUE = 7, BLAS_EXECUTION_FAILED = 13, BLAS_NOT_SUPPORTED = 15 };
enum DataType : int { R_32F = 0, R_64F = 1, R_16F = 2, R_16BF = 14 };

struct Handle { void* stream = nullptr; };

size_t width(int type) { return type == R_64F ? 8 : type == R_32F ? 4 : 2; }
bool known(int type) { return type == R_32F || type == R_64F || type == R_16F || type == R_16BF; }

template <class T> T read(const char* p, int type) {
  switch (type) {
    case R_64F: return T(*reinterpret_cast<const double*>(p));
    case R_32F: return T(*reinterpret_cast<const float*>(p));
    case R_16F: return T(half_value(*reinterpret_cast<const uint16_t*>(p)));
    default: return T(bfloat16_value(*reinterpret_cast<const uint16_t*>(p)));
  }
}
template <class T> void write(char* p, int type, T v) {
  switch (type) {
    case R_64F: *reinterpret_cast<double*>(p) = v; break;
    case R_32F: *reinterpret_cast<float*>(p) = float(v); break;
    case R_16F: *reinterpret_cast<uint16_t*>(p) = half_bits(float(v)); break;
    default: *reinterpret_cast<uint16_t*>(p) = bfloat16_bits(float(v));
  }
}

/// A matrix operand: `rows` x `columns` as stored, column-major.
struct Matrix {
  char* at;
  int type;
  int64_t rows, columns, leading, stride;

  int64_t span() const { return ((columns - 1) * leading + rows) * int64_t(width(type)); }
  char* of(int batch) const { return at + batch * stride * int64_t(width(type)); }
  char* element(int batch, int64_t row, int64_t column) const {
    return of(batch) + (column * leading + row) * int64_t(width(type));
  }
};

struct Gemm {
  bool transposed_a, transposed_b;
  int m, n, k, batch;
  double alpha, beta;
  Matrix a, b, c;
};

/// Whether an operand lies in one live allocation, all batches of it.
bool usable(const Matrix& x, int batch, const char* role, const Gemm& g) {
  auto from = reinterpret_cast<uintptr_t>(x.at);
  size_t bytes = (batch - 1) * x.stride * int64_t(width(x.type)) + x.span();
  Allocation* a = heap().find(from);
  std::string product = format("cuBLAS product %dx%dx%d", g.m, g.n, g.k);
  if (!a) report(Kind::IllegalAddress, product, nullptr, format("%s is %#lx, no device memory", role, from));
  else if (a->released) report(Kind::UseAfterFree, product, nullptr, std::string(role) + " is freed memory, " + describe(*a));
  else if (from < a->at || from + bytes > a->at + a->bytes) {
    report(Kind::OutOfBounds, product, nullptr, std::string(role) + format(" takes %zu bytes from byte %ld of ", bytes, long(from - a->at)) + describe(*a));
  } else return true;
  return false;
}

template <class T> void compute(const Gemm& g) {
  std::vector<T> left(size_t(g.m) * g.k), right(size_t(g.n) * g.k), sums(size_t(g.m) * g.n);
  for (int batch = 0; batch < g.batch; batch++) {
    for (int l = 0; l < g.k; l++) {
      for (int i = 0; i < g.m; i++) {
        left[size_t(l) * g.m + i] = read<T>(g.transposed_a ? g.a.element(batch, l, i) : g.a.element(batch, i, l), g.a.type);
      }
    }
    for (int j = 0; j < g.n; j++) {
      for (int l = 0; l < g.k; l++) {
        right[size_t(j) * g.k + l] = read<T>(g.transposed_b ? g.b.element(batch, j, l) : g.b.element(batch, l, j), g.b.type);
      }
    }
    product(g.m, g.n, g.k, left.data(), right.data(), sums.data());
    for (int j = 0; j < g.n; j++) {
      for (int i = 0; i < g.m; i++) {
        char* to = g.c.element(batch, i, j);
        T v = T(g.alpha) * sums[size_t(j) * g.m + i];
        if (g.beta != 0) v += T(g.beta) * read<T>(to, g.c.type);
        write(to, g.c.type, v);
      }
    }
    if (g.m && g.n) {
      for (int j = 0; j < g.n; j++) shadow_state(uintptr_t(g.c.element(batch, 0, j)), g.m * width(g.c.type), State::Written);
    }
  }
}

void check_written(const Matrix& x, int batch, const char* what) {
  for (int b = 0; b < batch; b++) {
    for (int64_t column = 0; column < x.columns; column++) {
      shadow_host_read(uintptr_t(x.element(b, 0, column)), x.rows * width(x.type), what);
    }
  }
}

BlasStatus gemm(void* handle, const Gemm& g) {
  std::lock_guard<std::recursive_mutex> held(device_lock());
  if (device_status != SUCCESS) return BLAS_EXECUTION_FAILED;
  if (g.m < 0 || g.n < 0 || g.k < 0 || g.batch < 0) return BLAS_INVALID_VALUE;
  if (!g.m || !g.n || !g.batch) return BLAS_SUCCESS;
  if (!known(g.a.type) || !known(g.b.type) || !known(g.c.type)) return BLAS_NOT_SUPPORTED;
  if (g.a.leading < g.a.rows || g.b.leading < g.b.rows || g.c.leading < g.c.rows) return BLAS_INVALID_VALUE;
  if (!usable(g.a, g.batch, "A", g) || !usable(g.b, g.batch, "B", g) || !usable(g.c, g.batch, "C", g)) return BLAS_EXECUTION_FAILED;
  Stream& stream = stream_of(static_cast<Handle*>(handle)->stream);
  if (may_push(stream) != SUCCESS) return BLAS_EXECUTION_FAILED;
  std::vector<Use> uses = {{uintptr_t(g.a.at), false, "A"}, {uintptr_t(g.b.at), false, "B"}, {uintptr_t(g.c.at), true, "C"}};
  auto work = [g] {
    if (device_status != SUCCESS) return;
    check_written(g.a, g.batch, "cuBLAS product, A");
    check_written(g.b, g.batch, "cuBLAS product, B");
    g.c.type == R_64F ? compute<double>(g) : compute<float>(g);
  };
  uint64_t multiply_adds = uint64_t(g.m) * g.n * g.k * g.batch;
  // cuBLAS's kernels are captured with alpha and beta (cuBLAS, "CUDA Graphs Support", pointer mode host).
  if (captures(stream)) {
    Node node;
    node.kind = Node::Product, node.who = "cuBLAS product", node.uses = std::move(uses), node.run = work, node.multiply_adds = multiply_adds;
    keep(stream, std::move(node));
    return BLAS_SUCCESS;
  }
  if (launch_loses_device()) {
    device_status = LAUNCH_FAILED;
    return BLAS_EXECUTION_FAILED;
  }
  counters().gemms++;
  counters().multiply_adds += multiply_adds;
  enqueue(stream, "cuBLAS product", uses, work);
  return BLAS_SUCCESS;
}

Matrix operand(const void* at, int type, bool transposed, int64_t rows, int64_t columns, int leading, long long stride) {
  if (transposed) std::swap(rows, columns);
  return {static_cast<char*>(const_cast<void*>(at)), type, rows, columns, leading, stride};
}

}  // namespace

extern "C" {

BlasStatus cublasCreate_v2(void** handle) { return *handle = new Handle, BLAS_SUCCESS; }
BlasStatus cublasDestroy_v2(void* handle) { return delete static_cast<Handle*>(handle), BLAS_SUCCESS; }
BlasStatus cublasSetStream_v2(void* handle, void* stream) { return static_cast<Handle*>(handle)->stream = stream, BLAS_SUCCESS; }
BlasStatus cublasGetStream_v2(void* handle, void** stream) { return *stream = static_cast<Handle*>(handle)->stream, BLAS_SUCCESS; }
BlasStatus cublasSetMathMode(void*, int) { return BLAS_SUCCESS; }
BlasStatus cublasSetWorkspace_v2(void*, void*, size_t) { return BLAS_SUCCESS; }

// Compute types 64, 65 (f16), 68 (f32), 74 (TF32), ...: sums are f32, or f64 for doubles; alpha has the compute type.
BlasStatus cublasGemmStridedBatchedEx(void* handle, int ta, int tb, int m, int n, int k, const void* alpha, const void* a,
                                      int a_type, int lda, long long stride_a, const void* b, int b_type, int ldb,
                                      long long stride_b, const void* beta, void* c, int c_type, int ldc,
                                      long long stride_c, int batch, int compute, int) {
  auto scalar = [&](const void* p) {
    auto at = static_cast<const char*>(p);
    return compute == 70 || compute == 71 ? read<double>(at, R_64F)
           : compute == 64 || compute == 65 ? read<double>(at, R_16F) : read<double>(at, R_32F);
  };
  return gemm(handle, {ta != 0, tb != 0, m, n, k, batch, scalar(alpha), scalar(beta),
                       operand(a, a_type, ta, m, k, lda, stride_a), operand(b, b_type, tb, k, n, ldb, stride_b),
                       operand(c, c_type, false, m, n, ldc, stride_c)});
}
BlasStatus cublasGemmEx(void* handle, int ta, int tb, int m, int n, int k, const void* alpha, const void* a, int a_type,
                        int lda, const void* b, int b_type, int ldb, const void* beta, void* c, int c_type, int ldc,
                        int compute, int algorithm) {
  return cublasGemmStridedBatchedEx(handle, ta, tb, m, n, k, alpha, a, a_type, lda, 0, b, b_type, ldb, 0, beta, c, c_type,
                                    ldc, 0, 1, compute, algorithm);
}
BlasStatus cublasSgemmStridedBatched(void* handle, int ta, int tb, int m, int n, int k, const float* alpha, const float* a,
                                     int lda, long long sa, const float* b, int ldb, long long sb, const float* beta,
                                     float* c, int ldc, long long sc, int batch) {
  return cublasGemmStridedBatchedEx(handle, ta, tb, m, n, k, alpha, a, R_32F, lda, sa, b, R_32F, ldb, sb, beta, c, R_32F,
                                    ldc, sc, batch, 68, 0);
}
BlasStatus cublasDgemmStridedBatched(void* handle, int ta, int tb, int m, int n, int k, const double* alpha,
                                     const double* a, int lda, long long sa, const double* b, int ldb, long long sb,
                                     const double* beta, double* c, int ldc, long long sc, int batch) {
  return cublasGemmStridedBatchedEx(handle, ta, tb, m, n, k, alpha, a, R_64F, lda, sa, b, R_64F, ldb, sb, beta, c, R_64F,
                                    ldc, sc, batch, 70, 0);
}

}  // extern "C"
