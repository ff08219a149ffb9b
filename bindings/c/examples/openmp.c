/* A host with an OpenMP team: each thread owns a chunk of every layer, and the weights have the bits of one thread.
 *
 * Each thread sums the leaves of its chunks, waits for the others, and updates its chunks. In between, every thread
 * makes the same decision from the same sums: how much to clip, and whether to skip the step. A rule that limits its
 * step needs the norm of the step first, which takes one more exchange of sums. */
#include "problem.h"

#include <omp.h>

/* Sums of all leaves, collected from all threads. */
typedef struct exchange {
    double *leaves[LAYERS], *steps[LAYERS];
} exchange;

/* Plans the update of all layers. Every thread calls it, and all take the same branches. */
static void plan(const lw_optimizer *optimizer, lw_decision *decision, const lw_measured *measured,
                 const lw_layer *layers, const exchange *sums, lw_planned *planned) {
    const size_t ith = (size_t)omp_get_thread_num(), nth = (size_t)omp_get_num_threads();
    lw_error error;
    for (size_t i = 0; i < LAYERS; i++) {
        check(lw_plan(optimizer, decision, &measured[i], &configs[i], &layers[i].state, &planned[i], &error), &error);
        if (check(lw_needs_step(&planned[i], &error), &error)) {
            const lw_range own = lw_chunk(layer_len[i], ith, nth);
            const lw_layer chunk = chunk_of(&layers[i], own);
            double *own_sums = sums->steps[i] + own.start / LW_LEAF;
            check(lw_step_leaf_sums(&planned[i], &chunk, own.start, own_sums, &error), &error);
#pragma omp barrier
            const size_t leaves = LW_LEAVES(layer_len[i]);
            check(lw_limit(optimizer, decision, sums->steps[i], leaves, &planned[i], &error), &error);
        }
        check(lw_confirm(optimizer, &planned[i], decision, &error), &error);
    }
}

/* One step, called by every thread of the team. */
static void step(const lw_optimizer *optimizer, double lr, lw_layer *layers, const exchange *sums) {
    const size_t ith = (size_t)omp_get_thread_num(), nth = (size_t)omp_get_num_threads();
    const double scale = 1.0 / loss_scale;
    lw_measured measured[LAYERS];
    lw_planned planned[LAYERS];
    lw_decision decision;
    lw_error error;
    for (size_t i = 0; i < LAYERS; i++) {
        const lw_range own = lw_chunk(layer_len[i], ith, nth);
        const lw_layer chunk = chunk_of(&layers[i], own);
        double *own_sums = sums->leaves[i] + own.start / LW_LEAF * LW_SUMS;
        check(lw_leaf_sums(optimizer, lr, scale, &chunk, own.start, own_sums, &error), &error);
    }
#pragma omp barrier
    for (size_t i = 0; i < LAYERS; i++)
        check(lw_fold(optimizer, lr, scale, &configs[i], layer_len[i], sums->leaves[i], &measured[i], &error),
              &error);
    check(lw_decide(optimizer, lr, scale, measured, LAYERS, &decision, &error), &error);
    plan(optimizer, &decision, measured, layers, sums, planned);
    /* If one layer cannot be updated in this step, none is. */
    if (decision.skip) plan(optimizer, &decision, measured, layers, sums, planned);
    for (size_t i = 0; i < LAYERS; i++) {
        lw_layer chunk = chunk_of(&layers[i], lw_chunk(layer_len[i], ith, nth));
        check(lw_apply_chunk(&planned[i], &chunk, &error), &error);
    }
    /* All threads read the states until here. */
#pragma omp barrier
#pragma omp single
    for (size_t i = 0; i < LAYERS; i++)
        check(lw_finish(&planned[i], &layers[i].state, NULL, &error), &error);
}

static void train(const lw_optimizer *optimizer, double lr, int threads, lw_layer *layers) {
    exchange sums;
    new_layers(optimizer, layers);
    for (size_t i = 0; i < LAYERS; i++) {
        sums.leaves[i] = malloc(LW_LEAVES(layer_len[i]) * LW_SUMS * sizeof(double));
        sums.steps[i] = malloc(LW_LEAVES(layer_len[i]) * sizeof(double));
        if (!sums.leaves[i] || !sums.steps[i]) exit(1);
    }
#pragma omp parallel num_threads(threads)
    for (int j = 0; j < STEPS; j++) {
#pragma omp single
        {
            begin_step(j);
            for (size_t i = 0; i < LAYERS; i++)
                gradients(j, i, 0, layer_len[i], layers[i].weights.data, (float *)layers[i].gradients.data);
        }
        step(optimizer, lr, layers, &sums);
    }
    for (size_t i = 0; i < LAYERS; i++) {
        free(sums.leaves[i]);
        free(sums.steps[i]);
    }
}

int main(void) {
    int ok = 1;
    for (size_t i = 0; i < RULES; i++) {
        const lw_optimizer optimizer = rule(i);
        lw_layer alone[LAYERS], layers[LAYERS];
        train_alone(&optimizer, rule_rates[i], alone);
        for (int threads = 1; threads <= 4; threads++) {
            char name[64];
            snprintf(name, sizeof name, "%s, %d threads", rule_names[i], threads);
            train(&optimizer, rule_rates[i], threads, layers);
            ok &= same_weights(name, layers, alone);
            for (size_t j = 0; j < LAYERS; j++) {
                ok &= !memcmp(&layers[j].state, &alone[j].state, sizeof(lw_state));
                ok &= !differing(layers[j].momentum.data, alone[j].momentum.data, layer_len[j]);
                ok &= !differing(layers[j].second_moment.data, alone[j].second_moment.data, layer_len[j]);
            }
            free_layers(layers);
        }
        free_layers(alone);
    }
    return !ok;
}
