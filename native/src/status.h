// The error channel: a status for the caller and a sentence kept for this thread.
#pragma once
#include "ds2_native.h"

namespace ds2 {
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
ds2_status fail(ds2_status status, const char *format, ...);
}  // namespace ds2
