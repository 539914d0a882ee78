// A call's work, shared out as numbered tasks.
#pragma once

namespace ds2 {
/// Run task(context, i) for i in [0, count) on `threads` threads, the caller among them; returns when all are done.
/// A thread that cannot be started is done without.
void run_tasks(int count, int threads, void (*task)(void *context, int index), void *context) noexcept;
}  // namespace ds2
