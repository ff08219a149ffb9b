/* A perceptron with one hidden layer that reads handwritten digits, and its gradient by backpropagation. Programs in C and
 * C++ share it, on servers and microcontrollers.
 *
 * It does the operations of examples/cortex-m/src/lib.rs in the same order, so the trained weights have the same bits
 * as in Rust. Compile it with -ffp-contract=off: a fused multiply-add would round once, not twice. */
#ifndef NETWORK_H
#define NETWORK_H

#include <stdint.h>
#if __STDC_HOSTED__
#include <math.h>
#else
float logf(float x); /* The Rust library provides it. */
#endif

enum { PIXELS = 64, HIDDEN = 32, CLASSES = 10 };
/* The ends of the weights and biases of the hidden units, then of the weights and biases of the output, in one array.
 * Weights are stored input by input. */
enum {
    HIDDEN_WEIGHTS = PIXELS * HIDDEN,
    HIDDEN_BIASES = HIDDEN_WEIGHTS + HIDDEN,
    OUTPUT_WEIGHTS = HIDDEN_BIASES + HIDDEN * CLASSES,
    PARAMETERS = OUTPUT_WEIGHTS + CLASSES
};
/* The first digits are for training, the others for the test. */
enum { DIGITS = 700, TRAINED = 500, BATCH = 20, BATCHES = TRAINED / BATCH, EPOCHS = 8 };

/* 64 pixels from 0 to 16, and the label. */
typedef uint8_t digit[PIXELS + 1];

union word {
    float number;
    uint32_t bits;
};

/* e to the power x, which is at most 0. C libraries round their expf in different ways; this has the bits of Rust's
 * libm. With x = k ln 2 + r, it is 2^k e^r, and e^r is computed from a polynomial in r^2. The constants are FreeBSD's.
 * */
static float exponential(float x) {
    if (x < -103.9720840f) return 0.0f;
    if (x >= -0x1p-13f) return 1.0f + x;
    const int k = (int)(1.4426950216f * x - 0.5f);
    const float high = x - (float)k * 0.69314575195f, low = (float)k * 1.4286067653e-6f;
    const float r = high - low, square = r * r;
    const float c = r - square * (0.16666625440f + square * -2.7667332906e-3f);
    /* 2^k in two factors, because it may be subnormal. */
    const int half = k / 2;
    union word left, right;
    left.bits = (uint32_t)(half + 127) << 23;
    right.bits = (uint32_t)(k - half + 127) << 23;
    return (1.0f + (r * c / (2.0f - c) - low + high)) * left.number * right.number;
}

/* Uniform weights between -bound and bound. */
static void uniform(float *weights, int len, float bound, uint64_t *seed) {
    for (int i = 0; i < len; i++) {
        *seed = *seed * 6364136223846793005u + 1442695040888963407u;
        weights[i] = bound * ((float)(uint32_t)(*seed >> 40) / 8388608.0f - 1.0f);
    }
}

/* Weights of variance 2 / inputs (He et al., 2015), and biases of zero. */
static void initialise(float *weights) {
    uint64_t seed = 1;
    for (int i = 0; i < PARAMETERS; i++) {
        weights[i] = 0.0f;
    }
    uniform(weights, PIXELS * HIDDEN, __builtin_sqrtf(6.0f / (float)PIXELS), &seed);
    uniform(weights + HIDDEN_BIASES, HIDDEN * CLASSES, __builtin_sqrtf(6.0f / (float)HIDDEN), &seed);
}

/* outputs = biases + weights inputs. The biases follow the weights. */
static void affine(const float *weights, const float *inputs, int input_count, float *outputs, int output_count) {
    for (int j = 0; j < output_count; j++) {
        outputs[j] = weights[input_count * output_count + j];
    }
    for (int i = 0; i < input_count; i++) {
        for (int j = 0; j < output_count; j++) {
            outputs[j] += weights[i * output_count + j] * inputs[i];
        }
    }
}

/* The brightness of the pixels from 0 to 1, the hidden activations, and the output before the softmax. */
static void forward(const float *weights, const digit seen, float *pixels, float *hidden, float *output) {
    for (int i = 0; i < PIXELS; i++) {
        pixels[i] = (float)seen[i] / 16.0f;
    }
    affine(weights, pixels, PIXELS, hidden, HIDDEN);
    for (int j = 0; j < HIDDEN; j++) {
        hidden[j] = hidden[j] > 0.0f ? hidden[j] : 0.0f;
    }
    affine(weights + HIDDEN_BIASES, hidden, HIDDEN, output, CLASSES);
}

/* The first of the largest numbers. */
static int largest(const float *output) {
    int best = 0;
    for (int k = 1; k < CLASSES; k++) {
        best = output[k] > output[best] ? k : best;
    }
    return best;
}

/* The digit that the network predicts. */
static int read_digit(const float *weights, const digit seen) {
    float pixels[PIXELS], hidden[HIDDEN], output[CLASSES];
    forward(weights, seen, pixels, hidden, output);
    return largest(output);
}

/* Adds the gradients of one layer's weights and biases. */
static void add_outer(float *gradients, const float *inputs, int input_count, const float *d_outputs, int output_count) {
    for (int i = 0; i < input_count; i++) {
        for (int j = 0; j < output_count; j++) {
            gradients[i * output_count + j] += inputs[i] * d_outputs[j];
        }
    }
    for (int j = 0; j < output_count; j++) {
        gradients[input_count * output_count + j] += d_outputs[j];
    }
}

/* Adds the gradient of one digit's share of the mean cross-entropy of a batch, and returns the cross-entropy. */
static float backward(const float *weights, const digit seen, float *gradients) {
    float pixels[PIXELS], hidden[HIDDEN], output[CLASSES], d_output[CLASSES], d_hidden[HIDDEN];
    forward(weights, seen, pixels, hidden, output);
    const float max = output[largest(output)];
    const int label = seen[PIXELS];
    float sum = 0.0f;
    for (int k = 0; k < CLASSES; k++) {
        d_output[k] = exponential(output[k] - max);
        sum += d_output[k];
    }
    for (int k = 0; k < CLASSES; k++) {
        d_output[k] = d_output[k] / sum / (float)BATCH;
    }
    d_output[label] -= 1.0f / (float)BATCH;
    for (int j = 0; j < HIDDEN; j++) {
        d_hidden[j] = 0.0f;
        for (int k = 0; k < CLASSES && hidden[j] > 0.0f; k++) {
            d_hidden[j] += weights[HIDDEN_BIASES + j * CLASSES + k] * d_output[k];
        }
    }
    add_outer(gradients, pixels, PIXELS, d_hidden, HIDDEN);
    add_outer(gradients + HIDDEN_BIASES, hidden, HIDDEN, d_output, CLASSES);
    return logf(sum) - (output[label] - max);
}

/* The gradient of a batch. Every epoch has the digits in a different order, by a prime stride. Returns `loss` plus the
 * cross-entropy of each digit. */
static float batch_gradient(const float *weights, const digit *digits, int epoch, int batch, float loss,
                            float *gradients) {
    for (int i = 0; i < PARAMETERS; i++) {
        gradients[i] = 0.0f;
    }
    for (int i = 0; i < BATCH; i++) {
        loss += backward(weights, digits[((batch * BATCH + i) * 191 + 37 * epoch) % TRAINED], gradients);
    }
    return loss;
}

/* How many of the test digits are classified correctly. */
static int count_right(const float *weights, const digit *digits) {
    int right = 0;
    for (int i = TRAINED; i < DIGITS; i++) {
        right += read_digit(weights, digits[i]) == digits[i][PIXELS];
    }
    return right;
}

/* FNV-1a over the bits of the weights, word by word. */
static uint64_t hash_of(const float *weights) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (int i = 0; i < PARAMETERS; i++) {
        const union word word = {weights[i]};
        hash = (hash ^ word.bits) * 0x100000001b3u;
    }
    return hash;
}

#endif
