// Two weights in a halfword: a multiplication of halfwords by 256 a + b, and another by b, give both weights' sums.
//
// With h = 256 a + b, as a number, b is h's low byte as it is, so that one SXTB16 takes it out of two halfwords; and a sum
// of products with h, less the sum of products with b, is 256 times the sum of products with a. SMLAD of the DSP
// extension does two products of halfwords. So weights lie in flash as bytes do, and to take a word of them apart costs
// one instruction for four weights, which several pixels share. All is modulo 2^32: the export proves that 256 times
// a's sums fit.
#ifndef QTORCH_JOINED_H_
#define QTORCH_JOINED_H_

#include "halfwords.h"
#include "window_row.h"

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && defined(__OPTIMIZE__)
#define Q_JOINED_IN_THUMB
#endif

// The low bytes of two halfwords, signed.
Q_KERNEL uint32_t q_low_bytes(uint32_t x) {
#if defined(__ARM_FEATURE_DSP)
  __asm__("sxtb16 %0, %0" : "+r"(x));
  return x;
#else
  return (uint32_t)(uint16_t)(int8_t)(x & 0xff) | (uint32_t)(int8_t)(x >> 16 & 0xff) << 16;
#endif
}

// count codes in halfwords: of each four, the first and the third in a word, then the second and the fourth; what is
// left over two by two, a last one beside 0. Words are step words apart. Returns what lies behind them.
Q_KERNEL uint32_t *q_widened(const int8_t *in, int count, int step, uint32_t *words) {
  int i = 0;
  for (; i + 4 <= count; i += 4, words += 2 * step) {
    words[0] = q_alternate_codes(in + i, 0);
    words[step] = q_alternate_codes(in + i, 1);
  }
  for (; i < count; i += 2, words += step) words[0] = q_two_codes(in[i], i + 1 < count ? in[i + 1] : 0);
  return words;
}

// The same of three pixels, whose words lie side by side.
Q_KERNEL uint32_t *q_widened_three(const int8_t *p, const int8_t *q, const int8_t *r, int count, uint32_t *words) {
#if defined(Q_JOINED_IN_THUMB)
  if (count >= 4) {
    register const int8_t *a __asm__("r0") = p;
    register const int8_t *b __asm__("r1") = q;
    register const int8_t *c __asm__("r2") = r;
    register uint32_t *to __asm__("r3") = words;
    register uint32_t *end __asm__("lr") = words + count / 4 * 6;
    __asm__ volatile(
        "1:\n\t"
        "ldr r8, [r0], #4\n\t"
        "ldr r9, [r1], #4\n\t"
        "ldr r10, [r2], #4\n\t"
        "sxtb16 r4, r8\n\t"
        "sxtb16 r5, r9\n\t"
        "sxtb16 r6, r10\n\t"
        "sxtb16 r8, r8, ror #8\n\t"
        "sxtb16 r9, r9, ror #8\n\t"
        "sxtb16 r10, r10, ror #8\n\t"
        "stmia r3!, {r4, r5, r6, r8, r9, r10}\n\t"
        "cmp r3, lr\n\t"
        "bne 1b"
        : "+r"(a), "+r"(b), "+r"(c), "+r"(to)
        : "r"(end)
        : "r4", "r5", "r6", "r8", "r9", "r10", "cc", "memory");
    p = a;
    q = b;
    r = c;
    words = to;
  }
  count %= 4;
#endif
  uint32_t *const end = q_widened(p, count, 3, words);
  q_widened(q, count, 3, words + 1);
  q_widened(r, count, 3, words + 2);
  return end;
}

// The code of the sum of a channel, 256 times too large where it is the first of two; channel has the words of the form.
Q_KERNEL int8_t q_joined_code(uint32_t sum, int first, const int32_t *channel, int form, int zero_point, int low,
                              int high) {
  if (form != Q_STARTED) {
    const int32_t own = (int32_t)sum >> (first ? 8 : 0);
    return q_code((int32_t)((uint32_t)own + (uint32_t)channel[0]), channel + 1, form, zero_point, low, high);
  }
  const uint64_t start = ((uint64_t)(uint32_t)channel[2] << 32) | (uint32_t)channel[1];
  const int64_t total = (int64_t)(int32_t)sum * channel[0] + (int64_t)start;
  return (int8_t)q_clamp((int32_t)(total >> 32) >> (first ? 8 : 0), low, high);
}

#if defined(Q_JOINED_IN_THUMB)
// The code in r3 of the sum in a register, its channel's words read from r0 on, of the form Q_STARTED, then of Q_EXACT.
// shift takes the sum's factor away. r1, r2, r3, r7, lr and the sum's register are of no more use.
#define Q_JOINED_STARTED(channel, sum, shift) \
  "ldmia " channel ", {r1, r2, r3}\n\t"       \
  "smlal r2, r3, " sum ", r1\n\t"             \
  "ssat r3, #8, r3, " shift "\n\t"
#define Q_JOINED_EXACT(channel, sum, shift) \
  "ldmia " channel ", {r1, r2, r3, r7}\n\t" \
  "add r1, r1, " sum ", " shift "\n\t"      \
  "and " sum ", r1, #0x80000000\n\t"        \
  "rsbs " sum ", " sum ", #0x40000000\n\t"  \
  "sbc lr, lr, lr\n\t"                      \
  "smlal " sum ", lr, r1, r2\n\t"           \
  "add lr, lr, r3\n\t"                      \
  "asr lr, lr, r7\n\t"                      \
  "ssat r3, #8, lr\n\t"

// A word of weights times those of three pixels, in r11, r12 and lr; r4 to r6 have the sums with both weights, r8 to r10
// those with the second.
#define Q_JOINED_STEP(w)            \
  "ldmia r1!, {r11, r12, lr}\n\t"   \
  "smlad r4, r11, " w ", r4\n\t"    \
  "smlad r5, r12, " w ", r5\n\t"    \
  "smlad r6, lr, " w ", r6\n\t"     \
  "sxtb16 " w ", " w "\n\t"         \
  "smlad r8, r11, " w ", r8\n\t"    \
  "smlad r9, r12, " w ", r9\n\t"    \
  "smlad r10, lr, " w ", r10\n\t"
#define Q_JOINED_BLOCK "ldmia r0!, {r2, r3}\n\t" Q_JOINED_STEP("r2") Q_JOINED_STEP("r3")
#define Q_JOINED_THREE(code)                                                                               \
  __asm__ volatile(                                                                                        \
      "push {r7}\n\tpush {r1, r2, r3, r4, r5, r6}\n\t"                                                     \
      "mov r4, #0\n\tmov r5, #0\n\tmov r6, #0\n\tmov r8, #0\n\tmov r9, #0\n\tmov r10, #0\n\t"             \
      "push {r4, r5, r6, r8, r9, r10}\n"                                                                   \
      "1:\n\t"                                                                                             \
      "ldmia sp, {r4, r5, r6, r8, r9, r10}\n\t"                                                            \
      "ldr r7, [sp, #36]\n\t"                                                                              \
      "cmp r1, r7\n\t"                                                                                     \
      "beq 3f\n"                                                                                           \
      "2:\n\t"                                                                                             \
      Q_JOINED_BLOCK Q_JOINED_BLOCK Q_JOINED_BLOCK Q_JOINED_BLOCK                                          \
      "cmp r1, r7\n\t"                                                                                     \
      "bne 2b\n"                                                                                           \
      "3:\n\t"                                                                                             \
      "ldr r7, [sp, #40]\n\t"                                                                              \
      "cmp r1, r7\n\t"                                                                                     \
      "beq 5f\n"                                                                                           \
      "4:\n\t"                                                                                             \
      Q_JOINED_BLOCK                                                                                       \
      "cmp r1, r7\n\t"                                                                                     \
      "bne 4b\n"                                                                                           \
      "5:\n\t"                                                                                             \
      "ldrd r11, r12, [sp, #28]\n\t"                                                                       \
      "sub r4, r4, r8\n\t"                                                                                 \
      "sub r5, r5, r9\n\t"                                                                                 \
      "sub r6, r6, r10\n\t"                                                                                \
      code("r0", "r5", "asr #8") "strb r3, [r11, r12]\n\t"                                                 \
      code("r0", "r6", "asr #8") "strb r3, [r11, r12, lsl #1]\n\t"                                         \
      code("r0!", "r4", "asr #8") "strb r3, [r11], #1\n\t"                                                 \
      code("r0", "r9", "lsl #0") "strb r3, [r11, r12]\n\t"                                                 \
      code("r0", "r10", "lsl #0") "strb r3, [r11, r12, lsl #1]\n\t"                                        \
      code("r0!", "r8", "lsl #0") "strb r3, [r11], #1\n\t"                                                 \
      "str r11, [sp, #28]\n\t"                                                                             \
      "ldr r1, [sp, #24]\n\t"                                                                              \
      "ldr r7, [sp, #44]\n\t"                                                                              \
      "cmp r0, r7\n\t"                                                                                     \
      "bne 1b\n\t"                                                                                         \
      "add sp, sp, #48\n\tpop {r7}"                                                                        \
      : "+r"(w), "+r"(x), "+r"(to), "+r"(row), "+r"(most), "+r"(all), "+r"(end)                            \
      :                                                                                                    \
      : "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory")
#define Q_JOINED_THREE_FUNCTION(name, form, code)                                                           \
  Q_APART void name(const int32_t *words, const uint32_t *pixels, int8_t *out, int stride, int blocks, \
                          int pairs) {                                                                      \
    register const int32_t *w __asm__("r0") = words;                                                        \
    register const uint32_t *x __asm__("r1") = pixels;                                                      \
    register int8_t *to __asm__("r2") = out;                                                                \
    register int row __asm__("r3") = stride;                                                                \
    register const uint32_t *most __asm__("r4") = pixels + blocks / 4 * 24;                                 \
    register const uint32_t *all __asm__("r5") = pixels + blocks * 6;                                       \
    register const int32_t *end __asm__("r6") = words + pairs * (2 * blocks + 2 * Q_CHANNEL_WORDS(form));   \
    Q_JOINED_THREE(code);                                                                                   \
  }

// Codes of three pixels, channels two by two: words int32 [pairs][2 * blocks + 2 * Q_CHANNEL_WORDS(form)], pixels uint32
// [2 * blocks][3], out int8 [3][stride]; codes from -128 to 127.
Q_JOINED_THREE_FUNCTION(q_joined_three_started, Q_STARTED, Q_JOINED_STARTED)
Q_JOINED_THREE_FUNCTION(q_joined_three_exact, Q_EXACT, Q_JOINED_EXACT)
#undef Q_JOINED_THREE_FUNCTION
#undef Q_JOINED_THREE
#undef Q_JOINED_BLOCK
#undef Q_JOINED_STEP

// Two words of codes, each with two of weights, of four channels: r4 and r5 have the sums with both weights of a pair,
// r6 and r8 those with the second.
#define Q_JOINED_ONE(x, w, both, second) \
  "smlad " both ", " x ", " w ", " both "\n\t" \
  "sxtb16 " w ", " w "\n\t"                    \
  "smlad " second ", " x ", " w ", " second "\n\t"
#define Q_JOINED_HALF(x, y)                                       \
  "ldmia r0!, {r2, r3, r7, lr}\n\t"                               \
  Q_JOINED_ONE(x, "r2", "r4", "r6") Q_JOINED_ONE(x, "r3", "r5", "r8") \
  Q_JOINED_ONE(y, "r7", "r4", "r6") Q_JOINED_ONE(y, "lr", "r5", "r8")
#define Q_JOINED_BLOCK "ldmia r1!, {r9, r10, r11, r12}\n\t" Q_JOINED_HALF("r9", "r10") Q_JOINED_HALF("r11", "r12")
#define Q_JOINED_FOUR(code)                                                                                \
  __asm__ volatile(                                                                                        \
      "push {r7}\n\tpush {r1, r2, r4, r5, r6}\n"                                                           \
      "1:\n\t"                                                                                             \
      "mov r4, #0\n\tmov r5, #0\n\tmov r6, #0\n\tmov r8, #0\n\t"                                          \
      "ldr r2, [sp, #8]\n\t"                                                                               \
      "cmp r1, r2\n\t"                                                                                     \
      "beq 3f\n"                                                                                           \
      "2:\n\t"                                                                                             \
      Q_JOINED_BLOCK Q_JOINED_BLOCK Q_JOINED_BLOCK Q_JOINED_BLOCK                                          \
      "ldr r2, [sp, #8]\n\t"                                                                               \
      "cmp r1, r2\n\t"                                                                                     \
      "bne 2b\n"                                                                                           \
      "3:\n\t"                                                                                             \
      "ldr r2, [sp, #12]\n\t"                                                                              \
      "cmp r1, r2\n\t"                                                                                     \
      "beq 5f\n"                                                                                           \
      "4:\n\t"                                                                                             \
      Q_JOINED_BLOCK                                                                                       \
      "ldr r2, [sp, #12]\n\t"                                                                              \
      "cmp r1, r2\n\t"                                                                                     \
      "bne 4b\n"                                                                                           \
      "5:\n\t"                                                                                             \
      "ldr r11, [sp, #4]\n\t"                                                                              \
      "sub r4, r4, r6\n\t"                                                                                 \
      "sub r5, r5, r8\n\t"                                                                                 \
      code("r0!", "r4", "asr #8") "strb r3, [r11], #1\n\t"                                                 \
      code("r0!", "r6", "lsl #0") "strb r3, [r11], #1\n\t"                                                 \
      code("r0!", "r5", "asr #8") "strb r3, [r11], #1\n\t"                                                 \
      code("r0!", "r8", "lsl #0") "strb r3, [r11], #1\n\t"                                                 \
      "str r11, [sp, #4]\n\t"                                                                              \
      "ldr r1, [sp]\n\t"                                                                                   \
      "ldr r7, [sp, #16]\n\t"                                                                              \
      "cmp r0, r7\n\t"                                                                                     \
      "bne 1b\n\t"                                                                                         \
      "add sp, sp, #20\n\tpop {r7}"                                                                        \
      : "+r"(w), "+r"(x), "+r"(to), "+r"(most), "+r"(all), "+r"(end)                                       \
      :                                                                                                    \
      : "r3", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory")
#define Q_JOINED_FOUR_FUNCTION(name, form, code)                                                             \
  Q_APART void name(const int32_t *words, const uint32_t *codes, int8_t *out, int blocks, int fours) { \
    register const int32_t *w __asm__("r0") = words;                                                         \
    register const uint32_t *x __asm__("r1") = codes;                                                        \
    register int8_t *to __asm__("r2") = out;                                                                 \
    register const uint32_t *most __asm__("r4") = codes + blocks / 4 * 16;                                   \
    register const uint32_t *all __asm__("r5") = codes + blocks * 4;                                         \
    register const int32_t *end __asm__("r6") = words + fours * (8 * blocks + 4 * Q_CHANNEL_WORDS(form));    \
    Q_JOINED_FOUR(code);                                                                                     \
  }

// Codes of a vector times a matrix, channels four by four: words int32 [fours][8 * blocks + 4 * Q_CHANNEL_WORDS(form)],
// codes uint32 [4 * blocks], from -128 to 127 as out.
Q_JOINED_FOUR_FUNCTION(q_joined_four_started, Q_STARTED, Q_JOINED_STARTED)
Q_JOINED_FOUR_FUNCTION(q_joined_four_exact, Q_EXACT, Q_JOINED_EXACT)
#undef Q_JOINED_FOUR_FUNCTION
#undef Q_JOINED_FOUR
#undef Q_JOINED_BLOCK
#undef Q_JOINED_HALF
#undef Q_JOINED_ONE
#endif

// Sums of a pixel with the two weights of each of steps words; those of weights are next words apart, of codes step. Of
// the first channel the sum is 256 times too large.
Q_KERNEL void q_joined_sums(const int32_t *words, int next, const uint32_t *codes, int step, int steps,
                            uint32_t *first, uint32_t *second) {
  uint32_t both = 0, alone = 0;
  for (int i = 0; i < steps; ++i, words += next, codes += step) {
    const uint32_t w = (uint32_t)*words, x = *codes;
    both = q_two_products(x, w, both);
    alone = q_two_products(x, q_low_bytes(w), alone);
  }
  *first = both - alone;
  *second = alone;
}

#endif  // QTORCH_JOINED_H_
