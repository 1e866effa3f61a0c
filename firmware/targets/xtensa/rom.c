/* What the compiler calls and Debian's libgcc for this core lacks, because an ESP8266 has it in its ROM: products of 64
 * bits, and quotients. Cores of ESP32 have instructions for the upper half of a product and for quotients.
 */
#include <stdint.h>

uint64_t __muldi3(uint64_t a, uint64_t b);
uint64_t __umulsidi3(uint32_t a, uint32_t b);
uint32_t __udivsi3(uint32_t a, uint32_t b);
uint32_t __umodsi3(uint32_t a, uint32_t b);
int32_t __divsi3(int32_t a, int32_t b);
uint64_t __udivdi3(uint64_t a, uint64_t b);
uint64_t __umoddi3(uint64_t a, uint64_t b);
int64_t __divdi3(int64_t a, int64_t b);

uint64_t __umulsidi3(uint32_t a, uint32_t b) {
  const uint32_t a0 = a & 0xffffu, a1 = a >> 16, b0 = b & 0xffffu, b1 = b >> 16;
  const uint32_t low = a0 * b0;
  const uint32_t middle = a1 * b0 + (low >> 16); /* at most 32 bits */
  const uint32_t other = a0 * b1 + (middle & 0xffffu);
  return (uint64_t)(a1 * b1 + (middle >> 16) + (other >> 16)) << 32 | (uint32_t)(other << 16 | (low & 0xffffu));
}

uint64_t __muldi3(uint64_t a, uint64_t b) {
  const uint32_t a0 = (uint32_t)a, b0 = (uint32_t)b;
  const uint32_t upper = (uint32_t)(a >> 32) * b0 + a0 * (uint32_t)(b >> 32);
  return __umulsidi3(a0, b0) + ((uint64_t)upper << 32);
}

static uint32_t divided(uint32_t a, uint32_t b, uint32_t *rest) {
  uint32_t quotient = 0;
  uint32_t left = 0;
  for (int bit = 31; bit >= 0; --bit) {
    const uint32_t carry = left >> 31;
    left = left << 1 | (a >> bit & 1u);
    if (carry != 0 || left >= b) {
      left -= b;
      quotient |= 1u << bit;
    }
  }
  *rest = left;
  return quotient;
}

uint32_t __udivsi3(uint32_t a, uint32_t b) {
  uint32_t rest;
  return divided(a, b, &rest);
}

uint32_t __umodsi3(uint32_t a, uint32_t b) {
  uint32_t rest;
  divided(a, b, &rest);
  return rest;
}

int32_t __divsi3(int32_t a, int32_t b) {
  uint32_t rest;
  const uint32_t quotient =
      divided(a < 0 ? 0u - (uint32_t)a : (uint32_t)a, b < 0 ? 0u - (uint32_t)b : (uint32_t)b, &rest);
  return (int32_t)((a < 0) != (b < 0) ? 0u - quotient : quotient);
}

static uint64_t divided_64(uint64_t a, uint64_t b, uint64_t *rest) {
  uint64_t quotient = 0;
  uint64_t left = 0;
  for (int bit = 63; bit >= 0; --bit) {
    const uint64_t carry = left >> 63;
    left = left << 1 | (a >> bit & 1u);
    if (carry != 0 || left >= b) {
      left -= b;
      quotient |= (uint64_t)1 << bit;
    }
  }
  *rest = left;
  return quotient;
}

uint64_t __udivdi3(uint64_t a, uint64_t b) {
  uint64_t rest;
  return divided_64(a, b, &rest);
}

uint64_t __umoddi3(uint64_t a, uint64_t b) {
  uint64_t rest;
  divided_64(a, b, &rest);
  return rest;
}

int64_t __divdi3(int64_t a, int64_t b) {
  uint64_t rest;
  const uint64_t quotient =
      divided_64(a < 0 ? 0u - (uint64_t)a : (uint64_t)a, b < 0 ? 0u - (uint64_t)b : (uint64_t)b, &rest);
  return (int64_t)((a < 0) != (b < 0) ? 0u - quotient : quotient);
}
