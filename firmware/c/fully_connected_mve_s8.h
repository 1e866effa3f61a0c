// FULLY_CONNECTED, int8: eight outputs at a time.
#ifndef QTORCH_FULLY_CONNECTED_MVE_S8_H_
#define QTORCH_FULLY_CONNECTED_MVE_S8_H_

#include "mve.h"

#define Q_PARAMETERS                                                                                               \
  const int8_t *in, const int32_t *channels, int zero_point, int low, int high, int8_t *out, int rows, int in_size, \
      int out_size, int blocks
#define Q_HANDED in, channels, zero_point, low, high, out, rows, in_size, out_size, blocks

Q_KERNEL void q_fully_connected_mve(int weight_bits, int form, int whole, Q_PARAMETERS) {
  for (int row = 0; row < rows; ++row, in += in_size, out += out_size) {
    q_one_pixel(in, weight_bits, channels, form, whole, zero_point, low, high, out, out_size, blocks);
  }
}

Q_SHARED void q_fully_connected_up(Q_PARAMETERS) { q_fully_connected_mve(8, Q_TIES_UP, 0, Q_HANDED); }
Q_SHARED void q_fully_connected_up_whole(Q_PARAMETERS) { q_fully_connected_mve(8, Q_TIES_UP, 1, Q_HANDED); }
Q_SHARED void q_fully_connected_away(Q_PARAMETERS) { q_fully_connected_mve(8, Q_TIES_AWAY, 0, Q_HANDED); }
Q_SHARED void q_fully_connected_away_whole(Q_PARAMETERS) { q_fully_connected_mve(8, Q_TIES_AWAY, 1, Q_HANDED); }
Q_SHARED void q_fully_connected_left(Q_PARAMETERS) { q_fully_connected_mve(8, Q_LEFT_TOO, 0, Q_HANDED); }
Q_SHARED void q_fully_connected_s4_up(Q_PARAMETERS) { q_fully_connected_mve(4, Q_TIES_UP, 0, Q_HANDED); }
Q_SHARED void q_fully_connected_s4_up_whole(Q_PARAMETERS) { q_fully_connected_mve(4, Q_TIES_UP, 1, Q_HANDED); }
Q_SHARED void q_fully_connected_s4_away(Q_PARAMETERS) { q_fully_connected_mve(4, Q_TIES_AWAY, 0, Q_HANDED); }
Q_SHARED void q_fully_connected_s4_away_whole(Q_PARAMETERS) { q_fully_connected_mve(4, Q_TIES_AWAY, 1, Q_HANDED); }
Q_SHARED void q_fully_connected_s4_left(Q_PARAMETERS) { q_fully_connected_mve(4, Q_LEFT_TOO, 0, Q_HANDED); }

//   in           int8 [rows][in_size], in_size a multiple of sixteen; its zero point is folded into the biases
//   weight_bits  8 or 4
//   channels     as in q_two_pixels
//   out          int8 [rows][out_size]
Q_KERNEL void fully_connected_mve_s8(const int8_t *in, int weight_bits, const int32_t *channels, int form,
                                     int zero_point, int low, int high, int8_t *out, int rows, int in_size,
                                     int out_size, int blocks) {
  if (form == Q_LEFT_TOO) {
    Q_OF_BITS(q_fully_connected, left)(Q_HANDED);
  } else if (out_size % 4 == 0) {
    (form == Q_TIES_UP ? Q_OF_BITS(q_fully_connected, up_whole) : Q_OF_BITS(q_fully_connected, away_whole))(Q_HANDED);
  } else {
    (form == Q_TIES_UP ? Q_OF_BITS(q_fully_connected, up) : Q_OF_BITS(q_fully_connected, away))(Q_HANDED);
  }
}
#undef Q_PARAMETERS
#undef Q_HANDED

#endif  // QTORCH_FULLY_CONNECTED_MVE_S8_H_
