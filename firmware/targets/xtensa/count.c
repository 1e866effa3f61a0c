/* Ticks of CCOUNT, which QEMU advances by a fixed time per instruction under -icount: a count of instructions.
 *
 * The counter has 32 bits; its comparison with where it started counts the turns. */
#include "../rig.h"

extern volatile uint32_t start_tick_words[2];

static uint32_t started;

void rig_count_start(void) {
  uint32_t off = 0;
  start_tick_words[1] = 0;
  __asm__ volatile(
      "wsr %1, intenable\n\t"
      "rsr %0, ccount\n\t"
      "wsr %0, ccompare0\n\t"
      "movi %1, 0x40\n\t"
      "wsr %1, intenable\n\t"
      "rsync\n\t"
      : "=&r"(started), "+r"(off)::"memory");
}

uint64_t rig_count_stop(void) {
  uint32_t stopped;
  uint32_t off = 0;
  __asm__ volatile(
      "rsr %0, ccount\n\t"
      "wsr %1, intenable\n\t"
      "rsync\n\t"
      : "=&r"(stopped)
      : "r"(off)
      : "memory");
  return ((uint64_t)start_tick_words[1] << 32) + (uint32_t)(stopped - started);
}
