// sums[j*m + i] = sum over l of left[l*m + i] * right[j*k + l]: a product with the rows of the result contiguous.
#pragma once
#include <cstddef>

namespace softcuda {

void product(int m, int n, int k, const float* left, const float* right, float* sums);
void product(int m, int n, int k, const double* left, const double* right, double* sums);

}  // namespace softcuda
