#include "findings.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <map>
#include <tuple>

namespace softcuda {
namespace {

constexpr size_t KEPT = 200;
constexpr size_t SHOWN = 20;

std::vector<Finding>& list() {
  static auto* found = new std::vector<Finding>;
  return *found;
}

}  // namespace

const std::vector<Finding>& findings() { return list(); }

const char* name(Kind kind) {
  switch (kind) {
    case Kind::OutOfBounds: return "out of bounds";
    case Kind::UseAfterFree: return "use after free";
    case Kind::Uninitialised: return "uninitialised read";
    case Kind::SharedRace: return "race on shared memory";
    case Kind::GlobalRace: return "race on global memory";
    case Kind::BlockRace: return "race between blocks";
    case Kind::StreamRace: return "race between streams";
    case Kind::DivergentBarrier: return "divergent barrier";
    case Kind::Misaligned: return "misaligned access";
    case Kind::IllegalAddress: return "illegal address";
    case Kind::LaunchLimit: return "launch limit";
    case Kind::RedZone: return "red zone overwritten";
    case Kind::WriteAfterFree: return "write after free";
    case Kind::BadFree: return "bad free";
    case Kind::Trap: return "trap";
  }
  return "unknown";
}

std::string format(const char* pattern, ...) {
  char text[1024];
  va_list args;
  va_start(args, pattern);
  vsnprintf(text, sizeof text, pattern, args);
  va_end(args);
  return text;
}

std::string source_line(const void* pc) {
  static auto* known = new std::map<const void*, std::string>;
  auto [at, is_new] = known->try_emplace(pc);
  if (!is_new) return at->second;
  Dl_info info;
  if (!pc || !dladdr(pc, &info) || !info.dli_fname) return at->second = "";
  // The return address lies behind the call: one byte back is inside it.
  auto offset = reinterpret_cast<uintptr_t>(pc) - reinterpret_cast<uintptr_t>(info.dli_fbase) - 1;
  std::string command = format("addr2line -i -e '%s' 0x%lx 2>/dev/null", info.dli_fname, offset);
  std::string place;
  if (FILE* pipe = popen(command.c_str(), "r")) {
    char line[1024];
    while (fgets(line, sizeof line, pipe)) {
      line[strcspn(line, "\n")] = 0;
      if (char* note = strstr(line, " (discriminator")) *note = 0;
      const char* slash = strrchr(line, '/');
      std::string file = slash ? slash + 1 : line;
      // Lines of the device's own headers say nothing about the kernel.
      if (file.rfind("softcuda.h:", 0) == 0 || file.rfind("cuda_", 0) == 0 || file[0] == '?') continue;
      if (!place.empty() && place.find(" <- ") != std::string::npos) break;
      place += (place.empty() ? "" : " <- ") + file;
    }
    pclose(pipe);
  }
  return at->second = place;
}

void report(Kind kind, const std::string& kernel, const void* pc, const std::string& what) {
  static auto* seen = new std::map<std::tuple<Kind, std::string, std::string>, size_t>;
  std::string place = source_line(pc);
  auto key = std::make_tuple(kind, kernel, place.empty() ? what.substr(0, 24) : place);
  if (auto at = seen->find(key); at != seen->end()) {
    list()[at->second].times++;
    return;
  }
  if (list().size() >= KEPT) return;
  (*seen)[key] = list().size();
  list().push_back({kind, kernel, place, what});
  if (list().size() <= SHOWN) {
    fprintf(stderr, "softcuda: %s in %s%s%s: %s\n", name(kind), kernel.c_str(), place.empty() ? "" : " at ",
            place.c_str(), what.c_str());
  } else if (list().size() == SHOWN + 1) {
    fprintf(stderr, "softcuda: more findings are only counted\n");
  }
}

}  // namespace softcuda
