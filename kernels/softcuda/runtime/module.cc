#include "module.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <link.h>
#include <set>
#include <spawn.h>
#include <sstream>
#include <sys/wait.h>
#include <vector>

#include "counters.h"
#include "settings.h"
#include "shadow.h"

extern char** environ;

namespace softcuda {
namespace {

namespace fs = std::filesystem;
constexpr char MAGIC[] = "// softcuda-module 1\n";

struct Description {
  fs::path source;
  std::vector<std::string> options;
};

Description parse(const char* text) {
  Description d;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("// source ", 0) == 0) d.source = line.substr(10);
    if (line.rfind("// option ", 0) == 0) d.options.push_back(line.substr(10));
  }
  return d;
}

/// The folder that holds bin/softcc, include/ and lib/: where this library was loaded from.
fs::path home() {
  Dl_info info;
  dladdr(reinterpret_cast<void*>(&load_module), &info);
  return fs::canonical(info.dli_fname).parent_path().parent_path();
}

uint64_t hash(uint64_t h, const std::string& bytes) {
  for (unsigned char c : bytes) h = (h ^ c) * 0x100000001b3ull;
  return (h ^ 0xff) * 0x100000001b3ull;
}

std::string contents(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Of everything that the compiled module depends on: translator, headers, the source and what lies beside it.
uint64_t key(const Description& d) {
  uint64_t h = 0xcbf29ce484222325ull;
  std::set<fs::path> files = {home() / "bin/softcc", d.source};
  auto add = [&](const fs::directory_entry& entry) {
    auto ending = entry.path().extension();
    if (entry.is_regular_file() && (ending == ".cuh" || ending == ".h" || ending == ".hpp")) files.insert(entry.path());
  };
  for (auto& entry : fs::recursive_directory_iterator(home() / "include")) add(entry);
  for (auto& entry : fs::directory_iterator(d.source.parent_path())) add(entry);
  for (const fs::path& file : files) h = hash(hash(h, file.filename()), contents(file));
  for (const std::string& option : d.options) h = hash(h, option);
  return hash(h, settings().checked ? "checked" : "fast");
}

Status compile(const Description& d, const fs::path& target) {
  fs::create_directories(target.parent_path());
  const std::string compiler = home() / "bin/softcc", source = d.source, output = target, lib = home() / "lib";
  std::vector<std::string> words = {compiler, source, "-o", output, "--lib", lib};
  if (settings().checked) words.push_back("--checked");
  for (const std::string& option : d.options) words.push_back("--option=" + option);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  // The compiler must not be handed this device as its own library.
  std::vector<char*> environment;
  for (char** e = environ; *e; e++) {
    if (strncmp(*e, "LD_LIBRARY_PATH=", 16) && strncmp(*e, "LD_PRELOAD=", 11)) environment.push_back(*e);
  }
  environment.push_back(nullptr);
  pid_t pid;
  if (int error = posix_spawn(&pid, compiler.c_str(), nullptr, nullptr, argv.data(), environment.data())) {
    fprintf(stderr, "softcuda: %s: %s\n", compiler.c_str(), strerror(error));
    return INVALID_PTX;
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? SUCCESS : INVALID_PTX;
}

void ignore_image(void* handle) {
  link_map* map = nullptr;
  if (dlinfo(handle, RTLD_DI_LINKMAP, &map)) return;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* wanted) {
        if (info->dlpi_addr != *static_cast<ElfW(Addr)*>(wanted)) return 0;
        for (int i = 0; i < info->dlpi_phnum; i++) {
          const auto& p = info->dlpi_phdr[i];
          if (p.p_type == PT_LOAD) shadow_ignore(info->dlpi_addr + p.p_vaddr, info->dlpi_addr + p.p_vaddr + p.p_memsz);
        }
        return 1;
      },
      &map->l_addr);
}

}  // namespace

Status load_module(const void* image, Module** module) {
  auto text = static_cast<const char*>(image);
  if (strncmp(text, MAGIC, sizeof MAGIC - 1)) {
    fprintf(stderr, "softcuda: this module was made by NVIDIA's compiler; build with the stand-in nvcc first on PATH (docs/softcuda.md)\n");
    return INVALID_PTX;
  }
  // What the stand-in compiler makes is of its own version, 13.0, and for 8.0 and newer.
  if (settings().driver < 13000) return UNSUPPORTED_PTX_VERSION;
  if (settings().major < 8) return NO_BINARY_FOR_GPU;
  Description d = parse(text);
  if (!fs::exists(d.source)) {
    fprintf(stderr, "softcuda: the source %s of a module is gone; build the program again\n", d.source.c_str());
    return INVALID_PTX;
  }
  char name[128];
  snprintf(name, sizeof name, "%s-%016lx.so", d.source.stem().c_str(), key(d));
  fs::path target = fs::path(settings().cache) / "modules" / name;
  if (!fs::exists(target)) {
    if (Status status = compile(d, target)) return status;
  }
  void* handle = dlopen(target.c_str(), RTLD_NOW | RTLD_LOCAL);
  auto* table = handle ? static_cast<const Kernel*>(dlsym(handle, "softcuda_kernels")) : nullptr;
  if (!table) {
    fprintf(stderr, "softcuda: %s\n", dlerror());
    return INVALID_PTX;
  }
  if (settings().checked) ignore_image(handle);
  counters().modules++;
  auto* made = new Module;
  for (const Kernel* kernel = table; kernel->name; kernel++) made->functions[kernel->name] = {kernel};
  *module = made;
  return SUCCESS;
}

}  // namespace softcuda
