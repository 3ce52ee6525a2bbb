// What the device has found wrong, each once by kind, kernel and place.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace softcuda {

enum class Kind {
  OutOfBounds, UseAfterFree, Uninitialised, SharedRace, GlobalRace, BlockRace, StreamRace, DivergentBarrier,
  Misaligned, IllegalAddress, LaunchLimit, RedZone, WriteAfterFree, BadFree, Trap,
};
const char* name(Kind kind);

struct Finding {
  Kind kind;
  std::string kernel;  // or the driver's call
  std::string place;   // file:line, empty where no line is to blame
  std::string what;    // one sentence
  uint64_t times = 1;
};

/// Code addresses become lines: `a.cu:31`, or the innermost line and what inlined it.
std::string source_line(const void* pc);

void report(Kind kind, const std::string& kernel, const void* pc, const std::string& what);
const std::vector<Finding>& findings();
std::string format(const char* pattern, ...) __attribute__((format(printf, 1, 2)));

}  // namespace softcuda
