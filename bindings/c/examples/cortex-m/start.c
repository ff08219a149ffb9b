/* From reset to `run`, and output by semihosting: a breakpoint that asks the debugger, or QEMU, to act. */
#include "machine.h"

#include <stddef.h>

/* From the linker script. */
extern uint32_t stack_top[], data_start[], data_end[], data_load[], bss_start[], bss_end[];

enum { SYS_WRITE0 = 0x04, SYS_EXIT = 0x18 };
/* Why a program stops: success, or anything else. */
#define APPLICATION_EXIT ((const void *)0x20026)
#define RUN_TIME_ERROR ((const void *)0x20023)

static void semihost(uint32_t operation, const void *argument) {
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

static _Noreturn void stop(const void *why) {
    for (;;) {
        semihost(SYS_EXIT, why);
    }
}

void print(const char *text) {
    semihost(SYS_WRITE0, text);
}

void print_number(uint32_t number) {
    char text[11], *first = text + 10;
    *first = 0;
    do {
        *--first = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    print(first);
}

void print_hex(uint64_t number) {
    char text[17];
    for (int i = 0; i < 16; i++) {
        text[i] = "0123456789abcdef"[number >> (60 - 4 * i) & 15];
    }
    text[16] = 0;
    print(text);
}

/* Copies initialised data to RAM, and clears the rest. */
__attribute__((used)) static _Noreturn void start(void) {
    for (size_t i = 0; i < (size_t)(data_end - data_start); i++) {
        data_start[i] = data_load[i];
    }
    for (size_t i = 0; i < (size_t)(bss_end - bss_start); i++) {
        bss_start[i] = 0;
    }
    stop(run() == 0 ? APPLICATION_EXIT : RUN_TIME_ERROR);
}

/* The first instructions turn on the floating-point unit. `naked`, because compiled code may save floating-point
 * registers at the head of any function. */
__attribute__((naked)) void reset(void) {
    __asm__("ldr r0, =0xe000ed88\n" /* the register CPACR */
            "ldr r1, [r0]\n"
            "orr r1, r1, #0xf00000\n"
            "str r1, [r0]\n"
            "dsb\n"
            "isb\n"
            "b start\n"
            ".ltorg\n");
}

static void fault(void) {
    print("a fault of the processor\n");
    stop(RUN_TIME_ERROR);
}

/* The vector table: the reset vector, and the handlers of faults (NMI, hard fault, memory, bus, usage). */
__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    void (*handlers[6])(void);
} vectors = {stack_top, {reset, fault, fault, fault, fault, fault}};
