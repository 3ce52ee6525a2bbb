#include "shadow.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <sys/mman.h>
#include <vector>

#include "findings.h"
#include "heap.h"
#include "launch.h"
#include "scheduler.h"
#include "settings.h"

namespace softcuda {
namespace {

/// Who touched a cell of four bytes last, in one way.
struct Touch {
  const void* pc;
  uint32_t launch;       // 0: nobody
  uint32_t block, block_epoch, warp_epoch;
  uint16_t thread;
  uint8_t bytes;         // of the cell, as bits
  bool atomic : 1;
  bool more : 1;         // a read: other threads of the block read it too, since the same barrier
};
struct Cell {
  Touch write, read;
};

/// A range of memory with the state of each byte and the touches of each cell.
struct Region {
  uintptr_t base = 0;
  size_t bytes = 0;
  uint8_t* states = nullptr;
  Cell* cells = nullptr;

  bool contains(uintptr_t at) const { return at - base < bytes; }
};
Region device, block_shared;

template <class T> T* reserve(size_t count) {
  void* range = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) {
    perror("softcuda: reserving the shadow");
    abort();
  }
  return static_cast<T*>(range);
}

void cover(Region& region, uintptr_t base, size_t bytes) {
  region = {base, bytes, reserve<uint8_t>(bytes), reserve<Cell>(bytes / 4 + 1)};
}

/// Found while a thread ran, told when the launch is over: the running thread's stack is small.
struct Note {
  Kind kind;
  const void* pc;
  const void* other_pc;
  uintptr_t at;
  uint32_t bytes, block, thread, other_block, other_thread;
  bool write, other_write;
  std::string where;
  uint64_t times;
};
constexpr size_t NOTES = 64;
std::vector<Note> notes;
const Launch* noted;

struct Range { uintptr_t from, to; };
std::vector<Range> ignored;

/// Variables of the running block, for messages.
struct Variable { uintptr_t at; size_t bytes; const char* name; };
std::vector<Variable> variables;

std::string where(uintptr_t at) {
  if (block_shared.contains(at)) {
    for (const Variable& v : variables) {
      if (at - v.at < v.bytes) return format("shared %s at byte %zu of %zu", v.name, size_t(at - v.at), v.bytes);
    }
    for (const Variable& v : variables) {
      if (at - v.at < v.bytes + RED_ZONE) return format("%zu bytes behind shared %s (%zu bytes)", size_t(at - v.at - v.bytes), v.name, v.bytes);
      if (v.at - at <= RED_ZONE) return format("%zu bytes before shared %s (%zu bytes)", size_t(v.at - at), v.name, v.bytes);
    }
    return "shared memory that no variable has";
  }
  const Allocation* a = heap().find(at);
  if (!a) return format("address %#lx, where nothing is allocated", at);
  long offset = long(at - a->at);
  if (offset < 0) return format("%ld bytes before ", -offset) + describe(*a);
  if (size_t(offset) >= a->bytes) return format("%ld bytes behind ", offset - long(a->bytes)) + describe(*a);
  return format("byte %ld of ", offset) + describe(*a);
}

void note(Kind kind, const void* pc, uintptr_t at, uint32_t bytes, bool write, const Touch* other, bool other_write) {
  const void* other_pc = other ? other->pc : nullptr;
  for (Note& n : notes) {
    if (n.kind == kind && n.pc == pc) {
      n.times++;
      return;
    }
  }
  if (notes.size() == NOTES) return;
  noted = running.launch;
  notes.push_back({kind, pc, other_pc, at, bytes, running.block, running.thread, other ? other->block : 0,
                   other ? uint32_t(other->thread) : 0, write, other_write, where(at), 1});
}

std::string thread_text(uint32_t block, uint32_t thread) {
  auto c = coordinates(*noted, block, thread);
  return format("block (%u,%u,%u), thread (%u,%u,%u)", c.block.x, c.block.y, c.block.z, c.thread.x, c.thread.y, c.thread.z);
}

/// Whether the earlier touch may fall together with the running thread's.
bool unordered(const Touch& t, bool shared) {
  if (t.launch != uint32_t(running.launch->number)) return false;
  if (t.block != running.block) return !shared;
  if (t.more) return t.block_epoch == running.block_epoch;
  if (t.thread == running.thread || t.block_epoch != running.block_epoch) return false;
  return t.thread / 32 != running.thread / 32 || t.warp_epoch == running.warp_epoch[running.thread / 32];
}

Touch touch(uint8_t bytes, bool atomic, const void* pc) {
  return {pc, uint32_t(running.launch->number), running.block, running.block_epoch,
          running.warp_epoch[running.thread / 32], uint16_t(running.thread), bytes, atomic, false};
}

void check_race(Region& region, uintptr_t at, unsigned bytes, bool write, bool atomic, const void* pc) {
  const bool shared = &region == &block_shared;
  size_t offset = at - region.base;
  for (size_t cell = offset / 4; cell <= (offset + bytes - 1) / 4; cell++) {
    size_t first = std::max(offset, cell * 4) - cell * 4, last = std::min(offset + bytes, cell * 4 + 4) - cell * 4;
    auto mask = uint8_t(((1u << last) - 1) & ~((1u << first) - 1));
    Cell& c = region.cells[cell];
    auto race = [&](const Touch& t, bool other_write) {
      if (!(t.bytes & mask) || (t.atomic && atomic) || !unordered(t, shared)) return;
      Kind kind = t.block != running.block ? Kind::BlockRace : shared ? Kind::SharedRace : Kind::GlobalRace;
      note(kind, pc, at, bytes, write, &t, other_write);
    };
    race(c.write, true);
    if (write) {
      race(c.read, false);
      c.write = touch(mask, atomic, pc);
    } else {
      Touch& r = c.read;
      bool again = r.launch == uint32_t(running.launch->number) && r.block == running.block && r.block_epoch == running.block_epoch &&
                   r.thread != running.thread && (r.bytes & mask);
      Touch mine = touch(mask, atomic, pc);
      mine.more = again;
      // A read by another block stays: a later write by this block races with it.
      if (!(r.launch == uint32_t(running.launch->number) && r.block != running.block && !shared)) r = mine;
    }
  }
}

void check_state(Region& region, uintptr_t at, unsigned bytes, bool write, bool atomic, const void* pc) {
  uint8_t* s = region.states + (at - region.base);
  for (unsigned i = 0; i < bytes; i++) {
    auto state = State(s[i]);
    if (state == State::Nothing) note(Kind::OutOfBounds, pc, at + i, bytes, write, nullptr, false);
    else if (state == State::Freed) note(Kind::UseAfterFree, pc, at + i, bytes, write, nullptr, false);
    else if (state == State::Fresh && (!write || atomic)) note(Kind::Uninitialised, pc, at + i, bytes, false, nullptr, false);
    else if (state == State::Written) continue;
    else {
      s[i] = uint8_t(State::Written);
      continue;
    }
    // A read is reported once and then taken for read; memory that is not there stays so.
    if (state == State::Fresh) s[i] = uint8_t(State::Written);
    else break;
  }
}

}  // namespace

void shadow_reserve(uintptr_t base, size_t bytes) {
  if (settings().checked) cover(device, base, bytes);
}

void shadow_state(uintptr_t at, size_t bytes, State state) {
  if (!settings().checked || !bytes) return;
  memset(device.states + (at - device.base), int(state), bytes);
}

void shadow_copy(uintptr_t to, uintptr_t from, size_t bytes) {
  if (!settings().checked) return;
  memmove(device.states + (to - device.base), device.states + (from - device.base), bytes);
}

void shadow_host_read(uintptr_t at, size_t bytes, const char* who) {
  if (!settings().checked || !bytes) return;
  const uint8_t* s = device.states + (at - device.base);
  size_t fresh = std::count(s, s + bytes, uint8_t(State::Fresh));
  size_t outside = std::count_if(s, s + bytes, [](uint8_t v) { return v == uint8_t(State::Nothing) || v == uint8_t(State::Freed); });
  if (outside) report(Kind::OutOfBounds, who, nullptr, format("%zu of %zu bytes lie outside; first: ", outside, bytes) + where(at));
  else if (fresh == bytes) report(Kind::Uninitialised, who, nullptr, "nothing was ever written to " + where(at));
}

Arena& arena() {
  static Arena a = {};
  return a;
}

void arena_reset(size_t dynamic_bytes) {
  Arena& a = arena();
  if (!a.base) {
    a.bytes = 1 << 20;
    a.base = static_cast<char*>(aligned_alloc(4096, a.bytes));
    if (settings().checked) cover(block_shared, reinterpret_cast<uintptr_t>(a.base), a.bytes);
    a.used = a.bytes;
  }
  size_t start = RED_ZONE + (dynamic_bytes + 15) / 16 * 16 + RED_ZONE;
  memset(a.base, POISON, std::max(a.used, start));
  a.used = start;
  a.claimed = dynamic_bytes;
  variables.clear();
  if (settings().checked) {
    memset(block_shared.states, int(State::Nothing), a.bytes);
    memset(block_shared.states + RED_ZONE, int(State::Fresh), dynamic_bytes);
  }
  if (dynamic_bytes) variables.push_back({reinterpret_cast<uintptr_t>(a.base) + RED_ZONE, dynamic_bytes, "(dynamic)"});
}

extern "C" void* softcuda_dynamic_shared() { return arena().base + RED_ZONE; }

extern "C" void* softcuda_shared(SharedSite* site) {
  Arena& a = arena();
  const uint64_t this_block = (running.launch->number << 32) + running.block + 1;
  if (site->launch == this_block) return site->at;
  size_t at = (a.used + site->align - 1) / site->align * site->align;
  if (at + site->bytes + RED_ZONE > a.bytes) softcuda_trap("more shared memory than any device has");
  site->launch = this_block;
  site->at = a.base + at;
  a.used = at + site->bytes + RED_ZONE;
  a.claimed += site->bytes;
  if (size_t limit = shared_limit(); a.claimed > limit) {
    report(Kind::LaunchLimit, running.launch->kernel->name, nullptr,
           format("%zu bytes of shared memory in a block, the device has %zu", a.claimed, limit));
  }
  memset(site->at, POISON, site->bytes + RED_ZONE);
  if (settings().checked) {
    memset(block_shared.states + at, int(State::Fresh), site->bytes);
    variables.push_back({reinterpret_cast<uintptr_t>(site->at), site->bytes, site->name});
  }
  return site->at;
}

void shadow_ignore(uintptr_t from, uintptr_t to) { ignored.push_back({from, to}); }

void shadow_access(uintptr_t at, unsigned bytes, bool write, bool atomic, const void* pc) {
  if (!running.launch || on_stack(at)) return;
  if (at - reinterpret_cast<uintptr_t>(&softcuda_place) < sizeof softcuda_place) return;
  Region* region = device.contains(at) ? &device : block_shared.contains(at) ? &block_shared : nullptr;
  if (!region) {
    for (const Range& r : ignored) {
      if (at >= r.from && at < r.to) return;
    }
    note(Kind::IllegalAddress, pc, at, bytes, write, nullptr, false);
    return;
  }
  check_state(*region, at, bytes, write, atomic, pc);
  check_race(*region, at, bytes, write, atomic, pc);
}

void shadow_flush() {
  for (const Note& n : notes) {
    std::string what = thread_text(n.block, n.thread) + (n.write ? " writes " : " reads ") + std::to_string(n.bytes) +
                       " bytes, " + n.where;
    if (n.other_pc) {
      what += "; " + thread_text(n.other_block, n.other_thread) + (n.other_write ? " wrote" : " read") + " it at " +
              source_line(n.other_pc) + (n.kind == Kind::BlockRace ? "" : " with no barrier between");
    }
    if (n.times > 1) what += format(" (%lu times in this launch)", n.times);
    report(n.kind, noted->kernel->name, n.pc, what);
  }
  notes.clear();
}

// What -fsanitize=thread calls. The real run-time library is not linked.
extern "C" {

#define SOFTCUDA_PC __builtin_return_address(0)
#define SOFTCUDA_HOOK(size)                                                                                            \
  void __tsan_read##size(void* p) { shadow_access(uintptr_t(p), size, false, false, SOFTCUDA_PC); }                    \
  void __tsan_write##size(void* p) { shadow_access(uintptr_t(p), size, true, false, SOFTCUDA_PC); }                    \
  void __tsan_unaligned_read##size(void* p) { shadow_access(uintptr_t(p), size, false, false, SOFTCUDA_PC); }          \
  void __tsan_unaligned_write##size(void* p) { shadow_access(uintptr_t(p), size, true, false, SOFTCUDA_PC); }          \
  void __tsan_volatile_read##size(void* p) { shadow_access(uintptr_t(p), size, false, false, SOFTCUDA_PC); }           \
  void __tsan_volatile_write##size(void* p) { shadow_access(uintptr_t(p), size, true, false, SOFTCUDA_PC); }
SOFTCUDA_HOOK(1)
SOFTCUDA_HOOK(2)
SOFTCUDA_HOOK(4)
SOFTCUDA_HOOK(8)
SOFTCUDA_HOOK(16)
void __tsan_read_range(void* p, unsigned long n) { shadow_access(uintptr_t(p), n, false, false, SOFTCUDA_PC); }
void __tsan_write_range(void* p, unsigned long n) { shadow_access(uintptr_t(p), n, true, false, SOFTCUDA_PC); }
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

void softcuda_atomic(const void* p, unsigned bytes) {
  if (settings().checked) shadow_access(uintptr_t(p), bytes, true, true, SOFTCUDA_PC);
}
void softcuda_access(const void* p, unsigned bytes, unsigned alignment, bool write) {
  const auto at = uintptr_t(p);
  if (at % alignment) note(Kind::Misaligned, SOFTCUDA_PC, at, alignment, write, nullptr, false);
  if (settings().checked && bytes) shadow_access(at, bytes, write, false, SOFTCUDA_PC);
}
void* softcuda_memset(void* p, int value, size_t n) {
  shadow_access(uintptr_t(p), n, true, false, SOFTCUDA_PC);
  return memset(p, value, n);
}
void* softcuda_memcpy(void* to, const void* from, size_t n) {
  shadow_access(uintptr_t(from), n, false, false, SOFTCUDA_PC);
  shadow_access(uintptr_t(to), n, true, false, SOFTCUDA_PC);
  return memcpy(to, from, n);
}

// What -fsanitize=alignment calls.
struct TypeMismatch {
  struct { const char* file; unsigned line, column; } place;
  const void* type;
  unsigned char log_alignment;
  unsigned char check;
};
void __ubsan_handle_type_mismatch_v1(TypeMismatch* data, uintptr_t at) {
  if (!running.launch || !data->log_alignment) return;
  if (at & ((1ul << data->log_alignment) - 1)) note(Kind::Misaligned, SOFTCUDA_PC, at, 1u << data->log_alignment, data->check == 1, nullptr, false);
}

}  // extern "C"
}  // namespace softcuda
