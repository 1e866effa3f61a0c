// The part of an image that a window covers, side by side in memory, copied sixteen bytes at a time.
#ifndef QTORCH_MVE_PATCH_H_
#define QTORCH_MVE_PATCH_H_

#include "mve_codes.h"

// Copies size bytes; returns what is behind them. The library's own copying may go byte by byte.
Q_KERNEL int8_t *q_mve_copied(int8_t *to, const int8_t *from, int size) {
#if defined(__ARM_FEATURE_MVE)
  int8_t *const end = to + size;
  __asm__ volatile(
      "wlstp.8 lr, %[size], 2f\n"
      "1:\n\t"
      "vldrb.8 q0, [%[from]], #16\n\t"
      "vstrb.8 q0, [%[to]], #16\n\t"
      "letp lr, 1b\n"
      "2:"
      : [from] "+r"(from), [to] "+r"(to)
      : [size] "r"(size)
      : "lr", "q0", "memory");
  return end;
#else
  memcpy(to, from, (size_t)size);
  return to + size;
#endif
}

// Fills size bytes with a code; returns what is behind them.
Q_KERNEL int8_t *q_mve_filled(int8_t *to, int code, int size) {
#if defined(__ARM_FEATURE_MVE)
  int8_t *const end = to + size;
  __asm__ volatile(
      "vdup.8 q0, %[code]\n\t"
      "wlstp.8 lr, %[size], 2f\n"
      "1:\n\t"
      "vstrb.8 q0, [%[to]], #16\n\t"
      "letp lr, 1b\n"
      "2:"
      : [to] "+r"(to)
      : [size] "r"(size), [code] "r"(code)
      : "lr", "q0", "memory");
  return end;
#else
  memset(to, code, (size_t)size);
  return to + size;
#endif
}

// Copies rows of size bytes that are pitch bytes apart; they come side by side.
Q_KERNEL void q_mve_rows(const int8_t *in, int pitch, int8_t *patch, int rows, int size) {
#if defined(__ARM_FEATURE_MVE)
  const int8_t *from;
  int8_t *to;
  if (size <= 16) {
    __asm__ volatile(Q_PREDICATE_KEPT
                     "vctp.8 %[size]\n\tdls lr, %[rows]\n"
                     "1:\n\t"
                     "vpstt\n\tvldrbt.8 q0, [%[in]]\n\tvstrbt.8 q0, [%[patch]]\n\t"
                     "add %[in], %[in], %[pitch]\n\tadd %[patch], %[patch], %[size]\n\t"
                     "le lr, 1b\n\t" Q_PREDICATE_BACK
                     : [in] "+r"(in), [patch] "+r"(patch)
                     : [rows] "r"(rows), [pitch] "r"(pitch), [size] "r"(size)
                     : "lr", "q0", "memory");
  } else {
    __asm__ volatile(
        "1:\n\t"
        "mov %[from], %[in]\n\tmov %[to], %[patch]\n\t"
        "wlstp.8 lr, %[size], 3f\n"
        "2:\n\t"
        "vldrb.8 q0, [%[from]], #16\n\tvstrb.8 q0, [%[to]], #16\n\t"
        "letp lr, 2b\n"
        "3:\n\t"
        "add %[in], %[in], %[pitch]\n\tadd %[patch], %[patch], %[size]\n\t"
        "subs %[rows], %[rows], #1\n\tbne 1b"
        : [in] "+r"(in), [patch] "+r"(patch), [rows] "+r"(rows), [from] "=&r"(from), [to] "=&r"(to)
        : [pitch] "r"(pitch), [size] "r"(size)
        : "lr", "q0", "cc", "memory");
  }
#else
  for (int i = 0; i < rows; ++i) memcpy(patch + i * size, in + i * pitch, (size_t)size);
#endif
}

//   in     int8 [in_h][in_w][in_c]
//   patch  int8 [window_h][window_w][in_c]
//   top    row of the window's first pixel, below 0 in padding; left likewise
Q_KERNEL void q_mve_patch(const int8_t *in, int8_t *patch, int in_h, int in_w, int in_c, int top, int left,
                          int window_h, int window_w, int dilation_h, int dilation_w, int padding_code) {
  // Pixels of a row of the window that are left of the image, within it, and right of it.
  int before = left < 0 ? -left : 0;
  before = before < window_w ? before : window_w;
  int within = in_w - left - before;
  within = within < 0 ? 0 : within < window_w - before ? within : window_w - before;
  for (int i = 0; i < window_h; ++i) {
    const int y = top + i * dilation_h;
    if (y < 0 || y >= in_h) {
      patch = q_mve_filled(patch, padding_code, window_w * in_c);
    } else if (dilation_w == 1) {
      if (before > 0) patch = q_mve_filled(patch, padding_code, before * in_c);
      patch = q_mve_copied(patch, in + (y * in_w + left + before) * in_c, within * in_c);
      if (before + within < window_w) {
        patch = q_mve_filled(patch, padding_code, (window_w - before - within) * in_c);
      }
    } else {
      for (int j = 0; j < window_w; ++j) {
        const int x = left + j * dilation_w;
        patch = x < 0 || x >= in_w ? q_mve_filled(patch, padding_code, in_c)
                                   : q_mve_copied(patch, in + (y * in_w + x) * in_c, in_c);
      }
    }
  }
}

#endif  // QTORCH_MVE_PATCH_H_
