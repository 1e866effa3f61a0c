// UNIDIRECTIONAL_SEQUENCE_LSTM, int8, from states of zeros or carried ones.
// TFLM: micro/kernels/unidirectional_sequence_lstm.cc, lstm_eval.h.
#ifndef QTORCH_UNIDIRECTIONAL_SEQUENCE_LSTM_S8_H_
#define QTORCH_UNIDIRECTIONAL_SEQUENCE_LSTM_S8_H_

#include "lstm_unit.h"

Q_KERNEL int32_t q_lstm_sum(const int8_t *in, const int8_t *weights, int32_t sum, int size) {
  for (int i = 0; i < size; ++i) sum += (int32_t)in[i] * q_flash_s8(weights + i);
  return sum;
}

//   in             int8 [sequences][steps][in_size]
//   weights        int8 [4][size][in_size], in flash; gates input, forget, cell, output
//   state_weights  int8 [4][size][size], in flash
//   biases         int32 [4][size], in flash, with the input's zero point in them
//   state_biases   int32 [4][size], in flash: the hidden state's zero point
//   multipliers    int32 [8][2], in flash: mantissa and shift of the four gates' inputs, and of their states
//   table          that of q_sigmoid, in flash; the rest as in q_lstm_unit
//   hidden, cell   int8 and int16 [sequences][size], the states that are carried; 0 for zeros
//   next_hidden, next_cell  what they become; may be the same memory, which is not out
//   out            int8 [sequences][steps][size], which is also the hidden state; not in
//   scratch        int16 [size], the cell state; 0 where it is carried
Q_KERNEL void unidirectional_sequence_lstm_s8(const int8_t *in, const int8_t *weights, const int8_t *state_weights,
                                              const int32_t *biases, const int32_t *state_biases,
                                              const int32_t *multipliers, const int16_t *table, const int8_t *hidden,
                                              const int16_t *cell, int8_t *next_hidden, int16_t *next_cell,
                                              int8_t *out, int sequences, int steps, int in_size, int size,
                                              int zero_point, int32_t cell_mantissa, int cell_shift,
                                              int32_t out_mantissa, int out_shift, int32_t factor, int32_t half,
                                              int shift, int low, int high, int8_t *scratch) {
  for (int first = 0; first < sequences * size; first += size) {
    int16_t *state = q_lstm_cell(cell, next_cell, scratch, first, size);
    const int8_t *before = hidden ? hidden + first : 0;
    for (int step = 0; step < steps; ++step, before = out, in += in_size, out += size) {
      for (int j = 0; j < size; ++j) {
        int32_t gates[4];
        for (int gate = 0; gate < 4; ++gate) {
          const int row = gate * size + j;
          const int32_t *by = multipliers + 2 * gate;
          int32_t sum = q_lstm_sum(in, weights + row * in_size, q_flash_s32(biases + row), in_size);
          gates[gate] = q_int16(q_requantize(sum, q_flash_s32(by), (int)q_flash_s32(by + 1)));
          if (!before) continue;
          sum = q_lstm_sum(before, state_weights + row * size, q_flash_s32(state_biases + row), size);
          gates[gate] += q_int16(q_requantize(sum, q_flash_s32(by + 8), (int)q_flash_s32(by + 9)));
        }
        const int32_t shown = q_lstm_unit(gates, state + j, table, cell_mantissa, cell_shift, out_mantissa, out_shift,
                                          factor, half, shift, low, high);
        out[j] = (int8_t)q_clamp(shown + zero_point, -128, 127);
      }
    }
    if (hidden) memcpy(next_hidden + first, before, (size_t)size * sizeof(*before));
  }
}

#endif  // QTORCH_UNIDIRECTIONAL_SEQUENCE_LSTM_S8_H_
