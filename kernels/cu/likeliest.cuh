// Of many logits the largest: each with its token as one number, of which threads and blocks keep the largest.
#pragma once

// An unsigned number of the same order; one zero.
__device__ __forceinline__ unsigned order_of(float logit) {
    const unsigned bits = __float_as_uint(logit + 0.f);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

// Of a logit above -inf: its place in their order over ~token, so that the first of equals is the largest. Never 0.
__device__ __forceinline__ unsigned long long key_of(float logit, unsigned token) {
    return (unsigned long long)order_of(logit) << 32 | ~token;
}

// The largest of a warp's.
__device__ __forceinline__ unsigned long long largest_of_warp(unsigned long long own) {
    for (int lanes = 16; lanes > 0; lanes /= 2) {
        const unsigned long long other = __shfl_xor_sync(~0u, own, lanes);
        own = other > own ? other : own;
    }
    return own;
}
