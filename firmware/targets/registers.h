/* A call between two looks at the registers that a callee has to leave as they are. */
#ifndef TARGETS_REGISTERS_H
#define TARGETS_REGISTERS_H

#include <stdint.h>

typedef void checked_call(void);

/* Makes the call with other contents in each of these registers, and says which of them it does not find again: a bit
 * for each, in the order that the target's registers.c says. Each is put back to what it was. */
uint32_t registers_spoiled(checked_call *call);

#endif
