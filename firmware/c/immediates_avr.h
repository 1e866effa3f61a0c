// Instructions of a layer whose weights are immediates, for kernels that an export generates; AVR only.
#ifndef QTORCH_IMMEDIATES_AVR_H_
#define QTORCH_IMMEDIATES_AVR_H_

#include "requantize_avr.h"

// r17 is the input plus 128, r5 is zero, X points to the next input; sums have three registers each.
#define Q_SKIP "adiw r26, 1\n\t"
#define Q_LOAD "ld r17, X+\n\tsubi r17, 0x80\n\t"
#define Q_KEEP(register_, weight) "ldi r" #register_ ", " #weight "\n\t"
#define Q_TIMES(register_) "mul r17, r" #register_ "\n\t"
#define Q_PLUS(l, m, h) "add r" #l ", r0\n\tadc r" #m ", r1\n\tadc r" #h ", r5\n\t"
#define Q_MINUS(l, m, h) "sub r" #l ", r0\n\tsbc r" #m ", r1\n\tsbc r" #h ", r5\n\t"
#define Q_PLUS_ONE(l, m, h) "add r" #l ", r17\n\tadc r" #m ", r5\n\tadc r" #h ", r5\n\t"
#define Q_MINUS_ONE(l, m, h) "sub r" #l ", r17\n\tsbc r" #m ", r5\n\tsbc r" #h ", r5\n\t"
#define Q_SET(register_, byte) "ldi r17, " #byte "\n\tmov r" #register_ ", r17\n\t"

// Levels as in requantize_avr.h, the channel's numbers at hand.
Q_ONCE uint8_t q_level_24_once_avr(__uint24 moved, __uint24 multiplier, __uint24 fraction) {
  if (moved & 0x800000) return 0;
  return q_level_of_24_avr(moved, multiplier, fraction);
}

Q_ONCE uint8_t q_level_16_once_avr(__uint24 moved, uint32_t multiplier, __uint24 fraction) {
  if (moved & 0x800000) return 0;
  if (moved > 0xFFFF) return 255;
  return q_level_of_16_avr((uint16_t)moved, multiplier, fraction);
}

Q_ONCE uint8_t q_level_32_once_avr(__uint24 moved, uint32_t multiplier, __uint24 fraction) {
  if (moved & 0x800000) return 0;
  return q_level_of_32_avr(moved, multiplier, fraction);
}

Q_ONCE uint8_t q_level_40_once_avr(__uint24 moved, uint32_t multiplier, __uint24 fraction) {
  if (moved & 0x800000) return 0;
  return q_level_of_40_avr(moved, multiplier, fraction);
}

Q_KERNEL int8_t q_code_of_level_avr(uint8_t level, int low, int range) {
  return (int8_t)(low + (level > range ? range : level));
}

#endif  // QTORCH_IMMEDIATES_AVR_H_
