/* What start.c does for main.c: it calls `run` once the machine is ready. */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdint.h>

int run(void); /* 0 where all is well */

/* To the terminal of the debugger. */
void print(const char *text);
void print_number(uint32_t number);
void print_hex(uint64_t number);

#endif
