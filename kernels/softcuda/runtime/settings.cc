#include "settings.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace softcuda {
namespace {

const char* text(const char* name) {
  const char* value = getenv(name);
  return value && *value ? value : nullptr;
}

[[noreturn]] void refuse(const char* name, const char* value, const char* wanted) {
  fprintf(stderr, "softcuda: %s=%s is not %s\n", name, value, wanted);
  exit(78);
}

uint64_t number(const char* name, uint64_t otherwise, bool with_unit = false) {
  const char* value = text(name);
  if (!value) return otherwise;
  char* end = nullptr;
  uint64_t n = strtoull(value, &end, 10);
  if (with_unit && (*end == 'G' || *end == 'M')) {
    n <<= *end == 'G' ? 30 : 20;
    end++;
  }
  if (end == value || *end) refuse(name, value, with_unit ? "a number of bytes, or of M or G" : "a number");
  return n;
}

bool choice(const char* name, const char* off, const char* on) {
  const char* value = text(name);
  if (!value || !strcmp(value, off)) return false;
  if (strcmp(value, on)) refuse(name, value, (std::string(off) + " or " + on).c_str());
  return true;
}

Settings read() {
  Settings s;
  s.checked = choice("SOFTCUDA_CHECK", "fast", "full");
  s.eager = choice("SOFTCUDA_QUEUE", "lazy", "eager");
  s.strict_warp = choice("SOFTCUDA_STRICT_WARP", "0", "1");
  s.trace = choice("SOFTCUDA_TRACE", "0", "1");
  s.summary = choice("SOFTCUDA_SUMMARY", "0", "1");
  if (const char* order = text("SOFTCUDA_ORDER")) {
    if (!strcmp(order, "backward")) s.order = Order::Backward;
    else if (!strncmp(order, "random", 6)) {
      s.order = Order::Random;
      if (order[6] == ':') s.seed = strtoull(order + 7, nullptr, 10);
    } else if (strcmp(order, "forward")) refuse("SOFTCUDA_ORDER", order, "forward, backward or random:SEED");
  }
  if (const char* arch = text("SOFTCUDA_ARCH")) {
    if (sscanf(arch, "%d.%d", &s.major, &s.minor) != 2) refuse("SOFTCUDA_ARCH", arch, "a compute capability such as 8.0");
  }
  if (const char* driver = text("SOFTCUDA_DRIVER")) {
    int major, minor;
    if (sscanf(driver, "%d.%d", &major, &minor) != 2) refuse("SOFTCUDA_DRIVER", driver, "a CUDA version such as 12.4");
    s.driver = major * 1000 + minor * 10;
  }
  s.memory = number("SOFTCUDA_MEMORY", s.memory, true);
  s.fail_allocation = number("SOFTCUDA_OOM_AT", 0);
  s.lose_at = number("SOFTCUDA_LOST_AT", 0);
  s.exit_code = int(number("SOFTCUDA_EXIT", 0));
  if (const char* v = text("SOFTCUDA_FAULT_FILE")) s.fault_file = v;
  if (const char* v = text("SOFTCUDA_GRAPH_FAULT")) {
    s.graph_fault = v;
    if (s.graph_fault != "begin" && s.graph_fault != "capture" && s.graph_fault != "instantiate" && s.graph_fault != "launch") {
      refuse("SOFTCUDA_GRAPH_FAULT", v, "begin, capture, instantiate or launch");
    }
  }
  if (const char* v = text("SOFTCUDA_REPORT")) s.report = v;
  if (const char* v = text("SOFTCUDA_CACHE")) s.cache = v;
  else if (const char* home = text("XDG_CACHE_HOME")) s.cache = std::string(home) + "/softcuda";
  else s.cache = std::string(getenv("HOME") ? getenv("HOME") : "/tmp") + "/.cache/softcuda";
  return s;
}

}  // namespace

const Settings& settings() {
  static const Settings* s = new Settings(read());  // never destroyed: read until the process has ended
  return *s;
}

}  // namespace softcuda
