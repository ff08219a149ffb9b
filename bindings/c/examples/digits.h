/* Reads the digits of network.h from a file, and prints results of training. C and C++ share it. */
#ifndef DIGITS_H
#define DIGITS_H

#include "network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 4 };
static const size_t layer_start[LAYERS] = {0, HIDDEN_WEIGHTS, HIDDEN_BIASES, OUTPUT_WEIGHTS};
static const size_t layer_len[LAYERS] = {PIXELS * HIDDEN, HIDDEN, HIDDEN * CLASSES, CLASSES};

static const digit *digits;

/* Reads the data set: rows of 65 numbers. */
static void load(const char *path) {
    static digit rows[2000], mixed[DIGITS];
    FILE *file = path ? fopen(path, "r") : NULL;
    size_t numbers = 0;
    unsigned number;
    while (file && numbers < sizeof rows && fscanf(file, "%u%*[,\n]", &number) == 1) {
        rows[numbers / (PIXELS + 1)][numbers % (PIXELS + 1)] = (uint8_t)number;
        numbers++;
    }
    const size_t count = numbers / (PIXELS + 1);
    if (count < DIGITS || numbers % (PIXELS + 1) != 0) {
        fprintf(stderr, "give the path of digits.csv\n");
        exit(2);
    }
    fclose(file);
    /* The rows are sorted by writer; a prime stride mixes them. */
    for (size_t i = 0; i < DIGITS; i++) memcpy(mixed[i], rows[i * 1013 % count], sizeof mixed[i]);
    digits = (const digit *)mixed;
}

/* Prints how many of the test digits are classified correctly, and a hash of the weights. */
static inline void print_result(const char *name, const float *weights) {
    printf("%s: %d of %d right\nweights %016llx\n", name, count_right(weights, digits), DIGITS - TRAINED,
           (unsigned long long)hash_of(weights));
}

#endif
