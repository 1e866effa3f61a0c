/* A model in TFLite Micro's interpreter, and the memory that it gets. */
#ifndef TARGETS_TFLM_INTERPRETED_H
#define TARGETS_TFLM_INTERPRETED_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

extern uint8_t interpreted_arena[];
extern const uint32_t interpreted_arena_size;

/* Loads the model and allocates its tensors in the first `bytes` of the arena. 1 if that worked, else 0. Call once. */
int interpreted_begin(uint32_t bytes);

/* One inference, from and to the interpreter's own tensors. 1 if that worked, else 0. */
int interpreted_run(void);

#ifdef __cplusplus
}
#endif

#endif
