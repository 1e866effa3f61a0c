// Depthwise convolutions on Cortex-M with vectors: a channel's window is one vector, four sums and codes at a time.
//
// Pixels' channels lie side by side in memory, and a sum runs over pixels. So pixels are laid out anew, four of them
// side by side for each of sixteen channels: these are a column. A window reads its channel's words of four columns.
#ifndef QTORCH_DEPTHWISE_MVE_H_
#define QTORCH_DEPTHWISE_MVE_H_

#include "mve_codes.h"

// Lays out columns.
//
//   rows      of four pixels of the first column, the first of sixteen channels
//   pitches   codes from each to the same one of the next column
//   columns   int8 [count][16][4]
//   depth     channels that there are; of those beyond sixteen none are read, of fewer the rest may be anything
Q_KERNEL void q_mve_columns(const int8_t *const *rows, const int *pitches, int8_t *columns, int count, int depth) {
#if defined(__ARM_FEATURE_MVE)
  register const int8_t *a __asm__("r0") = rows[0];
  register const int8_t *b __asm__("r1") = rows[1];
  register const int8_t *c __asm__("r2") = rows[2];
  register const int8_t *d __asm__("r3") = rows[3];
  register int8_t *to __asm__("r4") = columns;
  register int e __asm__("r5") = pitches[0];
  register int f __asm__("r6") = pitches[1];
  register int g __asm__("r8") = pitches[2];
  register int h __asm__("r9") = pitches[3];
  register int left __asm__("r10") = count;
  register int inside __asm__("r12") = depth;
#define Q_COLUMNS(start, check, load, end)                                                                    \
  __asm__ volatile(start "wls lr, r10, 2f\n1:\n\t"                                                            \
                   check load " q0, [r0]\n\t" load " q1, [r1]\n\t" load " q2, [r2]\n\t" load " q3, [r3]\n\t"   \
                   "add r0, r0, r5\n\tadd r1, r1, r6\n\tadd r2, r2, r8\n\tadd r3, r3, r9\n\t"                  \
                   "vst40.8 {q0, q1, q2, q3}, [r4]\n\tvst41.8 {q0, q1, q2, q3}, [r4]\n\t"                     \
                   "vst42.8 {q0, q1, q2, q3}, [r4]\n\tvst43.8 {q0, q1, q2, q3}, [r4]!\n\t"                    \
                   "le lr, 1b\n2:\n\t" end                                                                    \
                   : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(to)                                             \
                   : "r"(e), "r"(f), "r"(g), "r"(h), "r"(left), "r"(inside)                                   \
                   : "lr", "q0", "q1", "q2", "q3", "memory")
  if (depth < 16) {
    Q_COLUMNS(Q_PREDICATE_KEPT "vctp.8 r12\n\t", "vpstttt\n\t", "vldrbt.8", Q_PREDICATE_BACK);
  } else {
    Q_COLUMNS("", "", "vldrb.8", "");
  }
#undef Q_COLUMNS
#else
  for (int i = 0; i < count; ++i) {
    for (int c = 0; c < depth && c < 16; ++c) {
      for (int r = 0; r < 4; ++r) columns[(i * 16 + c) * 4 + r] = rows[r][i * pitches[r] + c];
    }
  }
#endif
}

// Bytes of working memory for sixteen channels' records and what may be read behind them.
#define Q_RECORDS 272

// Unpacks records of channels, at most sixteen, whose weights have 4 bits: two channels' are sixteen bytes, the first
// one's in their low halves.
//
//   weights   int8 [(depth + 1) / 2][16], in flash
//   unpacked  int8 [Q_RECORDS]
Q_KERNEL const int8_t *q_mve_records(const int8_t *weights, int depth, int8_t *unpacked) {
#if defined(__ARM_FEATURE_MVE)
  int8_t *to = unpacked;
  __asm__ volatile(
      "dls lr, %[pairs]\n"
      "1:\n\t"
      "vldrb.8 q0, [%[from]], #16\n\tvshl.i8 q1, q0, #4\n\tvshr.s8 q1, q1, #4\n\tvshr.s8 q0, q0, #4\n\t"
      "vstrb.8 q1, [%[to]], #16\n\tvstrb.8 q0, [%[to]], #16\n\t"
      "le lr, 1b"
      : [from] "+r"(weights), [to] "+r"(to)
      : [pairs] "r"((depth + 1) / 2)
      : "lr", "q0", "q1", "memory");
#else
  for (int i = 0; i < (depth + 1) / 2 * 16; ++i) {
    int8_t *const to = unpacked + i / 16 * 32 + i % 16;
    to[0] = (int8_t)((weights[i] & 15) < 8 ? weights[i] & 15 : (weights[i] & 15) - 16);
    to[16] = (int8_t)(weights[i] >> 4);
  }
#endif
  return unpacked;
}

// A tile: four windows of one channel.
//
//   Q_OF_SQUARE             two by two windows, one row and one column apart
//   Q_OF_SEQUENCE           four windows of one row of pixels, which lies in columns of four, one pixel apart
//   Q_OF_ROW, Q_OF_ROW_BY_TWO  four windows, one or two columns apart
#define Q_OF_SQUARE 0
#define Q_OF_SEQUENCE 1
#define Q_OF_ROW 2
#define Q_OF_ROW_BY_TWO 3

#if defined(__ARM_FEATURE_MVE)
// Sums are in r0, r2, r4 and r6, a channel's numbers in r8, r10 and r12. q1 has the addresses of the columns read last,
// q2 where a tile's codes lie. The frame at sp: how far columns are from the first, less what is added before they are
// read; the limits; the way from behind a channel's codes to the next channel's; where columns of channels end; tiles;
// whether a rest follows them.
#define Q_FIRST_READ(advance, sum) "vldrw.u32 q0, [q1, #" advance "]!\n\tvmladav.s8 " sum ", q0, q4\n\t"
#define Q_ONE_READ(advance) \
  Q_FIRST_READ(advance, "r0") "vmladav.s8 r2, q0, q5\n\tvmladav.s8 r4, q0, q6\n\tvmladav.s8 r6, q0, q7\n\t"
#define Q_FOUR_READS(advance) \
  Q_FIRST_READ(advance, "r0") Q_FIRST_READ(advance, "r2") Q_FIRST_READ(advance, "r4") Q_FIRST_READ(advance, "r6")
#define Q_LANES_UP "vadd.i32 q0, q0, r8\n\tvqrdmulh.s32 q0, q0, r10\n\tvrshl.s32 q0, r12\n\t"
#define Q_LANES_AWAY                                      \
  "vadd.i32 q0, q0, r8\n\tvqrdmulh.s32 q0, q0, r10\n\t" \
  "vshr.s32 q3, q0, #31\n\tvadd.i32 q0, q0, q3\n\tvrshl.s32 q0, r12\n\t"
#define Q_LANES_LEFT                                                                              \
  "vadd.i32 q0, q0, r8\n\tldr r0, [r9, #-4]\n\tvshl.s32 q0, r0\n\tvqrdmulh.s32 q0, q0, r10\n\t" \
  "vdup.32 q3, r12\n\tvand q3, q3, q0\n\tvshr.s32 q3, q3, #31\n\tvadd.i32 q0, q0, q3\n\tvrshl.s32 q0, r12\n\t"
#define Q_SATURATED "vqmovnb.s32 q0, q0\n\tvqmovnb.s16 q0, q0\n\t"
#define Q_WITHIN "vldrw.u32 q3, [sp, #16]\n\tvmax.s32 q0, q0, q3\n\tvldrw.u32 q3, [sp, #32]\n\tvmin.s32 q0, q0, q3\n\t"
#define Q_TILE(reads, lanes, limits, check, store)                                                    \
  reads "vmov q0[2], q0[0], r0, r4\n\tvmov q0[3], q0[1], r2, r6\n\t" lanes "vqadd.s32 q0, q0, r11\n\t" \
  limits check store " q0, [r5, q2]\n\tadd r5, r5, r7\n\t"
#define Q_THREE "ldmia r9!, {r8, r10, r12}\n\t"
#define Q_THREE_OF_FOUR Q_THREE "adds r9, r9, #4\n\t"
// Four vectors of weights from a record of sixteen bytes: the window's first weight comes ever later in them.
#define Q_SQUARE_WEIGHTS \
  "vldrb.8 q7, [r3], #1\n\tvldrb.8 q6, [r3], #3\n\tvldrb.8 q5, [r3], #1\n\tvldrb.8 q4, [r3], #11\n\t"
#define Q_SEQUENCE_WEIGHTS \
  "vldrb.8 q7, [r3], #1\n\tvldrb.8 q6, [r3], #1\n\tvldrb.8 q5, [r3], #1\n\tvldrb.8 q4, [r3], #13\n\t"
#define Q_ROW_WEIGHTS "vldrb.8 q4, [r3], #16\n\t"
// The last tile of an odd number of columns begins one column early; of other kinds it is stored in part.
#define Q_SQUARE_REST "mvn r0, #63\n\tvadd.i32 q1, q1, r0\n\tsub r5, r5, r7, lsr #1\n\t"
#define Q_CHANNELS(weights, numbers, reads, lanes, limits, back, check, store)                               \
  __asm__ volatile(Q_PREDICATE_KEPT                                                                          \
                   "push {r7}\n\tmov r7, r2\n\tvldmia r0!, {d0-d7}\n\tvpush {d0-d7}\n\t"                  \
                   "vldrw.u32 q2, [r0]\n\tvctp.32 r4\n"                                                     \
                   "1:\n\tldr r0, [sp, #56]\n\tvldrw.u32 q1, [sp]\n\tvadd.i32 q1, q1, r1\n\t"              \
                   weights numbers "wls lr, r0, 3f\n2:\n\t"                                                 \
                   Q_TILE(reads, lanes, limits, "", "vstrb.32") "le lr, 2b\n3:\n\t"                         \
                   "ldr r0, [sp, #60]\n\tcmp r0, #0\n\tbeq 4f\n\t"                                          \
                   back Q_TILE(reads, lanes, limits, check, store)                                           \
                   "4:\n\tldrd r0, r2, [sp, #48]\n\tadds r1, r1, #4\n\tadds r5, r5, r0\n\t"                \
                   "cmp r1, r2\n\tbne 1b\n\tadd sp, #64\n\tpop {r7}\n\t" Q_PREDICATE_BACK                  \
                   : "+r"(frame), "+r"(first), "+r"(step), "+r"(weight), "+r"(last), "+r"(to), "+r"(number)  \
                   : "r"(zero)                                                                               \
                   : "r6", "r8", "r10", "r12", "lr", "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "cc",   \
                     "memory")
#define Q_CHANNELS_OF_KIND(numbers, lanes, limits)                                                                 \
  do {                                                                                                    \
    if (kind == Q_OF_SQUARE) {                                                                               \
      Q_CHANNELS(Q_SQUARE_WEIGHTS, numbers, Q_ONE_READ("128"), lanes, limits, Q_SQUARE_REST, "", "vstrb.32");      \
    } else if (kind == Q_OF_SEQUENCE) {                                                                      \
      Q_CHANNELS(Q_SEQUENCE_WEIGHTS, numbers, Q_ONE_READ("64"), lanes, limits, "", "vpst\n\t", "vstrbt.32");       \
    } else if (kind == Q_OF_ROW) {                                                                           \
      Q_CHANNELS(Q_ROW_WEIGHTS, numbers, Q_FOUR_READS("64"), lanes, limits, "", "vpst\n\t", "vstrbt.32");          \
    } else {                                                                                              \
      Q_CHANNELS(Q_ROW_WEIGHTS, numbers, Q_FOUR_READS("128"), lanes, limits, "", "vpst\n\t", "vstrbt.32");         \
    }                                                                                                     \
  } while (0)
#define Q_CHANNELS_LIMITED(numbers, lanes)         \
  do {                                         \
    if (full) {                                \
      Q_CHANNELS_OF_KIND(numbers, lanes, Q_SATURATED);  \
    } else {                                   \
      Q_CHANNELS_OF_KIND(numbers, lanes, Q_WITHIN);     \
    }                                          \
  } while (0)
#endif

// Codes of channels that lie side by side, tile after tile.
//
//   kind, form  and full, whether the limits are those of int8, are constants
//   columns     int8 [..][16][4], the first channel's
//   depth       channels
//   weights     int8 records of sixteen bytes, a channel's each. Q_OF_SQUARE: five zeros, then four weights of each
//               column. Q_OF_SEQUENCE: three zeros, then the weights. Behind the last channel's such zeros follow.
//               Others: four weights of each column
//   channels    int32 [depth][Q_NUMBERS(form)]
//   out         of the first tile and channel
//   row         codes from a row of windows to the next, column likewise; windows of Q_OF_SEQUENCE are a column apart
//   tiles       whole ones
//   rest        windows of one more; Q_OF_SQUARE: columns
Q_KERNEL void q_mve_channels(int kind, int form, int full, const int8_t *columns, int depth, const int8_t *weights,
                             const int32_t *channels, int zero_point, int low, int high, int8_t *out, int row,
                             int column, int tiles, int rest) {
  const int way = (kind == Q_OF_SQUARE ? 2 : 4) * column;
  const int second = kind == Q_OF_SQUARE ? row : column, third = kind == Q_OF_SQUARE ? column : 2 * column;
#if defined(__ARM_FEATURE_MVE)
  const int before = kind == Q_OF_SQUARE || kind == Q_OF_ROW_BY_TWO ? 128 : 64;
  int taken = tiles * way;
  if (rest > 0) taken += kind == Q_OF_SQUARE ? column : way;
  const int32_t end = (int32_t)(uintptr_t)(columns + 4 * depth);
  const int32_t sizes[20] = {-before, 64 - before, 128 - before, 192 - before, low,  low,  low,    low,
                             high,    high,        high,         high,         1 - taken, end, tiles, rest,
                             0,       second,      third,        second + third};
  register const int32_t *frame __asm__("r0") = sizes;
  register const int8_t *first __asm__("r1") = columns;
  register int step __asm__("r2") = way;
  register const int8_t *weight __asm__("r3") = weights;
  register int last __asm__("r4") = rest;
  register int8_t *to __asm__("r5") = out;
  register const int32_t *number __asm__("r9") = channels;
  register int zero __asm__("r11") = zero_point;
  if (form == Q_TIES_UP) {
    Q_CHANNELS_LIMITED(Q_THREE, Q_LANES_UP);
  } else if (form == Q_TIES_AWAY) {
    Q_CHANNELS_LIMITED(Q_THREE, Q_LANES_AWAY);
  } else {
    Q_CHANNELS_LIMITED(Q_THREE_OF_FOUR, Q_LANES_LEFT);
  }
#else
  for (int c = 0; c < depth; ++c, columns += 4, weights += 16, channels += Q_NUMBERS(form), ++out) {
    for (int tile = 0; tile < tiles + (rest > 0); ++tile) {
      const int early = kind == Q_OF_SQUARE && tile == tiles;
      for (int lane = 0; lane < (tile == tiles && kind != Q_OF_SQUARE ? rest : 4); ++lane) {
        const int8_t *code = columns, *weight = weights;
        if (kind == Q_OF_SQUARE) {
          code += 64 * (2 * tile - early);
          weight += 5 - lane % 2 - lane / 2 * 4;
        } else if (kind == Q_OF_SEQUENCE) {
          code += 64 * tile;
          weight += 3 - lane;
        } else {
          code += 64 * (4 * tile + lane) * (kind == Q_OF_ROW ? 1 : 2);
        }
        int32_t sum = 0;
        for (int i = 0; i < 16; ++i) sum += code[i / 4 * 64 + i % 4] * weight[i];
        out[tile * way - early * column + lane % 2 * second + lane / 2 * third] =
            q_lane_code((int32_t)((uint32_t)sum + (uint32_t)*channels), channels + 1, 1, form, zero_point, low, high);
      }
    }
  }
  (void)full;
#endif
}

#endif  // QTORCH_DEPTHWISE_MVE_H_
