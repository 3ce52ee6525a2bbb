// What compiled modules and the device know of each other.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x = 1, y = 1, z = 1; };

namespace softcuda {

/// The calling thread's place, kept by the scheduler.
struct Place {
  uint3 thread, block;
  dim3 block_dim, grid_dim;
};
extern "C" Place softcuda_place;

extern "C" {
/// Barrier of the block. `kind` in the result of the counting forms: 0 none, 1 count, 2 and, 3 or.
int softcuda_block_barrier(int kind, int predicate);
/// Exchange within the warp: gives `value` away and takes that of lane `source` (of the members of `mask`).
uint64_t softcuda_warp_exchange(unsigned mask, uint64_t value, int source);
/// Votes: the bits of all members' predicates.
unsigned softcuda_warp_ballot(unsigned mask, int predicate);
void softcuda_warp_barrier(unsigned mask);
unsigned softcuda_lane();
unsigned softcuda_active_lanes();
/// Shows an address to the warp and learns those of all lanes; valid until the warp's next barrier. All 32 take part.
void softcuda_warp_show(const void* mine, const void** all);
/// An access that the compiler does not see: of wrappers around instructions.
void softcuda_access(const void* at, unsigned bytes, unsigned alignment, bool write);
/// Copies of 16 bytes to shared memory that are made when the thread waits for their group; until then the destination
/// holds 0xFF.
void softcuda_copy_start(void* to, const void* from, unsigned bytes);
void softcuda_copy_commit();
void softcuda_copy_wait(unsigned pending);
/// Tells the checks that the next access to these bytes is one indivisible operation.
void softcuda_atomic(const void* address, unsigned bytes);
/// A `__shared__` variable's place for the running block.
struct SharedSite {
  size_t bytes, align;
  const char* name;
  unsigned long launch;
  char* at;
};
void* softcuda_shared(SharedSite* site);
void* softcuda_dynamic_shared();
[[noreturn]] void softcuda_trap(const char* why);
int softcuda_printf(const char* format, ...);
}

/// How a kernel's parameter refers to memory, by its C++ type.
enum class Param : uint8_t { Value, Reads, Writes };
struct ParamInfo { uint32_t bytes; Param kind; uint32_t pointee; };
/// A kernel as the module's table lists it; `call` runs one thread.
struct Kernel {
  const char* name;
  void (*call)(void** values);
  const ParamInfo* params;
  unsigned count;
};

template <class T> struct pointee_size { static constexpr uint32_t value = sizeof(T); };
template <> struct pointee_size<void> { static constexpr uint32_t value = 1; };
template <> struct pointee_size<const void> { static constexpr uint32_t value = 1; };
template <class T> constexpr ParamInfo param_info() {
  if constexpr (std::is_pointer_v<T>) {
    using Target = std::remove_pointer_t<T>;
    return {sizeof(T), std::is_const_v<Target> ? Param::Reads : Param::Writes, pointee_size<Target>::value};
  } else {
    return {sizeof(T), Param::Value, 0};
  }
}
template <auto function> struct Entry;
template <class... Args, void (*function)(Args...)> struct Entry<function> {
  static constexpr ParamInfo params[sizeof...(Args) + 1] = {param_info<std::remove_const_t<Args>>()..., {}};
  template <size_t... I> __attribute__((no_sanitize("thread"))) static void apply(void** values, std::index_sequence<I...>) {
    function(*static_cast<std::remove_const_t<Args>*>(values[I])...);
  }
  __attribute__((no_sanitize("thread"))) static void call(void** values) {
    apply(values, std::index_sequence_for<Args...>{});
  }
  static constexpr Kernel describe(const char* name) { return {name, call, params, sizeof...(Args)}; }
};

}  // namespace softcuda
