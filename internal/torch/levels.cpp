// Which kernels compute: what the processor has, bounded by what a user or libtorch's own switch allows.
#include "common.h"

#include <cstdlib>

#ifdef X86
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

constexpr const char* kSwitch = "GSMEVAL_CPU_KERNELS";
constexpr const char* kNames[] = {"portable", "avx2", "avx512", "amx"};

#ifdef X86
// The kernel gives a process AMX's registers when it asks for them.
bool has_amx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned tile = 1u << 24, bf16 = 1u << 22;
  constexpr long request = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & tile) != 0 && (d & bf16) != 0 && syscall(SYS_arch_prctl, request, tile_data) == 0;
}

Level best() {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("x86-64-v3")) return Level::kPortable;
  if (!__builtin_cpu_supports("x86-64-v4")) return Level::kAvx2;
  return has_amx() ? Level::kAmx : Level::kAvx512;
}
#else
Level best() { return Level::kPortable; }
#endif

// What libtorch was told with ATEN_CPU_CAPABILITY holds for these kernels too.
Level libtorch_allows() {
  const auto capability = at::get_cpu_capability();
  return capability == "DEFAULT" ? Level::kPortable : capability == "AVX2" ? Level::kAvx2 : Level::kAmx;
}

Level possible() {
  static const Level level = std::min(best(), libtorch_allows());
  return level;
}

Level named(const std::string& name) {
  for (int i = 0; i < 4; i++)
    if (name == kNames[i]) return static_cast<Level>(i);
  TORCH_CHECK(false, kSwitch, " is \"", name, "\"; it takes portable, avx2, avx512 or amx, and nothing for the best that the processor has");
}

}  // namespace

std::atomic<Level> gsm_level{[] {
  const char* name = getenv(kSwitch);
  for (int i = 0; name != nullptr && i < 4; i++)
    if (strcmp(name, kNames[i]) == 0) return std::min(static_cast<Level>(i), possible());
  return possible();
}()};

// Whether the switch says something that can be done.
void check_level() {
  const char* name = getenv(kSwitch);
  if (name == nullptr || *name == 0) return;
  const Level level = named(name);
  TORCH_CHECK(level <= possible(), kSwitch, " is ", name, ", which this processor (or ATEN_CPU_CAPABILITY) does not have; the best here is ",
              kNames[static_cast<int>(possible())]);
}

const char* gsm_kernels(void) { return kNames[static_cast<int>(gsm_level.load())]; }

char* gsm_use_kernels(const char* name) {
  return guard([&] {
    const Level level = named(name);
    TORCH_CHECK(level <= possible(), "this processor does not have ", name);
    gsm_level.store(level);
  });
}
