// CONV_2D, int8, windows of 3x3 by steps of one: four outputs from sixteen products for each input, instead of 36.
//
// Winograd's minimal filtering, F(2x2, 3x3), in integers: with d 4x4 codes of the image and g a filter,
//     four times the 2x2 sums of products = A' [ (2G g 2G') * (B' d B) ] A,  * element by element,
//     B' = [1 0 -1 0]   2G = [2  0 0]   A' = [1 1  1  0]
//          [0 1  1 0]        [1  1 1]        [0 1 -1 -1]
//          [0 -1 1 0]        [1 -1 1]
//          [0 1 0 -1]        [0  0 2]
// of which the export computes the filters' part. Codes come to at most 512, filters to 1152: two of each in a word, for
// SMLAD of the DSP extension. There are 128 inputs at most, so that no sum comes near the ends of int32.
#ifndef QTORCH_CONV_2D_WINOGRAD_S8_H_
#define QTORCH_CONV_2D_WINOGRAD_S8_H_

#include "halfwords.h"
#include "window_row.h"

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && defined(__OPTIMIZE__)
#define Q_WINOGRAD_IN_THUMB
#endif

// Sums and differences of both halfwords.
#if defined(__ARM_FEATURE_DSP)
Q_KERNEL uint32_t q_add_halfwords(uint32_t a, uint32_t b) {
  __asm__("sadd16 %0, %1, %2" : "=r"(a) : "r"(a), "r"(b));
  return a;
}
Q_KERNEL uint32_t q_subtract_halfwords(uint32_t a, uint32_t b) {
  __asm__("ssub16 %0, %1, %2" : "=r"(a) : "r"(a), "r"(b));
  return a;
}
#else
Q_KERNEL uint32_t q_add_halfwords(uint32_t a, uint32_t b) {
  return ((a + b) & 0xffff) | ((a & 0xffff0000) + (b & 0xffff0000));
}
Q_KERNEL uint32_t q_subtract_halfwords(uint32_t a, uint32_t b) {
  return ((a - b) & 0xffff) | ((a & 0xffff0000) - (b & 0xffff0000));
}
#endif

// Words of four columns, and of a row's four elements. Written out: compilers leave short loops as they are.
typedef struct {
  uint32_t a, b, c, d;
} q_four_words;

// The first and the third of four codes at a place of each column, or the second and the fourth.
Q_KERNEL q_four_words q_tile_columns(const int8_t *row, int in_c, int odd) {
  const q_four_words found = {q_alternate_codes(row, odd), q_alternate_codes(row + in_c, odd),
                              q_alternate_codes(row + 2 * in_c, odd), q_alternate_codes(row + 3 * in_c, odd)};
  return found;
}

// A row of d B.
Q_KERNEL q_four_words q_tile_row(q_four_words d) {
  const q_four_words found = {q_subtract_halfwords(d.a, d.c), q_add_halfwords(d.b, d.c),
                              q_subtract_halfwords(d.c, d.b), q_subtract_halfwords(d.b, d.d)};
  return found;
}

// A row of B' d B, of two rows of d B: their sums or differences, step words apart.
Q_KERNEL void q_tile_sums(uint32_t *to, int step, q_four_words x, q_four_words y) {
  to[0] = q_add_halfwords(x.a, y.a);
  to[step] = q_add_halfwords(x.b, y.b);
  to[2 * step] = q_add_halfwords(x.c, y.c);
  to[3 * step] = q_add_halfwords(x.d, y.d);
}
Q_KERNEL void q_tile_differences(uint32_t *to, int step, q_four_words x, q_four_words y) {
  to[0] = q_subtract_halfwords(x.a, y.a);
  to[step] = q_subtract_halfwords(x.b, y.b);
  to[2 * step] = q_subtract_halfwords(x.c, y.c);
  to[3 * step] = q_subtract_halfwords(x.d, y.d);
}

// B' d B of a word of each code in a tile of 4x4, whose rows lie at row; elements step words apart.
Q_KERNEL void q_tile(const int8_t *const *row, int at, int in_c, int odd, uint32_t *to, int step) {
  const q_four_words third = q_tile_row(q_tile_columns(row[2] + at, in_c, odd));
  q_tile_differences(to, step, q_tile_row(q_tile_columns(row[0] + at, in_c, odd)), third);
  const q_four_words second = q_tile_row(q_tile_columns(row[1] + at, in_c, odd));
  q_tile_sums(to + 4 * step, step, second, third);
  q_tile_differences(to + 8 * step, step, third, second);
  q_tile_differences(to + 12 * step, step, second, q_tile_row(q_tile_columns(row[3] + at, in_c, odd)));
}

// The same of all channels: words uint32 [16][step], one of every four that lie there, count of them.
Q_KERNEL void q_tile_words(const int8_t *const *row, int in_c, int count, uint32_t *words, int step) {
  uint32_t *to = words, *const end = words + 4 * count;
  for (int c = 0; c + 4 <= in_c; c += 4, to += 8) {
    q_tile(row, c, in_c, 0, to, step);
    q_tile(row, c, in_c, 1, to + 4, step);
  }
  for (int c = in_c / 4 * 4; c < in_c; c += 2, to += 4) {
    int8_t codes[4][4][4];
    memset(codes, 0, sizeof codes);
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < 4; ++j) {
        codes[i][j][0] = row[i][j * in_c + c];
        if (c + 1 < in_c) codes[i][j][2] = row[i][j * in_c + c + 1];
      }
    }
    const int8_t *const own[4] = {codes[0][0], codes[1][0], codes[2][0], codes[3][0]};
    q_tile(own, 0, 4, 0, to, step);
  }
  for (; to < end; to += 4) {
    for (int i = 0; i < 16; ++i) to[i * step] = 0;
  }
}

// Sums of products of four tiles' words with weights, for each of sixteen elements: words uint32 [16][4 * blocks + 1][4],
// whose last four of an element become its sums.
Q_KERNEL void q_tile_products(const int32_t *weights, uint32_t *words, int blocks) {
  for (int i = 0; i < 16; ++i, weights += 4 * blocks, words += 4 * (4 * blocks + 1)) {
    for (int k = 0; k < 4; ++k) {
      uint32_t sum = 0;
      for (int j = 0; j < 4 * blocks; ++j) sum = q_two_products(words[4 * j + k], (uint32_t)weights[j], sum);
      words[16 * blocks + k] = sum;
    }
  }
}

// The code of four times a sum; channel has the words of the form, of Q_STARTED for four times the sum.
Q_KERNEL int8_t q_winograd_code(uint32_t sum, const int32_t *channel, int form, int zero_point, int low, int high) {
  if (form != Q_STARTED) {
    const int32_t own = (int32_t)sum >> 2;
    return q_code((int32_t)((uint32_t)own + (uint32_t)channel[0]), channel + 1, form, zero_point, low, high);
  }
  const uint64_t start = ((uint64_t)(uint32_t)channel[2] << 32) | (uint32_t)channel[1];
  const int32_t code = (int32_t)(((int64_t)(int32_t)sum * channel[0] + (int64_t)start) >> 32);
  return (int8_t)q_clamp(code >> 2, low, high);
}

#if defined(Q_WINOGRAD_IN_THUMB)
// Words of weights times those of four tiles, whose sums are in r0 to r3.
#define Q_WINOGRAD_STEP(multiply, w, of)   \
  "ldmia lr!, {r8, r9, r10, r11}\n\t"      \
  multiply " r0, r8, " w of("r0") "\n\t"   \
  multiply " r1, r9, " w of("r1") "\n\t"   \
  multiply " r2, r10, " w of("r2") "\n\t"  \
  multiply " r3, r11, " w of("r3") "\n\t"
#define Q_WINOGRAD_ONTO(sum) ", " sum
#define Q_WINOGRAD_BEGUN(sum) ""
#define Q_WINOGRAD_MORE(w) Q_WINOGRAD_STEP("smlad", w, Q_WINOGRAD_ONTO)
#define Q_WINOGRAD_REST Q_WINOGRAD_MORE("r5") Q_WINOGRAD_MORE("r6") Q_WINOGRAD_MORE("r7")

// On the stack lie the sums of sixteen elements, the last one's lowest, those of four tiles side by side. An element of
// two tiles, in two registers, and added to or subtracted from two others.
#define Q_WINOGRAD_LOAD(x, y, element, tiles) "ldrd " x ", " y ", [sp, #240 - 16 * " element " + 4 * " tiles "]\n\t"
#define Q_WINOGRAD_TWO(operation, x, y) operation " " x ", " x ", r8\n\t" operation " " y ", " y ", r9\n\t"
// The sums of a column's elements, to r0 and r2 or to r1 and r3, of the second tile to the registers four behind.
#define Q_WINOGRAD_COLUMN(a, b, c, d, x, y, z, w, tiles)                                      \
  Q_WINOGRAD_LOAD(x, y, a, tiles) Q_WINOGRAD_LOAD(z, w, b, tiles)                              \
  "add " x ", " x ", " z "\n\tadd " y ", " y ", " w "\n\t"                                    \
  Q_WINOGRAD_LOAD("r8", "r9", c, tiles) Q_WINOGRAD_TWO("add", x, y) Q_WINOGRAD_TWO("sub", z, w) \
  Q_WINOGRAD_LOAD("r8", "r9", d, tiles) Q_WINOGRAD_TWO("sub", z, w)
// Where one column is added to both others and subtracted from it: x + y and y - x.
#define Q_WINOGRAD_BOTH(x, y) "add " x ", " x ", " y "\n\trsb " y ", " x ", " y ", lsl #1\n\t"
// Four times the sums of two tiles: r0 to r3, two in each of two rows, and r4 to r7.
#define Q_WINOGRAD_SUMS(tiles)                                                                          \
  Q_WINOGRAD_COLUMN("2", "6", "10", "14", "r0", "r4", "r2", "r6", tiles)                                 \
  Q_WINOGRAD_COLUMN("1", "5", "9", "13", "r1", "r5", "r3", "r7", tiles)                                  \
  Q_WINOGRAD_BOTH("r0", "r1") Q_WINOGRAD_BOTH("r2", "r3") Q_WINOGRAD_BOTH("r4", "r5") Q_WINOGRAD_BOTH("r6", "r7") \
  Q_WINOGRAD_LOAD("r8", "r9", "0", tiles) Q_WINOGRAD_TWO("add", "r0", "r4")                              \
  Q_WINOGRAD_LOAD("r8", "r9", "4", tiles) Q_WINOGRAD_TWO("add", "r0", "r4") Q_WINOGRAD_TWO("add", "r2", "r6")  \
  Q_WINOGRAD_LOAD("r8", "r9", "8", tiles) Q_WINOGRAD_TWO("add", "r0", "r4") Q_WINOGRAD_TWO("sub", "r2", "r6")  \
  Q_WINOGRAD_LOAD("r8", "r9", "12", tiles) Q_WINOGRAD_TWO("sub", "r2", "r6")                             \
  Q_WINOGRAD_LOAD("r8", "r9", "3", tiles) Q_WINOGRAD_TWO("sub", "r1", "r5")                              \
  Q_WINOGRAD_LOAD("r8", "r9", "7", tiles) Q_WINOGRAD_TWO("sub", "r1", "r5") Q_WINOGRAD_TWO("sub", "r3", "r7")  \
  Q_WINOGRAD_LOAD("r8", "r9", "11", tiles) Q_WINOGRAD_TWO("sub", "r1", "r5") Q_WINOGRAD_TWO("add", "r3", "r7") \
  Q_WINOGRAD_LOAD("r8", "r9", "15", tiles) Q_WINOGRAD_TWO("add", "r3", "r7")

// The code of a sum, in r10: of the form Q_STARTED, then of Q_EXACT, which takes lr.
#define Q_WINOGRAD_STARTED(channel, sum) \
  "ldmia " channel ", {r8, r9, r10}\n\tsmlal r9, r10, " sum ", r8\n\tssat r10, #8, r10, asr #2\n\t"
#define Q_WINOGRAD_EXACT(channel, sum)          \
  "ldmia " channel ", {r8, r9, r10, r11}\n\t"   \
  "add r8, r8, " sum ", asr #2\n\t"             \
  "and " sum ", r8, #0x80000000\n\t"            \
  "rsbs " sum ", " sum ", #0x40000000\n\t"      \
  "sbc lr, lr, lr\n\t"                          \
  "smlal " sum ", lr, r8, r9\n\t"               \
  "add lr, lr, r10\n\t"                         \
  "asr lr, lr, r11\n\t"                         \
  "ssat r10, #8, lr\n\t"
// A row of a tile, whose place is on the stack.
#define Q_WINOGRAD_PLACE(place) "ldr lr, [sp, #264 + 4 * " place "]\n\t"
#define Q_WINOGRAD_KEPT(place) ""
#define Q_WINOGRAD_ROW(code, again, channel, x, y, place)                                         \
  code("r12", y) Q_WINOGRAD_PLACE(place) "strb r10, [lr, %[next]]\n\t"                            \
  code(channel, x) again(place) "strb r10, [lr], #1\n\tstr lr, [sp, #264 + 4 * " place "]\n\t"
#define Q_WINOGRAD_CODES(code, again)                                                                           \
  __asm__ volatile(                                                                                             \
      "push {r7}\n\t"                                                                                           \
      "ldmia r0, {r2, r3, r4, r5, r6, r7, r8, r9}\n\t"                                                          \
      "push {r2, r3, r4, r5, r6, r7, r8, r9}\n\t"                                                               \
      "push {r1, lr}\n"                                                                                         \
      "1:\n\t"                                                                                                  \
      "ldmia r12!, {r4, r5, r6, r7}\n\t"                                                                        \
      Q_WINOGRAD_STEP("smuad", "r4", Q_WINOGRAD_BEGUN) Q_WINOGRAD_REST                                          \
      ".rept %c[more]\n\t"                                                                                      \
      "ldmia r12!, {r4, r5, r6, r7}\n\t"                                                                        \
      Q_WINOGRAD_MORE("r4") Q_WINOGRAD_REST                                                                     \
      ".endr\n\t"                                                                                               \
      "push {r0, r1, r2, r3}\n\t"                                                                               \
      "ldr r4, [lr], #16\n\t"                                                                                   \
      "cmp r4, #0\n\t"                                                                                          \
      "bne 1b\n\t"                                                                                              \
      Q_WINOGRAD_SUMS("0")                                                                                      \
      Q_WINOGRAD_ROW(code, again, "r12", "r0", "r1", "0") Q_WINOGRAD_ROW(code, again, "r12", "r2", "r3", "4")    \
      Q_WINOGRAD_ROW(code, again, "r12", "r4", "r5", "1") Q_WINOGRAD_ROW(code, again, "r12", "r6", "r7", "5")    \
      Q_WINOGRAD_SUMS("2")                                                                                      \
      Q_WINOGRAD_ROW(code, again, "r12", "r0", "r1", "2") Q_WINOGRAD_ROW(code, again, "r12", "r2", "r3", "6")    \
      Q_WINOGRAD_ROW(code, again, "r12", "r4", "r5", "3") Q_WINOGRAD_ROW(code, again, "r12!", "r6", "r7", "7")   \
      "add sp, sp, #256\n\t"                                                                                    \
      "ldrd r0, lr, [sp]\n\t"                                                                                   \
      "cmp r12, r0\n\t"                                                                                         \
      "bne 1b\n\t"                                                                                              \
      "add sp, sp, #40\n\tpop {r7}" Q_WINOGRAD_LENGTH                                                           \
      : "+r"(to), "+r"(end), "+r"(w), "+r"(x)                                                                   \
      : [more] "i"(blocks - 1), [next] "i"(next)                                                                \
      : "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "cc", "memory")
// Empty lines stand for repetitions, as a compiler takes the length of assembly from its lines: see pairs.h.
#define Q_WINOGRAD_BLOCK "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"
#define Q_WINOGRAD_FIVE Q_WINOGRAD_BLOCK Q_WINOGRAD_BLOCK Q_WINOGRAD_BLOCK Q_WINOGRAD_BLOCK Q_WINOGRAD_BLOCK
#define Q_WINOGRAD_LENGTH Q_WINOGRAD_FIVE Q_WINOGRAD_FIVE Q_WINOGRAD_FIVE

// Codes of four tiles, from -128 to 127, one channel after the other: codes, where the upper rows of each tile's begin,
// then the lower ones; two beside each other are next bytes apart. Behind an element's words is 0 if it is the last.
Q_KERNEL void q_tile_codes(const int32_t *channels, uint32_t *words, int form, int blocks, int outputs,
                           int8_t *const *codes, int next) {
  register int8_t *const *to __asm__("r0") = codes;
  register const int32_t *end __asm__("r1") = channels + outputs * (64 * blocks + Q_CHANNEL_WORDS(form));
  register const int32_t *w __asm__("r12") = channels;
  register uint32_t *x __asm__("lr") = words;
  if (form == Q_STARTED) {
    Q_WINOGRAD_CODES(Q_WINOGRAD_STARTED, Q_WINOGRAD_KEPT);
  } else {
    Q_WINOGRAD_CODES(Q_WINOGRAD_EXACT, Q_WINOGRAD_PLACE);
  }
}
#undef Q_WINOGRAD_LENGTH
#undef Q_WINOGRAD_FIVE
#undef Q_WINOGRAD_BLOCK
#undef Q_WINOGRAD_CODES
#undef Q_WINOGRAD_ROW
#undef Q_WINOGRAD_KEPT
#undef Q_WINOGRAD_PLACE
#undef Q_WINOGRAD_EXACT
#undef Q_WINOGRAD_STARTED
#undef Q_WINOGRAD_SUMS
#undef Q_WINOGRAD_BOTH
#undef Q_WINOGRAD_COLUMN
#undef Q_WINOGRAD_TWO
#undef Q_WINOGRAD_LOAD
#undef Q_WINOGRAD_REST
#undef Q_WINOGRAD_MORE
#undef Q_WINOGRAD_BEGUN
#undef Q_WINOGRAD_ONTO
#undef Q_WINOGRAD_STEP
#endif

//   in        int8 [in_h][in_w][in_c]; its zero point, padding_code, is folded into the biases
//   channels  int32 [out_c][16 * 4 * blocks + Q_CHANNEL_WORDS(form)]: of each output channel the filter's part for each
//             of sixteen elements, two inputs in a word in the order of q_widened, zeros behind the last; then the words
//             of the form
//   out       int8 [out_h][out_w][out_c], two rows and two columns at least
//   words     working memory: uint32 [16][4 * blocks + 1][4], and int8 [4][4][in_c] if padded, which says that windows
//             reach beyond the image
Q_KERNEL void conv_2d_winograd_s8(const int8_t *in, const int32_t *channels, int form, int zero_point, int low,
                                  int high, int8_t *out, int in_h, int in_w, int in_c, int out_h, int out_w, int out_c,
                                  int padding_top, int padding_left, int padded, int padding_code, int blocks,
                                  int8_t *words) {
  const int step = 4 * (4 * blocks + 1), size = 64 * blocks + Q_CHANNEL_WORDS(form);
  const int across = (out_w + 1) / 2, tiles = across * ((out_h + 1) / 2), below = out_w * out_c;
  uint32_t *const elements = (uint32_t *)(void *)words;
  int8_t *const copies = (int8_t *)(void *)(elements + 16 * step);
  for (int first = 0; first < tiles; first += 4) {
    int8_t *codes[8];
    for (int k = 0; k < 4; ++k) {
      // The last tile once more where there are fewer than four; one at the edge of an odd image reaches back.
      const int tile = first + k < tiles ? first + k : tiles - 1, y = tile / across, x = tile - y * across;
      const int top = 2 * y + 2 <= out_h ? 2 * y : out_h - 2, left = 2 * x + 2 <= out_w ? 2 * x : out_w - 2;
      const int8_t *row[4];
      for (int i = 0; i < 4; ++i) {
        row[i] = q_window_row(in, copies + i * 4 * in_c, in_h, in_w, in_c, top - padding_top + i, left - padding_left,
                              4, padded, padding_code);
      }
      q_tile_words(row, in_c, 4 * blocks, elements + k, step);
      codes[k] = out + top * below + left * out_c;
      codes[4 + k] = codes[k] + below;
    }
#if defined(Q_WINOGRAD_IN_THUMB)
    if ((form == Q_STARTED || form == Q_EXACT) && low == -128 && high == 127 && out_c < 4096) {
      for (int i = 0; i < 16; ++i) elements[(i + 1) * step - 4] = i < 15;
      q_tile_codes(channels, elements, form, blocks, out_c, codes, out_c);
      continue;
    }
#endif
    const int32_t *channel = channels;
    for (int o = 0; o < out_c; ++o, channel += size) {
      q_tile_products(channel, elements, blocks);
      const int32_t *const own = channel + 64 * blocks;
      for (int k = 0; k < 4; ++k) {
        const uint32_t *const sum = elements + 16 * blocks + k;
        uint32_t a[4], b[4];
        for (int j = 0; j < 4; ++j) {
          const uint32_t second = sum[(4 + j) * step], third = sum[(8 + j) * step];
          a[j] = sum[j * step] + second + third;
          b[j] = second - third - sum[(12 + j) * step];
        }
        int8_t *const to = codes[k] + o;
        to[0] = q_winograd_code(a[0] + a[1] + a[2], own, form, zero_point, low, high);
        to[out_c] = q_winograd_code(a[1] - a[2] - a[3], own, form, zero_point, low, high);
        codes[4 + k][o] = q_winograd_code(b[0] + b[1] + b[2], own, form, zero_point, low, high);
        codes[4 + k][o + out_c] = q_winograd_code(b[1] - b[2] - b[3], own, form, zero_point, low, high);
      }
    }
  }
}

#endif  // QTORCH_CONV_2D_WINOGRAD_S8_H_
