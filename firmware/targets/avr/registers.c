/* avr-gcc's calling convention: r2 to r17, r28, r29, r1 (which is zero), the stack pointer, the interrupt flag; one bit
 * each, from bit 0 on. For processors whose return addresses have two bytes. */
#include "registers.h"

uint8_t registers_stack[2];
uint8_t registers_flags;

#define SAVE(register, value, byte, bit) "push " register "\n\t"
#define FILL(register, value, byte, bit) "ldi r18, " value "\n\tmov " register ", r18\n\t"
#define LOOK(register, value, byte, bit) \
  "mov r18, " register "\n\tcpi r18, " value "\n\tbreq 1f\n\tori " byte ", 1 << " bit "\n1:\n\t"
#define EACH(DO_) \
  DO_("r2", "0xa2", "r22", "0") DO_("r3", "0xa3", "r22", "1") DO_("r4", "0xa4", "r22", "2") \
  DO_("r5", "0xa5", "r22", "3") DO_("r6", "0xa6", "r22", "4") DO_("r7", "0xa7", "r22", "5") \
  DO_("r8", "0xa8", "r22", "6") DO_("r9", "0xa9", "r22", "7") DO_("r10", "0xaa", "r23", "0") \
  DO_("r11", "0xab", "r23", "1") DO_("r12", "0xac", "r23", "2") DO_("r13", "0xad", "r23", "3") \
  DO_("r14", "0xae", "r23", "4") DO_("r15", "0xaf", "r23", "5") DO_("r16", "0xb0", "r23", "6") \
  DO_("r17", "0xb1", "r23", "7") DO_("r28", "0xbc", "r24", "0") DO_("r29", "0xbd", "r24", "1")

__attribute__((naked, noinline)) uint32_t registers_spoiled(__attribute__((unused)) checked_call *call) {
  __asm__ volatile(
      EACH(SAVE)
      "movw r30, r24\n\t"
      "in r18, __SP_L__\n\tsts registers_stack, r18\n\t"
      "in r18, __SP_H__\n\tsts registers_stack+1, r18\n\t"
      "in r18, __SREG__\n\tsts registers_flags, r18\n\t"
      EACH(FILL)
      "icall\n\t"
      "in r19, __SREG__\n\t"
      "clr r22\n\tclr r23\n\tclr r24\n\tclr r25\n\t"
      EACH(LOOK)
      "tst r1\n\tbreq 1f\n\tori r24, 4\n1:\n\tclr r1\n\t"
      "lds r20, registers_stack\n\tin r18, __SP_L__\n\tcpse r18, r20\n\tori r24, 8\n\t"
      "lds r21, registers_stack+1\n\tin r18, __SP_H__\n\tcpse r18, r21\n\tori r24, 8\n\t"
      "lds r18, registers_flags\n\teor r18, r19\n\tsbrc r18, 7\n\tori r24, 16\n\t"
      "out __SP_H__, r21\n\tout __SP_L__, r20\n\t" /* no interrupt is on */
      "pop r29\n\tpop r28\n\tpop r17\n\tpop r16\n\tpop r15\n\tpop r14\n\tpop r13\n\tpop r12\n\tpop r11\n\tpop r10\n\t"
      "pop r9\n\tpop r8\n\tpop r7\n\tpop r6\n\tpop r5\n\tpop r4\n\tpop r3\n\tpop r2\n\t"
      "ret\n");
}
