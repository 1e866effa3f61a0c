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

// There once, however often it is called, where flash is scarce.
#if defined(__AVR__)
#define Q_ONCE static __attribute__((noinline, unused))
#else
#define Q_ONCE Q_KERNEL
#endif

// There once on every processor: long, or called so seldom that the call costs next to nothing.
#if defined(__GNUC__)
#define Q_APART static __attribute__((noinline, unused))
#else
#define Q_APART static inline
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

Q_KERNEL int16_t q_flash_s16(const int16_t *address) {
  int16_t found;
  __asm__("lpm %A0, Z+\n\tlpm %B0, Z" : "=&r"(found), "+z"(address));
  return found;
}
#else
#define Q_FLASH

Q_KERNEL uint8_t q_flash_u8(const uint8_t *address) { return *address; }
Q_KERNEL int8_t q_flash_s8(const int8_t *address) { return *address; }
Q_KERNEL int16_t q_flash_s16(const int16_t *address) { return *address; }
Q_KERNEL int32_t q_flash_s32(const int32_t *address) { return *address; }
#endif

#endif  // QTORCH_KERNEL_H_
