// The few rows of a tensor that are needed at once, one behind the other in memory.
#ifndef QTORCH_ROW_LINES_H_
#define QTORCH_ROW_LINES_H_

#include "kernel.h"

Q_KERNEL int q_lower(int a, int b) { return a < b ? a : b; }

// Room for the row made behind first and those that follow it, of which lines has most: where there is none, rows from
// needed on move to the begin. What is then the first row is returned. each: bytes of a row.
Q_KERNEL int q_make_room(char *lines, int each, int most, int first, int made, int needed) {
  if (made - first < most) return first;
  // A window that has not come to its first whole row yet begins above the image; one with strides may end behind it.
  if (needed < first) needed = first;
  if (needed > made) needed = made;
  char *to = lines;
  const char *from = lines + (needed - first) * each;
  const int bytes = (made - needed) * each;
  int i = 0;
  if (each % 4 == 0) {
    // Lines begin at a multiple of four bytes.
    for (; i < bytes; i += 4) *(uint32_t *)(void *)(to + i) = *(const uint32_t *)(const void *)(from + i);
  }
  for (; i < bytes; ++i) to[i] = from[i];
  return needed;
}

#endif  // QTORCH_ROW_LINES_H_
