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

#include "async_copy.h"
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
};

struct Thread {
  uint3 place = {};             // within the block
  Fiber* fiber = nullptr;
  const void* where = nullptr;  // of the wait
  uint64_t given[2] = {};       // to the exchange, by phase
  unsigned mask = 0;            // whom a warp wait is for
  unsigned present = 0;         // lanes that took part in the last warp wait: by now some may have ended
  Wait wait = Wait::None;
  bool exited = false;
  bool orders = false;          // whether the warp wait orders memory
  uint8_t phase = 0;
  int predicate = 0;
};

/// A warp by the bits of its lanes.
struct Warp {
  unsigned exist, exited, waiting;
};

struct Block {
  const Launch* launch;
  bool backward, random, strict_warp;  // as the settings say
  uint32_t count, live, at_barrier;
  std::vector<uint32_t> order;  // in which threads start
  uint32_t next;                // position in `order`
  Thread threads[MAX_THREADS];
  Warp warps[MAX_THREADS / 32];
  uint32_t ready[MAX_THREADS];  // a ring of threads that may go on
  uint32_t first_ready, ready_count;
  Fiber* current;
  bool broken;
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
  softcuda_place.thread = state.threads[thread].place;
  running.thread = thread;
}

void make_ready(uint32_t thread) {
  state.threads[thread].wait = Wait::None;
  state.ready[(state.first_ready + state.ready_count++) % MAX_THREADS] = thread;
}

uint32_t take_ready() {
  uint32_t& first = state.ready[state.first_ready];
  if (state.random) {
    std::swap(first, state.ready[(state.first_ready + random_number() % state.ready_count) % MAX_THREADS]);
  }
  uint32_t thread = first;
  state.first_ready = (state.first_ready + 1) % MAX_THREADS;
  state.ready_count--;
  return thread;
}

/// Lets the lanes of `mask` go if all of them have come, with the same mask, or ended.
void release_lanes(uint32_t w, unsigned mask) {
  Warp& warp = state.warps[w];
  const unsigned members = mask & warp.exist;
  if (((warp.waiting | warp.exited) & members) != members) return;
  const unsigned lanes = warp.waiting & members;
  Thread* threads = state.threads + w * 32;
  bool orders = false;
  for (unsigned m = lanes; m; m &= m - 1) {
    const Thread& t = threads[__builtin_ctz(m)];
    if ((t.mask & warp.exist) != members) return;
    orders |= t.orders;
  }
  warp.waiting &= ~lanes;
  running.warp_epoch[w] += orders;
  const bool backward = state.backward;
  for (unsigned m = lanes; m;) {
    uint32_t lane = backward ? 31 - __builtin_clz(m) : __builtin_ctz(m);
    m &= ~(1u << lane);
    threads[lane].present = lanes;
    make_ready(w * 32 + lane);
  }
}

std::string at(uint32_t thread) {
  auto c = coordinates(*state.launch, running.block, thread);
  return format("block (%u,%u,%u), thread (%u,%u,%u)", c.block.x, c.block.y, c.block.z, c.thread.x, c.thread.y,
                c.thread.z);
}

/// Threads of a block may meet at one barrier only, and none may be missing. The hardware counts arrivals, and so do we:
/// the block goes on.
void check_barrier() {
  uint32_t first = MAX_THREADS, ended = MAX_THREADS;
  for (uint32_t i = 0; i < state.count; i++) {
    const Thread& t = state.threads[i];
    if (t.exited) {
      ended = i;
    } else if (first == MAX_THREADS) {
      first = i;
    } else if (const void* there = state.threads[first].where; t.where != there && source_line(t.where) != source_line(there)) {
      report(Kind::DivergentBarrier, state.launch->kernel->name, t.where,
             at(i) + " waits here while thread " + std::to_string(first) + " of the block waits at " + source_line(there));
    }
  }
  if (ended < MAX_THREADS) {
    report(Kind::DivergentBarrier, state.launch->kernel->name, state.threads[first].where,
           at(first) + " waits here, but thread " + std::to_string(ended) + " of the block has ended (" +
               std::to_string(state.count - state.live) + " of " + std::to_string(state.count) + " have)");
  }
}

void release_block() {
  const void* where = nullptr;
  bool same = state.live == state.count;
  for (uint32_t i = 0; i < state.count; i++) {
    const Thread& t = state.threads[i];
    if (t.exited) continue;
    same &= !where || where == t.where;
    where = t.where;
  }
  if (!same) check_barrier();
  running.block_epoch++;
  state.at_barrier = 0;
  const bool backward = state.backward;
  for (uint32_t i = 0; i < state.count; i++) {
    uint32_t thread = backward ? state.count - 1 - i : i;
    if (!state.threads[thread].exited) make_ready(thread);
  }
}

void go_to(Fiber* fiber) {
  Fiber* self = state.current;
  state.current = fiber;
  softcuda_switch(&self->stack_pointer, fiber->stack_pointer);
}

/// Leaves the running fiber for a thread that may go on, a thread that has not begun, or, if there is neither, for the
/// scheduler.
void leave() {
  if (!state.broken && state.ready_count) {
    Fiber* fiber = state.threads[take_ready()].fiber;
    if (fiber != state.current) go_to(fiber);
  } else if (!state.broken && state.next < state.count) {
    Fiber* fiber = idle.back();
    idle.pop_back();
    go_to(fiber);
  } else {
    softcuda_switch(&state.current->stack_pointer, scheduler_stack);
  }
}

void end_thread(uint32_t thread) {
  state.threads[thread].exited = true;
  Warp& warp = state.warps[thread / 32];
  warp.exited |= 1u << thread % 32;
  state.live--;
  for (unsigned left = warp.waiting; left; left &= left - 1) {
    release_lanes(thread / 32, state.threads[thread / 32 * 32 + __builtin_ctz(left)].mask);
  }
  if (state.live && state.at_barrier == state.live) release_block();
}

void fiber_main() {
  for (;;) {
    Fiber* self = state.current;
    while (state.next < state.count && !state.ready_count && !state.broken) {
      uint32_t thread = state.order[state.next++];
      state.threads[thread].fiber = self;
      place_thread(thread);
      state.launch->kernel->call(state.launch->values);
      end_thread(running.thread);
    }
    idle.push_back(self);
    leave();
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

void wait(Wait kind, unsigned mask, const void* where, bool orders = true) {
  const uint32_t self = running.thread;
  Thread& t = state.threads[self];
  t.wait = kind;
  t.where = where;
  if (kind == Wait::Warp) {
    t.mask = mask;
    t.orders = orders;
    state.warps[self / 32].waiting |= 1u << self % 32;
    release_lanes(self / 32, mask);
  } else if (++state.at_barrier == state.live) {
    release_block();
  }
  leave();
  place_thread(self);
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
  report(Kind::DivergentBarrier, state.launch->kernel->name, waiting ? waiting->where : nullptr,
         at(which) + " waits for ever" + others + "; " + std::to_string(state.count - state.live) + " of " +
             std::to_string(state.count) + " threads have ended");
  state.broken = true;
}

/// Once a launch: what is the same for all its blocks.
void lay_out_threads() {
  const uint3& size = state.launch->block;
  state.count = size.x * size.y * size.z;
  for (uint32_t i = 0; i < state.count; i++) {
    state.threads[i].place = {i % size.x, i / size.x % size.y, i / (size.x * size.y)};
  }
  for (uint32_t w = 0; w * 32 < state.count; w++) {
    uint32_t lanes = std::min(32u, state.count - w * 32);
    state.warps[w].exist = lanes == 32 ? ~0u : (1u << lanes) - 1;
  }
  arrange(state.order, state.count);
}

bool run_block() {
  state.next = state.at_barrier = state.first_ready = state.ready_count = 0;
  state.live = state.count;
  state.broken = false;
  running.block_epoch = 0;
  const uint32_t warps = (state.count + 31) / 32;
  std::fill(running.warp_epoch, running.warp_epoch + warps, 0);
  for (uint32_t w = 0; w < warps; w++) state.warps[w].exited = state.warps[w].waiting = 0;
  for (uint32_t i = 0; i < state.count; i++) {
    state.threads[i].exited = false;
    copies_forget(i);
    state.threads[i].wait = Wait::None;
  }
  if (state.random) arrange(state.order, state.count);
  state.current = idle.back();
  idle.pop_back();
  softcuda_switch(&scheduler_stack, state.current->stack_pointer);
  if (state.live && !state.broken) deadlock();
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
  leave();
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
  state.backward = settings().order == Order::Backward;
  state.random = settings().order == Order::Random;
  state.strict_warp = settings().strict_warp;
  lay_out_threads();
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
  wait(Wait::Warp, mask, __builtin_return_address(0), !state.strict_warp);
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
  wait(Wait::Warp, mask, __builtin_return_address(0), !state.strict_warp);
  unsigned lanes = 0;
  for (uint32_t lane = 0; lane < 32; lane++) {
    if ((self.present >> lane & 1) && state.threads[from + lane].given[phase]) lanes |= 1u << lane;
  }
  return lanes;
}

void softcuda_warp_show(const void* mine, const void** all) {
  Thread& self = state.threads[running.thread];
  const Thread* warp = state.threads + (running.thread & ~31u);
  uint8_t phase = self.phase;
  self.phase ^= 1;
  self.given[phase] = reinterpret_cast<uintptr_t>(mine);
  wait(Wait::Warp, ~0u, __builtin_return_address(0), !state.strict_warp);
  if (self.present != ~0u) softcuda_trap("a warp instruction without all 32 lanes");
  for (uint32_t lane = 0; lane < 32; lane++) all[lane] = reinterpret_cast<const void*>(warp[lane].given[phase]);
}

void softcuda_trap(const char* why) {
  report(Kind::Trap, running.launch->kernel->name, __builtin_return_address(0), at(running.thread) + ": " + why);
  state.broken = true;
  leave();
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
