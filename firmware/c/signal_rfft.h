// SignalRfft of int16, mixed radix. TFLM: signal/src/rfft_int16.cc, kissfft of 16 bits, whose roundings these are.
#ifndef QTORCH_SIGNAL_RFFT_H_
#define QTORCH_SIGNAL_RFFT_H_

#include "kernel.h"

// A complex number in Q0.15, each part in 16 bits with its sign in front.
typedef struct {
  int32_t r, i;
} q_complex;

Q_KERNEL int32_t q_round_15(int32_t product) { return (int16_t)((product + (1 << 14)) >> 15); }

Q_KERNEL q_complex q_complex_of(int32_t r, int32_t i) {
  const q_complex pair = {(int16_t)r, (int16_t)i};
  return pair;
}

Q_KERNEL q_complex q_plus(q_complex a, q_complex b) { return q_complex_of(a.r + b.r, a.i + b.i); }
Q_KERNEL q_complex q_minus(q_complex a, q_complex b) { return q_complex_of(a.r - b.r, a.i - b.i); }
// Times -i.
Q_KERNEL q_complex q_quarter(q_complex a) { return q_complex_of(a.i, -a.r); }
Q_KERNEL q_complex q_part(q_complex a, int32_t share) {
  return q_complex_of(q_round_15(a.r * share), q_round_15(a.i * share));
}
Q_KERNEL q_complex q_by(q_complex a, q_complex b) {
  return q_complex_of(q_round_15(a.r * b.r - a.i * b.i), q_round_15(a.r * b.i + a.i * b.r));
}
Q_KERNEL q_complex q_at(const int16_t *x, int place) { return q_complex_of(x[2 * place], x[2 * place + 1]); }
Q_KERNEL q_complex q_turn(const int16_t *turns, int place) {
  return q_complex_of(q_flash_s16(turns + 2 * place), q_flash_s16(turns + 2 * place + 1));
}
Q_KERNEL void q_set(int16_t *x, int place, q_complex a) {
  x[2 * place] = (int16_t)a.r;
  x[2 * place + 1] = (int16_t)a.i;
}

// One of the parts of a butterfly, divided by the radix and turned.
Q_KERNEL q_complex q_turned(const int16_t *x, int place, int32_t share, const int16_t *turns, int turn) {
  return q_by(q_part(q_at(x, place), share), q_turn(turns, turn));
}

// One unit in Q0.15 over the radix: parts are divided before they are added.
#define Q_SHARE(radix) (INT16_MAX / (radix))

Q_KERNEL void q_butterfly_2(int16_t *x, const int16_t *turns, int at, int size, int turn) {
  const q_complex a = q_part(q_at(x, at), Q_SHARE(2)), b = q_turned(x, at + size, Q_SHARE(2), turns, turn);
  q_set(x, at + size, q_minus(a, b));
  q_set(x, at, q_plus(a, b));
}

Q_KERNEL void q_butterfly_3(int16_t *x, const int16_t *turns, int at, int size, int turn, int corner) {
  const q_complex a = q_part(q_at(x, at), Q_SHARE(3));
  const q_complex b = q_turned(x, at + size, Q_SHARE(3), turns, turn);
  const q_complex c = q_turned(x, at + 2 * size, Q_SHARE(3), turns, 2 * turn);
  const q_complex total = q_plus(b, c), middle = q_complex_of(a.r - (total.r >> 1), a.i - (total.i >> 1));
  const q_complex apart = q_quarter(q_part(q_minus(b, c), q_turn(turns, corner).i));
  q_set(x, at, q_plus(a, total));
  q_set(x, at + size, q_minus(middle, apart));
  q_set(x, at + 2 * size, q_plus(middle, apart));
}

Q_KERNEL void q_butterfly_4(int16_t *x, const int16_t *turns, int at, int size, int turn) {
  const q_complex a = q_part(q_at(x, at), Q_SHARE(4));
  const q_complex b = q_turned(x, at + size, Q_SHARE(4), turns, turn);
  const q_complex c = q_turned(x, at + 2 * size, Q_SHARE(4), turns, 2 * turn);
  const q_complex d = q_turned(x, at + 3 * size, Q_SHARE(4), turns, 3 * turn);
  const q_complex apart = q_minus(a, c), total = q_plus(a, c), odd = q_plus(b, d), across = q_quarter(q_minus(b, d));
  q_set(x, at, q_plus(total, odd));
  q_set(x, at + size, q_plus(apart, across));
  q_set(x, at + 2 * size, q_minus(total, odd));
  q_set(x, at + 3 * size, q_minus(apart, across));
}

// a by one factor and b by another, each rounded.
Q_KERNEL int32_t q_two_rounded(int32_t a, int32_t by, int32_t b, int32_t by_b) {
  return q_round_15(a * by) + q_round_15(b * by_b);
}

Q_KERNEL void q_butterfly_5(int16_t *x, const int16_t *turns, int at, int size, int turn, int corner) {
  const q_complex one = q_turn(turns, corner), two = q_turn(turns, 2 * corner);
  const q_complex a = q_part(q_at(x, at), Q_SHARE(5));
  const q_complex b = q_turned(x, at + size, Q_SHARE(5), turns, turn);
  const q_complex c = q_turned(x, at + 2 * size, Q_SHARE(5), turns, 2 * turn);
  const q_complex d = q_turned(x, at + 3 * size, Q_SHARE(5), turns, 3 * turn);
  const q_complex e = q_turned(x, at + 4 * size, Q_SHARE(5), turns, 4 * turn);
  const q_complex outer = q_plus(b, e), inner = q_plus(c, d), far = q_minus(b, e), near = q_minus(c, d);
  const q_complex first = q_complex_of(a.r + q_two_rounded(outer.r, one.r, inner.r, two.r),
                                 a.i + q_two_rounded(outer.i, one.r, inner.i, two.r));
  const q_complex second = q_complex_of(a.r + q_two_rounded(outer.r, two.r, inner.r, one.r),
                                  a.i + q_two_rounded(outer.i, two.r, inner.i, one.r));
  const q_complex across = q_complex_of(q_two_rounded(far.i, one.i, near.i, two.i),
                                  -q_two_rounded(far.r, one.i, near.r, two.i));
  const q_complex other = q_complex_of(q_round_15(near.i * one.i) - q_round_15(far.i * two.i),
                                 q_round_15(far.r * two.i) - q_round_15(near.r * one.i));
  q_set(x, at, q_complex_of(a.r + outer.r + inner.r, a.i + outer.i + inner.i));
  q_set(x, at + size, q_minus(first, across));
  q_set(x, at + 2 * size, q_plus(second, other));
  q_set(x, at + 3 * size, q_minus(second, other));
  q_set(x, at + 4 * size, q_plus(first, across));
}

// Where the stages take the next number from, the innermost stage's side by side; digits, of [16], begin with 0.
Q_KERNEL int q_next_place(int16_t *digits, const int16_t *stages, int stage_count, int from) {
  for (int stage = stage_count - 1; stage >= 0; --stage) {
    const int radix = q_flash_s16(stages + 3 * stage), stride = q_flash_s16(stages + 3 * stage + 2);
    from += stride;
    if (++digits[stage] < radix) break;
    digits[stage] = 0;
    from -= radix * stride;
  }
  return from;
}

// The numbers in the order in which the stages take them; zeros behind the input.
Q_KERNEL void q_in_order(const int16_t *in, const int16_t *stages, int16_t *out, int size, int count, int stage_count) {
  int16_t digits[16] = {0};
  for (int i = 0, from = 0; i < count; ++i) {
    out[2 * i] = (int16_t)(2 * from < size ? in[2 * from] : 0);
    out[2 * i + 1] = (int16_t)(2 * from + 1 < size ? in[2 * from + 1] : 0);
    from = q_next_place(digits, stages, stage_count, from);
  }
}

// The even and the odd numbers' spectra, which lie in one as real and imaginary parts, as one of all, in place.
Q_KERNEL void q_taken_apart(int16_t *x, const int16_t *real_turns, int count) {
  const q_complex all = q_part(q_at(x, 0), Q_SHARE(2));
  for (int i = 1; i <= count / 2; ++i) {
    const q_complex a = q_part(q_at(x, i), Q_SHARE(2)), opposite = q_at(x, count - i);
    const q_complex b = q_part(q_complex_of(opposite.r, -opposite.i), Q_SHARE(2));
    const q_complex total = q_plus(a, b), apart = q_by(q_minus(a, b), q_turn(real_turns, i - 1));
    q_set(x, i, q_complex_of((total.r + apart.r) >> 1, (total.i + apart.i) >> 1));
    q_set(x, count - i, q_complex_of((total.r - apart.r) >> 1, (apart.i - total.i) >> 1));
  }
  q_set(x, 0, q_complex_of(all.r + all.i, 0));
  q_set(x, count, q_complex_of(all.r - all.i, 0));
}

// All stages, in place. Back, the second and the fourth of four change places; turns are forwards then.
Q_KERNEL void q_all_stages(int16_t *x, const int16_t *turns, const int16_t *stages, int count, int stage_count, int back) {
  for (int stage = stage_count - 1; stage >= 0; --stage) {
    const int radix = q_flash_s16(stages + 3 * stage), part = q_flash_s16(stages + 3 * stage + 1);
    const int stride = q_flash_s16(stages + 3 * stage + 2);
    for (int block = 0; block < count; block += radix * part) {
      for (int i = 0; i < part; ++i) {
        const int at = block + i, turn = i * stride;
        if (radix == 4) {
          q_butterfly_4(x, turns, at, part, turn);
          if (back) {
            const q_complex second = q_at(x, at + part);
            q_set(x, at + part, q_at(x, at + 3 * part));
            q_set(x, at + 3 * part, second);
          }
        } else if (radix == 2) {
          q_butterfly_2(x, turns, at, part, turn);
        } else if (radix == 3) {
          q_butterfly_3(x, turns, at, part, turn, part * stride);
        } else {
          q_butterfly_5(x, turns, at, part, turn, part * stride);
        }
      }
    }
  }
}

//   in          [rows][size]
//   turns       [count][2], in flash: parts of a full turn, backwards
//   real_turns  [count / 2][2], in flash
//   stages      [stage_count][3], in flash: radix, numbers of a part, blocks; the outermost first, at most 16
//   out         [rows][2 * count + 2]
Q_KERNEL void signal_rfft(const int16_t *in, const int16_t *turns, const int16_t *real_turns, const int16_t *stages,
                          int16_t *out, int rows, int size, int count, int stage_count) {
  for (int row = 0; row < rows; ++row, in += size, out += 2 * count + 2) {
    q_in_order(in, stages, out, size, count, stage_count);
    q_all_stages(out, turns, stages, count, stage_count, 0);
    q_taken_apart(out, real_turns, count);
  }
}

#endif  // QTORCH_SIGNAL_RFFT_H_
