// The run-time API has nothing here: host code that launches kernels by `<<<...>>>` was replaced when it was compiled.
#include <cstdio>
#include <cstdlib>

extern "C" void softcuda_no_host_launch(const char* name) {
  fprintf(stderr, "softcuda: %s launches kernels from host code (<<<...>>>), which the software device cannot run\n", name);
  abort();
}
