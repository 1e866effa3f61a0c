// DEPTHWISE_CONV_2D, int8, of windows of at most four by four pixels: four of a row at a time.
#ifndef QTORCH_DEPTHWISE_ROWS_MVE_S8_H_
#define QTORCH_DEPTHWISE_ROWS_MVE_S8_H_

#include "depthwise_mve.h"

#define Q_PARAMETERS                                                                                                \
  const int8_t *in, const int8_t *weights, const int32_t *channels, int zero_point, int low, int high, int8_t *out,   \
      int in_h, int in_w, int in_c, int out_h, int out_w, int window_h, int window_w, int stride_h,                   \
      int padding_top, int padding_left, int padding_code, int8_t *columns
#define Q_HANDED                                                                                                     \
  in, weights, channels, zero_point, low, high, out, in_h, in_w, in_c, out_h, out_w, window_h, window_w, stride_h,     \
      padding_top, padding_left, padding_code, columns

Q_KERNEL void q_depthwise_rows(int weight_bits, int form, int full, int stride_w, Q_PARAMETERS) {
  const int count = (out_w - 1) * stride_w + window_w, block = in_c < 16 ? in_c : 16;
  int8_t *const outside = columns + 64 * ((out_w + 3) / 4 * 4 * stride_w + 3);
  const int none[4] = {0, 0, 0, 0};
  const int8_t *const nothing[4] = {outside, outside, outside, outside};
  int8_t *const unpacked = outside + 16;
  memset(outside, padding_code, 16);
  if (weight_bits == 4) memset(unpacked, 0, Q_RECORDS);
  // Columns left of the image, within it, and right of it.
  const int before = padding_left < count ? padding_left : count;
  const int within = in_w < count - before ? in_w : count - before;
  for (int y = 0; y < out_h; ++y, out += out_w * in_c) {
    for (int c = 0; c < in_c; c += 16) {
      // The last sixteen channels are read once more where there are fewer.
      const int first = c + block <= in_c ? c : in_c - block, skipped = c - first;
      const int8_t *rows[4];
      int pitches[4];
      for (int i = 0; i < 4; ++i) {
        const int row = y * stride_h - padding_top + i, inside = i < window_h && row >= 0 && row < in_h;
        rows[i] = inside ? in + row * in_w * in_c + first : outside;
        pitches[i] = inside ? in_c : 0;
      }
      q_mve_columns(nothing, none, columns, before, 16);
      q_mve_columns(rows, pitches, columns + 64 * before, within, block);
      q_mve_columns(nothing, none, columns + 64 * (before + within), count - before - within, 16);
      const int8_t *const records =
          weight_bits == 4 ? q_mve_records(weights + 8 * c, block - skipped, unpacked) : weights + 16 * c;
      q_mve_channels(stride_w == 1 ? Q_OF_ROW : Q_OF_ROW_BY_TWO, form, full, columns + 4 * skipped, block - skipped,
                     records, channels + c * Q_NUMBERS(form), zero_point, low, high, out + c, 0, in_c,
                     out_w / 4, out_w % 4);
    }
  }
}

Q_SHARED void q_rows_up(Q_PARAMETERS) { q_depthwise_rows(8, Q_TIES_UP, 0, 1, Q_HANDED); }
Q_SHARED void q_rows_up_full(Q_PARAMETERS) { q_depthwise_rows(8, Q_TIES_UP, 1, 1, Q_HANDED); }
Q_SHARED void q_rows_away(Q_PARAMETERS) { q_depthwise_rows(8, Q_TIES_AWAY, 0, 1, Q_HANDED); }
Q_SHARED void q_rows_away_full(Q_PARAMETERS) { q_depthwise_rows(8, Q_TIES_AWAY, 1, 1, Q_HANDED); }
Q_SHARED void q_rows_left(Q_PARAMETERS) { q_depthwise_rows(8, Q_LEFT_TOO, 0, 1, Q_HANDED); }
Q_SHARED void q_rows_by_two_up(Q_PARAMETERS) { q_depthwise_rows(8, Q_TIES_UP, 0, 2, Q_HANDED); }
Q_SHARED void q_rows_by_two_up_full(Q_PARAMETERS) { q_depthwise_rows(8, Q_TIES_UP, 1, 2, Q_HANDED); }
Q_SHARED void q_rows_by_two_away(Q_PARAMETERS) { q_depthwise_rows(8, Q_TIES_AWAY, 0, 2, Q_HANDED); }
Q_SHARED void q_rows_by_two_away_full(Q_PARAMETERS) { q_depthwise_rows(8, Q_TIES_AWAY, 1, 2, Q_HANDED); }
Q_SHARED void q_rows_by_two_left(Q_PARAMETERS) { q_depthwise_rows(8, Q_LEFT_TOO, 0, 2, Q_HANDED); }
Q_SHARED void q_rows_s4_up(Q_PARAMETERS) { q_depthwise_rows(4, Q_TIES_UP, 0, 1, Q_HANDED); }
Q_SHARED void q_rows_s4_up_full(Q_PARAMETERS) { q_depthwise_rows(4, Q_TIES_UP, 1, 1, Q_HANDED); }
Q_SHARED void q_rows_s4_away(Q_PARAMETERS) { q_depthwise_rows(4, Q_TIES_AWAY, 0, 1, Q_HANDED); }
Q_SHARED void q_rows_s4_away_full(Q_PARAMETERS) { q_depthwise_rows(4, Q_TIES_AWAY, 1, 1, Q_HANDED); }
Q_SHARED void q_rows_s4_left(Q_PARAMETERS) { q_depthwise_rows(4, Q_LEFT_TOO, 0, 1, Q_HANDED); }
Q_SHARED void q_rows_s4_by_two_up(Q_PARAMETERS) { q_depthwise_rows(4, Q_TIES_UP, 0, 2, Q_HANDED); }
Q_SHARED void q_rows_s4_by_two_up_full(Q_PARAMETERS) { q_depthwise_rows(4, Q_TIES_UP, 1, 2, Q_HANDED); }
Q_SHARED void q_rows_s4_by_two_away(Q_PARAMETERS) { q_depthwise_rows(4, Q_TIES_AWAY, 0, 2, Q_HANDED); }
Q_SHARED void q_rows_s4_by_two_away_full(Q_PARAMETERS) { q_depthwise_rows(4, Q_TIES_AWAY, 1, 2, Q_HANDED); }
Q_SHARED void q_rows_s4_by_two_left(Q_PARAMETERS) { q_depthwise_rows(4, Q_LEFT_TOO, 0, 2, Q_HANDED); }

//   in           int8 [in_h][in_w][in_c]; its zero point, padding_code, is folded into the biases
//   weights      int8 [in_c][16], in flash, as in q_mve_channels;
//                of 4 bits int8 [(in_c + 1) / 2][16], as in q_mve_records
//   weight_bits  8 or 4
//   channels     int32 [in_c][Q_NUMBERS(form)], in flash
//   out          int8 [out_h][out_w][in_c]
//   stride_w     1 or 2
//   columns      int8 [stride_w times out_w rounded up to four, and three][16][4] and sixteen more, of 4
//                bits Q_RECORDS more, working memory
Q_KERNEL void depthwise_rows_mve_s8(const int8_t *in, const int8_t *weights, int weight_bits, const int32_t *channels,
                                    int form, int zero_point, int low, int high, int8_t *out, int in_h, int in_w,
                                    int in_c, int out_h, int out_w, int window_h, int window_w, int stride_h,
                                    int stride_w, int padding_top, int padding_left, int padding_code,
                                    int8_t *columns) {
  if (stride_w == 2 && form == Q_LEFT_TOO) {
    Q_OF_BITS(q_rows, by_two_left)(Q_HANDED);
  } else if (stride_w == 2 && low == -128 && high == 127) {
    (form == Q_TIES_UP ? Q_OF_BITS(q_rows, by_two_up_full) : Q_OF_BITS(q_rows, by_two_away_full))(Q_HANDED);
  } else if (stride_w == 2) {
    (form == Q_TIES_UP ? Q_OF_BITS(q_rows, by_two_up) : Q_OF_BITS(q_rows, by_two_away))(Q_HANDED);
  } else if (form == Q_LEFT_TOO) {
    Q_OF_BITS(q_rows, left)(Q_HANDED);
  } else if (low == -128 && high == 127) {
    (form == Q_TIES_UP ? Q_OF_BITS(q_rows, up_full) : Q_OF_BITS(q_rows, away_full))(Q_HANDED);
  } else {
    (form == Q_TIES_UP ? Q_OF_BITS(q_rows, up) : Q_OF_BITS(q_rows, away))(Q_HANDED);
  }
}
#undef Q_PARAMETERS
#undef Q_HANDED

#endif  // QTORCH_DEPTHWISE_ROWS_MVE_S8_H_
