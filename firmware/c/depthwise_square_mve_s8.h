// DEPTHWISE_CONV_2D, int8, of windows of at most three by three pixels that lie one apart: two by two at a time.
#ifndef QTORCH_DEPTHWISE_SQUARE_MVE_S8_H_
#define QTORCH_DEPTHWISE_SQUARE_MVE_S8_H_

#include "depthwise_mve.h"

#define Q_PARAMETERS                                                                                                \
  const int8_t *in, const int8_t *weights, const int32_t *channels, int zero_point, int low, int high, int8_t *out,   \
      int in_h, int in_w, int in_c, int out_h, int out_w, int padding_top, int padding_left, int padding_code,       \
      int in_row, int in_column, int out_row, int out_column, int8_t *columns
#define Q_HANDED                                                                                                     \
  in, weights, channels, zero_point, low, high, out, in_h, in_w, in_c, out_h, out_w, padding_top, padding_left,       \
      padding_code, in_row, in_column, out_row, out_column, columns

Q_KERNEL void q_depthwise_square(int weight_bits, int form, int full, Q_PARAMETERS) {
  const int count = out_w + 2, block = in_c < 16 ? in_c : 16;
  int8_t *const outside = columns + 64 * count;
  const int none[4] = {0, 0, 0, 0};
  const int8_t *const nothing[4] = {outside, outside, outside, outside};
  int8_t *const unpacked = outside + 16;
  memset(outside, padding_code, 16);
  if (weight_bits == 4) memset(unpacked, 0, Q_RECORDS);
  // Columns left of the image, within it, and right of it.
  const int before = padding_left < count ? padding_left : count;
  const int within = in_w < count - before ? in_w : count - before;
  for (int y = 0; y < out_h; y += 2) {
    const int top = y + 2 <= out_h ? y : out_h - 2;  // the last row of an odd number, once more with the one above
    for (int c = 0; c < in_c; c += 16) {
      // The last sixteen channels are read once more where there are fewer.
      const int first = c + block <= in_c ? c : in_c - block, skipped = c - first;
      const int8_t *rows[4];
      int pitches[4];
      for (int i = 0; i < 4; ++i) {
        const int row = top - padding_top + i, inside = row >= 0 && row < in_h;
        rows[i] = inside ? in + row * in_row + first : outside;
        pitches[i] = inside ? in_column : 0;
      }
      q_mve_columns(nothing, none, columns, before, 16);
      q_mve_columns(rows, pitches, columns + 64 * before, within, block);
      q_mve_columns(nothing, none, columns + 64 * (before + within), count - before - within, 16);
      const int8_t *const records =
          weight_bits == 4 ? q_mve_records(weights + 8 * c, block - skipped, unpacked) : weights + 16 * c;
      q_mve_channels(Q_OF_SQUARE, form, full, columns + 4 * skipped, block - skipped, records,
                     channels + c * Q_NUMBERS(form), zero_point, low, high, out + top * out_row + c, out_row,
                     out_column, out_w / 2, out_w % 2);
    }
  }
}

Q_SHARED void q_square_up(Q_PARAMETERS) { q_depthwise_square(8, Q_TIES_UP, 0, Q_HANDED); }
Q_SHARED void q_square_up_full(Q_PARAMETERS) { q_depthwise_square(8, Q_TIES_UP, 1, Q_HANDED); }
Q_SHARED void q_square_away(Q_PARAMETERS) { q_depthwise_square(8, Q_TIES_AWAY, 0, Q_HANDED); }
Q_SHARED void q_square_away_full(Q_PARAMETERS) { q_depthwise_square(8, Q_TIES_AWAY, 1, Q_HANDED); }
Q_SHARED void q_square_left(Q_PARAMETERS) { q_depthwise_square(8, Q_LEFT_TOO, 0, Q_HANDED); }
Q_SHARED void q_square_s4_up(Q_PARAMETERS) { q_depthwise_square(4, Q_TIES_UP, 0, Q_HANDED); }
Q_SHARED void q_square_s4_up_full(Q_PARAMETERS) { q_depthwise_square(4, Q_TIES_UP, 1, Q_HANDED); }
Q_SHARED void q_square_s4_away(Q_PARAMETERS) { q_depthwise_square(4, Q_TIES_AWAY, 0, Q_HANDED); }
Q_SHARED void q_square_s4_away_full(Q_PARAMETERS) { q_depthwise_square(4, Q_TIES_AWAY, 1, Q_HANDED); }
Q_SHARED void q_square_s4_left(Q_PARAMETERS) { q_depthwise_square(4, Q_LEFT_TOO, 0, Q_HANDED); }

//   in           int8 [in_h][in_w][in_c], rows in_row codes apart, columns in_column; its zero point, padding_code, is
//                folded into the biases
//   weights      int8 [in_c][16] and five zeros, in flash, as in q_mve_channels;
//                of 4 bits int8 [(in_c + 1) / 2][16], as in q_mve_records
//   weight_bits  8 or 4
//   channels     int32 [in_c][Q_NUMBERS(form)], in flash
//   out          int8 [out_h][out_w][in_c], rows out_row codes apart, columns out_column; two rows and columns at least
//   columns      int8 [out_w + 2][16][4] and sixteen more, of 4
//                bits Q_RECORDS more, working memory
Q_KERNEL void depthwise_square_mve_s8(const int8_t *in, const int8_t *weights, int weight_bits,
                                      const int32_t *channels, int form, int zero_point, int low, int high,
                                      int8_t *out, int in_h, int in_w, int in_c, int out_h, int out_w,
                                      int padding_top, int padding_left, int padding_code, int in_row, int in_column,
                                      int out_row, int out_column, int8_t *columns) {
  if (form == Q_LEFT_TOO) {
    Q_OF_BITS(q_square, left)(Q_HANDED);
  } else if (low == -128 && high == 127) {
    (form == Q_TIES_UP ? Q_OF_BITS(q_square, up_full) : Q_OF_BITS(q_square, away_full))(Q_HANDED);
  } else {
    (form == Q_TIES_UP ? Q_OF_BITS(q_square, up) : Q_OF_BITS(q_square, away))(Q_HANDED);
  }
}
#undef Q_PARAMETERS
#undef Q_HANDED

#endif  // QTORCH_DEPTHWISE_SQUARE_MVE_S8_H_
