// The checks behind every load and store of a checked kernel: what each byte of device and shared memory is, and which
// thread touched it last.
#pragma once
#include <cstddef>
#include <cstdint>

namespace softcuda {

enum class State : uint8_t { Nothing = 0, Fresh = 1, Written = 2, Freed = 3 };

/// Reserves the shadow of device memory; nothing happens outside checked runs.
void shadow_reserve(uintptr_t base, size_t bytes);
void shadow_state(uintptr_t at, size_t bytes, State state);
/// Copies what is known of `from` to `to`.
void shadow_copy(uintptr_t to, uintptr_t from, size_t bytes);
/// Whether a read of `bytes` finds something written; reports under `who` if all of it is fresh or any outside.
void shadow_host_read(uintptr_t at, size_t bytes, const char* who);

/// The running block's arena of shared memory: reset per block, variables placed with red zones between.
struct Arena {
  char* base;
  size_t bytes, used;
  size_t claimed;  // by variables, without red zones
};
Arena& arena();
void arena_reset(size_t dynamic_bytes);

/// Tells where code and constants of a module lie: reads there are nobody's business.
void shadow_ignore(uintptr_t from, uintptr_t to);
/// One access of the running thread.
void shadow_access(uintptr_t at, unsigned bytes, bool write, bool atomic, const void* pc);
/// Resolves what the last launch found into lines and reports it.
void shadow_flush();

}  // namespace softcuda
