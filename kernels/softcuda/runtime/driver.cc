// The driver API, as far as candle and cudarc call it. Everything else is in unsupported.cc and says so.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>

#include "capture.h"
#include "counters.h"
#include "findings.h"
#include "heap.h"
#include "launch.h"
#include "module.h"
#include "settings.h"
#include "shadow.h"
#include "status.h"
#include "stream.h"

using namespace softcuda;

namespace {

using Pointer = unsigned long long;
int context;  // its address is the one context's handle
bool initialised, retained;

struct Entrance {
  std::lock_guard<std::recursive_mutex> held{device_lock()};
  Entrance() { counters().calls++; }
};

// Every call that reaches the device: counted, one at a time, and answered by a lost device as a real one does.
#define CALL              \
  Entrance entrance;      \
  if (device_status != SUCCESS) return device_status
// The same for what a capture of a stream, of this thread or of anyone does not take.
#define REFUSE(status)                                             \
  if (Status refused = (status); refused != SUCCESS) return refused

std::map<uintptr_t, size_t>& pinned() {
  static auto* ranges = new std::map<uintptr_t, size_t>;
  return *ranges;
}
bool is_pinned(const void* p) {
  auto at = pinned().upper_bound(uintptr_t(p));
  if (at == pinned().begin()) return false;
  --at;
  return uintptr_t(p) - at->first < at->second;
}

/// Whether a whole range lies in one live allocation; reports where not.
bool usable(uintptr_t at, size_t bytes, const char* call) {
  Allocation* a = heap().find(at);
  if (!a) {
    report(Kind::IllegalAddress, call, nullptr, format("%#lx is no device memory", at));
  } else if (a->released) {
    report(Kind::UseAfterFree, call, nullptr, "freed memory, " + describe(*a));
  } else if (at < a->at || at + bytes > a->at + a->bytes) {
    report(Kind::OutOfBounds, call, nullptr,
           format("%zu bytes from byte %ld of ", bytes, long(at - a->at)) + describe(*a));
  } else {
    return true;
  }
  return false;
}

Status allocate(Pointer* out, size_t bytes) {
  if (!bytes) return INVALID_VALUE;
  Counters& c = counters();
  size_t rounded = (bytes + 511) / 512 * 512;
  if (allocation_must_fail() || c.live_bytes + rounded > settings().memory) return OUT_OF_MEMORY;
  uintptr_t at = heap().allocate(bytes, last_launched());
  if (!at) return OUT_OF_MEMORY;
  forget_uses(at);
  c.allocations++;
  c.allocated_bytes += rounded;
  c.live_bytes += rounded;
  c.peak_bytes = std::max(c.peak_bytes, c.live_bytes);
  c.reserved_bytes = std::max(c.reserved_bytes, c.live_bytes);
  *out = at;
  return SUCCESS;
}

Status release(Pointer at, Stream& stream, const char* call) {
  REFUSE(may_push(stream));
  if (captures(stream)) return captured_free(stream, at);
  REFUSE(may_free_outside(at));
  Allocation* a = heap().find(at);
  if (!a || a->at != at || a->released) {
    report(Kind::BadFree, call, nullptr,
           a && a->released ? "freed twice: " + describe(*a) : format("%#llx was never allocated", at));
    return INVALID_VALUE;
  }
  if (a->graph) {  // its address stays the graph's
    enqueue(stream, call, {{at, true, "its argument"}}, [at] { heap().take_back(heap().allocations.at(at)); });
    a->released = true;
    return SUCCESS;
  }
  counters().live_bytes -= (a->bytes + 511) / 512 * 512;
  enqueue(stream, call, {{at, true, "its argument"}}, [at] { heap().release(heap().allocations.at(at)); });
  a->released = true;
  return SUCCESS;
}

/// Queues work, or keeps it for the graph of a stream that captures.
void push(Stream& stream, Node::Kind kind, const char* who, const std::vector<Use>& uses, std::function<void()> run) {
  if (!captures(stream)) return enqueue(stream, who, uses, std::move(run));
  Node node;
  node.kind = kind, node.who = who, node.uses = uses, node.run = std::move(run);
  keep(stream, std::move(node));
}

void set(uintptr_t at, size_t width, unsigned value, size_t count) {
  for (size_t i = 0; i < count; i++) memcpy(reinterpret_cast<char*>(at) + i * width, &value, width);
  shadow_state(at, width * count, State::Written);
}

Status fill(Pointer at, size_t width, unsigned value, size_t count, Stream& stream, const char* call) {
  if (!count) return SUCCESS;
  REFUSE(may_push(stream));
  if (!usable(at, width * count, call)) return INVALID_VALUE;
  push(stream, Node::Set, call, {{at, true, "its argument"}}, [=] { set(at, width, value, count); });
  return SUCCESS;
}

Status to_device(Pointer to, const void* from, size_t bytes, Stream& stream, const char* call) {
  if (!bytes) return SUCCESS;
  REFUSE(may_push(stream));
  // Ordinary memory may be gone when the graph runs.
  if (captures(stream) && !is_pinned(from)) return invalidate(stream, CAPTURE_UNSUPPORTED);
  if (!usable(to, bytes, call)) return INVALID_VALUE;
  counters().to_device_copies++;
  counters().to_device_bytes += bytes;
  std::shared_ptr<char[]> kept;
  // Ordinary memory may be overwritten as soon as this call is back; page-locked memory is read when the copy runs.
  if (!is_pinned(from)) {
    counters().pageable_bytes += bytes;
    kept.reset(new char[bytes]);
    memcpy(kept.get(), from, bytes);
  }
  push(stream, Node::Copy, call, {{to, true, "the destination"}}, [=] {
    memcpy(reinterpret_cast<void*>(to), kept ? kept.get() : from, bytes);
    shadow_state(to, bytes, State::Written);
  });
  return SUCCESS;
}

Status to_host(void* to, Pointer from, size_t bytes, Stream& stream, const char* call) {
  if (!bytes) return SUCCESS;
  REFUSE(may_push(stream));
  // It would wait.
  if (captures(stream) && !is_pinned(to)) return invalidate(stream, CAPTURE_UNSUPPORTED);
  if (!usable(from, bytes, call)) return INVALID_VALUE;
  counters().to_host_copies++;
  counters().to_host_bytes += bytes;
  auto copy = [=] {
    shadow_host_read(from, bytes, call);
    memcpy(to, reinterpret_cast<void*>(from), bytes);
  };
  if (is_pinned(to)) {
    memset(to, POISON, bytes);  // until something waits for the copy
    push(stream, Node::Copy, call, {{from, false, "the source"}}, copy);
    return SUCCESS;
  }
  enqueue(stream, call, {{from, false, "the source"}}, copy);
  host_wait(stream, call);
  return device_status;
}

Status on_device(Pointer to, Pointer from, size_t bytes, Stream& stream, const char* call) {
  if (!bytes) return SUCCESS;
  REFUSE(may_push(stream));
  if (!usable(to, bytes, call) || !usable(from, bytes, call)) return INVALID_VALUE;
  counters().on_device_copies++;
  counters().on_device_bytes += bytes;
  push(stream, Node::Copy, call, {{from, false, "the source"}, {to, true, "the destination"}}, [=] {
    memmove(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes);
    shadow_copy(to, from, bytes);
  });
  return SUCCESS;
}

}  // namespace

extern "C" {

// Start.
Status cuInit(unsigned) {
  Entrance entrance;
  initialised = true;
  return SUCCESS;
}
Status cuDriverGetVersion(int* version) { return *version = settings().driver, SUCCESS; }
Status cuDeviceGetCount(int* count) { return *count = 1, SUCCESS; }
Status cuDeviceGet(int* device, int ordinal) {
  Entrance entrance;
  if (!initialised) return NOT_INITIALIZED;
  *device = ordinal;
  return ordinal == 0 ? SUCCESS : INVALID_DEVICE;
}
Status cuDeviceGetName(char* name, int bytes, int) { return snprintf(name, bytes, "softcuda %d.%d", settings().major, settings().minor), SUCCESS; }
Status cuDeviceTotalMem_v2(size_t* bytes, int) { return *bytes = settings().memory, SUCCESS; }
Status cuDeviceGetUuid_v2(char* uuid, int) { return memcpy(uuid, "softcuda-device0", 16), SUCCESS; }
Status cuDeviceGetAttribute(int* value, int attribute, int) {
  Entrance entrance;
  switch (attribute) {
    case 1: *value = 1024; break;                            // threads in a block
    case 2: case 3: *value = 1024; break;                    // along x, y
    case 4: *value = 64; break;                              // along z
    case 5: *value = 0x7fffffff; break;                      // blocks along x
    case 6: case 7: *value = 65535; break;                   // along y, z
    case 8: *value = 48 << 10; break;                        // shared memory of a block
    case 10: *value = 32; break;                             // warp
    case 12: *value = 65536; break;                          // registers
    case 16: *value = 4; break;                              // multiprocessors
    case 75: *value = settings().major; break;
    case 76: *value = settings().minor; break;
    case 81: *value = int(shared_limit()) + 1024; break;     // shared memory of a multiprocessor
    case 97: *value = int(shared_limit()); break;            // of a block that asks
    case 115: *value = 1; break;                             // memory pools
    default: *value = 0;
  }
  return SUCCESS;
}
Status cuDevicePrimaryCtxRetain(void** out, int) {
  CALL;
  retained = true;
  return *out = &context, SUCCESS;
}
Status cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
Status cuCtxGetCurrent(void** out) { CALL; return *out = retained ? &context : nullptr, SUCCESS; }
Status cuCtxSetCurrent(void*) { CALL; return SUCCESS; }
Status cuCtxDestroy_v2(void*) { return SUCCESS; }
Status cuCtxGetDevice(int* device) { return *device = 0, SUCCESS; }
Status cuCtxSynchronize() {
  CALL;
  REFUSE(not_while_any_captures());
  host_wait_all(__func__);
  heap().inspect();
  return device_status;
}
struct ErrorText { int code; const char *name, *text; };
static const ErrorText ERRORS[] = {
    {0, "CUDA_SUCCESS", "no error"},
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {209, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain."},
    {218, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {600, "CUDA_ERROR_NOT_READY", "device not ready"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {801, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
    {905, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION", "dependency created on uncaptured work in another stream"},
    {907, "CUDA_ERROR_CAPTURED_EVENT", "operation not permitted on an event last recorded in a capturing stream"},
    {908, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD", "attempt to terminate a thread-local capture sequence from another thread"},
};
Status cuGetErrorName(int code, const char** text) {
  for (const ErrorText& e : ERRORS) if (e.code == code) return *text = e.name, SUCCESS;
  return *text = nullptr, INVALID_VALUE;
}
Status cuGetErrorString(int code, const char** text) {
  for (const ErrorText& e : ERRORS) if (e.code == code) return *text = e.text, SUCCESS;
  return *text = "unknown error", SUCCESS;
}

// Streams and events.
Status cuStreamCreate(void** out, unsigned) { CALL; return *out = new_stream(), SUCCESS; }
Status cuStreamCreateWithPriority(void** out, unsigned, int) { CALL; return *out = new_stream(), SUCCESS; }
Status cuStreamDestroy_v2(void*) { CALL; return SUCCESS; }  // queued work still runs, its memory is small
Status cuStreamSynchronize(void* stream) {
  CALL;
  REFUSE(not_captured(stream_of(stream)));
  host_wait(stream_of(stream), __func__);
  return device_status;
}
Status cuStreamQuery(void* stream) {
  CALL;
  REFUSE(not_captured(stream_of(stream)));
  return stream_of(stream).queue.empty() ? SUCCESS : NOT_READY;
}
Status cuStreamWaitEvent(void* stream, void* event, unsigned) {
  CALL;
  Stream& of = stream_of(stream);
  auto& e = *static_cast<Event*>(event);
  REFUSE(may_push(of));
  // Work that no graph holds cannot come before a graph's; and a second stream of a capture is not of this device.
  if (captures(of) && (!e.captured || e.stream != &of)) return invalidate(of, e.captured ? NOT_SUPPORTED : CAPTURE_ISOLATION);
  if (e.captured && !captures(of)) return captures(*e.stream) ? invalidate(*e.stream, NOT_SUPPORTED) : CAPTURED_EVENT;
  if (!e.captured) wait_for(of, e);
  return SUCCESS;
}
Status cuEventCreate(void** out, unsigned) {
  CALL;
  counters().events++;
  return *out = new Event, SUCCESS;
}
Status cuEventDestroy_v2(void* event) {
  Entrance entrance;
  delete static_cast<Event*>(event);
  return device_status;
}
Status cuEventRecord(void* event, void* stream) {
  CALL;
  REFUSE(may_push(stream_of(stream)));
  record(*static_cast<Event*>(event), stream_of(stream));
  static_cast<Event*>(event)->captured = captures(stream_of(stream));
  return SUCCESS;
}
Status cuEventQuery(void* event) {
  CALL;
  auto* e = static_cast<Event*>(event);
  if (e->captured) return captures(*e->stream) ? invalidate(*e->stream, CAPTURED_EVENT) : CAPTURED_EVENT;
  return !e->stream || e->stream->done >= e->position ? SUCCESS : NOT_READY;
}
Status cuEventSynchronize(void* event) {
  CALL;
  auto* e = static_cast<Event*>(event);
  if (e->captured) return captures(*e->stream) ? invalidate(*e->stream, CAPTURED_EVENT) : CAPTURED_EVENT;
  host_wait(*e, __func__);
  return device_status;
}
Status cuEventElapsedTime_v2(float* ms, void*, void*) { return *ms = 0, SUCCESS; }  // there is no clock to read

// Memory.
Status cuMemGetInfo_v2(size_t* free, size_t* total) {
  CALL;
  *total = settings().memory;
  *free = settings().memory - counters().reserved_bytes;
  return SUCCESS;
}
Status cuMemAllocAsync(Pointer* out, size_t bytes, void* handle) {
  CALL;
  Stream& stream = stream_of(handle);
  REFUSE(may_push(stream));
  return captures(stream) ? captured_allocation(stream, out, bytes) : allocate(out, bytes);
}
Status cuMemAlloc_v2(Pointer* out, size_t bytes) {
  CALL;
  REFUSE(not_while_capturing());
  return allocate(out, bytes);
}
Status cuMemFreeAsync(Pointer at, void* stream) { CALL; return release(at, stream_of(stream), __func__); }
Status cuMemFree_v2(Pointer at) {
  CALL;
  REFUSE(not_while_capturing());
  host_wait_all(__func__);
  Status status = release(at, stream_of(nullptr), __func__);
  host_wait(stream_of(nullptr), __func__);
  return status;
}
Status cuMemHostAlloc(void** out, size_t bytes, unsigned) {
  CALL;
  REFUSE(not_while_capturing());
  *out = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (!*out) return OUT_OF_MEMORY;
  memset(*out, POISON, bytes);
  pinned()[uintptr_t(*out)] = bytes;
  return SUCCESS;
}
Status cuMemFreeHost(void* at) {
  Entrance entrance;
  REFUSE(not_while_capturing());
  host_wait_all(__func__);
  pinned().erase(uintptr_t(at));
  free(at);
  return device_status;
}
Status cuMemsetD8Async(Pointer at, unsigned char value, size_t count, void* s) { CALL; return fill(at, 1, value, count, stream_of(s), __func__); }
Status cuMemsetD16Async(Pointer at, unsigned short value, size_t count, void* s) { CALL; return fill(at, 2, value, count, stream_of(s), __func__); }
Status cuMemsetD32Async(Pointer at, unsigned value, size_t count, void* s) { CALL; return fill(at, 4, value, count, stream_of(s), __func__); }
Status cuMemsetD8_v2(Pointer at, unsigned char value, size_t count) { CALL; REFUSE(not_while_capturing()); return fill(at, 1, value, count, stream_of(nullptr), __func__); }
Status cuMemcpyHtoDAsync_v2(Pointer to, const void* from, size_t bytes, void* s) { CALL; return to_device(to, from, bytes, stream_of(s), __func__); }
Status cuMemcpyDtoHAsync_v2(void* to, Pointer from, size_t bytes, void* s) { CALL; return to_host(to, from, bytes, stream_of(s), __func__); }
Status cuMemcpyDtoDAsync_v2(Pointer to, Pointer from, size_t bytes, void* s) { CALL; return on_device(to, from, bytes, stream_of(s), __func__); }
Status cuMemcpyPeerAsync(Pointer to, void*, Pointer from, void*, size_t bytes, void* s) { CALL; return on_device(to, from, bytes, stream_of(s), __func__); }
Status cuMemcpyHtoD_v2(Pointer to, const void* from, size_t bytes) { CALL; REFUSE(not_while_capturing()); return to_device(to, from, bytes, stream_of(nullptr), __func__); }
Status cuMemcpyDtoH_v2(void* to, Pointer from, size_t bytes) { CALL; REFUSE(not_while_capturing()); return to_host(to, from, bytes, stream_of(nullptr), __func__); }

// The pool: above its threshold, what is free goes back to the driver whenever the host waits.
static int default_pool;
Status cuDeviceGetDefaultMemPool(void** pool, int) { CALL; return *pool = &default_pool, SUCCESS; }
Status cuDeviceGetMemPool(void** pool, int) { CALL; return *pool = &default_pool, SUCCESS; }
Status cuMemPoolSetAttribute(void*, int attribute, void* value) {
  CALL;
  if (attribute == 4) memcpy(&counters().release_threshold, value, 8);
  return SUCCESS;
}
Status cuMemPoolGetAttribute(void*, int attribute, void* value) {
  CALL;
  const Counters& c = counters();
  uint64_t of = 0;
  switch (attribute) {
    case 4: of = c.release_threshold; break;
    case 5: of = c.reserved_bytes; break;
    case 7: of = c.live_bytes; break;
    case 6: case 8: of = c.peak_bytes; break;
  }
  memcpy(value, &of, attribute >= 4 ? 8 : 4);
  return SUCCESS;
}
Status cuMemPoolTrimTo(void*, size_t) {
  CALL;
  Counters& c = counters();
  c.returned_bytes += c.reserved_bytes - c.live_bytes;
  c.reserved_bytes = c.live_bytes;
  return SUCCESS;
}

// Code.
Status cuModuleLoadData(void** out, const void* image) {
  CALL;
  REFUSE(not_while_capturing());
  Module* module = nullptr;
  Status status = load_module(image, &module);
  *out = module;
  return status;
}
Status cuModuleUnload(void*) { return SUCCESS; }
Status cuModuleGetFunction(void** out, void* module, const char* name) {
  CALL;
  auto& functions = static_cast<Module*>(module)->functions;
  auto at = functions.find(name);
  if (at == functions.end()) {
    fprintf(stderr, "softcuda: no kernel %s in its module\n", name);
    return NOT_FOUND;
  }
  return *out = &at->second, SUCCESS;
}
Status cuFuncSetAttribute(void* function, int attribute, int value) {
  CALL;
  if (attribute == 8) {  // largest dynamic shared memory
    if (size_t(value) > shared_limit()) return INVALID_VALUE;
    static_cast<Function*>(function)->dynamic_shared_limit = value;
  }
  return SUCCESS;
}
Status cuFuncGetAttribute(int* value, int attribute, void* function) {
  CALL;
  *value = attribute == 0 ? 1024 : attribute == 8 ? int(static_cast<Function*>(function)->dynamic_shared_limit) : 0;
  return SUCCESS;
}
Status cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                      unsigned shared_bytes, void* stream, void** values, void**) {
  CALL;
  return launch(*static_cast<Function*>(function), {gx, gy, gz}, {bx, by, bz}, shared_bytes, stream_of(stream), values);
}

/// Counters and findings so far, as JSON; the caller frees it. For tests, found with dlsym.
char* softcuda_report() {
  Entrance entrance;
  return strdup(as_json().c_str());
}
/// What functions answer that the device lacks.
int softcuda_unsupported(const char* name) {
  fprintf(stderr, "softcuda: %s is not supported\n", name);
  return NOT_SUPPORTED;
}

}  // extern "C"
