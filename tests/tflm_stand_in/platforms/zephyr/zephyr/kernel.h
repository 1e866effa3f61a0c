#pragma once
#include <stdint.h>
inline uint32_t k_cycle_get_32() {
  static uint32_t now = 0;
  return now += 7;
}
inline int sys_clock_hw_cycles_per_sec() { return 1000000; }
inline int64_t k_uptime_get() { return 0; }
