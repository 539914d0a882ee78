#include "status.h"

#include <cstdarg>
#include <cstdio>

namespace {
thread_local char last_error[256] = "";
}

ds2_status ds2::fail(ds2_status status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(last_error, sizeof last_error, format, arguments);
  va_end(arguments);
  return status;
}

int32_t ds2_abi_version(void) { return DS2_ABI_VERSION; }
const char *ds2_last_error(void) { return last_error; }
