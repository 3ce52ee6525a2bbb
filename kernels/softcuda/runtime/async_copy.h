// Copies to shared memory that a thread has started and not waited for (`cp.async`).
#pragma once
#include <cstdint>

namespace softcuda {

/// Of the thread of a block that begins: what an earlier one left is never made.
void copies_forget(uint32_t thread);

}  // namespace softcuda
