/* What a replay asks of the machine under it. Each target answers in files of its own. */
#ifndef TARGETS_RIG_H
#define TARGETS_RIG_H

#include <stdint.h>

/* How the program ends. Emulators and sanitizers end with small codes of their own, so these are others. */
enum {
  RIG_AGREES = 0,
  RIG_DIFFERS = 65,   /* at least one output code is not the expected one */
  RIG_NO_FILE = 66,   /* samples can't be read, or results can't be written */
  RIG_FAULT = 67,     /* the processor trapped */
  RIG_NO_STACK = 68   /* the stack reached what lies below it */
};

/* A file of the machine that runs the emulator, in its working folder. Handle, or a negative number. */
int32_t rig_open(const char *path, int writes);
/* Bytes read or written; fewer than `count` at the end of a file or on failure. */
uint32_t rig_read(int32_t handle, void *bytes, uint32_t count);
uint32_t rig_write(int32_t handle, const void *bytes, uint32_t count);
void rig_close(int32_t handle);

__attribute__((noreturn)) void rig_exit(int code);

typedef void rig_function(const int8_t *in, int8_t *out);

/* Ticks between the two calls, in the target's own unit; never both running twice. */
void rig_count_start(void);
uint64_t rig_count_stop(void);

/* Bytes of stack that one call takes below its caller's frame; 0 where nothing measures it.
   Ends the program with RIG_NO_STACK where the stack was too small. */
uint32_t rig_stack_bytes(rig_function *invoke, const int8_t *in, int8_t *out);

#endif
