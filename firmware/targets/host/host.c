/* The rig on the machine that compiles: the C library's files. It counts nothing, because a time is no count. */
#include <stdio.h>
#include <stdlib.h>

#include "../rig.h"

static FILE *files[2];
static int32_t opened;

int32_t rig_open(const char *path, int writes) {
  if (opened == 2 || (files[opened] = fopen(path, writes ? "wb" : "rb")) == NULL) {
    return -1;
  }
  return opened++;
}

uint32_t rig_read(int32_t handle, void *bytes, uint32_t count) {
  return (uint32_t)fread(bytes, 1, count, files[handle]);
}

uint32_t rig_write(int32_t handle, const void *bytes, uint32_t count) {
  return (uint32_t)fwrite(bytes, 1, count, files[handle]);
}

void rig_close(int32_t handle) {
  if (fclose(files[handle]) != 0) {
    rig_exit(RIG_NO_FILE);
  }
}

void rig_exit(int code) { exit(code); }

void rig_count_start(void) {}

uint64_t rig_count_stop(void) { return 0; }

uint32_t rig_stack_bytes(rig_function *invoke, const int8_t *in, int8_t *out) {
  (void)invoke;
  (void)in;
  (void)out;
  return 0;
}
