#include "host_shim.h"

#include <setjmp.h>
#include <ucontext.h>

#include <cstdio>
#include <deque>
#include <memory>
#include <random>
#include <vector>

#include "ds2_native.h"
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace ds2 {

ShimIndex threadIdx{}, blockIdx{}, blockDim{}, gridDim{};

namespace {

constexpr size_t kStack = 128 << 10;

/// A warp or a block at its barriers. What is brought lies in two places in turn, as no thread is two barriers ahead.
struct Meeting {
  unsigned size, arrived, gone, turn;
  int line;
  std::vector<uint64_t> brought[2];

  void begin(unsigned threads) {
    size = threads, arrived = gone = turn = 0;
    for (auto &place : brought) place.assign(threads, 0);
  }
};

/// Where a thread of control is while another runs. setjmp changes places without a system call; under the address
/// sanitizer, which must be told of the change, swapcontext does.
struct Place {
  ucontext_t context;
  jmp_buf jump;
  bool started = false;
  std::unique_ptr<char[]> stack;
};

struct Fiber : Place {
  bool done;
  Meeting *at;
  unsigned turn;
};

Place host;
std::deque<Fiber> fibers;  // they stay where they are
std::vector<Meeting> warps;
Meeting block;
Fiber *current;
void (*kernel)(void *);
void *context;
char fault[160];
int32_t order = 0;

void change(Place &from, Place &to) {
#if defined(__SANITIZE_ADDRESS__)
  static const void *host_stack;
  static size_t host_size;
  void *mine;
  const bool leaving = &to != &host;
  __sanitizer_start_switch_fiber(&mine, leaving ? to.stack.get() : host_stack, leaving ? kStack : host_size);
  swapcontext(&from.context, &to.context);
  __sanitizer_finish_switch_fiber(mine, leaving ? nullptr : &host_stack, leaving ? nullptr : &host_size);
#else
  from.started = true;
  if (_setjmp(from.jump)) return;
  if (to.started) _longjmp(to.jump, 1);
  setcontext(&to.context);
#endif
}

void body() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  for (;;) {  // a fiber serves one thread after another
    kernel(context);
    Fiber &self = *current;
    self.done = true;
    for (Meeting *meeting : {&warps[threadIdx.x / 32], &block}) {
      ++meeting->gone;
      if (meeting->arrived && !*fault)
        std::snprintf(fault, sizeof fault, "a thread ends while others wait at line %d", meeting->line);
    }
    change(self, host);
  }
}

void fail(const char *format, int line, int other = 0) {
  std::snprintf(fault, sizeof fault, format, line, other);
  for (;;) change(*current, host);
}

const uint64_t *meet(Meeting &meeting, unsigned index, uint64_t brought, int line) {
  if (meeting.gone) fail("a thread waits at line %d for others that have ended", line);
  if (meeting.arrived && meeting.line != line)
    fail("threads of one barrier are at lines %d and %d", meeting.line, line);
  meeting.line = line;
  std::vector<uint64_t> &place = meeting.brought[meeting.turn % 2];
  place[index] = brought;
  if (++meeting.arrived == meeting.size) {
    meeting.arrived = 0;
    ++meeting.turn;
  } else {
    Fiber &self = *current;
    self.at = &meeting, self.turn = meeting.turn;
    change(self, host);
    self.at = nullptr;
  }
  return place.data();
}

void make(Fiber &fiber) {
  fiber.stack.reset(new char[kStack]);
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = kStack;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, body, 0);
}

void prepare(unsigned threads) {
  if (fibers.size() < threads) fibers.resize(threads);
  if (*fault) fibers.clear(), fibers.resize(threads);  // those in the middle of a kernel never come back
  *fault = 0;
  for (unsigned i = 0; i < threads; ++i) {
    fibers[i].done = false, fibers[i].at = nullptr;
    if (!fibers[i].stack) make(fibers[i]);
  }
  warps.resize((threads + 31) / 32);
  for (unsigned w = 0; w < warps.size(); ++w) warps[w].begin(min(32u, threads - 32 * w));
  block.begin(threads);
}

/// Let every thread of a warp that can go on do so until its next barrier; returns whether one could.
bool run_warp(unsigned w, unsigned size, unsigned start, bool down) {
  bool any = false;
  for (unsigned k = 0; k < size && !*fault; ++k) {
    const unsigned lane = (start + (down ? size - k : k)) % size;
    Fiber &fiber = fibers[32 * w + lane];
    if (fiber.done || (fiber.at && fiber.at->turn == fiber.turn)) continue;
    threadIdx.x = 32 * w + lane;
    current = &fiber;
    change(host, fiber);
    any = true;
  }
  return any;
}

void run_block(std::mt19937 &random) {
  const unsigned count = static_cast<unsigned>(warps.size());
  for (bool any = true; any && !*fault;) {
    any = false;
    const bool shuffled = order > 1;
    const unsigned first = shuffled ? random() % count : 0;
    for (unsigned k = 0; k < count; ++k) {
      const unsigned w = (first + (order == 1 ? count - 1 - k : k)) % count, size = warps[w].size;
      if (shuffled) {
        const unsigned draw = random();
        any |= run_warp(w, size, draw % size, draw & 0x10000);
      } else {
        while (run_warp(w, size, order == 1 ? size - 1 : 0, order == 1)) any = true;
      }
    }
  }
  for (unsigned i = 0; i < blockDim.x && !*fault; ++i)
    if (!fibers[i].done) std::snprintf(fault, sizeof fault, "a barrier at line %d is never passed", fibers[i].at->line);
}

}  // namespace

void shim_forbid([[maybe_unused]] uintptr_t start, [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(reinterpret_cast<void *>(start), bytes);
#endif
}

const uint64_t *shim_meet_warp(unsigned mask, uint64_t brought, int line) {
  if (mask != 0xffffffffu) fail("part of a warp meets at line %d", line);
  return meet(warps[threadIdx.x / 32], threadIdx.x % 32, brought, line);
}

const uint64_t *shim_meet_block(uint64_t brought, int line) { return meet(block, threadIdx.x, brought, line); }

const char *shim_run(unsigned blocks, unsigned threads, void (*a_kernel)(void *), void *a_context) {
  kernel = a_kernel, context = a_context;
  gridDim.x = blocks, blockDim.x = threads;
  std::mt19937 random(static_cast<unsigned>(order));
  for (unsigned k = 0; k < blocks; ++k) {
    blockIdx.x = order == 1 ? blocks - 1 - k : k;
    prepare(threads);
    run_block(random);
    if (*fault) return fault;
  }
  return nullptr;
}

}  // namespace ds2

/// The order in which the threads of later launches run: 0 ascending, 1 descending, any other a seed to shuffle them
/// by.
extern "C" DS2_API void ds2_shim_set_order(int32_t order) { ds2::order = order; }
