#include "counters.h"

#include <algorithm>
#include <cstdio>
#include <unistd.h>
#include <vector>

#include "findings.h"
#include "settings.h"

namespace softcuda {
namespace {

uint64_t total(const std::map<std::string, uint64_t>& of) {
  uint64_t sum = 0;
  for (auto& [_, n] : of) sum += n;
  return sum;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') (out += '\\') += c;
    else if (static_cast<unsigned char>(c) < 0x20) out += ' ';
    else out += c;
  }
  return out + '"';
}

std::string object(const std::map<std::string, uint64_t>& of) {
  std::string out = "{";
  for (auto& [key, n] : of) out += (out.size() > 1 ? ", " : "") + quoted(key) + ": " + std::to_string(n);
  return out + "}";
}

__attribute__((destructor)) void at_exit() {
  const Settings& s = settings();
  if (counters().calls == 0) return;
  if (s.summary) fputs(as_text().c_str(), stderr);
  if (!s.report.empty()) {
    if (FILE* file = fopen(s.report.c_str(), "w")) {
      fputs(as_json().c_str(), file);
      fclose(file);
    } else {
      perror(("softcuda: " + s.report).c_str());
    }
  }
  if (s.exit_code && !findings().empty()) {
    fflush(nullptr);
    _exit(s.exit_code);
  }
}

}  // namespace

uint64_t Counters::launched() const { return total(launches); }
uint64_t Counters::synced() const { return total(syncs); }

Counters& counters() {
  static auto* all = new Counters;
  return *all;
}

void pool_waited() {
  Counters& c = counters();
  uint64_t kept = std::min(c.reserved_bytes, std::max(c.live_bytes, c.release_threshold));
  c.returned_bytes += c.reserved_bytes - kept;
  c.reserved_bytes = kept;
}

std::string as_json() {
  const Counters& c = counters();
  std::string out = "{\n";
  auto field = [&](const char* key, uint64_t n) { out += format("  \"%s\": %lu,\n", key, n); };
  field("launches", c.launched());
  field("gemms", c.gemms);
  field("multiply_adds", c.multiply_adds);
  field("to_device_copies", c.to_device_copies);
  field("to_device_bytes", c.to_device_bytes);
  field("pageable_bytes", c.pageable_bytes);
  field("to_host_copies", c.to_host_copies);
  field("to_host_bytes", c.to_host_bytes);
  field("on_device_copies", c.on_device_copies);
  field("on_device_bytes", c.on_device_bytes);
  field("allocations", c.allocations);
  field("allocated_bytes", c.allocated_bytes);
  field("live_bytes", c.live_bytes);
  field("peak_bytes", c.peak_bytes);
  field("reserved_bytes", c.reserved_bytes);
  field("returned_bytes", c.returned_bytes);
  field("syncs", c.synced());
  field("events", c.events);
  field("modules", c.modules);
  field("graphs_captured", c.graphs_captured);
  field("graphs_instantiated", c.graphs_instantiated);
  field("graph_launches", c.graph_launches);
  field("graph_nodes", c.graph_nodes);
  field("graph_kernels", c.graph_kernels);
  field("graph_products", c.graph_products);
  field("calls", c.calls);
  out += "  \"launches_by_kernel\": " + object(c.launches) + ",\n";
  out += "  \"syncs_by_call\": " + object(c.syncs) + ",\n  \"findings\": [";
  bool first = true;
  for (const Finding& f : findings()) {
    out += format("%s\n    {\"kind\": \"%s\", \"times\": %lu, ", first ? "" : ",", name(f.kind), f.times);
    out += "\"kernel\": " + quoted(f.kernel) + ", \"place\": " + quoted(f.place) + ", \"what\": " + quoted(f.what) + "}";
    first = false;
  }
  return out + (first ? "]\n}\n" : "\n  ]\n}\n");
}

std::string as_text() {
  const Counters& c = counters();
  std::string out = format(
      "softcuda: %lu launches, %lu products (%.3g multiply-adds), to device %lu copies %.2f MB, to host %lu copies %.2f MB, "
      "on device %lu copies, %lu allocations, peak %.1f MB, %lu waits, %lu events, %lu calls, %zu findings\n",
      c.launched(), c.gemms, double(c.multiply_adds), c.to_device_copies, c.to_device_bytes / 1e6, c.to_host_copies,
      c.to_host_bytes / 1e6, c.on_device_copies, c.allocations, c.peak_bytes / 1e6, c.synced(), c.events, c.calls,
      findings().size());
  if (c.graphs_captured) {
    out += format("softcuda: %lu graphs captured, %lu instantiated, %lu launches of them with %lu nodes: %lu kernels, %lu products\n",
                  c.graphs_captured, c.graphs_instantiated, c.graph_launches, c.graph_nodes, c.graph_kernels, c.graph_products);
  }
  std::vector<std::pair<std::string, uint64_t>> top(c.launches.begin(), c.launches.end());
  std::sort(top.begin(), top.end(), [](auto& a, auto& b) { return a.second > b.second; });
  if (top.size() > 12) top.resize(12);
  for (auto& [kernel, n] : top) out += format("softcuda: %8lu x %s\n", n, kernel.c_str());
  for (auto& [call, n] : c.syncs) out += format("softcuda: %8lu waits in %s\n", n, call.c_str());
  return out;
}

}  // namespace softcuda
