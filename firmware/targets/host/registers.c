/* x86-64, System V: rbx, rbp, r12, r13, r14, r15, the direction flag, MXCSR's modes; one bit each, from bit 0 on.
 * Elsewhere nothing is looked at. */
#include "registers.h"

#if defined(__x86_64__)
/* What MXCSR has beside its modes are flags of what has happened. */
__asm__(
    ".text\n"
    ".globl registers_spoiled\n"
    "registers_spoiled:\n"
    "push %rbx\n\tpush %rbp\n\tpush %r12\n\tpush %r13\n\tpush %r14\n\tpush %r15\n"
    "sub $24, %rsp\n"
    "stmxcsr (%rsp)\n"
    "movabs $0x1b1b1b1b1b1b1b1b, %rbx\n"
    "movabs $0x2b2b2b2b2b2b2b2b, %rbp\n"
    "movabs $0x3c3c3c3c3c3c3c3c, %r12\n"
    "movabs $0x4d4d4d4d4d4d4d4d, %r13\n"
    "movabs $0x5e5e5e5e5e5e5e5e, %r14\n"
    "movabs $0x6f6f6f6f6f6f6f6f, %r15\n"
    "call *%rdi\n"
    "pushfq\n\tpop %rdx\n"
    "cld\n"
    "xor %eax, %eax\n"
    "movabs $0x1b1b1b1b1b1b1b1b, %rcx\n\tcmp %rcx, %rbx\n\tje 1f\n\tor $1, %eax\n1:\n"
    "movabs $0x2b2b2b2b2b2b2b2b, %rcx\n\tcmp %rcx, %rbp\n\tje 1f\n\tor $2, %eax\n1:\n"
    "movabs $0x3c3c3c3c3c3c3c3c, %rcx\n\tcmp %rcx, %r12\n\tje 1f\n\tor $4, %eax\n1:\n"
    "movabs $0x4d4d4d4d4d4d4d4d, %rcx\n\tcmp %rcx, %r13\n\tje 1f\n\tor $8, %eax\n1:\n"
    "movabs $0x5e5e5e5e5e5e5e5e, %rcx\n\tcmp %rcx, %r14\n\tje 1f\n\tor $16, %eax\n1:\n"
    "movabs $0x6f6f6f6f6f6f6f6f, %rcx\n\tcmp %rcx, %r15\n\tje 1f\n\tor $32, %eax\n1:\n"
    "test $0x400, %edx\n\tjz 1f\n\tor $64, %eax\n1:\n"
    "stmxcsr 8(%rsp)\n"
    "mov (%rsp), %ecx\n\txor 8(%rsp), %ecx\n"
    "test $0xffc0, %ecx\n\tjz 1f\n\tor $128, %eax\n1:\n"
    "ldmxcsr (%rsp)\n"
    "add $24, %rsp\n"
    "pop %r15\n\tpop %r14\n\tpop %r13\n\tpop %r12\n\tpop %rbp\n\tpop %rbx\n"
    "ret\n");
#else
uint32_t registers_spoiled(checked_call *call) {
  call();
  return 0;
}
#endif
