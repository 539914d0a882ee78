// Runs the numbered tasks of a call on several threads.
#pragma once

namespace ds2 {
/// Run task(context, i) for i in [0, count) on up to `threads` threads, the calling thread included; return when all
/// are done. If a thread cannot be started, the others take over its tasks.
void run_tasks(int count, int threads, void (*task)(void *context, int index), void *context) noexcept;
}  // namespace ds2
