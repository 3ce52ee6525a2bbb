#include "product.h"

#include <algorithm>
#include <cstring>

namespace softcuda {
namespace {

typedef float Lanes __attribute__((vector_size(64), aligned(4)));
constexpr int WIDE = 16, COLUMNS = 6;

/// Six columns of sixteen sums held in registers over a run of k.
template <int columns>
__attribute__((always_inline)) inline void tile(int m, int k, const float* left, const float* right, float* sums, int run, bool more) {
  Lanes sum[columns];
  for (int j = 0; j < columns; j++) sum[j] = more ? *reinterpret_cast<Lanes*>(sums + size_t(j) * m) : Lanes{};
  for (int l = 0; l < run; l++) {
    Lanes a = *reinterpret_cast<const Lanes*>(left + size_t(l) * m);
    for (int j = 0; j < columns; j++) sum[j] += a * right[size_t(j) * k + l];
  }
  for (int j = 0; j < columns; j++) *reinterpret_cast<Lanes*>(sums + size_t(j) * m) = sum[j];
}

template <class T>
void plain(int m, int n, int k, int from, const T* left, const T* right, T* sums) {
  for (int j = 0; j < n; j++) {
    for (int i = from; i < m; i++) sums[size_t(j) * m + i] = 0;
    for (int l = 0; l < k; l++) {
      T b = right[size_t(j) * k + l];
      for (int i = from; i < m; i++) sums[size_t(j) * m + i] += left[size_t(l) * m + i] * b;
    }
  }
}

}  // namespace

__attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
void product(int m, int n, int k, const float* left, const float* right, float* sums) {
  constexpr int RUN = 256;
  const int whole = m / WIDE * WIDE;
  for (int l = 0; l < k; l += RUN) {
    int run = std::min(RUN, k - l);
    for (int i = 0; i < whole; i += WIDE) {
      const float* a = left + size_t(l) * m + i;
      int j = 0;
      for (; j + COLUMNS <= n; j += COLUMNS) tile<COLUMNS>(m, k, a, right + size_t(j) * k + l, sums + size_t(j) * m + i, run, l > 0);
      for (; j < n; j++) tile<1>(m, k, a, right + size_t(j) * k + l, sums + size_t(j) * m + i, run, l > 0);
    }
  }
  if (!k) std::fill(sums, sums + size_t(m) * n, 0.f);
  else if (whole < m) plain(m, n, k, whole, left, right, sums);
}

void product(int m, int n, int k, const double* left, const double* right, double* sums) {
  plain(m, n, k, 0, left, right, sums);
}

}  // namespace softcuda
