#include <cstdio>
#include <cstring>
#include <unistd.h>

#include "settings.h"
#include "status.h"

namespace softcuda {

Status device_status = SUCCESS;

namespace {

uint64_t allocations, launches, failures_left;
bool lost;

/// Obeys the file that a test puts beside a running process: `oom N` lets the next N allocations fail, `lost` loses the
/// device at the next launch.
void read_fault_file() {
  const auto& path = settings().fault_file;
  if (path.empty() || access(path.c_str(), R_OK)) return;
  char word[16] = "";
  unsigned long n = 1;
  if (FILE* file = fopen(path.c_str(), "r")) {
    if (fscanf(file, "%15s %lu", word, &n) < 1) word[0] = 0;
    fclose(file);
  }
  unlink(path.c_str());
  if (!strcmp(word, "oom")) failures_left = n;
  else if (!strcmp(word, "lost")) lost = true;
  else fprintf(stderr, "softcuda: %s says \"%s\", neither `oom N` nor `lost`\n", path.c_str(), word);
}

}  // namespace

bool allocation_must_fail() {
  read_fault_file();
  if (++allocations == settings().fail_allocation) return true;
  if (!failures_left) return false;
  failures_left--;
  return true;
}

bool launch_loses_device() {
  read_fault_file();
  return ++launches == settings().lose_at || lost;
}

bool graph_step_must_fail(const char* step) { return settings().graph_fault == step; }

}  // namespace softcuda
