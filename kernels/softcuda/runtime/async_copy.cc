#include "async_copy.h"

#include <cstring>
#include <deque>

#include "../include/softcuda/abi.h"
#include "heap.h"
#include "scheduler.h"

namespace softcuda {
namespace {

struct Copy {
  void* to;
  const void* from;
  unsigned bytes;
  uint64_t group;
};
struct Copies {
  std::deque<Copy> pending;
  uint64_t group = 0;  // the one that is open
};
Copies of_thread[1024];

}  // namespace

void copies_forget(uint32_t thread) {
  if (of_thread[thread].pending.empty()) return;
  of_thread[thread].pending.clear();
}

extern "C" {

void softcuda_copy_start(void* to, const void* from, unsigned bytes) {
  Copies& mine = of_thread[running.thread];
  memset(to, POISON, 16);
  mine.pending.push_back({to, from, bytes, mine.group});
}

void softcuda_copy_commit() { of_thread[running.thread].group++; }

void softcuda_copy_wait(unsigned pending) {
  Copies& mine = of_thread[running.thread];
  while (!mine.pending.empty() && mine.pending.front().group + pending < mine.group) {
    const Copy& copy = mine.pending.front();
    memcpy(copy.to, copy.from, copy.bytes);
    memset(static_cast<char*>(copy.to) + copy.bytes, 0, 16 - copy.bytes);
    mine.pending.pop_front();
  }
}

}  // extern "C"
}  // namespace softcuda
