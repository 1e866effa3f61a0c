// UNIDIRECTIONAL_SEQUENCE_LSTM, int8, from states of zeros or carried ones.
// TFLM: micro/kernels/unidirectional_sequence_lstm.cc, lstm_eval.h.
#ifndef QTORCH_UNIDIRECTIONAL_SEQUENCE_LSTM_S8_H_
#define QTORCH_UNIDIRECTIONAL_SEQUENCE_LSTM_S8_H_

#include "dense.h"
#include "lstm_mve.h"
#include "lstm_unit.h"

#if defined(__ARM_FEATURE_MVE)
Q_KERNEL int q_left(int shift) { return shift > 0 ? shift : 0; }

// The sums of a unit's four gates, four words apart; biases are size words apart.
Q_KERNEL void q_lstm_sums(const int8_t *in, const int8_t *weights, int in_size, const int32_t *biases, int size,
                          int32_t *lanes) {
  int32_t sums[4] = {biases[0], biases[size], biases[2 * size], biases[3 * size]};
  q_four_products(in, weights, in_size, sums);
  // Not a loop, for which the compiler puts the sums into memory first.
  lanes[0] = sums[0];
  lanes[4] = sums[1];
  lanes[8] = sums[2];
  lanes[12] = sums[3];
}
#endif

//   in             int8 [sequences][steps][in_size]
//   weights        int8 [size][4][in_size], in flash; gates input, forget, cell, output
//   state_weights  int8 [size][4][size], in flash
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
#if defined(__ARM_FEATURE_MVE)
  const int32_t numbers[12] = {cell_mantissa, q_left(cell_shift), cell_shift - q_left(cell_shift),
                               factor, half, -shift, low, high,
                               out_mantissa, q_left(out_shift), out_shift - q_left(out_shift), zero_point};
#endif
  for (int first = 0; first < sequences * size; first += size) {
    int16_t *state = q_lstm_cell(cell, next_cell, scratch, first, size);
    const int8_t *before = hidden ? hidden + first : 0;
    for (int step = 0; step < steps; ++step, before = out, in += in_size, out += size) {
#if defined(__ARM_FEATURE_MVE)
      for (int j = 0; j < size; j += 4) {
        const int units = size - j < 4 ? size - j : 4;
        int32_t lanes[8][4] = {{0}};  // the gates' sums of inputs, and of states
        for (int unit = j; unit < j + units; ++unit) {
          q_lstm_sums(in, weights + 4 * unit * in_size, in_size, biases + unit, size, lanes[0] + unit - j);
          if (before) {
            q_lstm_sums(before, state_weights + 4 * unit * size, size, state_biases + unit, size, lanes[4] + unit - j);
          }
        }
        for (int gate = 0; gate < 4; ++gate) q_lstm_gate(lanes[gate], multipliers + 2 * gate, table, gate == 2);
        q_lstm_cells(lanes[0], state + j, out + j, numbers, table, units);
      }
#else
      for (int j = 0; j < size; ++j) {
        const int32_t *const bias = biases + j, *const state_bias = state_biases + j;
        int32_t gates[4], sums[4] = {q_flash_s32(bias), q_flash_s32(bias + size), q_flash_s32(bias + 2 * size),
                                     q_flash_s32(bias + 3 * size)};
        q_four_products(in, weights + 4 * j * in_size, in_size, sums);
        for (int gate = 0; gate < 4; ++gate) {
          const int32_t *by = multipliers + 2 * gate;
          gates[gate] = q_int16(q_requantize(sums[gate], q_flash_s32(by), (int)q_flash_s32(by + 1)));
          sums[gate] = q_flash_s32(state_bias + gate * size);
        }
        if (before) {
          q_four_products(before, state_weights + 4 * j * size, size, sums);
          for (int gate = 0; gate < 4; ++gate) {
            const int32_t *by = multipliers + 8 + 2 * gate;
            gates[gate] += q_int16(q_requantize(sums[gate], q_flash_s32(by), (int)q_flash_s32(by + 1)));
          }
        }
        const int32_t shown = q_lstm_unit(gates, state + j, table, cell_mantissa, cell_shift, out_mantissa, out_shift,
                                          factor, half, shift, low, high);
        out[j] = (int8_t)q_clamp(shown + zero_point, -128, 127);
      }
#endif
    }
    if (hidden) memcpy(next_hidden + first, before, (size_t)size * sizeof(*before));
  }
}

#endif  // QTORCH_UNIDIRECTIONAL_SEQUENCE_LSTM_S8_H_
