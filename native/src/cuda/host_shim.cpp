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

constexpr size_t kStackBytes = 128 << 10;

/// The barrier of a warp or a block. Values are double-buffered, as a thread is at most one barrier ahead of the
/// others.
struct Barrier {
  unsigned size, arrived, exited, phase;
  int line;
  std::vector<uint64_t> buffers[2];

  void begin(unsigned threads) {
    size = threads, arrived = exited = phase = 0;
    for (auto &values : buffers) values.assign(threads, 0);
  }
};

/// The saved context of a thread of execution. setjmp switches without a system call; under AddressSanitizer, which
/// must be informed of every switch, swapcontext is used.
struct Context {
  ucontext_t context;
  jmp_buf jump;
  bool started = false;
  std::unique_ptr<char[]> stack;
};

struct Fiber : Context {
  bool done;
  Barrier *at;
  unsigned phase;
};

Context host;
std::deque<Fiber> fibers;  // a deque, so that addresses stay valid
std::vector<Barrier> warps;
Barrier block;
Fiber *current;
void (*kernel)(void *);
void *context;
char fault[160];
int32_t order = 0;

void switch_context(Context &from, Context &to) {
#if defined(__SANITIZE_ADDRESS__)
  static const void *host_stack;
  static size_t host_size;
  void *mine;
  const bool leaving = &to != &host;
  __sanitizer_start_switch_fiber(&mine, leaving ? to.stack.get() : host_stack, leaving ? kStackBytes : host_size);
  swapcontext(&from.context, &to.context);
  __sanitizer_finish_switch_fiber(mine, leaving ? nullptr : &host_stack, leaving ? nullptr : &host_size);
#else
  from.started = true;
  if (_setjmp(from.jump)) return;
  if (to.started) _longjmp(to.jump, 1);
  setcontext(&to.context);
#endif
}

void fiber_main() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  for (;;) {  // a fiber runs one thread after another
    kernel(context);
    Fiber &self = *current;
    self.done = true;
    for (Barrier *barrier : {&warps[threadIdx.x / 32], &block}) {
      ++barrier->exited;
      if (barrier->arrived && !*fault)
        std::snprintf(fault, sizeof fault, "a thread exits while others wait at line %d", barrier->line);
    }
    switch_context(self, host);
  }
}

void fail(const char *format, int line, int other = 0) {
  std::snprintf(fault, sizeof fault, format, line, other);
  for (;;) switch_context(*current, host);
}

const uint64_t *exchange(Barrier &barrier, unsigned index, uint64_t value, int line) {
  if (barrier.exited) fail("a thread waits at line %d for threads that have exited", line);
  if (barrier.arrived && barrier.line != line)
    fail("threads wait for one barrier at lines %d and %d", barrier.line, line);
  barrier.line = line;
  std::vector<uint64_t> &values = barrier.buffers[barrier.phase % 2];
  values[index] = value;
  if (++barrier.arrived == barrier.size) {
    barrier.arrived = 0;
    ++barrier.phase;
  } else {
    Fiber &self = *current;
    self.at = &barrier, self.phase = barrier.phase;
    switch_context(self, host);
    self.at = nullptr;
  }
  return values.data();
}

void create_fiber(Fiber &fiber) {
  fiber.stack.reset(new char[kStackBytes]);
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, fiber_main, 0);
}

void prepare_block(unsigned threads) {
  if (fibers.size() < threads) fibers.resize(threads);
  if (*fault) fibers.clear(), fibers.resize(threads);  // those in the middle of a kernel cannot be reused
  *fault = 0;
  for (unsigned i = 0; i < threads; ++i) {
    fibers[i].done = false, fibers[i].at = nullptr;
    if (!fibers[i].stack) create_fiber(fibers[i]);
  }
  warps.resize((threads + 31) / 32);
  for (unsigned w = 0; w < warps.size(); ++w) warps[w].begin(min(32u, threads - 32 * w));
  block.begin(threads);
}

/// Run each thread of a warp that is not waiting, up to its next barrier; return whether there was one.
bool run_warp(unsigned w, unsigned size, unsigned start, bool descending) {
  bool any = false;
  for (unsigned k = 0; k < size && !*fault; ++k) {
    const unsigned lane = (start + (descending ? size - k : k)) % size;
    Fiber &fiber = fibers[32 * w + lane];
    if (fiber.done || (fiber.at && fiber.at->phase == fiber.phase)) continue;
    threadIdx.x = 32 * w + lane;
    current = &fiber;
    switch_context(host, fiber);
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
    if (!fibers[i].done)
      std::snprintf(fault, sizeof fault, "the barrier at line %d is never completed", fibers[i].at->line);
}

}  // namespace

void shim_poison([[maybe_unused]] uintptr_t start, [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(reinterpret_cast<void *>(start), bytes);
#endif
}

const uint64_t *shim_exchange_warp(unsigned mask, uint64_t value, int line) {
  if (mask != 0xffffffffu) fail("only part of the warp takes part at line %d", line);
  return exchange(warps[threadIdx.x / 32], threadIdx.x % 32, value, line);
}

const uint64_t *shim_exchange_block(uint64_t value, int line) { return exchange(block, threadIdx.x, value, line); }

const char *shim_run(unsigned blocks, unsigned threads, void (*a_kernel)(void *), void *a_context) {
  kernel = a_kernel, context = a_context;
  gridDim.x = blocks, blockDim.x = threads;
  std::mt19937 random(static_cast<unsigned>(order));
  for (unsigned k = 0; k < blocks; ++k) {
    blockIdx.x = order == 1 ? blocks - 1 - k : k;
    prepare_block(threads);
    run_block(random);
    if (*fault) return fault;
  }
  return nullptr;
}

}  // namespace ds2

/// The order in which the threads of later launches run: 0 ascending, 1 descending, any other value seeds a shuffle.
extern "C" DS2_API void ds2_shim_set_order(int32_t order) { ds2::order = order; }
