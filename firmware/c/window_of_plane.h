// Four windows side by side on a plane of codes, with the same weights.
#ifndef QTORCH_WINDOW_OF_PLANE_H_
#define QTORCH_WINDOW_OF_PLANE_H_

#include "kernel.h"

// Windows of three columns in assembly, as functions of their own, for strides of 1 and 2: weights from first to last,
// rows of the plane row_step bytes apart; sums begin with sums[0], and sums[1] is row_step.
#if defined(Q_SHORT_PRODUCTS)
#define Q_THREE_COLUMNS
// A weight, r2 before the end, and its products with the codes at four offsets.
#define Q_PRODUCT(offset, sum) "ldrb r4, [r0, #" offset "]\n\tmuls r4, r3, r4\n\tadd " sum ", r4\n\t"
#define Q_COLUMN(a, b, c, d)                                                                  \
  "ldrsb r3, [r1, r2]\n\t" Q_PRODUCT(a, "r5") Q_PRODUCT(b, "r6") Q_PRODUCT(c, "r7")           \
  Q_PRODUCT(d, "r12") "adds r2, #1\n\t"
#define Q_WINDOWS(first, second, third)                                                       \
  ".syntax unified\n\t"                                                                       \
  "push {r3, r4, r5, r6, r7, lr}\n\t"                                                         \
  "ldr r5, [r3]\n\tldr r4, [r3, #4]\n\tmov lr, r4\n\t"                                        \
  "mov r6, r5\n\tmov r7, r5\n\tmov r12, r5\n\t"                                               \
  "subs r2, r1, r2\n\tsubs r1, r1, r2\n"                                                      \
  "1:\n\t" first second third                                                                 \
  "add r0, lr\n\t"                                                                            \
  "bne 1b\n\t"                                                                                \
  "ldr r4, [sp]\n\tstmia r4!, {r5, r6, r7}\n\tmov r5, r12\n\tstr r5, [r4]\n\t"                \
  "pop {r3, r4, r5, r6, r7, pc}"
#elif defined(__riscv_mul) && __riscv_xlen == 32 && !defined(__riscv_32e)
#define Q_THREE_COLUMNS
#define Q_COLUMN(j, a, b, c, d)                                                               \
  "lb t4, " j "(a1)\n\tlbu t5, " a "(a0)\n\tlbu t6, " b "(a0)\n\t"                            \
  "lbu a4, " c "(a0)\n\tlbu a5, " d "(a0)\n\t"                                                \
  "mul t5, t5, t4\n\tmul t6, t6, t4\n\tmul a4, a4, t4\n\tmul a5, a5, t4\n\t"                  \
  "add t0, t0, t5\n\tadd t1, t1, t6\n\tadd t2, t2, a4\n\tadd t3, t3, a5\n\t"
#define Q_WINDOWS(first, second, third)                                                       \
  "lw t0, 0(a3)\n\tlw a6, 4(a3)\n\tmv t1, t0\n\tmv t2, t0\n\tmv t3, t0\n"                     \
  "1:\n\t" first second third                                                                 \
  "addi a1, a1, 3\n\tadd a0, a0, a6\n\t"                                                      \
  "bne a1, a2, 1b\n\t"                                                                        \
  "sw t0, 0(a3)\n\tsw t1, 4(a3)\n\tsw t2, 8(a3)\n\tsw t3, 12(a3)\n\t"                         \
  "ret"
#endif

#if defined(Q_THREE_COLUMNS)
#if defined(Q_SHORT_PRODUCTS)
#define Q_AT(j, a, b, c, d) Q_COLUMN(a, b, c, d)
#else
#define Q_AT(j, a, b, c, d) Q_COLUMN(j, a, b, c, d)
#endif
__attribute__((naked, noinline, unused)) static void q_windows_at_1(const uint8_t *plane Q_UNUSED,
                                                                    const int8_t *first Q_UNUSED,
                                                                    const int8_t *last Q_UNUSED,
                                                                    int32_t *sums Q_UNUSED) {
  __asm__ volatile(Q_WINDOWS(Q_AT("0", "0", "1", "2", "3"), Q_AT("1", "1", "2", "3", "4"),
                             Q_AT("2", "2", "3", "4", "5")));
}

__attribute__((naked, noinline, unused)) static void q_windows_at_2(const uint8_t *plane Q_UNUSED,
                                                                    const int8_t *first Q_UNUSED,
                                                                    const int8_t *last Q_UNUSED,
                                                                    int32_t *sums Q_UNUSED) {
  __asm__ volatile(Q_WINDOWS(Q_AT("0", "0", "2", "4", "6"), Q_AT("1", "1", "3", "5", "7"),
                             Q_AT("2", "2", "4", "6", "8")));
}
#undef Q_AT
#undef Q_WINDOWS
#undef Q_COLUMN
#undef Q_PRODUCT
#endif

// sums[k] = start + products of weights, int8 [window_h][window_w] in flash, with the codes of the window that begins
// k * stride_w codes behind plane, uint8 rows of plane_w.
Q_KERNEL void q_four_windows(const uint8_t *plane, const int8_t *weights, int plane_w, int window_h, int window_w,
                             int stride_w, int dilation_h, int dilation_w, int32_t start, int32_t *sums) {
#if defined(Q_THREE_COLUMNS)
  if (window_w == 3 && dilation_w == 1 && stride_w <= 2) {
    sums[0] = start;
    sums[1] = dilation_h * plane_w;
    if (stride_w == 1) {
      q_windows_at_1(plane, weights, weights + 3 * window_h, sums);
    } else {
      q_windows_at_2(plane, weights, weights + 3 * window_h, sums);
    }
    return;
  }
#endif
  int32_t a = start, b = start, c = start, d = start;
  for (int i = 0; i < window_h; ++i, plane += dilation_h * plane_w) {
    const uint8_t *code = plane;
    for (int j = 0; j < window_w; ++j, code += dilation_w) {
      const int w = q_flash_s8(weights++);
      a += w * code[0];
      b += w * code[stride_w];
      c += w * code[2 * stride_w];
      d += w * code[3 * stride_w];
    }
  }
  sums[0] = a;
  sums[1] = b;
  sums[2] = c;
  sums[3] = d;
}

#endif  // QTORCH_WINDOW_OF_PLANE_H_
