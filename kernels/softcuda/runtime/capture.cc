#include "capture.h"

#include <algorithm>

#include "counters.h"
#include "findings.h"
#include "heap.h"
#include "launch.h"
#include "settings.h"
#include "shadow.h"

namespace softcuda {
namespace {

std::vector<Stream*>& capturing() {
  static auto* all = new std::vector<Stream*>;
  return *all;
}

size_t rounded(size_t bytes) { return (bytes + 511) / 512 * 512; }

void destroy_if_unused(Graph* graph) {
  if (graph->owned || graph->instances) return;
  for (const Node& node : graph->nodes) {
    if (node.kind != Node::Alloc) continue;
    auto give_up = [at = node.memory] { heap().release(heap().allocations.at(at)); };
    heap().allocations.at(node.memory).released = true;
    // Launches that still wait in the queue use it.
    if (graph->last) enqueue(*graph->last, "the end of a graph", {}, give_up);
    else give_up();
  }
  delete graph;
}

/// Makes a node's memory usable or gives it back, as the stream will.
void allocate_again(Stream& stream, uintptr_t at) {
  Allocation& a = heap().allocations.at(at);
  a.released = false;
  forget_uses(at);
  enqueue(stream, "an allocation of a graph", {}, [at] { heap().lend(heap().allocations.at(at)); });
}
void free_again(Stream& stream, uintptr_t at) {
  enqueue(stream, "a free of a graph", {{at, true, "its argument"}}, [at] { heap().take_back(heap().allocations.at(at)); });
  heap().allocations.at(at).released = true;
}

Status replay(Executable& executable, Stream& stream) {
  Graph& graph = *executable.graph;
  for (const Node& node : graph.nodes) {
    if (node.kind != Node::Alloc || heap().allocations.at(node.memory).released) continue;
    // "cuGraphLaunch: a graph that holds allocations that were not freed cannot be launched again", but with the flag.
    if (!executable.frees_on_launch) return INVALID_VALUE;
    free_again(stream, node.memory);
  }
  graph.last = &stream;
  counters().graph_launches++;
  counters().graph_nodes += graph.nodes.size();
  for (const Node& node : graph.nodes) {
    counters().multiply_adds += node.multiply_adds;
    switch (node.kind) {
      case Node::Alloc: allocate_again(stream, node.memory); continue;
      case Node::Free: free_again(stream, node.memory); continue;
      case Node::Kernel: counters().graph_kernels++; break;
      case Node::Product: counters().graph_products++; break;
      default: break;
    }
    std::vector<Use> uses;
    for (const Use& use : node.uses) {
      const Allocation* a = heap().find(use.at);
      if (!a) report(Kind::IllegalAddress, node.who, nullptr, format("in a graph, %s is %#lx, where nothing is allocated", use.role, use.at));
      else if (a->released) report(Kind::UseAfterFree, node.who, nullptr, format("in a graph, %s points to freed memory, ", use.role) + describe(*a));
      else if (a->number != use.allocation) report(Kind::UseAfterFree, node.who, nullptr, format("in a graph, %s points to other memory than when it was captured, ", use.role) + describe(*a));
      else uses.push_back(use);
    }
    enqueue(stream, node.who.c_str(), uses, node.run);
  }
  return SUCCESS;
}

}  // namespace

bool captures(const Stream& stream) { return stream.capture != nullptr; }

Status invalidate(Stream& stream, Status why) {
  stream.capture->status = CaptureStatus::Invalidated;
  return why;
}

Status may_push(Stream& stream) {
  if (!stream.capture) return SUCCESS;
  if (stream.capture->status == CaptureStatus::Invalidated) return CAPTURE_INVALIDATED;
  if (stream.capture->graph->nodes.size() >= 20 && graph_step_must_fail("capture")) return invalidate(stream, CAPTURE_UNSUPPORTED);
  return SUCCESS;
}

Status not_captured(Stream& stream) { return stream.capture ? invalidate(stream, CAPTURE_UNSUPPORTED) : SUCCESS; }

Status not_while_capturing() {
  Status status = SUCCESS;
  for (Stream* stream : capturing()) {
    const Capture& c = *stream->capture;
    bool concerned = c.mode == CaptureMode::Global || (c.mode == CaptureMode::ThreadLocal && c.thread == std::this_thread::get_id());
    if (concerned) status = invalidate(*stream, CAPTURE_UNSUPPORTED);
  }
  return status;
}

Status not_while_any_captures() {
  Status status = SUCCESS;
  for (Stream* stream : capturing()) status = invalidate(*stream, CAPTURE_UNSUPPORTED);
  return status;
}

void keep(Stream& stream, Node node) {
  for (Use& use : node.uses) {
    const Allocation* a = heap().find(use.at);
    use.allocation = a ? a->number : 0;
  }
  stream.capture->graph->nodes.push_back(std::move(node));
}

Status captured_allocation(Stream& stream, unsigned long long* out, size_t bytes) {
  if (!bytes) return INVALID_VALUE;
  if (allocation_must_fail()) return invalidate(stream, OUT_OF_MEMORY);
  Graph& graph = *stream.capture->graph;
  uintptr_t at = heap().allocate(bytes, last_launched());
  if (!at) return invalidate(stream, OUT_OF_MEMORY);
  heap().allocations.at(at).graph = graph.number;
  graph.live_bytes += rounded(bytes);
  graph.peak_bytes = std::max(graph.peak_bytes, graph.live_bytes);
  Node node;
  node.kind = Node::Alloc;
  node.memory = at;
  keep(stream, node);
  *out = at;
  return SUCCESS;
}

Status captured_free(Stream& stream, uintptr_t at) {
  Allocation* a = heap().find(at);
  Graph& graph = *stream.capture->graph;
  // "During stream capture, this function results in the creation of a free node and must therefore be passed the address of a
  // graph allocation" (cuMemFreeAsync); one of this graph, once (cuGraphAddMemFreeNode).
  if (!a || a->at != at || a->graph != graph.number || a->released) return invalidate(stream, INVALID_VALUE);
  graph.live_bytes -= rounded(a->bytes);
  a->released = a->freed_by_graph = true;
  Node node;
  node.kind = Node::Free;
  node.memory = at;
  keep(stream, node);
  return SUCCESS;
}

Status may_free_outside(uintptr_t at) {
  // "These allocations cannot be freed outside the owning graph" (cuGraphAddMemAllocNode), if that frees them.
  const Allocation* a = heap().find(at);
  return a && a->graph && a->freed_by_graph ? INVALID_VALUE : SUCCESS;
}

extern "C" {

Status cuStreamBeginCapture_v2(void* handle, int mode) {
  std::lock_guard<std::recursive_mutex> held(device_lock());
  counters().calls++;
  if (device_status != SUCCESS) return device_status;
  Stream& stream = stream_of(handle);
  // "Capture may not be initiated if stream is CU_STREAM_LEGACY."
  if (reinterpret_cast<uintptr_t>(handle) < 2) return CAPTURE_UNSUPPORTED;
  if (stream.capture || mode < 0 || mode > 2) return INVALID_VALUE;
  if (graph_step_must_fail("begin")) return NOT_SUPPORTED;
  static uint64_t graphs = 0;
  auto* graph = new Graph;
  graph->number = ++graphs;
  stream.capture = new Capture{CaptureStatus::Active, CaptureMode(mode), std::this_thread::get_id(), graph};
  capturing().push_back(&stream);
  return SUCCESS;
}

Status cuStreamEndCapture(void* handle, Graph** out) {
  std::lock_guard<std::recursive_mutex> held(device_lock());
  counters().calls++;
  Stream& stream = stream_of(handle);
  *out = nullptr;
  if (!stream.capture) return INVALID_VALUE;
  Capture capture = *stream.capture;
  if (capture.mode != CaptureMode::Relaxed && capture.thread != std::this_thread::get_id()) return CAPTURE_WRONG_THREAD;
  delete stream.capture;
  stream.capture = nullptr;
  capturing().erase(std::find(capturing().begin(), capturing().end(), &stream));
  // What was allocated is memory only while the graph runs.
  for (const Node& node : capture.graph->nodes) {
    if (node.kind != Node::Alloc) continue;
    heap().allocations.at(node.memory).released = true;
    heap().take_back(heap().allocations.at(node.memory));
  }
  if (device_status != SUCCESS || capture.status == CaptureStatus::Invalidated) {
    capture.graph->owned = false;
    destroy_if_unused(capture.graph);
    return device_status != SUCCESS ? device_status : CAPTURE_INVALIDATED;
  }
  counters().graphs_captured++;
  *out = capture.graph;
  return SUCCESS;
}

Status cuStreamIsCapturing(void* handle, int* status) {
  std::lock_guard<std::recursive_mutex> held(device_lock());
  counters().calls++;
  if (device_status != SUCCESS) return device_status;
  const Stream& stream = stream_of(handle);
  *status = int(stream.capture ? stream.capture->status : CaptureStatus::None);
  return SUCCESS;
}

Status cuGraphGetNodes(Graph* graph, void** nodes, size_t* count) {
  std::lock_guard<std::recursive_mutex> held(device_lock());
  counters().calls++;
  for (size_t i = 0; nodes && i < std::min(*count, graph->nodes.size()); i++) nodes[i] = &graph->nodes[i];
  *count = graph->nodes.size();
  return SUCCESS;
}

Status cuGraphInstantiateWithFlags(Executable** out, Graph* graph, unsigned long long flags) {
  std::lock_guard<std::recursive_mutex> held(device_lock());
  counters().calls++;
  if (device_status != SUCCESS) return device_status;
  constexpr unsigned AUTO_FREE = 1, DEVICE_LAUNCH = 4;
  if (flags & DEVICE_LAUNCH) return flags & AUTO_FREE ? INVALID_VALUE : NOT_SUPPORTED;
  bool allocates = graph->peak_bytes > 0;
  // "Only one instantiation of the graph may exist at any point in time", of one that allocates.
  if (allocates && graph->instances) return INVALID_VALUE;
  Counters& c = counters();
  if (graph_step_must_fail("instantiate") || c.live_bytes + graph->peak_bytes > settings().memory) return OUT_OF_MEMORY;
  c.live_bytes += graph->peak_bytes;
  c.peak_bytes = std::max(c.peak_bytes, c.live_bytes);
  c.reserved_bytes = std::max(c.reserved_bytes, c.live_bytes);
  c.graphs_instantiated++;
  graph->instances++;
  *out = new Executable{graph, (flags & AUTO_FREE) != 0};
  return SUCCESS;
}

Status cuGraphUpload(Executable*, void*) {
  std::lock_guard<std::recursive_mutex> held(device_lock());
  counters().calls++;
  return device_status;
}

Status cuGraphLaunch(Executable* executable, void* handle) {
  std::lock_guard<std::recursive_mutex> held(device_lock());
  counters().calls++;
  if (device_status != SUCCESS) return device_status;
  Stream& stream = stream_of(handle);
  // A graph within a graph: not of this device.
  if (stream.capture) return invalidate(stream, NOT_SUPPORTED);
  if (graph_step_must_fail("launch")) return INVALID_VALUE;
  if (launch_loses_device()) return device_status = LAUNCH_FAILED;
  return replay(*executable, stream);
}

Status cuGraphExecDestroy(Executable* executable) {
  std::lock_guard<std::recursive_mutex> held(device_lock());
  counters().calls++;
  Graph* graph = executable->graph;
  delete executable;
  graph->instances--;
  counters().live_bytes -= graph->peak_bytes;
  destroy_if_unused(graph);
  return device_status;
}

Status cuGraphDestroy(Graph* graph) {
  std::lock_guard<std::recursive_mutex> held(device_lock());
  counters().calls++;
  graph->owned = false;
  destroy_if_unused(graph);
  return device_status;
}

}  // extern "C"
}  // namespace softcuda
