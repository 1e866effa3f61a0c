// CONV_2D, int8, several pixels at a time, two of them in a word: see pixel_words.h.
#ifndef QTORCH_CONV_2D_WORDS_S8_H_
#define QTORCH_CONV_2D_WORDS_S8_H_

#include "pixel_words.h"
#include "requantize.h"

// Words of two rows of codes, int8 [count] each, side by side or one word apart; a row that is 0 stands for padding.
// Functions of their own, with registers of their own.
#define Q_ROWS_TO_WORDS(name, step)                                                                               \
  Q_ALONE void name(const int8_t *a, const int8_t *b, uint32_t *words, int count) {                               \
    do {                                                                                                          \
      *words = (uint32_t)*a++ + ((uint32_t)*b++ << 16);                                                           \
      words += step;                                                                                              \
    } while (--count);                                                                                            \
  }
Q_ROWS_TO_WORDS(q_words_side_by_side, 1)
Q_ROWS_TO_WORDS(q_words_apart, 2)

Q_ALONE void q_words_at_an_edge(const int8_t *a, const int8_t *b, uint32_t *words, int count, int step, int padding) {
  for (; count; --count, words += step) {
    const int first = a ? *a++ : padding, second = b ? *b++ : padding;
    *words = (uint32_t)first + ((uint32_t)second << 16);
  }
}

Q_KERNEL void q_words_of_rows(const int8_t *a, const int8_t *b, uint32_t *words, int count, int step) {
  if (step == 1) {
    q_words_side_by_side(a, b, words, count);
  } else {
    q_words_apart(a, b, words, count);
  }
}

// The codes of two windows, uint32 [size], each step words behind the one before.
//
//   top, left    of the first window, below 0 in padding; of the other likewise
Q_KERNEL void q_two_windows(const int8_t *in, uint32_t *words, int step, int in_h, int in_w, int in_c, int window_h,
                            int window_w, int dilation_h, int dilation_w, int padding_code, int top, int left,
                            int other_top, int other_left) {
  // All columns of a row at once, if none is outside.
  const int whole = dilation_w == 1 && left >= 0 && left + window_w <= in_w && other_left >= 0 &&
                    other_left + window_w <= in_w;
  for (int i = 0; i < window_h; ++i, top += dilation_h, other_top += dilation_h) {
    const int inside = top >= 0 && top < in_h, other_inside = other_top >= 0 && other_top < in_h;
    if (whole && inside && other_inside) {
      q_words_of_rows(in + (top * in_w + left) * in_c, in + (other_top * in_w + other_left) * in_c, words,
                      window_w * in_c, step);
      words += window_w * in_c * step;
      continue;
    }
    for (int x = left, other_x = other_left; x < left + window_w * dilation_w; x += dilation_w, other_x += dilation_w) {
      q_words_at_an_edge(inside && x >= 0 && x < in_w ? in + (top * in_w + x) * in_c : 0,
                         other_inside && other_x >= 0 && other_x < in_w ? in + (other_top * in_w + other_x) * in_c : 0,
                         words, in_c, step, padding_code);
      words += in_c * step;
    }
  }
}

//   in            int8 [in_h][in_w][in_c]; its zero point, padding_code, is folded into the biases
//   weights       int8, rows of size codes, one more where that is odd, of 0; neighbours from an even place on are at
//                 most 255 in size together; in flash
//                   block is 4: [out_c / 4][size / 2][4][2], then rows [out_c % 4][size]
//                   block is 2: [out_c][size]
//   channels      int32 [out_c][Q_CHANNEL_WORDS(form)], in flash
//   out           int8 [out_h][out_w][out_c], pixels of them at least
//   pixels        that are computed at once, as many as block
//   words         working memory, uint32 [size][pixels / 2]
Q_KERNEL void conv_2d_words_s8(const int8_t *in, const int8_t *weights, const int32_t *channels, int form,
                               int zero_point, int low, int high, int8_t *out, int in_h, int in_w, int in_c, int out_h,
                               int out_w, int out_c, int window_h, int window_w, int stride_h, int stride_w,
                               int dilation_h, int dilation_w, int padding_top, int padding_left, int padding_code,
                               int pixels, int8_t *scratch) {
  uint32_t *const words = (uint32_t *)(void *)scratch;
  const int count = out_h * out_w, size = window_h * window_w * in_c, even = size + size % 2, step = pixels / 2;
  for (int p = 0; p < step; ++p) words[(even - 1) * step + p] = 0;
  int y = 0, x = 0;
  for (int start = 0; start < count; start += pixels) {
    int first = start;
    if (start + pixels > count) {
      // The last ones are among those before: the same codes once more.
      first = count - pixels;
      y = (count - pixels) / out_w;
      x = (count - pixels) % out_w;
    }
    for (int p = 0; p < step; ++p) {
      const int top = y * stride_h - padding_top, left = x * stride_w - padding_left;
      if (++x == out_w) {
        x = 0;
        ++y;
      }
      q_two_windows(in, words + p, step, in_h, in_w, in_c, window_h, window_w, dilation_h, dilation_w, padding_code, top,
                    left, y * stride_h - padding_top, x * stride_w - padding_left);
      if (++x == out_w) {
        x = 0;
        ++y;
      }
    }
    const int8_t *weight = weights;
    const int32_t *channel = channels;
    int8_t *to = out + first * out_c;
    for (int o = 0; o < out_c;) {
      const int together = o + pixels <= out_c ? pixels : 1;
      int32_t sums[16];
      if (together == 1) {
        q_products_of_words(words, weight, even, 1, pixels, sums);
      } else {
#if defined(Q_PIXEL_WORDS_IN_ASSEMBLY)
        q_block_of_words(words, weight, even, sums);
#else
        q_products_of_words(words, weight, even, pixels, pixels, sums);
#endif
      }
      weight += together * even;
      for (const int32_t *sum = sums; sum != sums + together * pixels; channel += Q_CHANNEL_WORDS(form), ++o) {
        const int32_t bias = q_flash_s32(channel);
        for (int p = 0; p < pixels; ++p) {
          to[p * out_c + o] = q_code(bias + *sum++, channel + 1, form, zero_point, low, high);
        }
      }
    }
  }
}

#endif  // QTORCH_CONV_2D_WORDS_S8_H_
