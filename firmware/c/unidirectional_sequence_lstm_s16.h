// UNIDIRECTIONAL_SEQUENCE_LSTM, int16 activations, from states of zeros or carried ones. TFLM: as the one for int8.
#ifndef QTORCH_UNIDIRECTIONAL_SEQUENCE_LSTM_S16_H_
#define QTORCH_UNIDIRECTIONAL_SEQUENCE_LSTM_S16_H_

#include "lstm_unit.h"
#include "products_s16.h"

//   in             int16 [sequences][steps][in_size]
//   weights        int8 [size][4][in_size], in flash; gates input, forget, cell, output
//   state_weights  int8 [size][4][size], in flash
//   channels       int32 [4][size][Q_WIDE_WORDS], in flash
//   states         int32 [4][Q_WIDE_WORDS], in flash; without biases
//   table          that of q_sigmoid, in flash; the rest as in q_lstm_unit
//   hidden, cell   int16 and int16 [sequences][size], the states that are carried; 0 for zeros
//   next_hidden, next_cell  what they become; may be the same memory, which is not out
//   out            int16 [sequences][steps][size], which is also the hidden state; not in
//   scratch        int16 [size], the cell state; 0 where it is carried
Q_KERNEL void unidirectional_sequence_lstm_s16(const int16_t *in, const int8_t *weights, const int8_t *state_weights,
                                               const int32_t *channels, const int32_t *states, const int16_t *table,
                                               const int16_t *hidden, const int16_t *cell, int16_t *next_hidden,
                                               int16_t *next_cell, int16_t *out, int sequences, int steps, int in_size,
                                               int size, int32_t cell_mantissa, int cell_shift, int32_t out_mantissa,
                                               int out_shift, int32_t factor, int32_t half, int shift, int low,
                                               int high, int8_t *scratch) {
  for (int first = 0; first < sequences * size; first += size) {
    int16_t *state = q_lstm_cell(cell, next_cell, scratch, first, size);
    const int16_t *before = hidden ? hidden + first : 0;
    for (int step = 0; step < steps; ++step, before = out, in += in_size, out += size) {
      for (int j = 0; j < size; ++j) {
        const int32_t *const channel = channels + j * Q_WIDE_WORDS;
        int32_t gates[4];
        int64_t sums[4];
        for (int gate = 0; gate < 4; ++gate) sums[gate] = q_wide_bias(channel + gate * size * Q_WIDE_WORDS);
        q_four_products_s16(in, weights + 4 * j * in_size, in_size, in_size, sums);
        for (int gate = 0; gate < 4; ++gate) {
          gates[gate] = q_wide_code(sums[gate], channel + gate * size * Q_WIDE_WORDS, INT16_MIN, INT16_MAX);
          sums[gate] = 0;
        }
        if (before) {
          q_four_products_s16(before, state_weights + 4 * j * size, size, size, sums);
          for (int gate = 0; gate < 4; ++gate) {
            gates[gate] += q_wide_code(sums[gate], states + gate * Q_WIDE_WORDS, INT16_MIN, INT16_MAX);
          }
        }
        out[j] = (int16_t)q_int16(q_lstm_unit(gates, state + j, table, cell_mantissa, cell_shift, out_mantissa,
                                              out_shift, factor, half, shift, low, high));
      }
    }
    if (hidden) memcpy(next_hidden + first, before, (size_t)size * sizeof(*before));
  }
}

#endif  // QTORCH_UNIDIRECTIONAL_SEQUENCE_LSTM_S16_H_
