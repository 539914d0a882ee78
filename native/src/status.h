// Error reporting: a status for the caller and a message kept per thread.
#pragma once
#include "ds2_native.h"

namespace ds2 {
/// Store a message for ds2_last_error and return `status`.
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
ds2_status fail(ds2_status status, const char *format, ...);
}  // namespace ds2
