// A kernel launch: its limits are looked at when it is asked for, its blocks run when the stream gets to it.
#pragma once
#include <cstdint>
#include <string>

#include "../include/softcuda/abi.h"
#include "status.h"
#include "stream.h"

namespace softcuda {

/// What a function handle of the driver points to.
struct Function {
  const Kernel* kernel;
  uint32_t dynamic_shared_limit = 48 << 10;
};

/// Bytes of shared memory that a block may have on the claimed architecture.
size_t shared_limit();
Status launch(Function& function, uint3 grid, uint3 block, uint32_t shared_bytes, Stream& stream, void** values);
/// The kernel launched last, for messages.
const std::string& last_launched();

}  // namespace softcuda
