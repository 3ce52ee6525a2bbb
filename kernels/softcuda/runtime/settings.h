// What the environment asks of the device. Read once, when the driver is initialised.
#pragma once
#include <cstdint>
#include <string>

namespace softcuda {

enum class Order { Forward, Backward, Random };

struct Settings {
  bool checked = false;          // SOFTCUDA_CHECK=full: kernels with hooks; default `fast`
  bool eager = false;            // SOFTCUDA_QUEUE=eager: work runs when queued; default `lazy`, when something waits
  bool strict_warp = false;      // SOFTCUDA_STRICT_WARP=1: only __syncwarp orders memory, exchanges do not
  Order order = Order::Forward;  // SOFTCUDA_ORDER=forward | backward | random:SEED, of blocks and threads
  uint64_t seed = 1;
  int major = 8, minor = 0;      // SOFTCUDA_ARCH=8.0: whose limits hold
  int driver = 13000;            // SOFTCUDA_DRIVER=13.0: the CUDA version that the driver says it runs
  uint64_t memory = 16ull << 30; // SOFTCUDA_MEMORY=8G, 512M or bytes
  uint64_t fail_allocation = 0;  // SOFTCUDA_OOM_AT=N: the N-th allocation finds no memory (1 is the first)
  uint64_t lose_at = 0;          // SOFTCUDA_LOST_AT=N: the device is lost at the N-th launch
  std::string fault_file;        // SOFTCUDA_FAULT_FILE: when it appears, its text is obeyed (`oom N` or `lost`) and it is removed
  std::string graph_fault;       // SOFTCUDA_GRAPH_FAULT=begin | capture | instantiate | launch: that step of every graph fails
  std::string report;            // SOFTCUDA_REPORT: where counters and findings go as JSON at exit
  bool trace = false;            // SOFTCUDA_TRACE=1: a line a launch on stderr, with sums over its memory
  bool summary = false;          // SOFTCUDA_SUMMARY=1: counters on stderr at exit
  int exit_code = 0;             // SOFTCUDA_EXIT=N: the process ends with N if anything was found
  std::string cache;             // SOFTCUDA_CACHE: compiled modules
};

const Settings& settings();

}  // namespace softcuda
