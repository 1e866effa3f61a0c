/* Procedure Call Standard for the Arm Architecture: r4 to r11, sp, then, where there is a floating-point unit or vectors,
 * s16 to s31 and FPSCR's modes, LTPSIZE among them, and the masks of VPR; one bit each, from bit 0 on.
 *
 * In the instructions that every Cortex-M has. */
#include "registers.h"

#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
#define VECTORS 1
#else
#define VECTORS 0
#endif

uint32_t registers_sp;
uint32_t registers_modes;

#define FILL(register, value) "ldr r1, =" value "\n\tmov " register ", r1\n\t"
#define LOOK(register, value, bit) \
  "mov r2, " register "\n\tldr r1, =" value "\n\tcmp r1, r2\n\tbeq 1f\n\tldr r1, =1 << " bit "\n\torrs r0, r1\n1:\n\t"
#define FILL_S(register, value) "ldr r1, =" value "\n\tvmov " register ", r1\n\t"
#define LOOK_S(register, value, bit) \
  "vmov r2, " register "\n\tldr r1, =" value "\n\tcmp r1, r2\n\tbeq 1f\n\tldr r1, =1 << " bit "\n\torrs r0, r1\n1:\n\t"

#define EACH(DO_) \
  DO_("r4", "0x74a1b2c3", "0") DO_("r5", "0x75a1b2c3", "1") DO_("r6", "0x76a1b2c3", "2") \
  DO_("r7", "0x77a1b2c3", "3") DO_("r8", "0x78a1b2c3", "4") DO_("r9", "0x79a1b2c3", "5") \
  DO_("r10", "0x7aa1b2c3", "6") DO_("r11", "0x7ba1b2c3", "7")
#define EACH_S(DO_) \
  DO_("s16", "0x3f810016", "9") DO_("s17", "0x3f810017", "10") DO_("s18", "0x3f810018", "11") \
  DO_("s19", "0x3f810019", "12") DO_("s20", "0x3f810020", "13") DO_("s21", "0x3f810021", "14") \
  DO_("s22", "0x3f810022", "15") DO_("s23", "0x3f810023", "16") DO_("s24", "0x3f810024", "17") \
  DO_("s25", "0x3f810025", "18") DO_("s26", "0x3f810026", "19") DO_("s27", "0x3f810027", "20") \
  DO_("s28", "0x3f810028", "21") DO_("s29", "0x3f810029", "22") DO_("s30", "0x3f810030", "23") \
  DO_("s31", "0x3f810031", "24")
#define FILL_3(register, value, bit) FILL(register, value)
#define FILL_S_3(register, value, bit) FILL_S(register, value)

__attribute__((naked, noinline)) uint32_t registers_spoiled(__attribute__((unused)) checked_call *call) {
  __asm__ volatile(
      ".syntax unified\n\t"
      "push {r4-r7, lr}\n\t"
      "mov r4, r8\n\tmov r5, r9\n\tmov r6, r10\n\tmov r7, r11\n\t"
      "push {r3-r7}\n\t" /* ten words: the stack stays aligned */
#if VECTORS
      "vpush {d8-d15}\n\t"
      "vmrs r1, fpscr\n\tldr r2, =registers_modes\n\tstr r1, [r2]\n\t"
      EACH_S(FILL_S_3)
#endif
      "mov r1, sp\n\tldr r2, =registers_sp\n\tstr r1, [r2]\n\t"
      EACH(FILL_3)
      "blx r0\n\t"
      "movs r0, #0\n\t"
      EACH(LOOK)
      "ldr r3, =registers_sp\n\tldr r2, [r3]\n\tmov r1, sp\n\tmov sp, r2\n\t"
      "cmp r1, r2\n\tbeq 1f\n\tldr r1, =1 << 8\n\torrs r0, r1\n1:\n\t"
      "b 2f\n\t.ltorg\n2:\n\t"
#if VECTORS
      EACH_S(LOOK_S)
      /* Modes: AHP, DN, FZ, rounding, FZ16, LTPSIZE. The rest are flags. */
      "vmrs r1, fpscr\n\tldr r2, =registers_modes\n\tldr r2, [r2]\n\tvmsr fpscr, r2\n\t"
      "eors r1, r2\n\tldr r2, =0x07cf0000\n\tands r1, r2\n\t"
      "beq 1f\n\tldr r1, =1 << 25\n\torrs r0, r1\n1:\n\t"
#endif
#if defined(__ARM_FEATURE_MVE)
      "vmrs r1, vpr\n\tldr r2, =0x00ff0000\n\tands r2, r1\n\t"
      "beq 1f\n\tldr r1, =1 << 26\n\torrs r0, r1\n\tmovs r1, #0\n\tvmsr vpr, r1\n1:\n\t"
#endif
#if VECTORS
      "vpop {d8-d15}\n\t"
#endif
      "pop {r3-r7}\n\t"
      "mov r8, r4\n\tmov r9, r5\n\tmov r10, r6\n\tmov r11, r7\n\t"
      "pop {r4-r7, pc}\n\t"
      ".ltorg\n");
}
