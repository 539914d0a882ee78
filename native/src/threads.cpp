#include "threads.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <new>
#include <system_error>
#include <thread>

void ds2::run_tasks(int count, int threads, void (*task)(void *, int), void *context) noexcept {
  std::atomic<int> next{0};
  const auto work = [&]() noexcept {
    for (int i; (i = next.fetch_add(1)) < count;) task(context, i);
  };
  std::array<std::thread, 63> workers;
  const int wanted = std::min({threads - 1, count - 1, static_cast<int>(workers.size())});
  int started = 0;
  try {
    for (; started < wanted; ++started) workers[started] = std::thread(work);
  } catch (const std::system_error &) {
  } catch (const std::bad_alloc &) {
  }
  work();
  for (int i = 0; i < started; ++i) workers[i].join();
}
