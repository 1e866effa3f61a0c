// int32 sums to int8 codes, as TFLite Micro's MultiplyByQuantizedMultiplier and the clamp after it compute them.
//
// A multiplier is mantissa * 2^(shift - 31), the mantissa in [2^30, 2^31) or 0. TFLM rounds twice: the high half of the
// doubled product, ties towards plus infinity (SQRDMULH), then the right shift, ties away from zero. Both roundings are
// sums that can go before one shift: 2^30 for the first, and half of the second's unit, less 2^31 where the number is
// negative. Floors of floors are one floor.
#ifndef QTORCH_REQUANTIZE_H_
#define QTORCH_REQUANTIZE_H_

#include "kernel.h"

// How a layer's sums become codes, and the words that each of its channels has in flash. The export chooses.
//
// Q_POSITIVE: bias, multiplier, fraction. The code is the high word of sum * multiplier + fraction, plus the zero point.
//     Proven by the export for every sum that can occur: it gives the same code at each of the sums where the code
//     changes. Found where an activation cuts off everything below the zero point.
// Q_EXACT: bias, mantissa, addend, shift. For right shifts from 2 on; the addend holds the second rounding's half and
//     the zero point.
// Q_WIDE: bias, mantissa, shift. Any shift, to the left where it is positive.
// Q_STARTED: multiplier, then the 64 bits, low word first, that Q_POSITIVE adds to its product, with the bias' product
//     and the zero point among them. For sums that do not begin at the bias.
#define Q_POSITIVE 0
#define Q_EXACT 1
#define Q_WIDE 2
#define Q_STARTED 3
#define Q_CHANNEL_WORDS(form) ((form) == Q_EXACT ? 4 : 3)

// The high word of a * b + start, whose words are start_high and start_low; b is not negative.
#if defined(__AVR__)
// A product of bytes, added from the named byte up.
#define Q_CARRY(byte) "adc " byte ", %[zero]\n\t"
#define Q_ONTO(a, b, low, high) "mul " a ", " b "\n\tadd " low ", r0\n\tadc " high ", r1\n\t"
#define Q_BYTE_0(a, b) Q_ONTO(a, b, "%A[l]", "%B[l]") Q_CARRY("%C[l]") Q_CARRY("%D[l]") Q_CARRIES
#define Q_BYTE_1(a, b) Q_ONTO(a, b, "%B[l]", "%C[l]") Q_CARRY("%D[l]") Q_CARRIES
#define Q_BYTE_2(a, b) Q_ONTO(a, b, "%C[l]", "%D[l]") Q_CARRIES
#define Q_BYTE_3(a, b) Q_ONTO(a, b, "%D[l]", "%A[h]") Q_CARRY("%B[h]") Q_CARRY("%C[h]") Q_CARRY("%D[h]")
#define Q_BYTE_4(a, b) Q_ONTO(a, b, "%A[h]", "%B[h]") Q_CARRY("%C[h]") Q_CARRY("%D[h]")
#define Q_BYTE_5(a, b) Q_ONTO(a, b, "%B[h]", "%C[h]") Q_CARRY("%D[h]")
#define Q_BYTE_6(a, b) Q_ONTO(a, b, "%C[h]", "%D[h]")
#define q_high_word_of_halves q_high_word
#define Q_CARRIES Q_CARRY("%A[h]") Q_CARRY("%B[h]") Q_CARRY("%C[h]") Q_CARRY("%D[h]")

Q_ONCE int32_t q_high_word(int32_t a, int32_t b, int32_t start_high, uint32_t start_low) {
  uint8_t zero;
  uint32_t high = (uint32_t)start_high;
  __asm__("clr %[zero]\n\t" Q_BYTE_0("%A[a]", "%A[b]")                                                    //
          Q_BYTE_1("%A[a]", "%B[b]") Q_BYTE_1("%B[a]", "%A[b]")                                             //
          Q_BYTE_2("%A[a]", "%C[b]") Q_BYTE_2("%B[a]", "%B[b]") Q_BYTE_2("%C[a]", "%A[b]")                  //
          Q_BYTE_3("%A[a]", "%D[b]") Q_BYTE_3("%B[a]", "%C[b]") Q_BYTE_3("%C[a]", "%B[b]")                  //
          Q_BYTE_3("%D[a]", "%A[b]") Q_BYTE_4("%B[a]", "%D[b]") Q_BYTE_4("%C[a]", "%C[b]")                  //
          Q_BYTE_4("%D[a]", "%B[b]") Q_BYTE_5("%C[a]", "%D[b]") Q_BYTE_5("%D[a]", "%C[b]")                  //
          Q_BYTE_6("%D[a]", "%D[b]") "clr __zero_reg__"                                                     //
          : [l] "+r"(start_low), [h] "+r"(high), [zero] "=&r"(zero)
          : [a] "r"(a), [b] "r"(b));
  // Bytes have no sign; that of a counts 2^32 times b.
  if (a < 0) high -= (uint32_t)b;
  return (int32_t)high;
}
#elif defined(Q_SHORT_PRODUCTS) && defined(__OPTIMIZE__)
// As q_long_product, but the carry comes out of the flags.
Q_KERNEL int32_t q_high_word_of_halves(int32_t a, int32_t b, int32_t start_high, uint32_t start_low) {
  int32_t t, u, v;
  __asm__(".syntax unified\n\t"
          "uxth %[t], %[a]\n\tuxth %[u], %[b]\n\tasrs %[a], %[a], #16\n\tasrs %[b], %[b], #16\n\t"
          "movs %[v], %[t]\n\tmuls %[v], %[u], %[v]\n\t"
          "muls %[u], %[a], %[u]\n\tmuls %[t], %[b], %[t]\n\tmuls %[b], %[a], %[b]\n\t"
          "lsrs %[a], %[v], #16\n\tadds %[u], %[u], %[a]\n\tuxth %[a], %[u]\n\tadds %[t], %[t], %[a]\n\t"
          "asrs %[u], %[u], #16\n\tadds %[b], %[b], %[u]\n\tasrs %[u], %[t], #16\n\tadds %[b], %[b], %[u]\n\t"
          "lsls %[t], %[t], #16\n\tuxth %[v], %[v]\n\torrs %[t], %[v]\n\t"
          "adds %[t], %[t], %[low]\n\tadcs %[b], %[high]"
          : [a] "+&l"(a), [b] "+&l"(b), [t] "=&l"(t), [u] "=&l"(u), [v] "=&l"(v)
          : [low] "l"(start_low), [high] "l"(start_high)
          : "cc");
  return b;
}
Q_ONCE int32_t q_high_word(int32_t a, int32_t b, int32_t start_high, uint32_t start_low) {
  return q_high_word_of_halves(a, b, start_high, start_low);
}
#else
#define q_high_word_of_halves q_high_word
Q_KERNEL int32_t q_high_word(int32_t a, int32_t b, int32_t start_high, uint32_t start_low) {
  // Two words side by side, which a multiply-accumulate of 64 bits takes as they are.
  const int64_t start = (int64_t)((uint64_t)(uint32_t)start_high << 32 | start_low);
  return (int32_t)((q_long_product(a, b) + start) >> 32);
}
#endif

// x * mantissa * 2^(shift - 31), rounded twice. x << shift fits int32.
Q_ONCE int32_t q_requantize(int32_t x, int32_t mantissa, int shift) {
  const int left = shift > 0 ? shift : 0;
  const int right = shift < 0 ? -shift : 0;
  int64_t total = q_long_product((int32_t)((uint32_t)x << left), mantissa) + ((int64_t)1 << 30);
  if (right > 0) {
    total += (int64_t)1 << (30 + right);
    if (x < 0) total -= (int64_t)1 << 31;
  }
  return (int32_t)(total >> (31 + right));
}

Q_KERNEL int32_t q_clamp(int32_t x, int32_t low, int32_t high) {
#if defined(__ARM_FEATURE_SAT)
  if (low == -128 && high == 127) {
    __asm__("ssat %0, #8, %1" : "=r"(x) : "r"(x));
    return x;
  }
#endif
  return x < low ? low : x > high ? high : x;
}

// The code of a sum, not clamped, in the form Q_EXACT; channel points behind the bias.
Q_ONCE int32_t q_exact(int32_t sum, const int32_t *channel) {
  // 2^30, less 2^31 where the sum is negative: as two words, whose high one is the sign.
  const int32_t sign = sum < 0 ? -1 : 0;
  const int32_t high_word =
      q_high_word_of_halves(sum, q_flash_s32(channel), sign, 0x40000000u ^ ((uint32_t)sign << 31));
  return (high_word + q_flash_s32(channel + 1)) >> q_flash_s32(channel + 2);
}

// The code of a sum, bias included; channel points behind the bias, form and limits are constants.
Q_KERNEL int8_t q_code(int32_t sum, const int32_t *channel, int form, int zero_point, int low, int high) {
  int32_t code;
  if (form == Q_POSITIVE) {
    code = q_high_word(sum, q_flash_s32(channel), zero_point, (uint32_t)q_flash_s32(channel + 1));
  } else if (form == Q_EXACT) {
    code = q_exact(sum, channel);
  } else {
    code = zero_point + q_requantize(sum, q_flash_s32(channel), (int)q_flash_s32(channel + 1));
  }
  return (int8_t)q_clamp(code, low, high);
}

#endif  // QTORCH_REQUANTIZE_H_
