#include "isa.h"

#include <cstdlib>
#include <cstring>

ds2::Isa ds2::best_isa(bool bfloat16) {
#if defined(__x86_64__)
  const char *requested = std::getenv("DS2_NATIVE_ISA");
  const auto is_requested = [requested](const char *name) { return requested && std::strcmp(requested, name) == 0; };
  // any other name is ignored
  const bool limited = is_requested("base") || is_requested("avx2") || is_requested("avx512");
  const auto allows = [&](const char *name) { return !limited || is_requested(name); };
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && allows("avx512")) {
#if DS2_HAVE_BF16
    if (bfloat16 && __builtin_cpu_supports("avx512bf16")) return Isa::avx512bf16;
#endif
    return Isa::avx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && allows("avx2")) return Isa::avx2;
#endif
  (void)bfloat16;
  return Isa::base;
}
