#include "scheduler.h"

#include <algorithm>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <sys/mman.h>
#include <ucontext.h>
#include <vector>

#include "findings.h"
#include "settings.h"
#include "shadow.h"

namespace softcuda {

extern "C" {
Place softcuda_place;
}
Running running;

namespace {

// A fiber runs threads of the block one after the other for as long as none waits; a thread that waits keeps its fiber,
// and the next threads get another. A kernel without barriers is therefore a plain loop on one fiber.
constexpr size_t STACK = 128 << 10;
constexpr unsigned MAX_THREADS = 1024;

enum class Wait : uint8_t { None, Block, Warp };

struct Fiber {
  void* stack_pointer = nullptr;
  char* stack = nullptr;
  uint32_t thread = 0;
};

struct Thread {
  Fiber* fiber = nullptr;
  Wait wait = Wait::None;
  bool exited = false;
  const void* where = nullptr;  // of the wait
  unsigned mask = 0;            // whom a warp wait is for
  bool orders = false;          // whether the warp wait orders memory
  unsigned present = 0;         // lanes that took part in the last warp wait: by now some may have ended
  uint8_t phase = 0;
  uint64_t given[2] = {};       // to the exchange, by phase
  int predicate = 0;
};

struct Block {
  const Launch* launch;
  uint32_t count;
  std::vector<uint32_t> order;
  uint32_t next;  // position in `order` of the next thread to start
  Thread threads[MAX_THREADS];
  Fiber* current;
  bool broken;
  int votes;  // result of a counting barrier
};
Block state;

char* stacks = nullptr;
std::vector<Fiber*> idle;
std::vector<Fiber> fibers;
void* scheduler_stack;
uint64_t random_state;

extern "C" void softcuda_switch(void** save, void* load);
asm(R"(
.text
.globl softcuda_switch
.hidden softcuda_switch
.type softcuda_switch,@function
softcuda_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size softcuda_switch,.-softcuda_switch
)");

uint64_t random_number() {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  return random_state ^= random_state << 17;
}

void arrange(std::vector<uint32_t>& order, uint32_t count) {
  order.resize(count);
  std::iota(order.begin(), order.end(), 0);
  if (settings().order == Order::Backward) std::reverse(order.begin(), order.end());
  if (settings().order == Order::Random) {
    for (uint32_t i = count; i > 1; i--) std::swap(order[i - 1], order[random_number() % i]);
  }
}

void place_thread(uint32_t thread) {
  const uint3& size = state.launch->block;
  softcuda_place.thread = {thread % size.x, thread / size.x % size.y, thread / (size.x * size.y)};
  running.thread = thread;
}

void to_scheduler() { softcuda_switch(&state.current->stack_pointer, scheduler_stack); }

void fiber_main() {
  for (;;) {
    Fiber* self = state.current;
    while (state.next < state.count && !state.broken) {
      uint32_t thread = state.order[state.next++];
      Thread& t = state.threads[thread];
      t.fiber = self;
      self->thread = thread;
      place_thread(thread);
      state.launch->kernel->call(state.launch->values);
      state.threads[self->thread].exited = true;
    }
    idle.push_back(self);
    to_scheduler();
  }
}

void prepare(Fiber& fiber) {
  auto top = reinterpret_cast<uintptr_t>(fiber.stack + STACK);
  top -= 64 * (1 + (&fiber - fibers.data()) % 16);  // so that the tops do not fall on the same cache lines
  void** frame = reinterpret_cast<void**>(top & ~uintptr_t(15));
  *--frame = nullptr;
  *--frame = reinterpret_cast<void*>(fiber_main);
  for (int saved = 0; saved < 6; saved++) *--frame = nullptr;
  fiber.stack_pointer = frame;
}

void make_fibers() {
  size_t each = STACK + 4096;
  stacks = static_cast<char*>(mmap(nullptr, each * MAX_THREADS, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (stacks == MAP_FAILED) {
    perror("softcuda: stacks");
    abort();
  }
  fibers.resize(MAX_THREADS);
  for (unsigned i = 0; i < MAX_THREADS; i++) {
    mprotect(stacks + each * i, 4096, PROT_NONE);
    fibers[i].stack = stacks + each * i + 4096;
  }
}

void all_idle() {
  idle.clear();
  for (auto f = fibers.rbegin(); f != fibers.rend(); ++f) {
    prepare(*f);
    idle.push_back(&*f);
  }
}

void resume(Fiber* fiber) {
  state.current = fiber;
  softcuda_switch(&scheduler_stack, fiber->stack_pointer);
}

void start_threads() {
  while (state.next < state.count && !state.broken) {
    Fiber* fiber = idle.back();
    idle.pop_back();
    resume(fiber);
  }
}

void wait(Wait kind, unsigned mask, const void* where, bool orders = true) {
  uint32_t self = running.thread;
  Thread& t = state.threads[self];
  t.orders = orders;
  t.wait = kind;
  t.mask = mask;
  t.where = where;
  to_scheduler();
  place_thread(self);
}

std::string at(uint32_t thread) {
  auto c = coordinates(*state.launch, running.block, thread);
  return format("block (%u,%u,%u), thread (%u,%u,%u)", c.block.x, c.block.y, c.block.z, c.thread.x, c.thread.y,
                c.thread.z);
}

/// Whether all live threads stand at the block's barrier. Different lines are a finding, and counted as one barrier,
/// as the hardware does.
bool block_barrier_complete() {
  const Thread* first = nullptr;
  uint32_t first_thread = 0, live = 0, exited = 0, exited_thread = 0;
  for (uint32_t i = 0; i < state.count; i++) {
    const Thread& t = state.threads[i];
    if (t.exited) {
      exited++;
      exited_thread = i;
      continue;
    }
    if (t.wait != Wait::Block) return false;
    if (!first) {
      first = &t;
      first_thread = i;
    } else if (t.where != first->where && source_line(t.where) != source_line(first->where)) {
      report(Kind::DivergentBarrier, state.launch->kernel->name, t.where,
             at(i) + " waits here while thread " + std::to_string(first_thread) + " of the block waits at " +
                 source_line(first->where));
    }
    live++;
  }
  if (live && exited) {
    report(Kind::DivergentBarrier, state.launch->kernel->name, first->where,
           at(first_thread) + " waits here, but thread " + std::to_string(exited_thread) + " of the block has ended (" +
               std::to_string(exited) + " of " + std::to_string(state.count) + " have)");
  }
  return live > 0;
}

/// The lanes of warp `w` that can go on: all members of the mask of the first waiting lane have come.
unsigned warp_ready(uint32_t w) {
  uint32_t from = w * 32, count = std::min(32u, state.count - from);
  for (uint32_t lane = 0; lane < count; lane++) {
    const Thread& t = state.threads[from + lane];
    if (t.exited || t.wait != Wait::Warp) continue;
    unsigned members = t.mask & (count == 32 ? ~0u : (1u << count) - 1), come = 0;
    for (uint32_t other = 0; other < count; other++) {
      const Thread& o = state.threads[from + other];
      if ((members >> other & 1) && (o.exited || (o.wait == Wait::Warp && o.mask == t.mask))) come |= 1u << other;
    }
    if (come == members) return members;
  }
  return 0;
}

void deadlock() {
  const Thread* waiting = nullptr;
  uint32_t which = 0;
  std::string others;
  for (uint32_t i = 0; i < state.count; i++) {
    const Thread& t = state.threads[i];
    if (t.exited || t.wait == Wait::None) continue;
    if (!waiting) {
      waiting = &t;
      which = i;
    } else if (t.where != waiting->where && others.empty()) {
      others = ", thread " + std::to_string(i) + " at " + source_line(t.where);
    }
  }
  uint32_t exited = std::count_if(state.threads, state.threads + state.count, [](auto& t) { return t.exited; });
  report(Kind::DivergentBarrier, state.launch->kernel->name, waiting ? waiting->where : nullptr,
         at(which) + " waits for ever" + others + "; " + std::to_string(exited) + " of " +
             std::to_string(state.count) + " threads have ended");
  state.broken = true;
}

bool run_block() {
  state.next = 0;
  state.broken = false;
  running.block_epoch = 0;
  std::fill(std::begin(running.warp_epoch), std::end(running.warp_epoch), 0);
  for (uint32_t i = 0; i < state.count; i++) {
    Thread& t = state.threads[i];
    t.wait = Wait::None;
    t.exited = false;
    t.phase = 0;
  }
  arrange(state.order, state.count);
  start_threads();
  std::vector<uint32_t> released;
  const uint32_t warps = (state.count + 31) / 32;
  while (!state.broken && idle.size() < fibers.size()) {
    released.clear();
    for (uint32_t w = 0; w < warps; w++) {
      unsigned lanes = warp_ready(w);
      if (!lanes) continue;
      running.warp_epoch[w] += std::any_of(state.threads + w * 32, state.threads + std::min(w * 32 + 32, state.count),
                                           [](auto& t) { return t.wait == Wait::Warp && t.orders; });
      for (uint32_t lane = 0; lane < 32; lane++) {
        if ((lanes >> lane & 1) && state.threads[w * 32 + lane].exited) lanes &= ~(1u << lane);
      }
      for (uint32_t lane = 0; lane < 32; lane++) {
        if (!(lanes >> lane & 1)) continue;
        state.threads[w * 32 + lane].present = lanes;
        released.push_back(w * 32 + lane);
      }
    }
    if (released.empty()) {
      if (!block_barrier_complete()) {
        deadlock();
        break;
      }
      running.block_epoch++;
      for (uint32_t i = 0; i < state.count; i++) {
        if (!state.threads[i].exited) released.push_back(i);
      }
    }
    if (settings().order == Order::Backward) std::reverse(released.begin(), released.end());
    if (settings().order == Order::Random) {
      for (size_t i = released.size(); i > 1; i--) std::swap(released[i - 1], released[random_number() % i]);
    }
    for (uint32_t i : released) state.threads[i].wait = Wait::None;
    for (uint32_t i : released) {
      if (state.broken) break;
      resume(state.threads[i].fiber);
    }
  }
  if (state.broken) all_idle();
  return !state.broken;
}

// A kernel that touches memory which is not there: the block ends, the process does not.
struct sigaction before_fault;
struct { void* address; const void* pc; } fault;

void abandoned() {
  report(Kind::IllegalAddress, state.launch->kernel->name, fault.pc,
         at(running.thread) + format(" touches %p, where no memory is", fault.address));
  state.broken = true;
  to_scheduler();
}

void on_fault(int signal, siginfo_t* info, void* context) {
  auto* machine = &static_cast<ucontext_t*>(context)->uc_mcontext;
  if (!running.launch || !on_stack(uintptr_t(machine->gregs[REG_RSP]))) {
    sigaction(signal, &before_fault, nullptr);
    return;  // not ours: happens again under the handler that was there
  }
  fault = {info->si_addr, reinterpret_cast<void*>(machine->gregs[REG_RIP] + 1)};
  // The thread is never resumed, so its stack is free for telling what happened.
  machine->gregs[REG_RSP] = greg_t((reinterpret_cast<uintptr_t>(state.current->stack + STACK) & ~uintptr_t(15)) - 8);
  machine->gregs[REG_RIP] = greg_t(abandoned);
}

}  // namespace

Coordinates coordinates(const Launch& launch, uint32_t block, uint32_t thread) {
  const uint3 &g = launch.grid, &b = launch.block;
  return {{block % g.x, block / g.x % g.y, block / (g.x * g.y)},
          {thread % b.x, thread / b.x % b.y, thread / (b.x * b.y)}};
}

bool on_stack(uintptr_t address) {
  return address - reinterpret_cast<uintptr_t>(stacks) < (STACK + 4096) * MAX_THREADS;
}

bool run(const Launch& launch) {
  if (!stacks) {
    make_fibers();
    all_idle();
  }
  random_state = (settings().seed + launch.number) * 0x9e3779b97f4a7c15ull | 1;
  state.launch = &launch;
  state.count = launch.block.x * launch.block.y * launch.block.z;
  softcuda_place.block_dim = {launch.block.x, launch.block.y, launch.block.z};
  softcuda_place.grid_dim = {launch.grid.x, launch.grid.y, launch.grid.z};
  std::vector<uint32_t> blocks;
  arrange(blocks, launch.grid.x * launch.grid.y * launch.grid.z);

  struct sigaction ours = {};
  ours.sa_sigaction = on_fault;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &ours, &before_fault);
  running.launch = &launch;
  bool whole = true;
  for (uint32_t block : blocks) {
    running.block = block;
    softcuda_place.block = coordinates(launch, block, 0).block;
    arena_reset(launch.shared_bytes);
    if (!(whole = run_block())) break;
  }
  running.launch = nullptr;
  sigaction(SIGSEGV, &before_fault, nullptr);
  shadow_flush();
  return whole;
}

// What kernels call.
extern "C" {

int softcuda_block_barrier(int kind, int predicate) {
  state.threads[running.thread].predicate = predicate;
  wait(Wait::Block, ~0u, __builtin_return_address(0));
  if (!kind) return 0;
  int count = 0, live = 0;
  for (uint32_t i = 0; i < state.count; i++) {
    if (state.threads[i].exited) continue;
    live++;
    count += state.threads[i].predicate != 0;
  }
  // Predicates must not change before every thread has read them.
  wait(Wait::Block, ~0u, __builtin_return_address(0));
  return kind == 1 ? count : kind == 2 ? count == live : count > 0;
}

void softcuda_warp_barrier(unsigned mask) { wait(Wait::Warp, mask, __builtin_return_address(0)); }

unsigned softcuda_lane() { return running.thread & 31; }

unsigned softcuda_active_lanes() {
  uint32_t from = running.thread & ~31u;
  unsigned lanes = 0;
  for (uint32_t i = from; i < std::min(from + 32, state.count); i++) {
    if (!state.threads[i].exited) lanes |= 1u << (i - from);
  }
  return lanes;
}

uint64_t softcuda_warp_exchange(unsigned mask, uint64_t value, int source) {
  Thread& self = state.threads[running.thread];
  uint32_t from = running.thread & ~31u;
  uint8_t phase = self.phase;
  self.phase ^= 1;
  self.given[phase] = value;
  wait(Wait::Warp, mask, __builtin_return_address(0), !settings().strict_warp);
  // A lane that took no part gives the reader its own value back.
  if (!(self.present >> (source & 31) & 1)) return value;
  return state.threads[from + (source & 31)].given[phase];
}

unsigned softcuda_warp_ballot(unsigned mask, int predicate) {
  Thread& self = state.threads[running.thread];
  uint32_t from = running.thread & ~31u;
  uint8_t phase = self.phase;
  self.phase ^= 1;
  self.given[phase] = predicate != 0;
  wait(Wait::Warp, mask, __builtin_return_address(0), !settings().strict_warp);
  unsigned lanes = 0;
  for (uint32_t lane = 0; lane < 32; lane++) {
    if ((self.present >> lane & 1) && state.threads[from + lane].given[phase]) lanes |= 1u << lane;
  }
  return lanes;
}

void softcuda_trap(const char* why) {
  report(Kind::Trap, running.launch->kernel->name, __builtin_return_address(0), at(running.thread) + ": " + why);
  state.broken = true;
  to_scheduler();
  __builtin_unreachable();
}

int softcuda_printf(const char* pattern, ...) {
  va_list args;
  va_start(args, pattern);
  int n = vprintf(pattern, args);
  va_end(args);
  return n;
}

}  // extern "C"
}  // namespace softcuda
