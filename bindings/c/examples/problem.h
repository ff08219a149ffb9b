/* The problem of openmp.c, graph.c and mpi.c: two layers whose gradients are easy to compute. It is first solved by
 * lw_step in one thread, and the weights of the others must have the same bits. */
#ifndef PROBLEM_H
#define PROBLEM_H

#include <layerwise.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 2, STEPS = 10 };
static const size_t layer_len[LAYERS] = {300007, 1500};
/* A step in which the scaled loss overflows, and one in which the rate of the second layer does. In both no layer is
 * updated, unless the rule itself limits the rate. */
enum { BAD_STEP = 5, WILD_STEP = 7 };
static const double loss_scale = 1024.0;
static lw_layer_config configs[LAYERS] = {LW_LAYER_DEFAULT, LW_LAYER_DEFAULT};

static void begin_step(int step) { configs[1].rate = step == WILD_STEP ? 1e300 : 1.0; }

/* Ends the program if a call was refused. */
static lw_status check(lw_status status, const lw_error *error) {
    if (status >= 0) return status;
    fprintf(stderr, "%s (%g)\n", error->text, error->value);
    exit(1);
}

static float *zeros(size_t len) {
    float *x = calloc(len + 1, sizeof *x);
    if (!x) exit(1);
    return x;
}

/* The gradients of sum (w - t)^2 / 2 for some targets t, times the loss scale, of a chunk that begins at `start`. */
static void gradients(int step, size_t layer, size_t start, size_t len, const float *weights, float *g) {
    for (size_t i = 0; i < len; i++)
        g[i] = (float)loss_scale * (weights[i] - ((float)((start + i) * 7919 % 1000) / 500.0f - 1.0f));
    const size_t bad = layer_len[0] / 2;
    if (step == BAD_STEP && layer == 0 && start <= bad && bad < start + len) g[bad - start] = 1e38f * 10.0f;
}

/* New layers with all arrays that a rule may keep. */
static void new_layers(const lw_optimizer *optimizer, lw_layer *layers) {
    lw_error error;
    const lw_status moments = check(lw_moments(optimizer, &error), &error);
    for (size_t i = 0; i < LAYERS; i++) {
        float *weights = zeros(layer_len[i]);
        for (size_t j = 0; j < layer_len[i]; j++) weights[j] = 0.01f;
        layers[i] = (lw_layer){.len = layer_len[i], .weights = {weights, LW_F32}, .config = &configs[i]};
        layers[i].gradients.data = zeros(layer_len[i]);
        layers[i].momentum.data = moments >= 1 ? zeros(layer_len[i]) : NULL;
        layers[i].second_moment.data = moments >= 2 ? zeros(layer_len[i]) : NULL;
    }
}

static void free_layers(lw_layer *layers) {
    for (size_t i = 0; i < LAYERS; i++) {
        free(layers[i].weights.data);
        free((void *)layers[i].gradients.data);
        free(layers[i].momentum.data);
        free(layers[i].second_moment.data);
    }
}

/* All steps in one thread. */
static void train_alone(const lw_optimizer *optimizer, double lr, lw_layer *layers) {
    lw_report reports[LAYERS];
    lw_error error;
    new_layers(optimizer, layers);
    for (int step = 0; step < STEPS; step++) {
        begin_step(step);
        for (size_t i = 0; i < LAYERS; i++)
            gradients(step, i, 0, layer_len[i], layers[i].weights.data, (float *)layers[i].gradients.data);
        check(lw_step(optimizer, lr, 1.0 / loss_scale, layers, LAYERS, reports, NULL, &error), &error);
    }
}

/* A worker's part of a layer. */
static inline lw_layer chunk_of(const lw_layer *layer, lw_range own) {
    lw_layer chunk = *layer;
    chunk.len = own.end - own.start;
    chunk.weights.data = (float *)layer->weights.data + own.start;
    chunk.gradients.data = (const float *)layer->gradients.data + own.start;
    if (layer->momentum.data) chunk.momentum.data = (float *)layer->momentum.data + own.start;
    if (layer->second_moment.data) chunk.second_moment.data = (float *)layer->second_moment.data + own.start;
    return chunk;
}

static size_t differing(const void *a, const void *b, size_t len) {
    const float *x = a, *y = b;
    size_t count = 0;
    for (size_t i = 0; x && i < len; i++) count += memcmp(&x[i], &y[i], sizeof *x) != 0;
    return count;
}

/* Whether weights have the bits of those trained in one thread, and have changed at all. */
static int same_weights(const char *name, const lw_layer *layers, const lw_layer *alone) {
    size_t count = 0, moved = 0;
    for (size_t i = 0; i < LAYERS; i++) {
        const float *weights = alone[i].weights.data;
        count += differing(layers[i].weights.data, weights, layer_len[i]);
        for (size_t j = 0; j < layer_len[i]; j++) moved += weights[j] != 0.01f && weights[j] - weights[j] == 0.0f;
    }
    printf("%s: %d steps, %zu weights differ from those of lw_step\n", name, STEPS, count);
    return count == 0 && moved > layer_len[0] / 2;
}

/* The rules to test hosts with: with a ratio of norms; with a global clip and a limit of the step; with both. */
enum { RULES = 3 };
static const char *const rule_names[RULES] = {"LARC", "NovoGrad with LUC, clipped", "LAMB, clipped"};
static const double rule_rates[RULES] = {0.5, 0.5, 0.01};
static lw_optimizer rule(size_t i) {
    lw_optimizer larc = LW_SGD_DEFAULT, novograd = LW_NOVOGRAD_DEFAULT, lamb = LW_ADAM_DEFAULT;
    larc.sgd.momentum = 0.9;
    larc.larc = (lw_larc)LW_LARC_DEFAULT;
    larc.larc.eta = 0.1;
    novograd.luc = (lw_luc)LW_LUC_DEFAULT;
    novograd.luc.trust = 0.1;
    lamb.adam.trust_ratio = 1;
    lamb.adam.weight_decay = 0.01;
    novograd.clip_norm = lamb.clip_norm = 1.0;
    lw_optimizer optimizer = i == 0 ? larc : i == 1 ? novograd : lamb;
    optimizer.non_finite = LW_SKIP_STEP;
    return optimizer;
}

#endif
