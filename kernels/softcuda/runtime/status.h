// Result codes of the driver (CUresult), and the device's own state of health.
#pragma once
#include <cstdint>

namespace softcuda {

enum Status : int {
  SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, INVALID_DEVICE = 101, INVALID_CONTEXT = 201,
  NO_BINARY_FOR_GPU = 209, INVALID_PTX = 218,
  UNSUPPORTED_PTX_VERSION = 222, INVALID_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600, ILLEGAL_ADDRESS = 700, OUT_OF_RESOURCES = 701,
  ASSERT = 710, LAUNCH_FAILED = 719, NOT_SUPPORTED = 801,
  CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901, CAPTURE_ISOLATION = 905, CAPTURED_EVENT = 907, CAPTURE_WRONG_THREAD = 908,
  UNKNOWN = 999,
};

/// Once not SUCCESS, every call answers it: a real context does not recover either.
extern Status device_status;

/// Whether the injected faults take the next allocation; `launches` is counted for the loss of the device.
bool allocation_must_fail();
bool launch_loses_device();
/// Whether `SOFTCUDA_GRAPH_FAULT` names this step: `begin`, `capture`, `instantiate` or `launch`.
bool graph_step_must_fail(const char* step);

}  // namespace softcuda
