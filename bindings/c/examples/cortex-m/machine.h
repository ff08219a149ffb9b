/* The interface between start.c and main.c: start.c calls `run` once the machine is ready. */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdint.h>

int run(void); /* 0 on success */

/* To the terminal of the debugger. */
void print(const char *text);
void print_number(uint32_t number);
void print_hex(uint64_t number);

#endif
