#include "isa.h"

#include <cstdlib>
#include <cstring>

ds2::Isa ds2::best_isa(bool bfloat16) {
#if defined(__x86_64__)
  const char *asked = std::getenv("DS2_NATIVE_ISA");
  const auto is = [asked](const char *name) { return asked && std::strcmp(asked, name) == 0; };
  const bool lesser = is("base") || is("avx2") || is("avx512");  // any other name asks for nothing
  const auto allows = [&](const char *name) { return !lesser || is(name); };
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
