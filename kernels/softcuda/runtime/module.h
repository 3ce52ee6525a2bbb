// Modules: what a driver would JIT from PTX is compiled here from the source that the stand-in nvcc named.
#pragma once
#include <map>
#include <string>

#include "launch.h"
#include "status.h"

namespace softcuda {

struct Module {
  std::map<std::string, Function> functions;
};

/// Compiles (or finds compiled) and loads the module that `image` describes.
Status load_module(const void* image, Module** module);

}  // namespace softcuda
