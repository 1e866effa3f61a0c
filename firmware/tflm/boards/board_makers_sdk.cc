// A board in its maker's SDK: the console of the C library, and the cycle counter of a Cortex-M as the clock.
//
// DWT's registers are those of the Armv7-M and Armv8-M architecture reference manuals. A Cortex-M0 has no such counter.
#include <stdint.h>
#include <stdio.h>

#include "tflm_app.h"
#include "tflm_board.h"

#if defined(__arm__)
#define CYCLES (*reinterpret_cast<volatile uint32_t*>(uintptr_t{0xE0001004}))
#define CYCLES_CONTROL (*reinterpret_cast<volatile uint32_t*>(uintptr_t{0xE0001000}))
#define DEBUG_CONTROL (*reinterpret_cast<volatile uint32_t*>(uintptr_t{0xE000EDFC}))
#endif

extern "C" int run_@name@(void);

namespace board {

void begin() {
#if defined(__arm__)
  DEBUG_CONTROL = DEBUG_CONTROL | (1u << 24);  // TRCENA, without which the counter stands still
  CYCLES = 0;
  CYCLES_CONTROL = CYCLES_CONTROL | 1u;
#endif
}

void print(const char* text) {
  fputs(text, stdout);
  fflush(stdout);
}

int read_char() {
  const int character = getchar();
  return character == EOF ? -1 : character;
}

uint64_t ticks() {
#if defined(__arm__)
  // The counter turns every 2^32 cycles, 10.7 seconds at 400 MHz: a longer inference is shown without its turns.
  static uint64_t total = 0;
  static uint32_t last = 0;
  const uint32_t now = CYCLES;
  total += static_cast<uint32_t>(now - last);
  last = now;
  return total;
#else
  return 0;  // no clock is known: the self-test's times are 0
#endif
}

uint32_t ticks_per_second() { return @clock_hz@u; }

}  // namespace board

int run_@name@(void) {
  const app::Outcome outcome = app::boot();
  if (outcome != app::ok) return outcome;
  while (app::answer()) {
  }
  return app::outcome();
}
