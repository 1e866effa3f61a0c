/* The interpreter's memory, of ARENA_BYTES. A file of its own, so that another size compiles in no time. */
#include "interpreted.h"

__attribute__((aligned(16))) uint8_t interpreted_arena[ARENA_BYTES];
const uint32_t interpreted_arena_size = ARENA_BYTES;
