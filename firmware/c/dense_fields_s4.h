// One vector times a matrix of 4 bits, two products in one multiplication.
#ifndef QTORCH_DENSE_FIELDS_S4_H_
#define QTORCH_DENSE_FIELDS_S4_H_

#include "dense_s4.h"

// Two weights of a word, at the low ends of its halfwords.
#define Q_FIELDS 0x000F000Fu

// Four sums of products of in, int8 [size], with weights of 4 bits, which in flash are 8 more than they are: words
// [(size + 1) / 2] of two inputs each, where one that is not there has zeros. Fields of 4 bits from the low end on are
// weights of outputs 0 and 2 for the first input and the same for the second, then likewise those of 1 and 3.
//
// A weight without sign in either halfword makes two products of one multiplication. Sums of sixteen, of at most
// 16 * 15 * 128, fit a halfword with its sign; then they are taken apart.
#if defined(Q_SHORT_PRODUCTS) && defined(__GNUC__)
// A code in r4 with the weights of r2, those of its first two outputs shift bits up.
#define Q_OF_FIELD(shift, sums) "lsrs r3, r2, #" shift "\n\tands r3, r7\n\tmuls r3, r4, r3\n\tadds " sums ", r3\n\t"
#define Q_CODE(at) "ldrb r4, [r0, #" at "]\n\tsxtb r4, r4\n\t"
#define Q_TAKEN_APART(both, first, second) \
  "sxth r4, " both "\n\tadd " first ", r4\n\tsubs " both ", r4\n\tasrs " both ", #16\n\tadd " second ", " both "\n\t"
__attribute__((naked, noinline, unused)) static void q_products_of_fields(const int8_t *in Q_UNUSED,
                                                                          const int8_t *weights Q_UNUSED,
                                                                          int size Q_UNUSED, int32_t *sums Q_UNUSED) {
  __asm__ volatile(
      ".syntax unified\n\t"
      "push {r4, r5, r6, r7, lr}\n\t"
      "mov r4, r8\n\tmov r5, r9\n\tmov r6, r10\n\tmov r7, r11\n\t"
      "push {r2, r3, r4, r5, r6, r7}\n\t"
      "lsrs r4, r2, #1\n\tlsls r4, #1\n\tadds r4, r0\n\tmov r12, r4\n\t"
      "movs r4, #0\n\tmov r8, r4\n\tmov r9, r4\n\tmov r10, r4\n\tmov r11, r4\n\t"
      "movs r7, #15\n\tlsls r4, r7, #16\n\torrs r7, r4\n"
      "1:\n\t"
      "mov r4, r12\n\tsubs r4, r0\n\tbeq 4f\n\t"
      "cmp r4, #16\n\tbls 2f\n\tmovs r4, #16\n"
      "2:\n\t"
      "adds r4, r0\n\tmov lr, r4\n\tmovs r5, #0\n\tmovs r6, #0\n"
      "3:\n\t"
      "ldmia r1!, {r2}\n\t" Q_CODE("0")
      "movs r3, r2\n\tands r3, r7\n\tmuls r3, r4, r3\n\tadds r5, r3\n\t" Q_OF_FIELD("4", "r6")
      Q_CODE("1") Q_OF_FIELD("8", "r5") Q_OF_FIELD("12", "r6")
      "adds r0, #2\n\tcmp r0, lr\n\tbne 3b\n"
      "0:\n\t" Q_TAKEN_APART("r5", "r8", "r9") Q_TAKEN_APART("r6", "r10", "r11")
      "b 1b\n"
      "4:\n\t"  // the last of an odd number of codes
      "ldr r4, [sp]\n\tlsls r4, #31\n\tbeq 5f\n\t"
      "movs r4, #0\n\tstr r4, [sp]\n\tmovs r5, #0\n\tmovs r6, #0\n\t"
      "ldr r2, [r1]\n\t" Q_CODE("0")
      "movs r3, r2\n\tands r3, r7\n\tmuls r3, r4, r3\n\tadds r5, r3\n\t" Q_OF_FIELD("4", "r6")
      "b 0b\n"
      "5:\n\t"
      "pop {r2, r3, r4, r5, r6, r7}\n\t"
      "mov r0, r8\n\tmov r1, r9\n\tmov r2, r10\n\tstmia r3!, {r0, r1, r2}\n\tmov r0, r11\n\tstr r0, [r3]\n\t"
      "mov r8, r4\n\tmov r9, r5\n\tmov r10, r6\n\tmov r11, r7\n\t"
      "pop {r4, r5, r6, r7, pc}");
}
#undef Q_TAKEN_APART
#undef Q_CODE
#undef Q_OF_FIELD
#else
Q_KERNEL void q_products_of_fields(const int8_t *in, const int8_t *weights, int size, int32_t *sums) {
  int32_t a = 0, b = 0, c = 0, d = 0;
  while (size > 0) {
    const int some = size < 16 ? size : 16;
    const int8_t *const end = in + (some & ~1);
    uint32_t low = 0, high = 0;
#if defined(__thumb2__) && defined(__GNUC__)
    uint32_t w, x, of;
#define Q_OF_FIELD(shift, sums) \
  "and %[of], %[fields], %[w]" shift "\n\tmla %[" sums "], %[x], %[of], %[" sums "]\n\t"
    if (in != end) {
      __asm__ volatile(
          "1:\n\t"
          "ldr %[w], [%[weights]], #4\n\tldrsb %[x], [%[in]], #1\n\t" Q_OF_FIELD("", "low")
          Q_OF_FIELD(", lsr #4", "high")
          "ldrsb %[x], [%[in]], #1\n\t" Q_OF_FIELD(", lsr #8", "low") Q_OF_FIELD(", lsr #12", "high")
          "cmp %[in], %[end]\n\tbne 1b"
          : [in] "+r"(in), [weights] "+r"(weights), [low] "+r"(low), [high] "+r"(high), [w] "=&r"(w), [x] "=&r"(x),
            [of] "=&r"(of)
          : [end] "r"(end), [fields] "r"(Q_FIELDS)
          : "cc", "memory");
    }
#undef Q_OF_FIELD
#elif defined(__riscv_mul) && __riscv_xlen == 32 && defined(__GNUC__)
    const int8_t *const fours = in + (some & ~3);
    uint32_t w, x, y, p, q, r;
#define Q_TWO_CODES(word, first, second)                                                                        \
  "lw %[w], " word "(%[weights])\n\tlb %[x], " first "(%[in])\n\tlb %[y], " second "(%[in])\n\t"                \
  "and %[p], %[w], %[fields]\n\tsrli %[q], %[w], 4\n\tsrli %[r], %[w], 8\n\tsrli %[w], %[w], 12\n\t"            \
  "and %[q], %[q], %[fields]\n\tand %[r], %[r], %[fields]\n\tand %[w], %[w], %[fields]\n\t"                     \
  "mul %[p], %[p], %[x]\n\tmul %[q], %[q], %[x]\n\tmul %[r], %[r], %[y]\n\tmul %[w], %[w], %[y]\n\t"            \
  "add %[low], %[low], %[p]\n\tadd %[high], %[high], %[q]\n\tadd %[low], %[low], %[r]\n\t"                      \
  "add %[high], %[high], %[w]\n\t"
    __asm__ volatile(
        "beq %[in], %[fours], 2f\n"
        "1:\n\t" Q_TWO_CODES("0", "0", "1") Q_TWO_CODES("4", "2", "3")
        "addi %[weights], %[weights], 8\n\taddi %[in], %[in], 4\n\tbne %[in], %[fours], 1b\n"
        "2:\n\t"
        "beq %[in], %[end], 3f\n\t" Q_TWO_CODES("0", "0", "1")
        "addi %[weights], %[weights], 4\n\taddi %[in], %[in], 2\n"
        "3:"
        : [in] "+r"(in), [weights] "+r"(weights), [low] "+r"(low), [high] "+r"(high), [w] "=&r"(w), [x] "=&r"(x),
          [y] "=&r"(y), [p] "=&r"(p), [q] "=&r"(q), [r] "=&r"(r)
        : [end] "r"(end), [fours] "r"(fours), [fields] "r"(Q_FIELDS)
        : "memory");
#undef Q_TWO_CODES
#else
    for (; in != end; in += 2, weights += 4) {
      const uint32_t x = (uint32_t)in[0], y = (uint32_t)in[1], w = q_flash_word(weights);
      low += x * (w & Q_FIELDS) + y * (w >> 8 & Q_FIELDS);
      high += x * (w >> 4 & Q_FIELDS) + y * (w >> 12 & Q_FIELDS);
    }
#endif
    if (some % 2 != 0) {
      const uint32_t code = (uint32_t)*in, word = q_flash_word(weights);
      low += code * (word & Q_FIELDS);
      high += code * (word >> 4 & Q_FIELDS);
    }
    const int32_t first = (int16_t)low, third = (int16_t)high;
    a += first;
    b += ((int32_t)low - first) >> 16;
    c += third;
    d += ((int32_t)high - third) >> 16;
    size -= some;
  }
  sums[0] = a;
  sums[1] = b;
  sums[2] = c;
  sums[3] = d;
}
#endif

// As q_dense; weights of four outputs as q_products_of_fields reads them, from a multiple of four bytes on, and behind
// them those of two or three more as in q_dense_s4.
Q_KERNEL void q_dense_fields(const int8_t *in, const int8_t *weights, const int32_t *channels, int form, int zero_point,
                             int low, int high, int8_t *out, int in_size, int out_size) {
  const int words = Q_CHANNEL_WORDS(form);
  const int32_t less = 8 * q_sum_s8(in, in_size);
  int o = 0;
  for (; o + 4 <= out_size; o += 4) {
    int32_t sums[4];
    q_products_of_fields(in, weights, in_size, sums);
    weights += (in_size + 1) / 2 * 4;
    for (int i = 0; i < 4; ++i, channels += words) {
      out[o + i] = q_code(sums[i] - less + q_flash_s32(channels), channels + 1, form, zero_point, low, high);
    }
  }
  q_last_outputs_s4(in, weights, channels, form, zero_point, low, high, out + o, in_size, out_size - o, less);
}

#endif  // QTORCH_DENSE_FIELDS_S4_H_
