// Four units of an LSTM cell for one step, on Cortex-M with vectors (MVE, Helium): a unit a lane. As q_lstm_unit.
#ifndef QTORCH_LSTM_MVE_H_
#define QTORCH_LSTM_MVE_H_

#include "requantize.h"

#if defined(__ARM_FEATURE_MVE)
// As q_requantize, by a mantissa and shifts to the left and, negative, to the right, of which one is 0: a negative
// number that goes to the right loses one first, so that its ties go down.
#define Q_LANES_REQUANTIZED(x, spare, mantissa, left, right)                                                \
  "vshl.s32 " x ", " left "\n\tvqrdmulh.s32 " x ", " x ", " mantissa "\n\tvdup.32 " spare ", " right "\n\t" \
  "vand " spare ", " spare ", " x "\n\tvshr.s32 " spare ", " spare ", #31\n\t"                              \
  "vadd.i32 " x ", " x ", " spare "\n\tvrshl.s32 " x ", " right "\n\t"
#define Q_LANES_WITHIN(x, low, high) "vmax.s32 " x ", " x ", " low "\n\tvmin.s32 " x ", " x ", " high "\n\t"
// A multiplier at u: to t, v and u.
#define Q_LANES_MULTIPLIER(at) "ldrd %[t], %[u], [" at "]\n\tusat %[v], #5, %[u]\n\tsub %[u], %[u], %[v]\n\t"
// The line of q_sigmoid between two entries, in q1; q0 becomes -1 where it is negative, else 0. Beyond the table's end
// the last number before it gives the same code.
#define Q_LANES_LINE(held, bits)                                                      \
  "vabs.s32 q1, q0\n\tvshr.s32 q0, q0, #31\n\t" held "vshr.u32 q2, q1, #" bits "\n\t" \
  "vshl.i32 q3, q2, #" bits "\n\tvsub.i32 q1, q1, q3\n\tadd %[u], %[table], #2\n\t"   \
  "vldrh.u32 q3, [%[table], q2, uxtw #1]\n\tvldrh.u32 q4, [%[u], q2, uxtw #1]\n\t"    \
  "vsub.i32 q4, q4, q3\n\tvmul.i32 q1, q1, q4\n\tvshl.i32 q3, q3, #" bits "\n\tvadd.i32 q1, q1, q3\n\t"
#define Q_LANES_LOGISTIC \
  Q_LANES_LINE("", "9") "vshr.u32 q0, q0, #7\n\tveor q0, q0, q1\n\tvrshr.s32 q0, q0, #10\n\t"
#define Q_LANES_TANGENT                                                \
  Q_LANES_LINE("vmov.i32 q2, #0xfeff\n\tvmin.s32 q1, q1, q2\n\t", "8") \
  "vbic.i32 q1, #0x800000\n\tveor q0, q0, q1\n\tvrshr.s32 q0, q0, #8\n\t"
#define Q_LANES_GATE(function)                                                                                 \
  __asm__ volatile("vmvn.i32 q3, #0x7fff\n\tvmov.i32 q4, #0x7fff\n\tvldrw.u32 q0, [%[sums]]\n\t"               \
                   Q_LANES_MULTIPLIER("%[by]") Q_LANES_REQUANTIZED("q0", "q2", "%[t]", "%[v]", "%[u]")         \
                   Q_LANES_WITHIN("q0", "q3", "q4") "vldrw.u32 q1, [%[sums], #64]\n\t"                         \
                   Q_LANES_MULTIPLIER("%[by], #32") Q_LANES_REQUANTIZED("q1", "q2", "%[t]", "%[v]", "%[u]")    \
                   Q_LANES_WITHIN("q1", "q3", "q4") "vadd.i32 q0, q0, q1\n\t" Q_LANES_WITHIN("q0", "q3", "q4") \
                   "mov %[t], #3\n\tvmul.i32 q0, q0, %[t]\n\t" function "vstrw.32 q0, [%[sums]]"               \
                   : [t] "=&r"(t), [u] "=&r"(u), [v] "=&r"(v)                                                  \
                   : [sums] "r"(sums), [by] "r"(multipliers), [table] "r"(table)                               \
                   : "q0", "q1", "q2", "q3", "q4", "memory")

// A gate behind its function, scale 2^-15, in place of the first of its sums.
//
//   sums         int32 [4], with its inputs' sums, and 16 words behind them those of its states
//   multipliers  int32 [2], mantissa and shift of its inputs' sums, and 8 words behind them those of its states'
//   table        that of q_sigmoid; tangent is a constant
Q_KERNEL void q_lstm_gate(int32_t *sums, const int32_t *multipliers, const int16_t *table, int tangent) {
  int32_t t, u, v;
  if (tangent) {
    Q_LANES_GATE(Q_LANES_TANGENT);
  } else {
    Q_LANES_GATE(Q_LANES_LOGISTIC);
  }
}

// New cell states and hidden states, of at most four units.
//
//   gates    int32 [4][4]
//   numbers  int32 [12]: cell_mantissa, its shifts to the left and, negative, to the right; factor, half, -shift; low,
//            high; out_mantissa and its shifts, zero_point
Q_KERNEL void q_lstm_cells(const int32_t *gates, int16_t *cell, int8_t *out, const int32_t *numbers,
                           const int16_t *table, int count) {
  int32_t t, u, v;
  // The loop's one round leaves out lanes beyond the end. What is kept of the cell is within int16: times a half and
  // 2^-14, each rounded as q_requantize does.
  __asm__ volatile(
      "dlstp.32 lr, %[count]\n"
      "1:\n\t"
      "vldrw.u32 q0, [%[gates]]\n\tvldrw.u32 q1, [%[gates], #32]\n\tvmul.i32 q0, q0, q1\n\t"
      "ldrd %[t], %[u], [%[numbers]]\n\tldr %[v], [%[numbers], #8]\n\t"
      Q_LANES_REQUANTIZED("q0", "q1", "%[t]", "%[u]", "%[v]")
      "vmvn.i32 q2, #0x7fff\n\tvmov.i32 q3, #0x7fff\n\t" Q_LANES_WITHIN("q0", "q2", "q3")
      "vldrw.u32 q1, [%[gates], #16]\n\tvldrh.s32 q2, [%[cell]]\n\tvmul.i32 q1, q1, q2\n\t"
      "vrshr.s32 q1, q1, #1\n\tvshr.s32 q2, q1, #31\n\tvadd.i32 q1, q1, q2\n\tvrshr.s32 q1, q1, #14\n\t"
      "vadd.i32 q0, q0, q1\n\tldrd %[t], %[u], [%[numbers], #24]\n\tvdup.32 q2, %[t]\n\tvdup.32 q3, %[u]\n\t"
      Q_LANES_WITHIN("q0", "q2", "q3") "vstrh.32 q0, [%[cell]]\n\t"
      "ldrd %[t], %[u], [%[numbers], #12]\n\tldr %[v], [%[numbers], #20]\n\t"
      "vmul.i32 q0, q0, %[t]\n\tvadd.i32 q0, q0, %[u]\n\tvshl.s32 q0, %[v]\n\t" Q_LANES_TANGENT
      "vldrw.u32 q1, [%[gates], #48]\n\tvmul.i32 q0, q0, q1\n\t"
      "ldrd %[t], %[u], [%[numbers], #32]\n\tldr %[v], [%[numbers], #40]\n\t"
      Q_LANES_REQUANTIZED("q0", "q1", "%[t]", "%[u]", "%[v]")
      "ldr %[t], [%[numbers], #44]\n\tvqadd.s32 q0, q0, %[t]\n\tvmvn.i32 q2, #127\n\tvmov.i32 q3, #127\n\t"
      Q_LANES_WITHIN("q0", "q2", "q3") "vstrb.32 q0, [%[out]]\n\t"
      "letp lr, 1b"
      : [t] "=&r"(t), [u] "=&r"(u), [v] "=&r"(v)
      : [gates] "r"(gates), [cell] "l"(cell), [out] "l"(out), [numbers] "r"(numbers), [table] "r"(table),
        [count] "r"(count)
      : "lr", "q0", "q1", "q2", "q3", "q4", "memory");
}
#endif

#endif  // QTORCH_LSTM_MVE_H_
