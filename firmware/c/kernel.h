// What every kernel needs: constants in flash, and the attributes of a kernel.
//
// Kernels are text that an export copies into the model's one .c file, those that the model uses and no others. They are
// C99 and C++17, take no memory and no float, and rely on arithmetic right shifts, as every compiler here has them.
#ifndef QTORCH_KERNEL_H_
#define QTORCH_KERNEL_H_

#include <stdint.h>
#include <string.h>

// Inlined wherever it is called, so that the sizes, which are constants there, cost nothing at run time.
#if defined(__GNUC__)
#define Q_KERNEL static inline __attribute__((always_inline, unused))
#else
#define Q_KERNEL static inline
#endif

// Processors without a multiplication of 32 bits by 32 to 64: Cortex-M0, M0+, M1 and M23. There a compiler calls libgcc.
#if defined(__thumb__) && !defined(__thumb2__)
#define Q_SHORT_PRODUCTS
#endif

// A function that stays one, with registers of its own, whoever calls it.
#if defined(__GNUC__)
#define Q_ALONE static __attribute__((noinline, unused))
#else
#define Q_ALONE static
#endif

// A kernel with the sizes of a layer. On Cortex-M one function each: where the compiler puts layers into one another, they
// compete for registers, and a layer takes up to a quarter more instructions for what its neighbours are. On Cortex-M0 whole
// networks take up to 7 % fewer so, and no more than 0.8 % more. Elsewhere what calls and saved registers take of flash is
// not worth the little that they save.
// A layer that stays a function is not told the addresses of its tensors either. Told them, GCC 12 writes one address of a
// loop as null plus what the others are, takes the access for one of null, behind which nothing follows, and leaves out the
// call as one of a function that stores nothing: a reversal on Cortex-M0, a split on M4, places of maxima on x86.
#if defined(__thumb__) && defined(__GNUC__) && !defined(__clang__)
#define Q_LAYER static __attribute__((noipa, unused))
#elif defined(__thumb__) && defined(__clang__)
#define Q_LAYER static __attribute__((noinline, unused))
#elif defined(__GNUC__) && !defined(__clang__)
#define Q_LAYER static __attribute__((noclone, unused))
#else
#define Q_LAYER static
#endif

// There once, however often it is called, where flash is scarce.
#if defined(__AVR__) || defined(Q_SHORT_PRODUCTS)
#define Q_ONCE static __attribute__((noinline, unused))
#else
#define Q_ONCE Q_KERNEL
#endif

// a * b in 64 bits.
Q_KERNEL int64_t q_long_product(int32_t a, int32_t b) {
#if defined(Q_SHORT_PRODUCTS)
  // Of halves: (a1 2^16 + a0) (b1 2^16 + b0), the lower ones without sign. No sum below leaves its type.
  const uint32_t a0 = (uint32_t)a & 0xffff, b0 = (uint32_t)b & 0xffff, low = a0 * b0;
  const int32_t a1 = a >> 16, b1 = b >> 16;
  const int32_t middle = a1 * (int32_t)b0 + (int32_t)(low >> 16);  // from -2^31 + 2^15 to 2^31 - 2^16
  const int32_t lower = (int32_t)a0 * b1 + (int32_t)((uint32_t)middle & 0xffff);
  const int32_t high = a1 * b1 + (middle >> 16) + (lower >> 16);
  return (int64_t)((uint64_t)(uint32_t)high << 32 | ((uint32_t)lower << 16 | (low & 0xffff)));
#else
  return (int64_t)a * b;
#endif
}

// A parameter of a function that is assembly as a whole.
#if defined(__GNUC__)
#define Q_UNUSED __attribute__((unused))
#else
#define Q_UNUSED
#endif

// There once on every processor: long, or called so seldom that the call costs next to nothing.
#if defined(__GNUC__)
#define Q_APART static __attribute__((noinline, unused))
#else
#define Q_APART static inline
#endif

// Of bytes that are read as words: where words begin.
#if defined(__GNUC__)
#define Q_WORDS __attribute__((aligned(4)))
#else
#define Q_WORDS
#endif

// Constants stay in flash. Where that is an address space of its own, they are read through the functions below.
#if defined(__AVR__)
#define Q_FLASH __attribute__((__progmem__))

Q_KERNEL uint8_t q_flash_u8(const void *address) {
  uint8_t found;
  __asm__("lpm %0, Z" : "=r"(found) : "z"(address));
  return found;
}

Q_KERNEL int32_t q_flash_s32(const int32_t *address) {
  int32_t found;
  __asm__("lpm %A0, Z+\n\tlpm %B0, Z+\n\tlpm %C0, Z+\n\tlpm %D0, Z" : "=&r"(found), "+z"(address));
  return found;
}

Q_KERNEL int8_t q_flash_s8(const int8_t *address) { return (int8_t)q_flash_u8(address); }
Q_KERNEL uint32_t q_flash_word(const int8_t *address) {
  return (uint32_t)q_flash_s32((const int32_t *)(const void *)address);
}

Q_KERNEL int16_t q_flash_s16(const int16_t *address) {
  int16_t found;
  __asm__("lpm %A0, Z+\n\tlpm %B0, Z" : "=&r"(found), "+z"(address));
  return found;
}
#else
#define Q_FLASH

Q_KERNEL uint8_t q_flash_u8(const uint8_t *address) { return *address; }
Q_KERNEL int8_t q_flash_s8(const int8_t *address) { return *address; }
// Four bytes, the first of which is the least.
Q_KERNEL uint32_t q_flash_word(const int8_t *address) {
  uint32_t word;
#if defined(__GNUC__)
  address = (const int8_t *)__builtin_assume_aligned(address, 4);
#endif
  memcpy(&word, address, 4);
  return word;
}
Q_KERNEL int16_t q_flash_s16(const int16_t *address) { return *address; }
Q_KERNEL int32_t q_flash_s32(const int32_t *address) { return *address; }
#endif

#endif  // QTORCH_KERNEL_H_
