// Stream capture and graphs: what is pushed into a capturing stream is kept as nodes, with copies of its arguments, and a graph
// of them runs when it is launched. One stream makes a graph, so its nodes are a line; no forks.
//
// What is refused is what the driver refuses (CUDA C++ Programming Guide, "CUDA Graphs", prohibited and unhandled operations and
// invalidation; CUDA Driver API, cuStreamBeginCapture, cuThreadExchangeStreamCaptureMode, cuMemAllocAsync, cuMemFreeAsync,
// cuGraphAddMemFreeNode), or more where those leave room: no copy from or to ordinary memory, no module.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "status.h"
#include "stream.h"

namespace softcuda {

struct Node {
  enum Kind { Kernel, Product, Copy, Set, Alloc, Free } kind = Kernel;
  std::string who;
  std::vector<Use> uses;
  std::function<void()> run;
  uintptr_t memory = 0;      // of Alloc and Free
  uint64_t multiply_adds = 0;
};

struct Graph {
  uint64_t number = 0;
  std::vector<Node> nodes;
  uint64_t live_bytes = 0, peak_bytes = 0;  // of its allocations, at once
  int instances = 0;                        // executables that there are
  bool owned = true;                        // its handle has not been destroyed
  Stream* last = nullptr;                   // stream of the last launch
};

struct Executable {
  Graph* graph;
  bool frees_on_launch;
};

enum class CaptureStatus : int { None = 0, Active = 1, Invalidated = 2 };
enum class CaptureMode : int { Global = 0, ThreadLocal = 1, Relaxed = 2 };

struct Capture {
  CaptureStatus status = CaptureStatus::None;
  CaptureMode mode = CaptureMode::Global;
  std::thread::id thread;
  Graph* graph = nullptr;
};

/// Answers 901 where the stream's capture is invalid: nothing may be pushed into it any more.
Status may_push(Stream& stream);
/// For calls that a capturing stream does not take; its capture is invalid then.
Status not_captured(Stream& stream);
/// For calls that may wait or change memory behind a capture's back: refused while a capture of the mode global goes on anywhere, or
/// one that is local to this thread.
Status not_while_capturing();
/// For calls that wait for the whole context: refused while any stream of it captures.
Status not_while_any_captures();
Status invalidate(Stream& stream, Status why);
bool captures(const Stream& stream);

/// Into the graph of a capturing stream.
void keep(Stream& stream, Node node);
Status captured_allocation(Stream& stream, unsigned long long* out, size_t bytes);
Status captured_free(Stream& stream, uintptr_t at);
/// A free outside, of memory that a graph allocated.
Status may_free_outside(uintptr_t at);

}  // namespace softcuda
