// One unit of an LSTM cell for one step. TFLM: micro/kernels/lstm_eval.h.
#ifndef QTORCH_LSTM_UNIT_H_
#define QTORCH_LSTM_UNIT_H_

#include "requantize.h"
#include "sigmoid_s16.h"

Q_KERNEL int32_t q_int16(int32_t x) { return q_clamp(x, INT16_MIN, INT16_MAX); }

// The new hidden state without its zero point, not clamped; cell becomes the new one.
//
//   gates  input, forget, cell, output before their functions, Q3.12, each the sum of two int16
//   cell   int16; times factor, plus half, shifted to the right, in units of 1 / (24 * 2^9)
//   table  that of q_sigmoid
//   low    least code of the cell state, high the greatest
// Products of two gates go to the cell state by cell_mantissa and cell_shift, to the hidden state by out_mantissa and
// out_shift.
Q_KERNEL int32_t q_lstm_unit(const int32_t *gates, int16_t *cell, const int16_t *table, int32_t cell_mantissa,
                             int cell_shift, int32_t out_mantissa, int out_shift, int32_t factor, int32_t half,
                             int shift, int low, int high) {
  const int32_t opened = q_sigmoid(3 * q_int16(gates[0]), table, 0);
  const int32_t kept = q_sigmoid(3 * q_int16(gates[1]), table, 0);
  const int32_t candidate = q_sigmoid(3 * q_int16(gates[2]), table, 1);
  const int32_t shown = q_sigmoid(3 * q_int16(gates[3]), table, 0);
  const int32_t old = q_int16(q_requantize(kept * *cell, (int32_t)1 << 30, -14));
  const int32_t now = q_clamp(old + q_int16(q_requantize(opened * candidate, cell_mantissa, cell_shift)), low, high);
  *cell = (int16_t)now;
  return q_requantize(q_sigmoid((now * factor + half) >> shift, table, 1) * shown, out_mantissa, out_shift);
}

// The cell state of one of several sequences, at first: what is carried, which then goes on in next, or zeros in working
// memory.
Q_KERNEL int16_t *q_lstm_cell(const int16_t *carried, int16_t *next, int8_t *scratch, int first, int size) {
  if (scratch) {
    memset(scratch, 0, (size_t)size * 2);
    return (int16_t *)scratch;
  }
  // A compiler that knows either to be 0 warns of a copy to or from there.
  if (carried && carried != next) {
    for (int i = 0; i < size; ++i) next[first + i] = carried[first + i];
  }
  return next + first;
}

#endif  // QTORCH_LSTM_UNIT_H_
