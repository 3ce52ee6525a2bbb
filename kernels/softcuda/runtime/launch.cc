#include "launch.h"

#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "capture.h"
#include "counters.h"
#include "findings.h"
#include "heap.h"
#include "scheduler.h"
#include "settings.h"

namespace softcuda {
namespace {

std::string& last_name() {
  static auto* last = new std::string;
  return *last;
}

/// Arguments as they were at the call: the caller's copies are gone when the kernel runs.
struct Arguments {
  std::vector<std::unique_ptr<char[]>> bytes;
  std::vector<void*> values;

  Arguments(const Kernel& kernel, void** given) {
    for (unsigned i = 0; i < kernel.count; i++) {
      bytes.emplace_back(new char[kernel.params[i].bytes + 16]);
      memcpy(bytes.back().get(), given[i], kernel.params[i].bytes);
      values.push_back(bytes.back().get());
    }
  }
};

std::string over_limits(const Function& f, uint3 grid, uint3 block, uint32_t shared_bytes) {
  const uint64_t threads = uint64_t(block.x) * block.y * block.z;
  if (!grid.x || !grid.y || !grid.z || !threads) {
    return format("an empty launch: grid (%u,%u,%u), block (%u,%u,%u)", grid.x, grid.y, grid.z, block.x, block.y, block.z);
  }
  if (threads > 1024 || block.x > 1024 || block.y > 1024 || block.z > 64) {
    return format("block (%u,%u,%u) has %lu threads; at most 1024, and 64 along z", block.x, block.y, block.z, threads);
  }
  if (grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535) {
    return format("grid (%u,%u,%u); at most 2147483647, 65535, 65535", grid.x, grid.y, grid.z);
  }
  if (shared_bytes > f.dynamic_shared_limit) {
    return format("%u bytes of dynamic shared memory; more than %u wants cuFuncSetAttribute first", shared_bytes, f.dynamic_shared_limit);
  }
  return {};
}

/// One line a launch with a sum over what its pointers lead to: two runs that should agree are compared by `diff`.
void trace(const Launch& l) {
  fprintf(stderr, "softcuda: launch %lu %s", l.number, l.kernel->name);
  for (unsigned i = 0; i < l.kernel->count; i++) {
    if (l.kernel->params[i].kind == Param::Value) continue;
    uintptr_t at;
    memcpy(&at, l.values[i], sizeof at);
    const Allocation* a = heap().find(at);
    if (!a) continue;
    uint64_t sum = 0xcbf29ce484222325ull;
    auto* bytes = reinterpret_cast<const unsigned char*>(a->at);
    for (size_t b = 0; b < a->bytes; b++) sum = (sum ^ bytes[b]) * 0x100000001b3ull;
    fprintf(stderr, " %u:%016lx", i + 1, sum);
  }
  fputc('\n', stderr);
}

}  // namespace

const std::string& last_launched() { return last_name(); }

size_t shared_limit() {
  const Settings& s = settings();
  int arch = s.major * 10 + s.minor;
  size_t kilobytes = arch == 80 || arch == 87 ? 163 : arch >= 90 && arch < 120 ? 227 : 99;
  return kilobytes << 10;
}

Status launch(Function& f, uint3 grid, uint3 block, uint32_t shared_bytes, Stream& stream, void** values) {
  const Kernel& kernel = *f.kernel;
  if (std::string why = over_limits(f, grid, block, shared_bytes); !why.empty()) {
    report(Kind::LaunchLimit, kernel.name, nullptr, why);
    return INVALID_VALUE;
  }
  if (Status refused = may_push(stream); refused != SUCCESS) return refused;
  if (!captures(stream)) {
    if (launch_loses_device()) return device_status = LAUNCH_FAILED;
    counters().launches[kernel.name]++;
  }
  last_name() = kernel.name;

  auto arguments = std::make_shared<Arguments>(kernel, values);
  std::vector<Use> uses;
  static const char* const ROLES[] = {"argument 1", "argument 2", "argument 3", "argument 4", "argument 5", "argument 6",
                                      "argument 7", "argument 8", "argument 9", "argument 10", "argument 11", "a later argument"};
  for (unsigned i = 0; i < kernel.count; i++) {
    if (kernel.params[i].kind == Param::Value) continue;
    uintptr_t at;
    memcpy(&at, arguments->values[i], sizeof at);
    if (!heap().contains(at)) continue;
    const char* role = ROLES[i < 11 ? i : 11];
    Allocation* a = heap().find(at);
    if (!a) {
      report(Kind::IllegalAddress, kernel.name, nullptr, format("%s is %#lx, where nothing is allocated", role, at));
    } else if (a->released) {
      report(Kind::UseAfterFree, kernel.name, nullptr, std::string(role) + " points to freed memory, " + describe(*a));
    } else {
      uses.push_back({at, kernel.params[i].kind == Param::Writes, role});
    }
  }

  static uint64_t number = 0;
  auto work = [arguments, &kernel, grid, block, shared_bytes, n = ++number] {
    if (device_status != SUCCESS) return;
    Launch l = {&kernel, arguments->values.data(), grid, block, shared_bytes, n};
    if (!run(l)) device_status = LAUNCH_FAILED;
    if (settings().trace) trace(l);
  };
  if (captures(stream)) {
    Node node;
    node.who = kernel.name, node.uses = std::move(uses), node.run = std::move(work);
    keep(stream, std::move(node));
  } else {
    enqueue(stream, kernel.name, uses, std::move(work));
  }
  return SUCCESS;
}

}  // namespace softcuda
