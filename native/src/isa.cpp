#include "isa.h"

#include <cstdlib>
#include <cstring>

namespace {

using ds2::Isa;

/// The highest instruction set that DS2_NATIVE_ISA allows; every one if it is not set.
Isa highest_allowed() {
  const char *requested = std::getenv("DS2_NATIVE_ISA");
  if (requested) {
    if (!std::strcmp(requested, "base")) return Isa::base;
    if (!std::strcmp(requested, "avx2")) return Isa::avx2;
    if (!std::strcmp(requested, "avx512")) return Isa::avx512;
  }
  return Isa::avx512bf16;
}

}  // namespace

Isa ds2::best_isa(bool bfloat16) {
#if defined(__x86_64__)
  const Isa highest = highest_allowed();
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")) {
#if DS2_HAVE_BF16
    if (bfloat16 && highest >= Isa::avx512bf16 && __builtin_cpu_supports("avx512bf16")) return Isa::avx512bf16;
#endif
    if (highest >= Isa::avx512) return Isa::avx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && highest >= Isa::avx2) return Isa::avx2;
#endif
  (void)bfloat16;
  return Isa::base;
}

bool ds2::has_vnni() {
#if defined(__x86_64__)
  return best_isa(false) == Isa::avx512 && highest_allowed() > Isa::avx512 && __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}
