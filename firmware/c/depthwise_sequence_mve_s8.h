// DEPTHWISE_CONV_2D, int8, of windows of at most thirteen pixels of a sequence that lie one apart: four at a time.
#ifndef QTORCH_DEPTHWISE_SEQUENCE_MVE_S8_H_
#define QTORCH_DEPTHWISE_SEQUENCE_MVE_S8_H_

#include "depthwise_mve.h"

#define Q_PARAMETERS                                                                                                \
  const int8_t *in, const int8_t *weights, const int32_t *channels, int zero_point, int low, int high, int8_t *out,   \
      int in_size, int in_c, int out_size, int padding, int padding_code, int8_t *columns
#define Q_HANDED \
  in, weights, channels, zero_point, low, high, out, in_size, in_c, out_size, padding, padding_code, columns

Q_KERNEL void q_depthwise_sequence(int weight_bits, int form, int full, Q_PARAMETERS) {
  const int count = (out_size + 3) / 4 + 3, block = in_c < 16 ? in_c : 16;
  const int pitches[4] = {4 * in_c, 4 * in_c, 4 * in_c, 4 * in_c};
  int8_t *const outside = columns + 64 * count;
  int8_t *const unpacked = outside + 16;
  memset(outside, padding_code, 16);
  if (weight_bits == 4) memset(unpacked, 0, Q_RECORDS);
  // Columns of four pixels that are within the sequence, all of them.
  const int begin = (padding + 3) / 4, ends = (in_size + padding) / 4, end = ends < count ? ends : count;
  for (int c = 0; c < in_c; c += 16) {
    // The last sixteen channels are read once more where there are fewer.
    const int first = c + block <= in_c ? c : in_c - block, skipped = c - first;
    for (int column = 0; column < count;) {
      const int many = column >= begin && column < end ? end - column : 1;
      const int8_t *rows[4];
      for (int i = 0; i < 4; ++i) {
        const int pixel = 4 * column + i - padding;
        rows[i] = pixel >= 0 && pixel < in_size ? in + pixel * in_c + first : outside;
      }
      q_mve_columns(rows, pitches, columns + 64 * column, many, block);
      column += many;
    }
    const int8_t *const records =
        weight_bits == 4 ? q_mve_records(weights + 8 * c, block - skipped, unpacked) : weights + 16 * c;
    q_mve_channels(Q_OF_SEQUENCE, form, full, columns + 4 * skipped, block - skipped, records,
                   channels + c * Q_NUMBERS(form), zero_point, low, high, out + c, 0, in_c, out_size / 4, out_size % 4);
  }
}

Q_SHARED void q_sequence_up(Q_PARAMETERS) { q_depthwise_sequence(8, Q_TIES_UP, 0, Q_HANDED); }
Q_SHARED void q_sequence_up_full(Q_PARAMETERS) { q_depthwise_sequence(8, Q_TIES_UP, 1, Q_HANDED); }
Q_SHARED void q_sequence_away(Q_PARAMETERS) { q_depthwise_sequence(8, Q_TIES_AWAY, 0, Q_HANDED); }
Q_SHARED void q_sequence_away_full(Q_PARAMETERS) { q_depthwise_sequence(8, Q_TIES_AWAY, 1, Q_HANDED); }
Q_SHARED void q_sequence_left(Q_PARAMETERS) { q_depthwise_sequence(8, Q_LEFT_TOO, 0, Q_HANDED); }
Q_SHARED void q_sequence_s4_up(Q_PARAMETERS) { q_depthwise_sequence(4, Q_TIES_UP, 0, Q_HANDED); }
Q_SHARED void q_sequence_s4_up_full(Q_PARAMETERS) { q_depthwise_sequence(4, Q_TIES_UP, 1, Q_HANDED); }
Q_SHARED void q_sequence_s4_away(Q_PARAMETERS) { q_depthwise_sequence(4, Q_TIES_AWAY, 0, Q_HANDED); }
Q_SHARED void q_sequence_s4_away_full(Q_PARAMETERS) { q_depthwise_sequence(4, Q_TIES_AWAY, 1, Q_HANDED); }
Q_SHARED void q_sequence_s4_left(Q_PARAMETERS) { q_depthwise_sequence(4, Q_LEFT_TOO, 0, Q_HANDED); }

//   in           int8 [in_size][in_c]; its zero point, padding_code, is folded into the biases
//   weights      int8 [in_c][16] and three zeros, in flash, as in q_mve_channels;
//                of 4 bits int8 [(in_c + 1) / 2][16], as in q_mve_records
//   weight_bits  8 or 4
//   channels     int32 [in_c][Q_NUMBERS(form)], in flash
//   out          int8 [out_size][in_c]
//   padding      pixels before the first
//   columns      int8 [a quarter of out_size rounded up, and three][16][4] and sixteen more, of 4
//                bits Q_RECORDS more, working memory
Q_KERNEL void depthwise_sequence_mve_s8(const int8_t *in, const int8_t *weights, int weight_bits,
                                        const int32_t *channels, int form, int zero_point, int low, int high,
                                        int8_t *out, int in_size, int in_c, int out_size, int padding,
                                        int padding_code, int8_t *columns) {
  if (form == Q_LEFT_TOO) {
    Q_OF_BITS(q_sequence, left)(Q_HANDED);
  } else if (low == -128 && high == 127) {
    (form == Q_TIES_UP ? Q_OF_BITS(q_sequence, up_full) : Q_OF_BITS(q_sequence, away_full))(Q_HANDED);
  } else {
    (form == Q_TIES_UP ? Q_OF_BITS(q_sequence, up) : Q_OF_BITS(q_sequence, away))(Q_HANDED);
  }
}
#undef Q_PARAMETERS
#undef Q_HANDED

#endif  // QTORCH_DEPTHWISE_SEQUENCE_MVE_S8_H_
