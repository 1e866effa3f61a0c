// DEPTHWISE_CONV_2D, int8, two channels and two rows at a time: see pairs.h.
#ifndef QTORCH_DEPTHWISE_CONV_2D_PAIRS_S8_H_
#define QTORCH_DEPTHWISE_CONV_2D_PAIRS_S8_H_

#include "pairs.h"

// The lower fields of a sum of products of two channels hold the first's sum and what is of no use, the upper one the
// second's sum.

#if defined(Q_PAIRS_IN_THUMB)
// Codes of two channels in a column of the output, rows two by two, of windows of three rows; from -128 to 127,
// channels in the form Q_STARTED. plane begins with the column, whose rows are row bytes apart.
Q_KERNEL void q_column(const uint32_t *plane, const int32_t *channels, int8_t *out, int rows, int row, int plane_h,
                       int window_w, int stride_h) {
  register const int32_t *w __asm__("r12") = channels;
  register const uint32_t *x __asm__("lr") = plane;
  register int8_t *to __asm__("r11") = out;
  register const uint32_t *end __asm__("r2") = plane + rows * stride_h;
#define Q_PAIRS_CODE(channel, sum, where) \
  "ldmia r12" channel ", {r3, r4, r5}\n\tsmlal r4, r5, " sum ", r3\n\tssat r5, #8, r5\n\tstrb r5, " where "\n\t"
#define Q_PAIRS_COLUMN(list, first, second, third, load, store)                                                 \
  __asm__ volatile(                                                                                             \
      "push {r7}\n\tpush {r2, r11}\n"                                                                          \
      "1:\n\t"                                                                                                  \
      "ldmia r12!, {r0, r1, r6, r7}\n\t"                                                                        \
      ".rept %c[n]\n\t"                                                                                         \
      "ldmia r12!, {r2, r3, r4}\n\t"                                                                            \
      "ldmia lr, {" list "}\n\t"                                                                                \
      "smlal r0, r1, r5, r2\n\t"                                                                                \
      "smlal r6, r7, " first ", r2\n\t"                                                                         \
      "smlal r0, r1, r8, r3\n\t"                                                                                \
      "smlal r6, r7, " second ", r3\n\t"                                                                        \
      "smlal r0, r1, r9, r4\n\t"                                                                                \
      "smlal r6, r7, " third ", r4\n\t"                                                                         \
      "add lr, lr, %[next]\n\t"                                                                                 \
      ".endr\n\t" load                                                                                          \
      "ubfx r0, r0, #0, #21\n\t"                                                                                \
      "asr r1, r1, #10\n\t"                                                                                     \
      "ubfx r6, r6, #0, #21\n\t"                                                                                \
      "asr r7, r7, #10\n\t"                                                                                     \
      Q_PAIRS_CODE("", "r0", "[r11]")                                                                           \
      Q_PAIRS_CODE("!", "r6", "[r11, %[row]]")                                                                  \
      Q_PAIRS_CODE("", "r1", "[r11, #1]")                                                                       \
      Q_PAIRS_CODE("", "r7", "[r11, %[other]]")                                                                 \
      "ldr r2, [sp]\n\t"                                                                                        \
      "sub r12, r12, %[words]\n\t"                                                                              \
      "sub lr, lr, %[back]\n\t"                                                                                 \
      "add r11, r11, %[rows]\n\t" store                                                                         \
      "cmp lr, r2\n\t"                                                                                          \
      "bne 1b\n\t"                                                                                              \
      "add sp, sp, #8\n\tpop {r7}" Q_PAIRS_LENGTH                                                                 \
      : "+r"(w), "+r"(x), "+r"(to), "+r"(end)                                                                   \
      : [n] "i"(window_w), [next] "i"(4 * plane_h), [row] "i"(row), [other] "i"(row + 1), [rows] "i"(2 * row),  \
        [words] "i"(4 * (7 + 3 * window_w)), [back] "i"(4 * plane_h * window_w - 8 * stride_h)                  \
      : "r0", "r1", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "cc", "memory")
  if (stride_h == 1) {
    Q_PAIRS_COLUMN("r5, r8, r9, r10", "r8", "r9", "r10", "", "");
  } else {
    Q_PAIRS_COLUMN("r5, r8, r9, r10, r11", "r9", "r10", "r11", "ldr r11, [sp, #4]\n\t", "str r11, [sp, #4]\n\t");
  }
#undef Q_PAIRS_COLUMN
#undef Q_PAIRS_CODE
}
#endif

// sum and the products of count words of a window's column with as many words of weights, count a constant.
Q_KERNEL q_pairs q_column_products(q_pairs sum, const uint32_t *column, const int32_t *weights, int count) {
#if defined(Q_PAIRS_IN_THUMB)
  if (count <= 64) {
    register uint32_t a __asm__("r0") = sum.low;
    register uint32_t b __asm__("r1") = sum.high;
    register const int32_t *w __asm__("r12") = weights;
    register const uint32_t *x __asm__("lr") = column;
    __asm__ volatile(
        ".rept %c[fours]\n\t"
        "ldmia r12!, {r2, r3, r4, r5}\n\t"
        "ldmia lr!, {r6, r8, r9, r10}\n\t"
        "smlal r0, r1, r6, r2\n\t"
        "smlal r0, r1, r8, r3\n\t"
        "smlal r0, r1, r9, r4\n\t"
        "smlal r0, r1, r10, r5\n\t"
        ".endr\n\t"
        ".rept %c[rest]\n\t"
        "ldr r2, [r12], #4\n\t"
        "ldr r6, [lr], #4\n\t"
        "smlal r0, r1, r6, r2\n\t"
        ".endr" Q_PAIRS_SIXTY_FOUR Q_PAIRS_EIGHT Q_PAIRS_EIGHT Q_PAIRS_EIGHT Q_PAIRS_EIGHT Q_PAIRS_EIGHT
        : "+r"(a), "+r"(b), "+r"(w), "+r"(x)
        : [fours] "i"(count / 4), [rest] "i"(count % 4)
        : "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "memory");
    const q_pairs found = {a, b};
    return found;
  }
#endif
  for (int i = 0; i < count; ++i) sum = q_multiply_pairs(sum, column[i], weights[i]);
  return sum;
}

// Weights of two channels, int8 [count][2], in words: two in one, and in front of them where the sums start, twice; behind
// them the words of the form of both channels.
Q_KERNEL void q_pair_weights(const int8_t *weights, const int32_t *channels, int form, int count, int32_t *words) {
  const int32_t low = (int32_t)(uint32_t)(Q_PAIR_START & 0xffffffff), high = (int32_t)(Q_PAIR_START >> 32);
  *words++ = low;
  *words++ = high;
  *words++ = low;
  *words++ = high;
  for (int i = 0; i < count; ++i) *words++ = (int32_t)((uint32_t)weights[2 * i] + ((uint32_t)weights[2 * i + 1] << 21));
  for (int i = 0; i < 2 * Q_CHANNEL_WORDS(form); ++i) *words++ = channels[i];
}

//   in            int8 [in_h][in_w][in_c], two channels at least
//   weights       int8 [(in_c + 1) / 2][window_w][window_h][2], of two channels each. An odd last channel stands beside
//                 the one before it, which comes twice.
//   channels      int32 [(in_c + 1) / 2][2][Q_CHANNEL_WORDS(form)], likewise, the input's zero point, padding_code,
//                 folded in
//   out           int8 [out_h][out_w][in_c]
//   plane         working memory: uint32 [plane_w][plane_h], two channels of the image as far as windows reach, and
//                 int32 [4 + window_w * window_h + 2 * Q_CHANNEL_WORDS(form)]
Q_KERNEL void depthwise_conv_2d_pairs_s8(const int8_t *in, const int8_t *weights, const int32_t *channels, int form,
                                         int zero_point, int low, int high, int8_t *out, int in_h, int in_w, int in_c,
                                         int out_h, int out_w, int window_h, int window_w, int stride_h, int stride_w,
                                         int padding_top, int padding_left, int padding_code, int plane_h, int plane_w,
                                         int8_t *plane) {
  uint32_t *const words = (uint32_t *)(void *)plane;
  int32_t *const filters = (int32_t *)(void *)(words + plane_w * plane_h);
  const int size = window_w * window_h;
  const int left = padding_left, right = in_w + padding_left < plane_w ? in_w + padding_left : plane_w;
  const int top = padding_top, bottom = in_h + padding_top < plane_h ? in_h + padding_top : plane_h;
  const int row = out_w * in_c, step = in_w * in_c;
  const uint32_t padding = (uint32_t)padding_code + ((uint32_t)padding_code << 21);
  for (int i = 0; i < plane_w * plane_h; ++i) words[i] = padding;
  for (int pair = 0; 2 * pair < in_c; ++pair, weights += 2 * size, channels += 2 * Q_CHANNEL_WORDS(form)) {
    const int c = 2 * pair + 2 <= in_c ? 2 * pair : in_c - 2;
    q_pair_weights(weights, channels, form, size, filters);
    for (int x = left; x < right; ++x) {
      const int8_t *from = in + (x - left) * in_c + c;
      uint32_t *to = words + x * plane_h + top;
      int y = top;
      for (; y + 4 <= bottom; y += 4, to += 4, from += 4 * step) {
        to[0] = (uint32_t)from[0] + ((uint32_t)from[1] << 21);
        to[1] = (uint32_t)from[step] + ((uint32_t)from[step + 1] << 21);
        to[2] = (uint32_t)from[2 * step] + ((uint32_t)from[2 * step + 1] << 21);
        to[3] = (uint32_t)from[3 * step] + ((uint32_t)from[3 * step + 1] << 21);
      }
      for (; y < bottom; ++y, from += step) *to++ = (uint32_t)from[0] + ((uint32_t)from[1] << 21);
    }
    const int32_t *const first = filters + 4 + size;
    for (int x = 0; x < out_w; ++x) {
      const uint32_t *const column = words + x * stride_w * plane_h;
      int8_t *to = out + x * in_c + c;
#if defined(Q_PAIRS_IN_THUMB)
      if (form == Q_STARTED && low == -128 && high == 127 && window_h == 3 && window_w <= 32 && stride_h <= 2 &&
          out_h > 1 && 2 * row < 4096 && 4 * plane_h * window_w < 4096) {
        q_column(column, filters, to, out_h / 2 * 2, row, plane_h, window_w, stride_h);
        // The last two rows have one in common with those before: the same codes once more.
        if (out_h % 2) {
          const int y = out_h - 2;
          q_column(column + y * stride_h, filters, to + y * row, 2, row, plane_h, window_w, stride_h);
        }
        continue;
      }
#endif
      for (int y = 0; y < out_h; ++y, to += row) {
        q_pairs sum = {(uint32_t)filters[0], (uint32_t)filters[1]};
        for (int j = 0; j < window_w; ++j) {
          sum = q_column_products(sum, column + j * plane_h + y * stride_h, filters + 4 + j * window_h, window_h);
        }
        to[0] = q_field_code(q_low_field(sum), first, form, zero_point, low, high);
        to[1] = q_field_code(q_high_field(sum), first + Q_CHANNEL_WORDS(form), form, zero_point, low, high);
      }
    }
  }
}

#endif  // QTORCH_DEPTHWISE_CONV_2D_PAIRS_S8_H_
