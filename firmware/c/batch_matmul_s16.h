// BATCH_MATMUL, int16: products of matrices computed at run time. TFLM: kernels/internal/reference/batch_matmul.h.
#ifndef QTORCH_BATCH_MATMUL_S16_H_
#define QTORCH_BATCH_MATMUL_S16_H_

#include "batch_matmul.h"
#include "wide.h"

#if defined(__ARM_FEATURE_MVE) || (defined(__ARM_FEATURE_DSP) && defined(__thumb2__))
#define Q_COLUMNS_OF_16_BITS

// Adds to sums the products of a row, int16 [depth], with two columns, int16 [depth] each.
Q_KERNEL void q_two_columns_s16(const int16_t *in, const int16_t *first, const int16_t *second, int depth,
                                int64_t *sums) {
#if defined(__ARM_FEATURE_MVE)
  // A sum's low half is in an even register, its high half in an odd one.
  register uint32_t a_low __asm__("r0") = (uint32_t)sums[0];
  register int32_t a_high __asm__("r1") = (int32_t)(sums[0] >> 32);
  register uint32_t b_low __asm__("r2") = (uint32_t)sums[1];
  register int32_t b_high __asm__("r3") = (int32_t)(sums[1] >> 32);
  register const int16_t *x __asm__("r4") = in;
  register const int16_t *y __asm__("r5") = first;
  register const int16_t *z __asm__("r6") = second;
  register int size __asm__("r8") = depth;
  __asm__ volatile(
      "wlstp.16 lr, r8, 2f\n"
      "1:\n\t"
      "vldrh.16 q0, [r4], #16\n\t"
      "vldrh.16 q1, [r5], #16\n\tvmlaldava.s16 r0, r1, q0, q1\n\t"
      "vldrh.16 q1, [r6], #16\n\tvmlaldava.s16 r2, r3, q0, q1\n\t"
      "letp lr, 1b\n"
      "2:"
      : "+r"(a_low), "+r"(a_high), "+r"(b_low), "+r"(b_high), "+r"(x), "+r"(y), "+r"(z)
      : "r"(size)
      : "lr", "q0", "q1", "memory");
#else
  uint32_t a_low = (uint32_t)sums[0], b_low = (uint32_t)sums[1];
  int32_t a_high = (int32_t)(sums[0] >> 32), b_high = (int32_t)(sums[1] >> 32);
  const int16_t *const end = in + (depth & ~3);
  uint32_t x, y, z;
#define Q_TWO_CODES                                                                        \
  "ldr %[x], [%[in]], #4\n\tldr %[y], [%[first]], #4\n\tldr %[z], [%[second]], #4\n\t"     \
  "smlald %[al], %[ah], %[x], %[y]\n\tsmlald %[bl], %[bh], %[x], %[z]\n\t"
  if (depth >= 4) {
    __asm__ volatile("1:\n\t" Q_TWO_CODES Q_TWO_CODES "cmp %[in], %[end]\n\tbne 1b"
                     : [in] "+r"(in), [first] "+r"(first), [second] "+r"(second), [al] "+r"(a_low), [ah] "+r"(a_high),
                       [bl] "+r"(b_low), [bh] "+r"(b_high), [x] "=&r"(x), [y] "=&r"(y), [z] "=&r"(z)
                     : [end] "r"(end)
                     : "cc", "memory");
  }
#undef Q_TWO_CODES
  for (int k = 0; k < (depth & 3); ++k) {
    __asm__("smlalbb %0, %1, %2, %3" : "+r"(a_low), "+r"(a_high) : "r"(in[k]), "r"(first[k]));
    __asm__("smlalbb %0, %1, %2, %3" : "+r"(b_low), "+r"(b_high) : "r"(in[k]), "r"(second[k]));
  }
#endif
  sums[0] = (int64_t)((uint64_t)(uint32_t)a_high << 32 | a_low);
  sums[1] = (int64_t)((uint64_t)(uint32_t)b_high << 32 | b_low);
}
#endif

// The code of a sum.
Q_KERNEL int16_t q_code_of_products(int64_t sum, int32_t mantissa, int shift) {
  const int64_t code = (q_wide_product(sum, mantissa) + ((int64_t)1 << (shift - 1))) >> shift;
  return (int16_t)(code < -32768 ? -32768 : code > 32767 ? 32767 : code);
}

#if defined(Q_COLUMNS_OF_16_BITS)
// One product of matrices: in [rows][depth], other [depth][columns] in steps of step and column, two columns at least; one
// that is left over is the second of two. Columns that do not lie along depth are copied to work, int16 [2][depth].
Q_KERNEL void q_product_of_matrices_s16(const int16_t *in, const int16_t *other, int16_t *out, int rows, int columns,
                                        int depth, int step, int column, int32_t mantissa, int shift, int16_t *work) {
  for (int first = 0; first < columns; first += 2) {
    if (first > columns - 2) first = columns - 2;
    const int16_t *x = in, *y = other + first * column, *z = y + column;
    if (step != 1) {
      for (int k = 0; k < depth; ++k) {
        work[k] = y[k * step];
        work[depth + k] = z[k * step];
      }
      y = work;
      z = work + depth;
    }
    int16_t *to = out + first;
    for (int row = 0; row < rows; ++row, x += depth, to += columns) {
      int64_t sums[2] = {0, 0};
      q_two_columns_s16(x, y, z, depth, sums);
      to[0] = q_code_of_products(sums[0], mantissa, shift);
      to[1] = q_code_of_products(sums[1], mantissa, shift);
    }
  }
}
#endif

// Operands as Q_FOR_EACH_SUM has them; zero points are 0. The sums have 48 bits; mantissa is Q15, shift to the right. work
// is working memory, int16 [2][depth].
Q_KERNEL void batch_matmul_s16(const int16_t *in, const int16_t *other, int16_t *out, int n_0, int n_1, int n_2,
                               int in_0, int in_1, int in_2, int in_flash, int other_0, int other_1, int other_2,
                               int other_flash, int rows, int columns, int depth, int in_row, int in_step,
                               int other_step, int other_column, int32_t mantissa, int shift, int8_t *work) {
#if defined(Q_COLUMNS_OF_16_BITS)
  if (in_step == 1 && in_row == depth && columns >= 2) {
    Q_FOR_EACH_PRODUCT {
      q_product_of_matrices_s16(in + a, other + b, out, rows, columns, depth, other_step, other_column, mantissa, shift,
                                (int16_t *)(void *)work);
    }
    return;
  }
#endif
  (void)work;
  Q_FOR_EACH_SUM {
    int64_t sum = 0;
    for (int k = 0; k < depth; ++k) {
      // At most 2^30.
      const int32_t x = (int32_t)q_get(in, a + k * in_step, 2, in_flash);
      sum += x * (int32_t)q_get(other, b + k * other_step, 2, other_flash);
    }
    out[at] = q_code_of_products(sum, mantissa, shift);
  }
}

#endif  // QTORCH_BATCH_MATMUL_S16_H_
