#include "heap.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>

#include "findings.h"
#include "settings.h"
#include "shadow.h"

namespace softcuda {
namespace {

constexpr size_t GRAIN = 512;
constexpr size_t QUARANTINE = 64ull << 20;

size_t whole_size(size_t bytes) { return (bytes + GRAIN - 1) / GRAIN * GRAIN + 2 * RED_ZONE; }

}  // namespace

Heap& heap() {
  static auto* h = new Heap;
  return *h;
}

std::string describe(const Allocation& a) {
  return format("allocation %lu (%zu bytes, made after %s)", a.number, a.bytes,
                a.made_before.empty() ? "nothing" : a.made_before.c_str());
}

void Heap::reserve() {
  // Twice the device's memory: gaps and what waits in quarantine take addresses, not capacity.
  reserved = 2 * settings().memory;
  void* range = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) {
    perror("softcuda: reserving device addresses");
    abort();
  }
  base = reinterpret_cast<uintptr_t>(range);
  free_[base] = reserved;
  shadow_reserve(base, reserved);
}

uintptr_t Heap::take(size_t whole) {
  for (auto at = free_.begin(); at != free_.end(); ++at) {
    if (at->second < whole) continue;
    auto [from, room] = *at;
    free_.erase(at);
    if (room > whole) free_[from + whole] = room - whole;
    return from;
  }
  return 0;
}

void Heap::give(uintptr_t from, size_t whole) {
  auto next = free_.lower_bound(from);
  if (next != free_.end() && from + whole == next->first) {
    whole += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    auto before = std::prev(next);
    if (before->first + before->second == from) {
      before->second += whole;
      return;
    }
  }
  free_[from] = whole;
}

uintptr_t Heap::allocate(size_t bytes, const std::string& made_before) {
  if (!base) reserve();
  size_t whole = whole_size(bytes);
  uintptr_t from = take(whole);
  while (!from && !quarantine_.empty()) {
    retire(quarantine_.begin()->second);
    from = take(whole);
  }
  if (!from) return 0;
  uintptr_t at = from + RED_ZONE;
  memset(reinterpret_cast<void*>(from), RED, RED_ZONE);
  memset(reinterpret_cast<void*>(at), POISON, bytes);
  memset(reinterpret_cast<void*>(at + bytes), RED, whole - RED_ZONE - bytes);
  shadow_state(at, bytes, State::Fresh);
  Allocation& made = allocations[at] = Allocation();
  made.at = at, made.bytes = bytes, made.number = ++made_, made.made_before = made_before;
  return at;
}

void Heap::check_red_zones(const Allocation& a) {
  auto* from = reinterpret_cast<const unsigned char*>(a.at - RED_ZONE);
  auto* end = from + whole_size(a.bytes);
  auto* first = reinterpret_cast<const unsigned char*>(a.at);
  for (auto* p = from; p < end; p++) {
    if (p == first) p += a.bytes;
    if (p < end && *p != RED) {
      report(Kind::RedZone, "a kernel before the free of " + describe(a), nullptr,
             format("byte %+ld of it was written; SOFTCUDA_CHECK=full names the kernel and the line",
                    long(p - first)));
      return;
    }
  }
}

void Heap::release(Allocation& a) {
  check_red_zones(a);
  a.freed = a.released = true;
  memset(reinterpret_cast<void*>(a.at), POISON, a.bytes);
  shadow_state(a.at, a.bytes, State::Freed);
  quarantine_[retired_++] = a.at;
  quarantined_ += a.bytes;
  while (quarantined_ > QUARANTINE && !quarantine_.empty()) retire(quarantine_.begin()->second);
}

void Heap::lend(Allocation& a) {
  check_poison(a);
  a.freed = false;
  shadow_state(a.at, a.bytes, State::Fresh);
}

void Heap::take_back(Allocation& a) {
  check_red_zones(a);
  a.freed = true;
  memset(reinterpret_cast<void*>(a.at), POISON, a.bytes);
  shadow_state(a.at, a.bytes, State::Freed);
}

void Heap::check_poison(const Allocation& a) {
  auto* bytes = reinterpret_cast<const unsigned char*>(a.at);
  for (size_t i = 0; i < a.bytes; i++) {
    if (bytes[i] != POISON) {
      report(Kind::WriteAfterFree, "a kernel after the free of " + describe(a), nullptr,
             format("byte %zu of it was written; SOFTCUDA_CHECK=full names the kernel and the line", i));
      break;
    }
  }
}

void Heap::retire(uintptr_t at) {
  Allocation& a = allocations.at(at);
  check_poison(a);
  check_red_zones(a);
  quarantined_ -= a.bytes;
  quarantine_.erase(quarantine_.begin());
  size_t whole = whole_size(a.bytes);
  shadow_state(at - RED_ZONE, whole, State::Nothing);
  // Large blocks go back to the system: a freed weight is no longer in memory.
  if (a.bytes > (1 << 20)) {
    uintptr_t page = (at + 4095) & ~uintptr_t(4095), end = (at + a.bytes) & ~uintptr_t(4095);
    madvise(reinterpret_cast<void*>(page), end - page, MADV_DONTNEED);
  }
  give(at - RED_ZONE, whole);
  allocations.erase(at);
}

Allocation* Heap::find(uintptr_t address) {
  if (!contains(address)) return nullptr;
  // The red zone before an allocation belongs to it too.
  auto next = allocations.upper_bound(address + RED_ZONE);
  if (next == allocations.begin()) return nullptr;
  Allocation& a = std::prev(next)->second;
  return address < a.at - RED_ZONE + whole_size(a.bytes) ? &a : nullptr;
}

void Heap::inspect() {
  for (auto& [_, a] : allocations) {
    if (!a.freed) check_red_zones(a);
  }
}

}  // namespace softcuda
