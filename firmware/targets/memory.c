/* The four functions that a compiler may call even in a program without a C library.
 *
 * Weak, so that a library's own win. Compile with -fno-tree-loop-distribute-patterns: otherwise the compiler sees that
 * these loops are memcpy and calls it, from within memcpy.
 */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *to, const void *from, size_t count);
void *memmove(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);
int memcmp(const void *left, const void *right, size_t count);

/* A processor that reads words from any address needs none; any other one is asked to only where they are aligned. */
#if defined(__ARM_FEATURE_UNALIGNED)
#define WORD_ALIGNMENT 1
#else
#define WORD_ALIGNMENT 4
#endif

typedef struct {
  uint32_t value;
} __attribute__((packed, may_alias, aligned(WORD_ALIGNMENT))) word_at;
typedef uint32_t word;

#define LOADED(address) (((const word_at *)(address))->value)
#define STORE(address, number) (((word_at *)(address))->value = (number))

/* Whether words can be read and written from there on. */
static int in_words(uintptr_t address) {
#if defined(__ARM_FEATURE_UNALIGNED)
  (void)address;
  return 1;
#else
  return address % sizeof(word) == 0;
#endif
}

__attribute__((weak)) void *memcpy(void *to, const void *from, size_t count) {
  uint8_t *target = to;
  const uint8_t *source = from;
  if (in_words((uintptr_t)to | (uintptr_t)from)) {
    for (const uint8_t *const end = source + count / 4 * 4; source != end; source += 4, target += 4) {
      STORE(target, LOADED(source));
    }
    count %= 4;
  }
  while (count-- != 0) {
    *target++ = *source++;
  }
  return to;
}

__attribute__((weak)) void *memmove(void *to, const void *from, size_t count) {
  uint8_t *target = to;
  const uint8_t *source = from;
  if ((uintptr_t)target <= (uintptr_t)source) {
    return memcpy(to, from, count); /* ascending, so right for an overlap in this direction */
  }
  while (count-- != 0) {
    target[count] = source[count];
  }
  return to;
}

__attribute__((weak)) void *memset(void *to, int value, size_t count) {
  uint8_t *target = to;
  if (in_words((uintptr_t)to)) {
    const word four = (uint8_t)value * 0x01010101u;
    for (uint8_t *const end = target + count / 4 * 4; target != end; target += 4) {
      STORE(target, four);
    }
    count %= 4;
  }
  while (count-- != 0) {
    *target++ = (uint8_t)value;
  }
  return to;
}

__attribute__((weak)) int memcmp(const void *left, const void *right, size_t count) {
  const uint8_t *a = left;
  const uint8_t *b = right;
  for (; count != 0; --count, ++a, ++b) {
    if (*a != *b) {
      return *a < *b ? -1 : 1;
    }
  }
  return 0;
}
