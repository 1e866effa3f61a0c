// CONV_2D with a window of one pixel, no padding and no groups, of inputs in blocks of 16: two pixels at a time.
#ifndef QTORCH_POINTWISE_MVE_S8_H_
#define QTORCH_POINTWISE_MVE_S8_H_

#include "mve.h"

#define Q_PARAMETERS                                                                                          \
  const int8_t *in, const int32_t *channels, int zero_point, int low, int high, int8_t *out, int in_w, int blocks, \
      int out_h, int out_w, int out_c, int stride_h, int stride_w
#define Q_HANDED in, channels, zero_point, low, high, out, in_w, blocks, out_h, out_w, out_c, stride_h, stride_w

Q_KERNEL void q_pointwise_mve(int weight_bits, int form, int whole, Q_PARAMETERS) {
  const int in_c = 16 * blocks, across = stride_w * in_c;
  for (int y = 0; y < out_h; ++y, in += stride_h * in_w * in_c) {
    const int8_t *pixel = in;
    for (int x = 0; x < out_w; x += 2, pixel += 2 * across) {
      // The last pixel of an odd number stands for both.
      const int others = x + 1 < out_w;
      q_two_pixels(pixel, others ? pixel + across : pixel, weight_bits, channels, form, whole, 4, zero_point, low,
                   high, out, others ? out + out_c : out, out_c, blocks);
      out += others ? 2 * out_c : out_c;
    }
  }
}

Q_SHARED void q_pointwise_up(Q_PARAMETERS) { q_pointwise_mve(8, Q_TIES_UP, 0, Q_HANDED); }
Q_SHARED void q_pointwise_up_whole(Q_PARAMETERS) { q_pointwise_mve(8, Q_TIES_UP, 1, Q_HANDED); }
Q_SHARED void q_pointwise_away(Q_PARAMETERS) { q_pointwise_mve(8, Q_TIES_AWAY, 0, Q_HANDED); }
Q_SHARED void q_pointwise_away_whole(Q_PARAMETERS) { q_pointwise_mve(8, Q_TIES_AWAY, 1, Q_HANDED); }
Q_SHARED void q_pointwise_left(Q_PARAMETERS) { q_pointwise_mve(8, Q_LEFT_TOO, 0, Q_HANDED); }
Q_SHARED void q_pointwise_s4_up(Q_PARAMETERS) { q_pointwise_mve(4, Q_TIES_UP, 0, Q_HANDED); }
Q_SHARED void q_pointwise_s4_up_whole(Q_PARAMETERS) { q_pointwise_mve(4, Q_TIES_UP, 1, Q_HANDED); }
Q_SHARED void q_pointwise_s4_away(Q_PARAMETERS) { q_pointwise_mve(4, Q_TIES_AWAY, 0, Q_HANDED); }
Q_SHARED void q_pointwise_s4_away_whole(Q_PARAMETERS) { q_pointwise_mve(4, Q_TIES_AWAY, 1, Q_HANDED); }
Q_SHARED void q_pointwise_s4_left(Q_PARAMETERS) { q_pointwise_mve(4, Q_LEFT_TOO, 0, Q_HANDED); }

//   in           int8 [..][in_w][16 * blocks]; its zero point is folded into the biases
//   weight_bits  8 or 4
//   channels     as in q_two_pixels
//   out          int8 [out_h][out_w][out_c]
Q_KERNEL void pointwise_mve_s8(const int8_t *in, int weight_bits, const int32_t *channels, int form, int zero_point,
                               int low, int high, int8_t *out, int in_w, int blocks, int out_h, int out_w, int out_c,
                               int stride_h, int stride_w) {
  if (form == Q_LEFT_TOO) {
    Q_OF_BITS(q_pointwise, left)(Q_HANDED);
  } else if (out_c % 4 == 0) {
    (form == Q_TIES_UP ? Q_OF_BITS(q_pointwise, up_whole) : Q_OF_BITS(q_pointwise, away_whole))(Q_HANDED);
  } else {
    (form == Q_TIES_UP ? Q_OF_BITS(q_pointwise, up) : Q_OF_BITS(q_pointwise, away))(Q_HANDED);
  }
}
#undef Q_PARAMETERS
#undef Q_HANDED

#endif  // QTORCH_POINTWISE_MVE_S8_H_
