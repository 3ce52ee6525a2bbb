// Device memory: one reserved range of addresses, allocations between red zones, freed ones kept a while.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace softcuda {

constexpr size_t RED_ZONE = 256;
constexpr unsigned char RED = 0xa5;     // what a red zone holds
constexpr unsigned char POISON = 0xff;  // fresh and freed memory: NaN in f32, f16 and bf16

struct Allocation {
  uintptr_t at;
  size_t bytes;
  uint64_t number;          // which allocation of the run, from 1
  std::string made_before;  // the kernel launched last before it
  bool released = false;    // its free is queued or done, in the order of the streams
  bool freed = false;       // its memory has been given up
  uint64_t graph = 0;       // number of the graph that allocates it, 0 for none
  bool freed_by_graph = false;
};

struct Heap {
  uintptr_t base = 0;
  size_t reserved = 0;

  /// Zero where no room is left in the reserved range.
  uintptr_t allocate(size_t bytes, const std::string& made_before);
  /// Gives the memory up: red zones are looked at, contents poisoned, reuse put off.
  void release(Allocation& allocation);
  /// An allocation of a graph each time that the graph allocates and frees it: its address stays its own.
  void lend(Allocation& allocation);
  void take_back(Allocation& allocation);
  /// The allocation that `address` lies in or behind the red zone of; null where nothing ever was.
  Allocation* find(uintptr_t address);
  bool contains(uintptr_t address) const { return address - base < reserved; }
  /// Looks at the red zones of all live allocations.
  void inspect();

  std::map<uintptr_t, Allocation> allocations;  // by first byte

 private:
  std::map<uintptr_t, size_t> free_;  // gaps: first byte, bytes
  std::map<uint64_t, uintptr_t> quarantine_;
  size_t quarantined_ = 0;
  uint64_t made_ = 0, retired_ = 0;

  void reserve();
  void check_red_zones(const Allocation& a);
  void check_poison(const Allocation& a);
  void retire(uintptr_t at);
  uintptr_t take(size_t whole);
  void give(uintptr_t from, size_t whole);
};

Heap& heap();
/// `allocation 12 (4096 bytes, made after usoftmax_f32)`.
std::string describe(const Allocation& a);

}  // namespace softcuda
