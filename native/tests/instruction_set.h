// What DS2_NATIVE_ISA means for a test program.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <cstring>

constexpr int kSkipped = 77;  // the exit status that CMakeLists.txt declares as SKIP_RETURN_CODE

/// Whether DS2_NATIVE_ISA requests another instruction set than `used`; prints so. The library then falls back to a
/// lower one, which has a test of its own.
inline bool is_absent(const char *used) {
  const char *requested = std::getenv("DS2_NATIVE_ISA");
  if (!requested || !std::strcmp(requested, used)) return false;
  std::printf("skipped: %s is not in this build or not on this processor, %s is used\n", requested, used);
  return true;
}
