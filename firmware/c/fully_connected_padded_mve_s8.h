// FULLY_CONNECTED, int8, of inputs that do not fill vectors: copied to where they do.
#ifndef QTORCH_FULLY_CONNECTED_PADDED_MVE_S8_H_
#define QTORCH_FULLY_CONNECTED_PADDED_MVE_S8_H_

#include "fully_connected_mve_s8.h"
#include "mve_patch.h"

//   in           int8 [rows][in_size]; its zero point is folded into the biases
//   weight_bits  8 or 4
//   channels     as in q_two_pixels
//   out          int8 [rows][out_size]
//   padded       int8 [16 * blocks], working memory
Q_KERNEL void fully_connected_padded_mve_s8(const int8_t *in, int weight_bits, const int32_t *channels, int form,
                                            int zero_point, int low, int high, int8_t *out, int rows, int in_size,
                                            int out_size, int blocks, int8_t *padded) {
  for (int row = 0; row < rows; ++row) {
    q_mve_copied(padded, in + row * in_size, in_size);
    fully_connected_mve_s8(padded, weight_bits, channels, form, zero_point, low, high, out + row * out_size, 1, in_size,
                           out_size, blocks);
  }
}

#endif  // QTORCH_FULLY_CONNECTED_PADDED_MVE_S8_H_
