// A Cortex-M that a debugger or an emulator listens to by semihosting, and its SysTick timer as the clock.
//
// Semihosting calls are those of Arm's "Semihosting for AArch32 and AArch64"; SysTick's registers those of the Armv6-M
// to Armv8-M architecture reference manuals.
#include <stddef.h>
#include <stdint.h>

#include "tflm_app.h"
#include "tflm_board.h"

extern "C" {

// TFLite Micro's library for TARGET=cortex_m_generic sends its messages here. Weak, because other builds have no such
// function.
void RegisterDebugLogCallback(void (*callback)(const char* text)) __attribute__((weak));

void SysTick_Handler();
[[noreturn]] void Exit_Program(int code);
}

namespace {

enum : uint32_t {
  sys_open = 0x01,
  sys_write0 = 0x04,
  sys_read = 0x06,
  sys_exit_extended = 0x20,
  application_exit = 0x20026,
};

uint32_t semihosting(uint32_t operation, const void* argument) {
  register uint32_t r0 __asm__("r0") = operation;
  register const void* r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

struct SysTick {
  volatile uint32_t control, reload, value;
};

SysTick& systick() { return *reinterpret_cast<SysTick*>(uintptr_t{0xE000E010}); }

// SysTick counts down through 24 bits; its interrupt counts the rounds.
constexpr uint32_t top = 0xFFFFFF;
volatile uint32_t rounds = 0;

}  // namespace

void SysTick_Handler() { rounds = rounds + 1; }

void Exit_Program(int code) {
  const uint32_t block[2] = {application_exit, static_cast<uint32_t>(code)};
  semihosting(sys_exit_extended, block);
  for (;;) {
  }
}

namespace board {

void begin() {
  if (RegisterDebugLogCallback != nullptr) RegisterDebugLogCallback(print);
  systick().reload = top;
  systick().value = 0;
  systick().control = 7;  // processor clock, interrupt, on
}

void print(const char* text) { semihosting(sys_write0, text); }

int read_char() {
  // The console as a file, because SYS_READC knows no end of the input and emulators lose characters in it.
  static const char console_name[] = ":tt";
  static const uintptr_t console[3] = {reinterpret_cast<uintptr_t>(console_name), 0, sizeof console_name - 1};
  static const uint32_t handle = semihosting(sys_open, console);
  unsigned char character = 0;
  const uintptr_t wanted[3] = {handle, reinterpret_cast<uintptr_t>(&character), 1};
  // Answers how many of the bytes asked for are missing. Control-D ends the input where the console has no end.
  return semihosting(sys_read, wanted) != 0 || character == 4 ? -1 : character;
}

uint64_t ticks() {
  for (;;) {
    const uint32_t before = rounds;
    const uint64_t now = (static_cast<uint64_t>(before) << 24) + (top - systick().value);
    // A round that ended in between would pair an old count with a new value.
    if (rounds == before) return now;
  }
}

uint32_t ticks_per_second() { return CLOCK_HZ; }

}  // namespace board

int main() {
  const app::Outcome outcome = app::boot();
#ifdef READ_CONSOLE
  if (outcome == app::ok) {
    while (app::answer()) {
    }
    return app::outcome();
  }
#endif
  return outcome;
}
