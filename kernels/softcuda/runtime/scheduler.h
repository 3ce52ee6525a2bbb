// Runs the threads of a block, one at a time, each until it waits.
#pragma once
#include <cstdint>

#include "../include/softcuda/abi.h"

namespace softcuda {

/// One launch as the scheduler sees it.
struct Launch {
  const Kernel* kernel;
  void** values;
  uint3 grid, block;
  uint32_t shared_bytes;
  uint64_t number;  // of the run, from 1
};

/// What of the running thread the checks compare: see shadow.cc.
struct Running {
  const Launch* launch = nullptr;  // null outside kernels
  uint32_t block = 0;              // linear
  uint32_t thread = 0;             // linear within the block
  uint32_t block_epoch = 0;        // barriers of the block passed
  uint32_t warp_epoch[32] = {};    // barriers and exchanges of each warp passed
};
extern Running running;

/// Whether all blocks ran to their end; false after a deadlock, a trap or a fault of the machine.
bool run(const Launch& launch);
/// Whether an address lies in a thread's own stack.
bool on_stack(uintptr_t address);
/// `block (1,0,0), thread (3,0,0)` of linear numbers.
struct Coordinates { uint3 block, thread; };
Coordinates coordinates(const Launch& launch, uint32_t block, uint32_t thread);

}  // namespace softcuda
