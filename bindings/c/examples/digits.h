/* A small classifier of handwritten digits: the data, the network, and its gradients. C and C++ share it.
 *
 * It does the operations of examples/cortex-m/src/lib.rs in the same order, so the trained weights have the same bits
 * as in Rust. Compile it with -ffp-contract=off: a multiplication and an addition in one would round once, not twice. */
#ifndef DIGITS_H
#define DIGITS_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIXELS = 64, HIDDEN = 32, CLASSES = 10, LAYERS = 4 };
/* Where weights and biases of the hidden units begin, and those of the output. Weights are stored input by input. */
enum { W1 = 0, B1 = W1 + PIXELS * HIDDEN, W2 = B1 + HIDDEN, B2 = W2 + HIDDEN * CLASSES, PARAMETERS = B2 + CLASSES };
static const size_t layer_start[LAYERS] = {W1, B1, W2, B2};
static const size_t layer_len[LAYERS] = {B1 - W1, W2 - B1, B2 - W2, PARAMETERS - B2};
/* The first digits are for the training, the others for the test. */
enum { DIGITS = 700, TRAINED = 500, BATCH = 20, BATCHES = TRAINED / BATCH, EPOCHS = 8 };

/* 64 pixels from 0 to 16, and the label. */
static uint8_t digits[DIGITS][PIXELS + 1];

/* Reads the data set: rows of 65 numbers. */
static void load(const char *path) {
    static uint8_t rows[2000][PIXELS + 1];
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
    for (size_t i = 0; i < DIGITS; i++) memcpy(digits[i], rows[i * 1013 % count], PIXELS + 1);
}

/* Uniform weights of variance 2 / inputs (He et al., 2015), and biases of zero. */
static void initialise(float *weights) {
    static const size_t inputs[LAYERS] = {PIXELS, 0, HIDDEN, 0};
    uint64_t seed = 1;
    for (size_t i = 0; i < PARAMETERS; i++) weights[i] = 0.0f;
    for (size_t layer = 0; layer < LAYERS; layer++) {
        if (inputs[layer] == 0) continue;
        const float bound = sqrtf(6.0f / (float)inputs[layer]);
        for (size_t i = 0; i < layer_len[layer]; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            weights[layer_start[layer] + i] = bound * ((float)(seed >> 40) / 8388608.0f - 1.0f);
        }
    }
}

/* outputs = biases + weights inputs */
static void affine(const float *weights, const float *biases, const float *inputs, size_t in, float *outputs,
                   size_t out) {
    for (size_t j = 0; j < out; j++) outputs[j] = biases[j];
    for (size_t i = 0; i < in; i++)
        for (size_t j = 0; j < out; j++) outputs[j] += weights[i * out + j] * inputs[i];
}

/* What the network makes of a digit: its pixels as floats, the hidden activations, the output before the softmax. */
typedef struct activations {
    float pixels[PIXELS], hidden[HIDDEN], output[CLASSES];
} activations;

static activations forward(const float *weights, const uint8_t *digit) {
    activations a;
    for (size_t i = 0; i < PIXELS; i++) a.pixels[i] = (float)digit[i] / 16.0f;
    affine(weights + W1, weights + B1, a.pixels, PIXELS, a.hidden, HIDDEN);
    for (size_t j = 0; j < HIDDEN; j++) a.hidden[j] = a.hidden[j] > 0.0f ? a.hidden[j] : 0.0f;
    affine(weights + W2, weights + B2, a.hidden, HIDDEN, a.output, CLASSES);
    return a;
}

/* e to the power x, which is not above 0. C libraries round their expf in different ways; this has the bits of Rust's
 * libm. With x = k ln 2 + r, it is 2^k e^r, and e^r is made of a polynomial in r^2. The constants are FreeBSD's. */
static float exponential(float x) {
    if (x < -103.9720840f) return 0.0f;
    if (x >= -0x1p-13f) return 1.0f + x;
    const int k = (int)(1.4426950216f * x - 0.5f);
    const float high = x - (float)k * 0.69314575195f, low = (float)k * 1.4286067653e-6f;
    const float r = high - low, square = r * r;
    const float c = r - square * (0.16666625440f + square * -2.7667332906e-3f);
    return ldexpf(1.0f + (r * c / (2.0f - c) - low + high), k);
}

/* Adds the gradients of one layer's weights and biases. */
static void add_outer(float *weights, float *biases, const float *inputs, size_t in, const float *d, size_t out) {
    for (size_t i = 0; i < in; i++)
        for (size_t j = 0; j < out; j++) weights[i * out + j] += inputs[i] * d[j];
    for (size_t j = 0; j < out; j++) biases[j] += d[j];
}

/* Adds the gradient of one digit's share of the mean cross-entropy of a batch. */
static void backward(const float *weights, const uint8_t *digit, float *gradients) {
    const activations a = forward(weights, digit);
    float largest = a.output[0], sum = 0.0f, d_output[CLASSES], d_hidden[HIDDEN] = {0};
    for (size_t k = 1; k < CLASSES; k++) largest = a.output[k] > largest ? a.output[k] : largest;
    for (size_t k = 0; k < CLASSES; k++) sum += d_output[k] = exponential(a.output[k] - largest);
    for (size_t k = 0; k < CLASSES; k++) d_output[k] = d_output[k] / sum / (float)BATCH;
    d_output[digit[PIXELS]] -= 1.0f / (float)BATCH;
    for (size_t j = 0; j < HIDDEN; j++) {
        if (a.hidden[j] <= 0.0f) continue;
        for (size_t k = 0; k < CLASSES; k++) d_hidden[j] += weights[W2 + j * CLASSES + k] * d_output[k];
    }
    add_outer(gradients + W1, gradients + B1, a.pixels, PIXELS, d_hidden, HIDDEN);
    add_outer(gradients + W2, gradients + B2, a.hidden, HIDDEN, d_output, CLASSES);
}

/* The gradient of a batch. Every epoch has the digits in another order, by a prime. */
static void batch_gradient(const float *weights, size_t epoch, size_t batch, float *gradients) {
    for (size_t i = 0; i < PARAMETERS; i++) gradients[i] = 0.0f;
    for (size_t i = 0; i < BATCH; i++)
        backward(weights, digits[((batch * BATCH + i) * 191 + 37 * epoch) % TRAINED], gradients);
}

/* How many of the test digits are read right. */
static int count_right(const float *weights) {
    int right = 0;
    for (size_t i = TRAINED; i < DIGITS; i++) {
        const activations a = forward(weights, digits[i]);
        size_t best = 0;
        for (size_t k = 1; k < CLASSES; k++) best = a.output[k] > a.output[best] ? k : best;
        right += best == digits[i][PIXELS];
    }
    return right;
}

/* Prints how many that are, and a hash of the bits of the weights (FNV-1a over words). */
static inline void print_result(const char *name, const float *weights) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < PARAMETERS; i++) {
        uint32_t bits;
        memcpy(&bits, &weights[i], sizeof bits);
        hash = (hash ^ bits) * 0x100000001b3u;
    }
    printf("%s: %d of %d right\nweights %016llx\n", name, count_right(weights), DIGITS - TRAINED,
           (unsigned long long)hash);
}

#endif
