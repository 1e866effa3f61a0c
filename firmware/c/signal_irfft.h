// SignalIrfft of int16, mixed radix. TFLM: signal/src/irfft_int16.cc, kissfft of 16 bits, whose roundings these are.
#ifndef QTORCH_SIGNAL_IRFFT_H_
#define QTORCH_SIGNAL_IRFFT_H_

#include "signal_rfft.h"

// One number of the even and the odd numbers' spectra, which lie in one as real and imaginary parts, of that of all.
Q_KERNEL q_complex q_put_together(const int16_t *in, const int16_t *real_turns, int count, int place) {
  if (place == 0) return q_part(q_complex_of(in[0] + in[2 * count], in[0] - in[2 * count]), Q_SHARE(2));
  const int later = 2 * place >= count, at = later ? count - place : place;
  const q_complex opposite = q_at(in, count - at), a = q_part(q_at(in, at), Q_SHARE(2));
  const q_complex b = q_part(q_complex_of(opposite.r, -opposite.i), Q_SHARE(2));
  const q_complex even = q_plus(a, b), odd = q_by(q_minus(a, b), q_turn(real_turns, at - 1));
  if (!later) return q_plus(even, odd);
  const q_complex apart = q_minus(even, odd);
  return q_complex_of(apart.r, -apart.i);
}

//   in          [rows][2 * count + 2]; not out
//   turns       [count][2], in flash: parts of a full turn, forwards
//   real_turns  [count / 2][2], in flash
//   stages      [stage_count][3], in flash: radix, numbers of a part, blocks; the outermost first, at most 16
//   out         [rows][2 * count]
Q_KERNEL void signal_irfft(const int16_t *in, const int16_t *turns, const int16_t *real_turns, const int16_t *stages,
                           int16_t *out, int rows, int count, int stage_count) {
  for (int row = 0; row < rows; ++row, in += 2 * count + 2, out += 2 * count) {
    int16_t digits[16] = {0};
    for (int i = 0, from = 0; i < count; ++i) {
      q_set(out, i, q_put_together(in, real_turns, count, from));
      from = q_next_place(digits, stages, stage_count, from);
    }
    q_all_stages(out, turns, stages, count, stage_count, 1);
  }
}

#endif  // QTORCH_SIGNAL_IRFFT_H_
