// Four weights of 4 bits in a halfword, which multiplications of halfwords by less and less of it take apart.
//
// h = 4096 a + 256 (b + 8) + 16 (c + 8) + (d + 8), as a number. A sum of products with h, less that with its low twelve
// bits, is 4096 times the sum of products with a; what is left less that with its low eight bits 256 times the sum with
// b + 8, and so on. One BIC, UXTB16 or AND takes what is left out of two halfwords, and SMLAD of the DSP extension
// does two products: seven instructions for eight products, which several pixels share. All is modulo 2^32: the export
// proves that every sum fits. Of the sums with b, c and d, 8 times the sum of the codes is taken away.
#ifndef QTORCH_JOINED_S4_H_
#define QTORCH_JOINED_S4_H_

#include "joined.h"

// 8 times the sum of the codes in steps words, which lie step words apart.
Q_KERNEL int32_t q_eight_times(const uint32_t *codes, int step, int steps) {
  uint32_t sum = 0;
  for (int i = 0; i < steps; i += 4, codes += 4 * step) {
    sum = q_two_products(codes[0], 0x00080008u, sum);
    sum = q_two_products(codes[step], 0x00080008u, sum);
    sum = q_two_products(codes[2 * step], 0x00080008u, sum);
    sum = q_two_products(codes[3 * step], 0x00080008u, sum);
  }
  return (int32_t)sum;
}

// Sums of a pixel with the four weights of each of steps words; codes lie step words apart, less is 8 times their sum.
Q_KERNEL void q_joined_sums_s4(const int32_t *words, const uint32_t *codes, int step, int steps, int32_t less,
                               int32_t *sums) {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  for (int i = 0; i < steps; ++i, codes += step) {
    const uint32_t w = (uint32_t)words[i], x = *codes;
    a = q_two_products(x, w, a);
    b = q_two_products(x, w & 0x0FFF0FFFu, b);
    c = q_two_products(x, w & 0x00FF00FFu, c);
    d = q_two_products(x, w & 0x000F000Fu, d);
  }
  sums[0] = (int32_t)(a - b) >> 12;
  sums[1] = ((int32_t)(b - c) >> 8) - less;
  sums[2] = ((int32_t)(c - d) >> 4) - less;
  sums[3] = (int32_t)d - less;
}

#if defined(Q_JOINED_IN_THUMB)
// A word of weights times one of codes, of one pixel or two; the word is of no more use.
#define Q_JOINED_S4_LESS_12(w) "bic " w ", " w ", #0xF000F000\n\t"
#define Q_JOINED_S4_LESS_8(w) "uxtb16 " w ", " w "\n\t"
#define Q_JOINED_S4_LESS_4(w) "and " w ", " w ", #0x000F000F\n\t"
#define Q_JOINED_S4_ADD(x, w, sum) "smlad " sum ", " x ", " w ", " sum "\n\t"
#define Q_JOINED_S4_ONE(x, w)                                                                             \
  Q_JOINED_S4_ADD(x, w, "r4") Q_JOINED_S4_LESS_12(w) Q_JOINED_S4_ADD(x, w, "r5") Q_JOINED_S4_LESS_8(w) \
  Q_JOINED_S4_ADD(x, w, "r6") Q_JOINED_S4_LESS_4(w) Q_JOINED_S4_ADD(x, w, "r8")
#define Q_JOINED_S4_TWO(w)                                                                           \
  "ldmia r1!, {r7, lr}\n\t"                                                                         \
  Q_JOINED_S4_ADD("r7", w, "r4") Q_JOINED_S4_ADD("lr", w, "r9") Q_JOINED_S4_LESS_12(w)              \
  Q_JOINED_S4_ADD("r7", w, "r5") Q_JOINED_S4_ADD("lr", w, "r10") Q_JOINED_S4_LESS_8(w)              \
  Q_JOINED_S4_ADD("r7", w, "r6") Q_JOINED_S4_ADD("lr", w, "r11") Q_JOINED_S4_LESS_4(w)              \
  Q_JOINED_S4_ADD("r7", w, "r8") Q_JOINED_S4_ADD("lr", w, "r12")
// The four sums alone; less has 8 times the sum of the codes.
#define Q_JOINED_S4_APART(a, b, c, d, less)            \
  "subs " a ", " a ", " b "\n\t"                        \
  "subs " b ", " b ", " c "\n\t"                        \
  "subs " c ", " c ", " d "\n\t"                        \
  "asrs " a ", " a ", #12\n\t"                          \
  "rsb " b ", " less ", " b ", asr #8\n\t"             \
  "rsb " c ", " less ", " c ", asr #4\n\t"             \
  "sub " d ", " d ", " less "\n\t"

#define Q_JOINED_S4_BLOCK                                                                \
  "ldmia r1!, {r9, r10, r11, r12}\n\tldmia r0!, {r2, r3, r7, lr}\n\t"                    \
  Q_JOINED_S4_ONE("r9", "r2") Q_JOINED_S4_ONE("r10", "r3") Q_JOINED_S4_ONE("r11", "r7") \
  Q_JOINED_S4_ONE("r12", "lr")
#define Q_JOINED_S4_ROW_FUNCTION(name, form, code)                                                             \
  Q_APART void name(const int32_t *words, const uint32_t *codes, int8_t *out, int steps, int fours,            \
                    int32_t less) {                                                                            \
    register const int32_t *w __asm__("r0") = words;                                                           \
    register const uint32_t *x __asm__("r1") = codes;                                                          \
    register int8_t *to __asm__("r2") = out;                                                                   \
    register const uint32_t *all __asm__("r3") = codes + steps;                                                \
    register const int32_t *end __asm__("r4") = words + fours * (steps + 4 * Q_CHANNEL_WORDS(form));           \
    register int32_t eight __asm__("r5") = less;                                                               \
    __asm__ volatile(                                                                                          \
        "push {r7}\n\tpush {r1, r2, r3, r4, r5}\n"                                                             \
        "1:\n\t"                                                                                               \
        "movs r4, #0\n\tmov r5, r4\n\tmov r6, r4\n\tmov r8, r4\n"                                             \
        "2:\n\t"                                                                                               \
        Q_JOINED_S4_BLOCK Q_JOINED_S4_BLOCK                                                                    \
        "ldr r2, [sp, #8]\n\t"                                                                                 \
        "cmp r1, r2\n\t"                                                                                       \
        "bne 2b\n\t"                                                                                           \
        "ldr r7, [sp, #16]\n\t"                                                                                \
        "ldr r11, [sp, #4]\n\t"                                                                                \
        Q_JOINED_S4_APART("r4", "r5", "r6", "r8", "r7")                                                        \
        code("r0!", "r4", "lsl #0") "strb r3, [r11], #1\n\t"                                                   \
        code("r0!", "r5", "lsl #0") "strb r3, [r11], #1\n\t"                                                   \
        code("r0!", "r6", "lsl #0") "strb r3, [r11], #1\n\t"                                                   \
        code("r0!", "r8", "lsl #0") "strb r3, [r11], #1\n\t"                                                   \
        "str r11, [sp, #4]\n\t"                                                                                \
        "ldr r1, [sp]\n\t"                                                                                     \
        "ldr r7, [sp, #12]\n\t"                                                                                \
        "cmp r0, r7\n\t"                                                                                       \
        "bne 1b\n\t"                                                                                           \
        "add sp, sp, #20\n\tpop {r7}"                                                                          \
        : "+r"(w), "+r"(x), "+r"(to), "+r"(all), "+r"(end), "+r"(eight)                                        \
        :                                                                                                      \
        : "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");                                        \
  }

// Codes of a vector times a matrix, channels four by four: words int32 [fours][steps + 4 * Q_CHANNEL_WORDS(form)], codes
// uint32 [steps], steps a multiple of 8; codes from -128 to 127 as out; less 8 times their sum.
Q_JOINED_S4_ROW_FUNCTION(q_joined_row_started_s4, Q_STARTED, Q_JOINED_STARTED)
Q_JOINED_S4_ROW_FUNCTION(q_joined_row_exact_s4, Q_EXACT, Q_JOINED_EXACT)
#undef Q_JOINED_S4_ROW_FUNCTION
#undef Q_JOINED_S4_BLOCK

#define Q_JOINED_S4_BLOCK "ldmia r0!, {r2, r3}\n\t" Q_JOINED_S4_TWO("r2") Q_JOINED_S4_TWO("r3")
#define Q_JOINED_S4_PAIR_FUNCTION(name, form, code)                                                            \
  Q_APART void name(const int32_t *words, const uint32_t *pixels, int8_t *out, int stride, int steps,          \
                    int fours, const int32_t *less) {                                                          \
    register const int32_t *w __asm__("r0") = words;                                                           \
    register const uint32_t *x __asm__("r1") = pixels;                                                         \
    register int8_t *to __asm__("r2") = out;                                                                   \
    register int row __asm__("r3") = stride;                                                                   \
    register const uint32_t *all __asm__("r4") = pixels + 2 * steps;                                           \
    register const int32_t *end __asm__("r5") = words + fours * (steps + 4 * Q_CHANNEL_WORDS(form));           \
    register int32_t eight __asm__("r6") = less[0];                                                            \
    register int32_t other __asm__("r8") = less[1];                                                            \
    __asm__ volatile(                                                                                          \
        "push {r7}\n\tpush {r1, r2, r3, r4, r5, r6, r8}\n"                                                     \
        "1:\n\t"                                                                                               \
        "movs r4, #0\n\tmov r5, r4\n\tmov r6, r4\n\tmov r8, r4\n\t"                                           \
        "mov r9, r4\n\tmov r10, r4\n\tmov r11, r4\n\tmov r12, r4\n"                                           \
        "2:\n\t"                                                                                               \
        Q_JOINED_S4_BLOCK Q_JOINED_S4_BLOCK                                                                    \
        "ldr r2, [sp, #12]\n\t"                                                                                \
        "cmp r1, r2\n\t"                                                                                       \
        "bne 2b\n\t"                                                                                           \
        "ldrd r7, lr, [sp, #20]\n\t"                                                                           \
        Q_JOINED_S4_APART("r4", "r5", "r6", "r8", "r7")                                                        \
        Q_JOINED_S4_APART("r9", "r10", "r11", "r12", "lr")                                                     \
        code("r0", "r9", "lsl #0") "ldrd r1, r9, [sp, #4]\n\tstrb r3, [r1, r9]\n\t"                            \
        code("r0!", "r4", "lsl #0") "ldr r4, [sp, #4]\n\tstrb r3, [r4], #1\n\t"                                \
        code("r0", "r10", "lsl #0") "strb r3, [r4, r9]\n\t"                                                    \
        code("r0!", "r5", "lsl #0") "strb r3, [r4], #1\n\t"                                                    \
        code("r0", "r11", "lsl #0") "strb r3, [r4, r9]\n\t"                                                    \
        code("r0!", "r6", "lsl #0") "strb r3, [r4], #1\n\t"                                                    \
        code("r0", "r12", "lsl #0") "strb r3, [r4, r9]\n\t"                                                    \
        code("r0!", "r8", "lsl #0") "strb r3, [r4], #1\n\t"                                                    \
        "str r4, [sp, #4]\n\t"                                                                                 \
        "ldr r1, [sp]\n\t"                                                                                     \
        "ldr r7, [sp, #16]\n\t"                                                                                \
        "cmp r0, r7\n\t"                                                                                       \
        "bne 1b\n\t"                                                                                           \
        "add sp, sp, #28\n\tpop {r7}"                                                                          \
        : "+r"(w), "+r"(x), "+r"(to), "+r"(row), "+r"(all), "+r"(end), "+r"(eight), "+r"(other)                \
        :                                                                                                      \
        : "r9", "r10", "r11", "r12", "lr", "cc", "memory");                                                    \
  }

// Codes of two pixels, channels four by four: words as above, pixels uint32 [steps][2], steps a multiple of 4, out int8
// [2][stride]; codes from -128 to 127; less [2] 8 times the sum of each pixel's.
Q_JOINED_S4_PAIR_FUNCTION(q_joined_pair_started_s4, Q_STARTED, Q_JOINED_STARTED)
Q_JOINED_S4_PAIR_FUNCTION(q_joined_pair_exact_s4, Q_EXACT, Q_JOINED_EXACT)
#undef Q_JOINED_S4_PAIR_FUNCTION
#undef Q_JOINED_S4_BLOCK
#undef Q_JOINED_S4_APART
#undef Q_JOINED_S4_TWO
#undef Q_JOINED_S4_ONE
#undef Q_JOINED_S4_ADD
#undef Q_JOINED_S4_LESS_4
#undef Q_JOINED_S4_LESS_8
#undef Q_JOINED_S4_LESS_12
#endif

#endif  // QTORCH_JOINED_S4_H_
