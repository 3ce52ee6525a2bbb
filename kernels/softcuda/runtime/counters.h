// What a run cost, counted where it is asked for (not where it runs), so that the order of queues changes nothing.
#pragma once
#include <cstdint>
#include <map>
#include <string>

namespace softcuda {

struct Counters {
  std::map<std::string, uint64_t> launches;  // by kernel
  std::map<std::string, uint64_t> syncs;     // host waits, by the driver's call
  uint64_t gemms = 0, multiply_adds = 0;
  uint64_t to_device_copies = 0, to_device_bytes = 0;
  uint64_t pageable_bytes = 0;  // of these, from memory that is not page-locked
  uint64_t to_host_copies = 0, to_host_bytes = 0;
  uint64_t on_device_copies = 0, on_device_bytes = 0;
  uint64_t allocations = 0, allocated_bytes = 0, live_bytes = 0, peak_bytes = 0;
  // The pool: what it holds, what it may hold when the host waits, and what it gave back to the driver in all.
  uint64_t reserved_bytes = 0, release_threshold = 0, returned_bytes = 0;
  // Graphs: of their launches, all nodes, and of these kernels and products, which are not counted above.
  uint64_t graphs_captured = 0, graphs_instantiated = 0, graph_launches = 0, graph_nodes = 0, graph_kernels = 0, graph_products = 0;
  uint64_t events = 0, modules = 0, calls = 0;

  uint64_t launched() const;
  uint64_t synced() const;
};

Counters& counters();
/// The host has waited: the pool gives back what is free and above its threshold.
void pool_waited();
/// Counters and findings as JSON.
std::string as_json();
std::string as_text();

}  // namespace softcuda
