// Three products per multiplication: two codes in one word times two weights in another, summed in 64 bits.
//
// With t = 2^21, (p + q t)(a + b t) = pa + (pb + qa) t + qb t^2: a sum of such products holds three sums, in fields of
// 21, 21 and 22 bits, as long as each fits its field, which the export proves. Two words (p, q) and (q, r) give
//     pa   pb + qa   qb        and        qa   qb + ra   rb,
// from which all six sums follow. SMLAL does that on every Cortex-M from M3 on; SMLAD, the widest multiplication of the
// DSP extension, does two products.
#ifndef QTORCH_PAIRS_H_
#define QTORCH_PAIRS_H_

#include "requantize.h"
#include "window_row.h"

// Sums of products start at 2^20 in the two lower fields, so that no field borrows from the next.
#define Q_PAIR_OFFSET ((int32_t)1 << 20)
#define Q_PAIR_START (((uint64_t)1 << 20) + ((uint64_t)1 << 41))

#if defined(__thumb2__) && defined(__OPTIMIZE__)
#define Q_PAIRS_IN_THUMB
#endif

typedef struct {
  uint32_t low, high;
} q_pairs;

// The fields: the lowest without sign, Q_PAIR_OFFSET too large, as is the middle one.
Q_KERNEL int32_t q_low_field(q_pairs x) { return (int32_t)(x.low & 0x1fffff); }
Q_KERNEL int32_t q_middle_field(q_pairs x) {
  uint32_t found = x.low >> 21;
#if defined(Q_PAIRS_IN_THUMB)
  __asm__("bfi %0, %1, #11, #10" : "+r"(found) : "r"(x.high));
#else
  found |= (x.high & 0x3ff) << 11;
#endif
  return (int32_t)found;
}
Q_KERNEL int32_t q_high_field(q_pairs x) { return (int32_t)x.high >> 10; }

Q_KERNEL q_pairs q_multiply_pairs(q_pairs sum, uint32_t x, int32_t weight) {
  const uint64_t product = (uint64_t)((int64_t)(int32_t)x * weight);
  const uint64_t total = (((uint64_t)sum.high << 32) | sum.low) + product;
  const q_pairs found = {(uint32_t)total, (uint32_t)(total >> 32)};
  return found;
}

// Four words of weights, eight of pixels.
#define Q_PAIRS_BLOCK                   \
  "ldmia r12!, {r2, r3, r4, r5}\n\t"    \
  "ldmia lr!, {r8, r9, r10, r11}\n\t"   \
  "smlal r0, r1, r8, r2\n\t"            \
  "smlal r6, r7, r9, r2\n\t"            \
  "smlal r0, r1, r10, r3\n\t"           \
  "smlal r6, r7, r11, r3\n\t"           \
  "ldmia lr!, {r8, r9, r10, r11}\n\t"   \
  "smlal r0, r1, r8, r4\n\t"            \
  "smlal r6, r7, r9, r4\n\t"            \
  "smlal r0, r1, r10, r5\n\t"           \
  "smlal r6, r7, r11, r5\n\t"

// A compiler takes the length of inline assembly from its lines. Repetitions make it longer, so empty lines stand for
// them: as many as the most blocks have instructions.
#define Q_PAIRS_EIGHT "\n\n\n\n\n\n\n\n"
#define Q_PAIRS_SIXTY_FOUR                                                                                      \
  Q_PAIRS_EIGHT Q_PAIRS_EIGHT Q_PAIRS_EIGHT Q_PAIRS_EIGHT Q_PAIRS_EIGHT Q_PAIRS_EIGHT Q_PAIRS_EIGHT Q_PAIRS_EIGHT
#define Q_PAIRS_LENGTH                                                                                          \
  Q_PAIRS_SIXTY_FOUR Q_PAIRS_SIXTY_FOUR Q_PAIRS_SIXTY_FOUR Q_PAIRS_SIXTY_FOUR Q_PAIRS_SIXTY_FOUR Q_PAIRS_SIXTY_FOUR

// Starts sums of 4 * blocks products and computes them: words int32 [4 + 4 * blocks], first both starts, then weights;
// pixels uint32 [4 * blocks][2].
Q_KERNEL void q_sum_products(const int32_t *words, const uint32_t *pixels, int blocks, q_pairs *first,
                             q_pairs *second) {
#if defined(Q_PAIRS_IN_THUMB)
  // All fourteen registers are taken; left to itself, the compiler may not find that out. r7 may be its frame pointer.
  register uint32_t a __asm__("r0");
  register uint32_t b __asm__("r1");
  register uint32_t c __asm__("r6");
  register uint32_t d __asm__("r2");
  register const int32_t *w __asm__("r12") = words;
  register const uint32_t *x __asm__("lr") = pixels;
  __asm__ volatile("push {r7}\n\tldmia r12!, {r0, r1, r6, r7}\n\t.rept %c[n]\n\t" Q_PAIRS_BLOCK
                   ".endr\n\tmov r2, r7\n\tpop {r7}" Q_PAIRS_LENGTH
                   : "=r"(a), "=r"(b), "=r"(c), "=r"(d), "+r"(w), "+r"(x)
                   : [n] "i"(blocks)
                   : "r3", "r4", "r5", "r8", "r9", "r10", "r11", "memory");
  first->low = a;
  first->high = b;
  second->low = c;
  second->high = d;
#else
  q_pairs a = {(uint32_t)words[0], (uint32_t)words[1]}, b = {(uint32_t)words[2], (uint32_t)words[3]};
  for (int i = 0; i < 4 * blocks; ++i) {
    a = q_multiply_pairs(a, pixels[2 * i], words[4 + i]);
    b = q_multiply_pairs(b, pixels[2 * i + 1], words[4 + i]);
  }
  *first = a;
  *second = b;
#endif
}

// A word of two codes, the second 128 too large: its field of the weights' sums is corrected at the start.
Q_KERNEL uint32_t q_pair(int32_t p, int32_t q) { return (uint32_t)p + ((uint32_t)(q + 128) << 21); }

// Two words for each of count codes of three pixels, pixels uint32 [count][2]. Returns what lies behind them.
Q_KERNEL uint32_t *q_pair_pixels(const int8_t *p, const int8_t *q, const int8_t *r, int count, uint32_t *pixels) {
#if defined(Q_PAIRS_IN_THUMB) && defined(__ARM_FEATURE_DSP)
#define Q_PAIRS_TWO(first, second, shift, bits) \
  "and " first ", r10, r3, " shift "\n\t"       \
  "and " second ", r10, r4, " shift "\n\t"      \
  "sxtab " first ", " first ", r2, ror #" bits "\n\tsxtab " second ", " second ", r5, ror #" bits "\n\t"
  if (count >= 4) {
    register const int8_t *a __asm__("r0") = p;
    register const int8_t *b __asm__("r1") = q;
    register const int8_t *c __asm__("r6") = r;
    register uint32_t *to __asm__("lr") = pixels;
    register uint32_t *end __asm__("r11") = pixels + count / 4 * 8;
    register uint32_t mask __asm__("r10") = (uint32_t)0xff << 21;
    __asm__ volatile(
        "push {r7}\n\t"
        "mov r7, r6\n"
        "1:\n\t"
        "ldr r2, [r0], #4\n\t"
        "ldr r5, [r1], #4\n\t"
        "ldr r4, [r7], #4\n\t"
        "eor r3, r5, #0x80808080\n\t"
        "eor r4, r4, #0x80808080\n\t"
        Q_PAIRS_TWO("r6", "r8", "lsl #21", "0") Q_PAIRS_TWO("r9", "r12", "lsl #13", "8")
        "stmia lr!, {r6, r8, r9, r12}\n\t"
        Q_PAIRS_TWO("r6", "r8", "lsl #5", "16") Q_PAIRS_TWO("r9", "r12", "lsr #3", "24")
        "stmia lr!, {r6, r8, r9, r12}\n\t"
        "cmp lr, r11\n\t"
        "bne 1b\n\t"
        "pop {r7}"
        : "+r"(a), "+r"(b), "+r"(c), "+r"(to)
        : "r"(end), "r"(mask)
        : "r2", "r3", "r4", "r5", "r8", "r9", "r12", "cc", "memory");
    p = a;
    q = b;
    r += count / 4 * 4;
    pixels = to;
  }
#undef Q_PAIRS_TWO
  count %= 4;
#elif defined(Q_PAIRS_IN_THUMB)
#define Q_PAIRS_TWO(first, second, shift, bit)  \
  "sbfx r10, r2, #" bit ", #8\n\t"              \
  "and " first ", r12, r3, " shift "\n\t"       \
  "add " first ", " first ", r10\n\t"           \
  "sbfx r10, r5, #" bit ", #8\n\t"              \
  "and " second ", r12, r4, " shift "\n\t"      \
  "add " second ", " second ", r10\n\t"
  if (count >= 4) {
    register const int8_t *a __asm__("r0") = p;
    register const int8_t *b __asm__("r1") = q;
    register const int8_t *c __asm__("r6") = r;
    register uint32_t *to __asm__("lr") = pixels;
    register uint32_t *end __asm__("r11") = pixels + count / 4 * 8;
    register uint32_t mask __asm__("r12") = (uint32_t)0xff << 21;
    __asm__ volatile(
        "1:\n\t"
        "ldr r2, [r0], #4\n\t"
        "ldr r5, [r1], #4\n\t"
        "ldr r4, [r6], #4\n\t"
        "eor r3, r5, #0x80808080\n\t"
        "eor r4, r4, #0x80808080\n\t"
        Q_PAIRS_TWO("r8", "r9", "lsl #21", "0") "stmia lr!, {r8, r9}\n\t"
        Q_PAIRS_TWO("r8", "r9", "lsl #13", "8") "stmia lr!, {r8, r9}\n\t"
        Q_PAIRS_TWO("r8", "r9", "lsl #5", "16") "stmia lr!, {r8, r9}\n\t"
        Q_PAIRS_TWO("r8", "r9", "lsr #3", "24") "stmia lr!, {r8, r9}\n\t"
        "cmp lr, r11\n\t"
        "bne 1b"
        : "+r"(a), "+r"(b), "+r"(c), "+r"(to)
        : "r"(end), "r"(mask)
        : "r2", "r3", "r4", "r5", "r8", "r9", "r10", "cc", "memory");
    p = a;
    q = b;
    r = c;
    pixels = to;
  }
#undef Q_PAIRS_TWO
  count %= 4;
#endif
  for (; count > 0; --count, pixels += 2) {
    const int32_t middle = *q++;
    pixels[0] = q_pair(*p++, middle);
    pixels[1] = q_pair(middle, *r++);
  }
  return pixels;
}

// The windows of three output pixels from the first-th on, in words, uint32 [window_h][window_w][in_c][2]. copies:
// working memory, int8 [3][window_w][in_c], if padded.
Q_KERNEL void q_pair_windows(const int8_t *in, uint32_t *pixels, int8_t *copies, int first, int in_h, int in_w,
                             int in_c, int out_w, int window_h, int window_w, int stride_h, int stride_w,
                             int padding_top, int padding_left, int padded, int padding_code) {
  const int width = window_w * in_c;
  const q_corners at = q_three_corners(in, first, in_h, in_w, in_c, out_w, window_h, window_w, stride_h, stride_w,
                                         padding_top, padding_left, padded);
  for (int i = 0; i < window_h; ++i) {
    const int8_t *row[3];
    for (int k = 0; k < 3; ++k) {
      row[k] = q_row_of_three(&at, k, i, in, copies + k * width, in_h, in_w, in_c, window_w, padded, padding_code);
    }
    pixels = q_pair_pixels(row[0], row[1], row[2], width, pixels);
  }
}

// The code of a sum; channel has the words of the form, the bias among them, and what the field is too large by.
Q_KERNEL int8_t q_field_code(int32_t sum, const int32_t *channel, int form, int zero_point, int low, int high) {
  if (form != Q_STARTED) {
    // Of a bias near the least int32, what the field is too large by is subtracted modulo 2^32.
    sum = (int32_t)((uint32_t)sum + (uint32_t)channel[0]);
    return q_code(sum, channel + 1, form, zero_point, low, high);
  }
  const uint64_t start = ((uint64_t)(uint32_t)channel[2] << 32) | (uint32_t)channel[1];
  return (int8_t)q_clamp((int32_t)(((int64_t)sum * channel[0] + (int64_t)start) >> 32), low, high);
}

// The sums of three pixels, those of the first channel and those of the second.
typedef struct {
  int32_t a[3], b[3];
} q_six;

Q_KERNEL void q_add_fields(q_six *sums, q_pairs x, q_pairs y) {
  const int32_t qa = q_low_field(y), qb = q_high_field(x);
  sums->a[0] += q_low_field(x);
  sums->a[1] += qa;
  sums->a[2] += q_middle_field(y) - qb;
  sums->b[0] += q_middle_field(x) - qa;
  sums->b[1] += qb;
  sums->b[2] += q_high_field(y);
}

// The same over chunks, words int32 [chunks][4 + 4 * blocks]. Returns the word behind them.
Q_KERNEL const int32_t *q_chunks(const int32_t *words, const uint32_t *pixels, int chunks, int blocks, q_six *sums) {
  memset(sums, 0, sizeof *sums);
  for (int chunk = 0; chunk < chunks; ++chunk, pixels += 8 * blocks, words += 4 + 4 * blocks) {
    q_pairs x, y;
    q_sum_products(words, pixels, blocks, &x, &y);
    q_add_fields(sums, x, y);
  }
  return words;
}

#if defined(Q_PAIRS_IN_THUMB)
// The code of the sum in a register, to where: of the form Q_STARTED, then of Q_EXACT.
#define Q_PAIRS_STARTED(channel, sum, where) \
  "ldmia " channel ", {r8, r9, r10}\n\tsmlal r9, r10, " sum ", r8\n\tssat r10, #8, r10\n\tstrb r10, " where "\n\t"
#define Q_PAIRS_EXACT(channel, sum, where) \
  "ldmia " channel ", {r4, r5, r8, r9}\n\t" \
  "add " sum ", " sum ", r4\n\t"            \
  "and r10, " sum ", #0x80000000\n\t"       \
  "rsbs r10, r10, #0x40000000\n\t"          \
  "sbc r11, r11, r11\n\t"                   \
  "smlal r10, r11, " sum ", r5\n\t"         \
  "add r11, r11, r8\n\t"                    \
  "asr r11, r11, r9\n\t"                    \
  "ssat r11, #8, r11\n\t"                   \
  "strb r11, " where "\n\t"

// A chunk's sums are added to those before, which are on the stack.
#define Q_PAIRS_THREE_PIXELS(code)                                                                                     \
  __asm__ volatile(                                                                                                    \
      "push {r7}\n\tpush {r2, r3, lr}\n"                                                                              \
      "1:\n\t"                                                                                                         \
      ".if %c[chunks] > 1\n\t"                                                                                         \
      "mov r0, #0\n\tmov r1, #0\n\tmov r2, #0\n\tmov r3, #0\n\tmov r6, #0\n\tmov r7, #0\n\t"                           \
      "push {r0, r1, r2, r3, r6, r7}\n"                                                                                \
      "2:\n\t"                                                                                                         \
      ".endif\n\t"                                                                                                     \
      "ldmia r12!, {r0, r1, r6, r7}\n\t"                                                                               \
      ".rept %c[n]\n\t" Q_PAIRS_BLOCK ".endr\n\t"                                                                      \
      "lsr r2, r0, #21\n\t"                                                                                            \
      "bfi r2, r1, #11, #10\n\t"                                                                                       \
      "ubfx r0, r0, #0, #21\n\t"                                                                                       \
      "asr r1, r1, #10\n\t"                                                                                            \
      "lsr r3, r6, #21\n\t"                                                                                            \
      "bfi r3, r7, #11, #10\n\t"                                                                                       \
      "ubfx r6, r6, #0, #21\n\t"                                                                                       \
      "asr r7, r7, #10\n\t"                                                                                            \
      ".if %c[chunks] > 1\n\t"                                                                                         \
      "pop {r4, r5}\n\t"                                                                                               \
      "add r0, r0, r4\n\t"                                                                                             \
      "add r1, r1, r5\n\t"                                                                                             \
      "ldmia sp!, {r4, r5, r8, r9}\n\t"                                                                                \
      "add r2, r2, r4\n\t"                                                                                             \
      "add r3, r3, r5\n\t"                                                                                             \
      "add r6, r6, r8\n\t"                                                                                             \
      "add r7, r7, r9\n\t"                                                                                             \
      "ldr r10, [sp, #8]\n\t"                                                                                          \
      "movw r11, %[size]\n\t"                                                                                          \
      "add r10, r10, r11\n\t"                                                                                          \
      "cmp lr, r10\n\t"                                                                                                \
      "beq 3f\n\t"                                                                                                     \
      "push {r0, r1, r2, r3, r6, r7}\n\t"                                                                              \
      "b 2b\n"                                                                                                         \
      "3:\n\t"                                                                                                         \
      ".endif\n\t"                                                                                                     \
      "ldr lr, [sp]\n\t"                                                                                               \
      "sub r2, r2, r6\n\t"                                                                                             \
      "sub r3, r3, r1\n\t"                                                                                             \
      code("r12", "r6", "[lr, %[one]]") code("r12", "r3", "[lr, %[two]]")                                              \
      code("r12!", "r0", "[lr], #1") code("r12", "r1", "[lr, %[one]]")                                                 \
      code("r12", "r7", "[lr, %[two]]") code("r12!", "r2", "[lr], #1")                                                 \
      "str lr, [sp]\n\t"                                                                                               \
      "ldrd r3, lr, [sp, #4]\n\t"                                                                                      \
      "cmp r12, r3\n\t"                                                                                                \
      "bne 1b\n\t"                                                                                                     \
      "add sp, sp, #12\n\tpop {r7}" Q_PAIRS_LENGTH \
      : "+r"(w), "+r"(x), "+r"(to), "+r"(end)                                                                          \
      : [chunks] "i"(chunks), [n] "i"(blocks), [size] "i"(32 * chunks * blocks), [one] "i"(stride), \
        [two] "i"(2 * stride) \
      : "r0", "r1", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "cc", "memory")

// Sums and codes of three pixels, outputs channels two by two: words int32 [outputs / 2][...], each with [chunks]
// [4 + 4 * blocks], both starts and the weights, and the words of both channels in the form; codes from -128 to 127.
// Returns the word behind them.
Q_KERNEL const int32_t *q_three_pixels(const int32_t *words, const uint32_t *pixels, int form, int chunks, int blocks,
                                       int outputs, int8_t *out, int stride) {
  register const int32_t *w __asm__("r12") = words;
  register const uint32_t *x __asm__("lr") = pixels;
  register int8_t *to __asm__("r2") = out;
  register const int32_t *end __asm__("r3") =
      words + outputs / 2 * (chunks * (4 + 4 * blocks) + 2 * Q_CHANNEL_WORDS(form));
  if (form == Q_STARTED) {
    Q_PAIRS_THREE_PIXELS(Q_PAIRS_STARTED);
  } else {
    Q_PAIRS_THREE_PIXELS(Q_PAIRS_EXACT);
  }
  return w;
}
#undef Q_PAIRS_THREE_PIXELS
#undef Q_PAIRS_EXACT
#undef Q_PAIRS_STARTED
#endif

// Codes of three pixels and outputs channels, the words of these two by two as in q_three_pixels, those of an odd last
// one with zeros; out int8 [3][stride].
Q_KERNEL void q_pair_codes(const int32_t *channel, const uint32_t *words, int form, int zero_point, int low, int high,
                           int chunks, int blocks, int outputs, int8_t *out, int stride) {
  int o = 0;
#if defined(Q_PAIRS_IN_THUMB)
  if ((form == Q_STARTED || form == Q_EXACT) && low == -128 && high == 127 && outputs >= 2 && stride < 2048 &&
      chunks * blocks < 2048) {
    channel = q_three_pixels(channel, words, form, chunks, blocks, outputs, out, stride);
    o = outputs / 2 * 2;
  }
#endif
  for (; o < outputs; o += 2) {
    q_six sums;
    channel = q_chunks(channel, words, chunks, blocks, &sums);
    for (int second = 0; second < 2 && o + second < outputs; ++second, channel += Q_CHANNEL_WORDS(form)) {
      const int32_t *const three = second ? sums.b : sums.a;
      for (int k = 0; k < 3; ++k) {
        out[k * stride + o + second] = q_field_code(three[k], channel, form, zero_point, low, high);
      }
    }
  }
}

#endif  // QTORCH_PAIRS_H_
