// Sums of 24 bits to levels above a layer's lowest code, by products of bytes. The export proves for every channel that
// the codes are TFLite Micro's on every sum that can occur.
//
// level = ((moved * multiplier >> 8) + fraction) >> 24, where moved is the sum less the channel's origin; 0 where that
// is negative. Q_LEVEL_16 takes moved below 2^16, beyond which the level is the highest, and a multiplier of 32 bits;
// Q_LEVEL_24 takes moved below 2^23 and a multiplier of 24 bits; Q_LEVEL_32 the larger of both. Q_LEVEL_40 takes a
// multiplier that is 2^8 times as large, for >> 16: of products of bytes below that the high byte counts, or nothing.
//
// A channel in flash, low bytes first: bias less origin (3 bytes), multiplier (3 or 4), fraction (3). Where it splits,
// the fraction is that of sums below 0, and there follow what moved is for a sum of 0 (3) and the fraction from there
// up (3).
#ifndef QTORCH_REQUANTIZE_AVR_H_
#define QTORCH_REQUANTIZE_AVR_H_

#include "kernel.h"

#define Q_LEVEL_16 16
#define Q_LEVEL_24 24
#define Q_LEVEL_32 32
#define Q_LEVEL_40 40

Q_KERNEL __uint24 q_flash_u24(const uint8_t **address) {
  __uint24 found;
  __asm__("lpm %A0, Z+\n\tlpm %B0, Z+\n\tlpm %C0, Z+" : "=&r"(found), "+z"(*address));
  return found;
}

Q_KERNEL uint32_t q_flash_u32(const uint8_t **address) {
  uint32_t found;
  __asm__("lpm %A0, Z+\n\tlpm %B0, Z+\n\tlpm %C0, Z+\n\tlpm %D0, Z+" : "=&r"(found), "+z"(*address));
  return found;
}

// One product of bytes onto the five bytes h1 h0 f2 f1 f0, at the byte that the name says.
#define Q_ONTO_2(a, b) "mul " a ", " b "\n\tadd %C[f], r0\n\tadc %A[h], r1\n\tadc %B[h], %[zero]\n\t"
#define Q_ONTO_1(a, b) \
  "mul " a ", " b "\n\tadd %B[f], r0\n\tadc %C[f], r1\n\tadc %A[h], %[zero]\n\tadc %B[h], %[zero]\n\t"
#define Q_ONTO_0(a, b) \
  "mul " a ", " b "\n\tadd %A[f], r0\n\tadc %B[f], r1\n\tadc %C[f], %[zero]\n\tadc %A[h], %[zero]\n\t" \
  "adc %B[h], %[zero]\n\t"
#define Q_BELOW_0(a, b) \
  "mul " a ", " b "\n\tadd %A[f], r1\n\tadc %B[f], %[zero]\n\tadc %C[f], %[zero]\n\tadc %A[h], %[zero]\n\t" \
  "adc %B[h], %[zero]\n\t"

Q_KERNEL uint8_t q_level_of_24_avr(__uint24 moved, __uint24 multiplier, __uint24 fraction) {
  uint16_t level;
  uint8_t zero;
  __asm__("clr %[zero]\n\tmul %C[s], %C[m]\n\tmovw %A[h], r0\n\t"                                             //
          Q_ONTO_2("%C[s]", "%B[m]") Q_ONTO_2("%B[s]", "%C[m]")                                               //
          Q_ONTO_1("%C[s]", "%A[m]") Q_ONTO_1("%B[s]", "%B[m]") Q_ONTO_1("%A[s]", "%C[m]")                    //
          Q_ONTO_0("%B[s]", "%A[m]") Q_ONTO_0("%A[s]", "%B[m]") Q_BELOW_0("%A[s]", "%A[m]") "clr __zero_reg__"  //
          : [f] "+r"(fraction), [h] "=&r"(level), [zero] "=&r"(zero)
          : [s] "r"(moved), [m] "r"(multiplier));
  return (uint8_t)(level > 255 ? 255 : level);
}

Q_KERNEL uint8_t q_level_of_16_avr(uint16_t moved, uint32_t multiplier, __uint24 fraction) {
  uint16_t level;
  uint8_t zero;
  __asm__("clr %[zero]\n\tmul %B[s], %D[m]\n\tmovw %A[h], r0\n\t"                                             //
          Q_ONTO_2("%A[s]", "%D[m]") Q_ONTO_2("%B[s]", "%C[m]")                                               //
          Q_ONTO_1("%A[s]", "%C[m]") Q_ONTO_1("%B[s]", "%B[m]")                                               //
          Q_ONTO_0("%A[s]", "%B[m]") Q_ONTO_0("%B[s]", "%A[m]") Q_BELOW_0("%A[s]", "%A[m]") "clr __zero_reg__"  //
          : [f] "+r"(fraction), [h] "=&r"(level), [zero] "=&r"(zero)
          : [s] "r"(moved), [m] "r"(multiplier));
  return (uint8_t)(level > 255 ? 255 : level);
}

Q_KERNEL uint8_t q_level_of_40_avr(__uint24 moved, uint32_t multiplier, __uint24 fraction) {
  uint16_t level;
  uint8_t zero;
  __asm__("clr %[zero]\n\tmul %C[s], %D[m]\n\tmovw %A[h], r0\n\t"                                              //
          Q_ONTO_2("%B[s]", "%D[m]") Q_ONTO_2("%C[s]", "%C[m]")                                                //
          Q_ONTO_1("%A[s]", "%D[m]") Q_ONTO_1("%B[s]", "%C[m]") Q_ONTO_1("%C[s]", "%B[m]")                     //
          Q_ONTO_0("%A[s]", "%C[m]") Q_ONTO_0("%B[s]", "%B[m]") Q_ONTO_0("%C[s]", "%A[m]")                     //
          Q_BELOW_0("%A[s]", "%B[m]") Q_BELOW_0("%B[s]", "%A[m]") "clr __zero_reg__"                           //
          : [f] "+r"(fraction), [h] "=&r"(level), [zero] "=&r"(zero)
          : [s] "r"(moved), [m] "r"(multiplier));
  return (uint8_t)(level > 255 ? 255 : level);
}

// One more byte of level than the others have.
#define Q_ONTO_3_OF_6(a, b) "mul " a ", " b "\n\tadd %A[h], r0\n\tadc %B[h], r1\n\tadc %C[h], %[zero]\n\t"
#define Q_CARRY_6 "adc %C[h], %[zero]\n\t"

Q_KERNEL uint8_t q_level_of_32_avr(__uint24 moved, uint32_t multiplier, __uint24 fraction) {
  __uint24 level;
  uint8_t zero;
  __asm__("clr %[zero]\n\tclr %A[h]\n\tmul %C[s], %D[m]\n\tmov %B[h], r0\n\tmov %C[h], r1\n\t"  //
          Q_ONTO_3_OF_6("%C[s]", "%C[m]") Q_ONTO_3_OF_6("%B[s]", "%D[m]")                          //
          Q_ONTO_2("%C[s]", "%B[m]") Q_CARRY_6 Q_ONTO_2("%B[s]", "%C[m]") Q_CARRY_6                 //
          Q_ONTO_2("%A[s]", "%D[m]") Q_CARRY_6 Q_ONTO_1("%C[s]", "%A[m]") Q_CARRY_6                 //
          Q_ONTO_1("%B[s]", "%B[m]") Q_CARRY_6 Q_ONTO_1("%A[s]", "%C[m]") Q_CARRY_6                 //
          Q_ONTO_0("%B[s]", "%A[m]") Q_CARRY_6 Q_ONTO_0("%A[s]", "%B[m]") Q_CARRY_6                 //
          Q_BELOW_0("%A[s]", "%A[m]") Q_CARRY_6 "clr __zero_reg__"                                  //
          : [f] "+r"(fraction), [h] "=&r"(level), [zero] "=&r"(zero)
          : [s] "r"(moved), [m] "r"(multiplier));
  return (uint8_t)(level > 255 ? 255 : level);
}

// With bias.
#define Q_LEVEL_BYTES(form, splits) (3 + ((form) == Q_LEVEL_24 ? 3 : 4) + 3 + ((splits) ? 6 : 0))

// The code of a sum of 24 bits with sign; channel points to the bias, which has the channel's origin subtracted.
Q_KERNEL int8_t q_level_code_avr(__uint24 sum, const uint8_t *channel, int form, int splits, int low, int high) {
  const __uint24 moved = sum + q_flash_u24(&channel);
  if (moved & 0x800000) return (int8_t)low;
  if (form == Q_LEVEL_16 && moved > 0xFFFF) return (int8_t)high;
  const uint32_t multiplier = form == Q_LEVEL_24 ? q_flash_u24(&channel) : q_flash_u32(&channel);
  __uint24 fraction = q_flash_u24(&channel);
  if (splits && moved >= q_flash_u24(&channel)) fraction = q_flash_u24(&channel);
  const uint8_t level = form == Q_LEVEL_16   ? q_level_of_16_avr((uint16_t)moved, multiplier, fraction)
                        : form == Q_LEVEL_24 ? q_level_of_24_avr(moved, (__uint24)multiplier, fraction)
                        : form == Q_LEVEL_40 ? q_level_of_40_avr(moved, multiplier, fraction)
                                             : q_level_of_32_avr(moved, multiplier, fraction);
  return (int8_t)(level > high - low ? high : low + level);
}

#endif  // QTORCH_REQUANTIZE_AVR_H_
