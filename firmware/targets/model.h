/* The generated model. Its names are told whole, as -DRIG_CALL=fuel_invoke: a name alone, such as AVR or MODEL, may be a
 * macro of the compiler's. And none of a rig's own names ends as those of a model do, whatever the model is called. */
#ifndef RIG_NAMES
#define RIG_NAMES

#if !defined(RIG_HEADER) || !defined(RIG_CALL) || !defined(RIG_INPUTS) || !defined(RIG_OUTPUTS)
#error "expected the model's names: -DRIG_HEADER=\"<name>_model.h\" -DRIG_CALL=<name>_invoke \
-DRIG_INPUTS=<NAME>_INPUT_SIZE -DRIG_OUTPUTS=<NAME>_OUTPUT_SIZE"
#endif

#include RIG_HEADER

#endif
