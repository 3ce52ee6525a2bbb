// What the attention kernels share: which rows and keys are a block's.
//
// A row is a query of one head. The query heads that share keys and values may be rows of one block, so that a tile of keys is
// read once for all of them: row r is query r / pack of head r % pack.
#pragma once
#include "element.cuh"

constexpr float NEVER = -INFINITY;

// Sizes and strides in elements, as in ../src/cuda/arguments.rs. Last dimensions are dense; out is (B, queries, heads, d).
struct Shape {
    long long q_batch, q_head, q_token, k_batch, k_head, k_token, v_batch, v_head, v_token;
    long long bias_batch, bias_head, bias_query, bias_key;
    int heads, kv_heads, pack, queries, keys, d;
    int offset;              // query i sees keys 0 ..= i + offset
    int tiles;               // blocks along the rows of a head
    int grid_rows, grid_columns;  // of the keys, where they lie on a grid
    float scale;
    int aligned;             // whether rows of q, k and v begin at multiples of 16 bytes
};

// The part of one block. Pointers are those of its first query head, and of the key/value head.
template <class T> struct Share {
    const T *q, *k, *v;
    T* out;
    int row, rows;           // from the first to before the last
    int key, keys;
    int batch, head;
    int offset;
};

// Keys that the last of `tall` rows sees.
template <class T> __device__ __forceinline__ void hide_later_keys(Share<T>& mine, const Shape& s, int tall) {
    const int last = (min(mine.row + tall, mine.rows) - 1) / s.pack;
    mine.keys = min(mine.keys, last + mine.offset + 1);
}

// Blocks along x: tiles of `tall` rows of a head beside each other, those that see most keys first, so that keys stay in the
// second-level cache and no long one begins last. Along y: segments, of which a query sees only its own.
template <class T>
__device__ __forceinline__ Share<T> share(const T* q, const T* k, const T* v, T* out, const unsigned* segments, const Shape& s,
                                          int tall) {
    const int groups = s.heads / s.pack, number = blockIdx.x / s.tiles, tile = s.tiles - 1 - int(blockIdx.x % s.tiles);
    const int batch = number / groups, head = number % groups * s.pack, kv = head / (s.heads / s.kv_heads);
    Share<T> mine;
    mine.q = q + batch * s.q_batch + head * s.q_head;
    mine.k = k + batch * s.k_batch + kv * s.k_head;
    mine.v = v + batch * s.v_batch + kv * s.v_head;
    mine.out = out + (batch * (size_t)s.queries * s.heads + head) * s.d;
    mine.key = segments ? int(segments[blockIdx.y]) : 0;
    mine.keys = segments ? int(segments[blockIdx.y + 1]) : s.keys;
    mine.row = mine.key * s.pack * (segments != nullptr) + tile * tall;
    mine.rows = (segments ? mine.keys : s.queries) * s.pack;
    mine.batch = batch;
    mine.head = head;
    mine.offset = s.offset;
    hide_later_keys(mine, s, tall);
    return mine;
}

// Sequences of one batch, each with keys and values of its own, (kv heads, room, d) and dense.
constexpr int MOST_SEQUENCES = 64;
template <class T> struct Sequences {
    const T *k[MOST_SEQUENCES], *v[MOST_SEQUENCES];
    int first[MOST_SEQUENCES];    // of its queries among those of all
    int queries[MOST_SEQUENCES];  // the last of its keys belongs to the last of them
    int keys[MOST_SEQUENCES];     // the new tokens' among them
    int room[MOST_SEQUENCES];

    // `cached`: how many keys lie before the new ones, where that is known to the device alone, as in a graph that is launched again
    // and again; null where `keys` says it.
    __device__ __forceinline__ int keys_of(int sequence, const unsigned* cached) const {
        return cached ? int(cached[sequence]) + queries[sequence] : keys[sequence];
    }
};

// Blocks along y are sequences.
template <class T>
__device__ __forceinline__ Share<T> share_of_sequence(const T* q, T* out, const Sequences<T>& all, const unsigned* cached,
                                                      const Shape& s, int tall) {
    const int groups = s.heads / s.pack, number = blockIdx.x / s.tiles, tile = s.tiles - 1 - int(blockIdx.x % s.tiles);
    const int sequence = blockIdx.y, head = number % groups * s.pack, kv = head / (s.heads / s.kv_heads);
    const size_t first = all.first[sequence], of_head = kv * (size_t)all.room[sequence] * s.d;
    Share<T> mine;
    mine.q = q + head * s.q_head + first * s.q_token;
    mine.k = all.k[sequence] + of_head;
    mine.v = all.v[sequence] + of_head;
    mine.out = out + (first * s.heads + head) * s.d;
    mine.key = 0;
    mine.keys = all.keys_of(sequence, cached);
    mine.row = tile * tall;
    mine.rows = all.queries[sequence] * s.pack;
    mine.batch = 0;
    mine.head = head;
    mine.offset = mine.keys - all.queries[sequence];
    hide_later_keys(mine, s, tall);
    return mine;
}

// As ../src/cuda/arguments.rs has them.
static_assert(sizeof(Shape) == 13 * 8 + 12 * 4, "Shape");
static_assert(sizeof(Sequences<float>) == MOST_SEQUENCES * 32, "Sequences");
