// Zephyr: its console and its cycle counter.
#include <zephyr/console/console.h>
#include <zephyr/kernel.h>
#include <zephyr/sys/printk.h>

#include "tflm_app.h"
#include "tflm_board.h"

namespace board {

void begin() { console_init(); }

void print(const char* text) { printk("%s", text); }

int read_char() { return console_getchar(); }

uint64_t ticks() {
#if defined(CONFIG_TIMER_HAS_64BIT_CYCLE_COUNTER)
  return k_cycle_get_64();
#else
  // The counter may turn within a minute; the milliseconds since the last call say how often it did.
  static uint64_t total = 0;
  static uint32_t last = 0;
  static int64_t last_milliseconds = 0;
  const uint32_t now = k_cycle_get_32();
  const int64_t milliseconds = k_uptime_get();
  const uint32_t passed = now - last;
  const uint64_t about = static_cast<uint64_t>(milliseconds - last_milliseconds) * ticks_per_second() / 1000u;
  const uint64_t turns = about > passed ? (about - passed + 0x80000000u) >> 32 : 0;
  total += (turns << 32) + passed;
  last = now;
  last_milliseconds = milliseconds;
  return total;
#endif
}

uint32_t ticks_per_second() { return static_cast<uint32_t>(sys_clock_hw_cycles_per_sec()); }

}  // namespace board

int main() {
  // Zephyr reserves other return values than 0; what failed stands on the console.
  if (app::boot() != app::ok) return 0;
  while (app::answer()) {
  }
  return 0;
}
