// Four columns of a matrix of codes, copied to where and as a row's products read them: once for all rows.
#ifndef QTORCH_FOUR_COLUMNS_H_
#define QTORCH_FOUR_COLUMNS_H_

#include "dense.h"
#include "halfwords.h"
#include "products_s16.h"

#if defined(__ARM_FEATURE_MVE)
#define Q_COLUMNS_IN_VECTORS
#elif defined(Q_FOUR_ROWS)
#define Q_COLUMNS_IN_WORDS
#endif
// Where a single row needs no copy: what multiplies bytes alone has no use for a row in halfwords.
#if !defined(Q_SHORT_PRODUCTS) && !defined(Q_COLUMNS_IN_VECTORS)
#define Q_COLUMNS_IN_PLACE
#endif

#if defined(Q_COLUMNS_IN_WORDS)
// Halfwords less zero_point: of four codes of a column the first and the third in a word, then the second and the fourth;
// these words of the four columns beside each other. The codes that are left over come in fours of halfwords, one of each
// column. Returns in sums what each column adds up to.
//
//   other         int8 [depth][4] in steps of step and column
//   panel         int16 [4 * depth]
Q_KERNEL void q_columns_in_words(const int8_t *other, int depth, int step, int column, int zero_point, void *panel,
                                 int32_t *sums) {
  uint32_t *words = (uint32_t *)panel;
  const uint32_t zeros = q_two_codes(zero_point, zero_point), ones = 0x00010001u;
  uint32_t a = 0, b = 0, c = 0, d = 0;
  int k = 0;
  for (; k + 4 <= depth; k += 4, words += 8) {
    if (step == 1) {
      for (int i = 0; i < 4; ++i) {
        uint32_t even = q_alternate_codes(other + i * column + k, 0), odd = q_alternate_codes(other + i * column + k, 1);
        __asm__("ssub16 %0, %0, %1" : "+r"(even) : "r"(zeros));
        __asm__("ssub16 %0, %0, %1" : "+r"(odd) : "r"(zeros));
        words[i] = even;
        words[4 + i] = odd;
      }
    } else if (column == 1) {
      // Rows of the matrix, four columns in a word.
      for (int i = 0; i < 2; ++i) {
        const int8_t *const at = other + (k + i) * step;
        uint32_t even = q_alternate_codes(at, 0), odd = q_alternate_codes(at, 1);
        uint32_t below = q_alternate_codes(at + 2 * step, 0), beside = q_alternate_codes(at + 2 * step, 1);
        __asm__("ssub16 %0, %0, %1" : "+r"(even) : "r"(zeros));
        __asm__("ssub16 %0, %0, %1" : "+r"(odd) : "r"(zeros));
        __asm__("ssub16 %0, %0, %1" : "+r"(below) : "r"(zeros));
        __asm__("ssub16 %0, %0, %1" : "+r"(beside) : "r"(zeros));
        words[4 * i] = (even & 0xffff) | below << 16;
        words[4 * i + 1] = (odd & 0xffff) | beside << 16;
        words[4 * i + 2] = even >> 16 | (below & 0xffff0000u);
        words[4 * i + 3] = odd >> 16 | (beside & 0xffff0000u);
      }
    } else {
      for (int i = 0; i < 4; ++i) {
        const int8_t *const at = other + i * column + k * step;
        words[i] = q_two_codes(at[0] - zero_point, at[2 * step] - zero_point);
        words[4 + i] = q_two_codes(at[step] - zero_point, at[3 * step] - zero_point);
      }
    }
    a = q_two_products(words[0], ones, q_two_products(words[4], ones, a));
    b = q_two_products(words[1], ones, q_two_products(words[5], ones, b));
    c = q_two_products(words[2], ones, q_two_products(words[6], ones, c));
    d = q_two_products(words[3], ones, q_two_products(words[7], ones, d));
  }
  sums[0] = (int32_t)a;
  sums[1] = (int32_t)b;
  sums[2] = (int32_t)c;
  sums[3] = (int32_t)d;
  int16_t *rest = (int16_t *)words;
  for (; k < depth; ++k, rest += 4) {
    for (int i = 0; i < 4; ++i) {
      rest[i] = (int16_t)(other[i * column + k * step] - zero_point);
      sums[i] += rest[i];
    }
  }
}

// Adds to each of four sums the products of in, int8 [depth], with its column.
Q_KERNEL void q_products_with_words(const int8_t *in, const void *panel, int depth, int32_t *sums) {
  register const int8_t *x __asm__("r0") = in;
  register const void *w __asm__("r1") = panel;
  register const int8_t *end __asm__("r3") = in + (depth & ~3);
  register int32_t a __asm__("r4") = sums[0];
  register int32_t b __asm__("r5") = sums[1];
  register int32_t c __asm__("r6") = sums[2];
  register int32_t d __asm__("r8") = sums[3];
  if (depth >= 4) {
#define Q_FOUR_WORDS(codes)                                                                               \
  "ldmia r1!, {r2, r11, r12, lr}\n\t"                                                                     \
  "smlad r4, " codes ", r2, r4\n\tsmlad r5, " codes ", r11, r5\n\t"                                       \
  "smlad r6, " codes ", r12, r6\n\tsmlad r8, " codes ", lr, r8\n\t"
#define Q_FOUR_CODES                                                                                      \
  "ldr r9, [r0], #4\n\tsxtb16 r10, r9, ror #8\n\tsxtb16 r9, r9\n\t" Q_FOUR_WORDS("r9") Q_FOUR_WORDS("r10")
#define Q_LOOP(codes)                                                                        \
  __asm__ volatile("1:\n\t" codes "cmp r0, r3\n\tbne 1b"                                     \
                   : "+r"(x), "+r"(w), "+r"(a), "+r"(b), "+r"(c), "+r"(d)                    \
                   : "r"(end)                                                                \
                   : "r2", "r9", "r10", "r11", "r12", "lr", "cc", "memory")
    if ((depth & ~3) % 8 == 0) {
      Q_LOOP(Q_FOUR_CODES Q_FOUR_CODES);
    } else {
      Q_LOOP(Q_FOUR_CODES);
    }
#undef Q_LOOP
#undef Q_FOUR_CODES
#undef Q_FOUR_WORDS
  }
  const int16_t *rest = (const int16_t *)w;
  for (int i = depth & 3; i > 0; --i, ++x, rest += 4) {
    a += *x * rest[0];
    b += *x * rest[1];
    c += *x * rest[2];
    d += *x * rest[3];
  }
  sums[0] = a;
  sums[1] = b;
  sums[2] = c;
  sums[3] = d;
}
#endif

#if !defined(Q_COLUMNS_IN_WORDS) && !defined(Q_COLUMNS_IN_VECTORS)
// Codes of the four columns, one column behind the other. Returns in sums what each column adds up to.
//
//   other         int8 [depth][4] in steps of step and column
//   panel         int8 [4][depth]
Q_ALONE void q_columns_in_bytes(const int8_t *other, int depth, int step, int column, int8_t *panel, int32_t *sums) {
  for (int i = 0; i < 4; ++i, other += column) {
    const int8_t *at = other;
    int32_t sum = 0;
    for (const int8_t *const pairs_end = panel + (depth & ~1); panel != pairs_end; panel += 2, at += 2 * step) {
      const int8_t first = at[0], second = at[step];
      panel[0] = first;
      panel[1] = second;
      sum += first + second;
    }
    if (depth & 1) sum += *panel++ = *at;
    sums[i] = sum;
  }
}
#endif

#if defined(Q_COLUMNS_IN_PLACE)
// Adds to each of four sums the products of row, int16 [depth], with its column of other, int8 [depth][4] in steps of step
// and column.
Q_KERNEL void q_four_columns(const int16_t *row, const int8_t *other, int depth, int step, int column, int32_t *sums) {
  if (step == 1) {
    q_four_short_products(row, other, column, depth, sums);
    return;
  }
  int k = 0;
#if defined(Q_COLUMNS_IN_WORDS)
  uint32_t a = (uint32_t)sums[0], b = (uint32_t)sums[1], c = (uint32_t)sums[2], d = (uint32_t)sums[3];
  for (; column == 1 && k + 2 <= depth; k += 2) {
    const int8_t *const at = other + k * step;
    const uint32_t even = q_alternate_codes(at, 0), odd = q_alternate_codes(at, 1), x = q_two_codes(row[k], row[k + 1]);
    const uint32_t below = q_alternate_codes(at + step, 0), beside = q_alternate_codes(at + step, 1);
    a = q_two_products((even & 0xffff) | below << 16, x, a);
    b = q_two_products((odd & 0xffff) | beside << 16, x, b);
    c = q_two_products(even >> 16 | (below & 0xffff0000u), x, c);
    d = q_two_products(odd >> 16 | (beside & 0xffff0000u), x, d);
  }
  sums[0] = (int32_t)a;
  sums[1] = (int32_t)b;
  sums[2] = (int32_t)c;
  sums[3] = (int32_t)d;
#endif
  for (; k < depth; ++k) {
    for (int i = 0; i < 4; ++i) sums[i] += row[k] * other[i * column + k * step];
  }
}
#endif

#if defined(Q_COLUMNS_IN_VECTORS)
// Blocks of sixteen codes of the four columns beside each other. What fills up the last block may be anything, for a
// row's codes end before it. Returns in sums what each column adds up to.
//
//   other         int8 [depth][4] in steps of step and column
//   panel         int8 [(depth + 15) / 16][4][16]
Q_KERNEL void q_columns_in_vectors(const int8_t *other, int depth, int step, int column, int8_t *panel, int32_t *sums) {
  for (int i = 0; i < 4; ++i, other += column, panel += 16) {
    const int8_t *at = other;
    int8_t *to = panel;
    if (step == 1) {
      register int32_t sum __asm__("r0") = 0;
      __asm__ volatile(
          "wlstp.8 lr, %[size], 2f\n"
          "1:\n\t"
          "vldrb.8 q0, [%[at]], #16\n\tvaddva.s8 %[sum], q0\n\t"
          "vstrb.8 q0, [%[to]], #64\n\t"
          "letp lr, 1b\n"
          "2:"
          : [at] "+r"(at), [to] "+r"(to), [sum] "+r"(sum)
          : [size] "r"(depth)
          : "lr", "q0", "memory");
      sums[i] = sum;
    } else {
      // Four codes at once, from where words say.
      register int32_t sum __asm__("r0") = 0;
      for (int k = 0; k < depth; k += 16, to += 64) {
        const int count = depth - k < 16 ? depth - k : 16;
        int8_t *block = to;
        int first = 0;
        __asm__ volatile(
            "vidup.u32 q1, %[first], #1\n\tvmul.i32 q1, q1, %[step]\n\t"
            "wlstp.32 lr, %[count], 2f\n"
            "1:\n\t"
            "vldrb.s32 q0, [%[at], q1]\n\tvaddva.s32 %[sum], q0\n\t"
            "vstrb.32 q0, [%[to]], #4\n\tadd %[at], %[at], %[step], lsl #2\n\t"
            "letp lr, 1b\n"
            "2:"
            : [at] "+r"(at), [to] "+l"(block), [sum] "+r"(sum), [first] "+Te"(first)
            : [count] "r"(count), [step] "r"(step)
            : "lr", "q0", "q1", "memory");
      }
      sums[i] = sum;
    }
  }
}

// Codes of all rows in four columns.
//
//   in          int8 [rows][depth]
//   panel       the columns, as q_columns_in_vectors leaves them
//   starts      int32 [4]: of each column's sums; to each a row's codes are added times row_factor
//   mantissa, right  sums become codes by q_requantize, to the right, by one bit at least
//   out         int8 [rows][columns], of which four columns
Q_KERNEL void q_rows_by_vectors(const int8_t *in, const int8_t *panel, const int32_t *starts, int32_t row_factor,
                                int rows, int depth, int zero_point, int32_t mantissa, int right, int8_t *out,
                                int columns) {
  register const int8_t *row_end __asm__("r0") = in + rows * depth;
  register const int32_t *start __asm__("r2") = starts;
  register int zero __asm__("r3") = zero_point;
  register int32_t factor __asm__("r4") = mantissa;
  register const int8_t *columns_begin __asm__("r9") = panel;
  register int shift __asm__("r6") = -right;
  register int32_t of_row __asm__("r8") = row_factor;
  register int8_t *to __asm__("r5") = out;
  register int size __asm__("r10") = depth;
  register int next __asm__("r11") = columns;
  register const int8_t *row __asm__("r12") = in;
  __asm__ volatile(
      "vldrw.32 q3, [r2]\n\tvdup.32 q4, r8\n\tvdup.32 q5, r6\n\tvdup.32 q6, r3\n\tvdup.32 q7, r4\n\tvmov s8, r0\n"
      "1:\n\t"
      "mov r1, r12\n\tmov r3, r9\n\tadd r12, r12, r10\n\t"
      "movs r0, #0\n\tmovs r2, #0\n\tmovs r4, #0\n\tmovs r6, #0\n\tmov r8, #0\n\t"
      "wlstp.8 lr, r10, 3f\n"
      "2:\n\t"
      "vldrb.8 q0, [r1], #16\n\t"
      "vldrb.8 q1, [r3], #16\n\tvmladava.s8 r0, q0, q1\n\t"
      "vldrb.8 q1, [r3], #16\n\tvmladava.s8 r2, q0, q1\n\t"
      "vldrb.8 q1, [r3], #16\n\tvmladava.s8 r4, q0, q1\n\t"
      "vldrb.8 q1, [r3], #16\n\tvmladava.s8 r6, q0, q1\n\t"
      "vaddva.s8 r8, q0\n\t"
      "letp lr, 2b\n"
      "3:\n\t"
      "vmov q0[2], q0[0], r0, r4\n\tvmov q0[3], q0[1], r2, r6\n\t"
      "vadd.i32 q0, q0, q3\n\tvmla.s32 q0, q4, r8\n\t"
      "vqrdmulh.s32 q0, q0, q7\n\t"
      "vshr.s32 q1, q0, #31\n\tvadd.i32 q0, q0, q1\n\t"
      "vrshl.s32 q0, q0, q5\n\tvadd.i32 q0, q0, q6\n\t"
      "vqmovnb.s32 q0, q0\n\tvqmovnb.s16 q0, q0\n\t"
      "vstrb.32 q0, [r5]\n\tadd r5, r5, r11\n\t"
      "vmov r0, s8\n\tcmp r12, r0\n\tbne 1b"
      : "+r"(row_end), "+r"(start), "+r"(zero), "+r"(factor), "+r"(shift), "+r"(of_row), "+r"(to), "+r"(row)
      : "r"(columns_begin), "r"(size), "r"(next)
      : "r1", "lr", "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "cc", "memory");
}
#endif

#endif  // QTORCH_FOUR_COLUMNS_H_
