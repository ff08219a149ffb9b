/* A host that runs a graph: all threads work on every node, each as number `ith` of `nth`, and the next node begins
 * when all have finished the previous one. A step of the optimizer is six nodes at the end of the graph, and the
 * weights have the bits of one thread. (Engines such as ggml divide the work of a node like this.) */
#define _POSIX_C_SOURCE 200809L
#include "problem.h"

#include <pthread.h>

/* The data that the nodes share. */
typedef struct graph {
    lw_optimizer optimizer;
    double lr;
    int step;
    lw_layer layers[LAYERS];
    double *leaf_sums[LAYERS], *step_sums[LAYERS];
    lw_measured measured[LAYERS];
    lw_planned planned[LAYERS];
    lw_decision decision;
} graph;

typedef void node(graph *g, size_t ith, size_t nth);

/* The backward pass: the gradients of the chunks. */
static void node_gradients(graph *g, size_t ith, size_t nth) {
    for (size_t i = 0; i < LAYERS; i++) {
        const lw_range own = lw_chunk(layer_len[i], ith, nth);
        const lw_layer chunk = chunk_of(&g->layers[i], own);
        gradients(g->step, i, own.start, chunk.len, chunk.weights.data, (float *)chunk.gradients.data);
    }
}

static void node_leaf_sums(graph *g, size_t ith, size_t nth) {
    lw_error error;
    for (size_t i = 0; i < LAYERS; i++) {
        const lw_range own = lw_chunk(layer_len[i], ith, nth);
        const lw_layer chunk = chunk_of(&g->layers[i], own);
        double *sums = g->leaf_sums[i] + own.start / LW_LEAF * LW_SUMS;
        check(lw_leaf_sums(&g->optimizer, g->lr, 1.0 / loss_scale, &chunk, own.start, sums, &error), &error);
    }
}

static void plan(graph *g) {
    lw_error error;
    for (size_t i = 0; i < LAYERS; i++)
        check(lw_plan(&g->optimizer, &g->decision, &g->measured[i], &configs[i], &g->layers[i].state, &g->planned[i],
                      &error), &error);
}

/* One thread decides for all. */
static void node_decide(graph *g, size_t ith, size_t nth) {
    const double scale = 1.0 / loss_scale;
    lw_error error;
    (void)nth;
    if (ith > 0) return;
    for (size_t i = 0; i < LAYERS; i++)
        check(lw_fold(&g->optimizer, g->lr, scale, &configs[i], layer_len[i], g->leaf_sums[i], &g->measured[i],
                      &error), &error);
    check(lw_decide(&g->optimizer, g->lr, scale, g->measured, LAYERS, &g->decision, &error), &error);
    plan(g);
}

/* For rules that limit their step. */
static void node_step_sums(graph *g, size_t ith, size_t nth) {
    lw_error error;
    for (size_t i = 0; i < LAYERS; i++) {
        if (!check(lw_needs_step(&g->planned[i], &error), &error)) continue;
        const lw_range own = lw_chunk(layer_len[i], ith, nth);
        const lw_layer chunk = chunk_of(&g->layers[i], own);
        double *sums = g->step_sums[i] + own.start / LW_LEAF;
        check(lw_step_leaf_sums(&g->planned[i], &chunk, own.start, sums, &error), &error);
    }
}

static void node_limit(graph *g, size_t ith, size_t nth) {
    lw_error error;
    (void)nth;
    if (ith > 0) return;
    for (size_t i = 0; i < LAYERS; i++) {
        const size_t leaves = LW_LEAVES(layer_len[i]);
        if (check(lw_needs_step(&g->planned[i], &error), &error))
            check(lw_limit(&g->optimizer, &g->decision, g->step_sums[i], leaves, &g->planned[i], &error), &error);
        check(lw_confirm(&g->optimizer, &g->planned[i], &g->decision, &error), &error);
    }
    if (g->decision.skip) plan(g);
    /* The state is for the next step. Nothing reads it before. */
    for (size_t i = 0; i < LAYERS; i++)
        check(lw_finish(&g->planned[i], &g->layers[i].state, NULL, &error), &error);
}

static void node_apply(graph *g, size_t ith, size_t nth) {
    lw_error error;
    for (size_t i = 0; i < LAYERS; i++) {
        lw_layer chunk = chunk_of(&g->layers[i], lw_chunk(layer_len[i], ith, nth));
        check(lw_apply_chunk(&g->planned[i], &chunk, &error), &error);
    }
}

static void node_next_step(graph *g, size_t ith, size_t nth) {
    (void)nth;
    if (ith == 0) begin_step(++g->step);
}

static node *const nodes[] = {node_gradients, node_leaf_sums, node_decide,   node_step_sums,
                              node_limit,     node_apply,     node_next_step};

/* The engine. */
typedef struct worker {
    graph *g;
    pthread_barrier_t *barrier;
    pthread_t thread;
    size_t ith, nth;
} worker;

static void *work(void *argument) {
    const worker *w = argument;
    for (int step = 0; step < STEPS; step++) {
        for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
            nodes[i](w->g, w->ith, w->nth);
            pthread_barrier_wait(w->barrier);
        }
    }
    return NULL;
}

static void run(graph *g, size_t nth) {
    enum { MOST = 8 };
    worker workers[MOST];
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, (unsigned)nth);
    for (size_t i = 0; i < nth; i++) {
        workers[i] = (worker){.g = g, .barrier = &barrier, .ith = i, .nth = nth};
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i])) exit(1);
    }
    for (size_t i = 0; i < nth; i++) pthread_join(workers[i].thread, NULL);
    pthread_barrier_destroy(&barrier);
}

int main(void) {
    int ok = 1;
    for (size_t i = 0; i < RULES; i++) {
        graph g = {.optimizer = rule(i), .lr = rule_rates[i]};
        lw_layer alone[LAYERS];
        train_alone(&g.optimizer, g.lr, alone);
        new_layers(&g.optimizer, g.layers);
        begin_step(0);
        for (size_t j = 0; j < LAYERS; j++) {
            g.leaf_sums[j] = malloc(LW_LEAVES(layer_len[j]) * LW_SUMS * sizeof(double));
            g.step_sums[j] = malloc(LW_LEAVES(layer_len[j]) * sizeof(double));
            if (!g.leaf_sums[j] || !g.step_sums[j]) exit(1);
        }
        run(&g, 3);
        ok &= same_weights(rule_names[i], g.layers, alone);
        for (size_t j = 0; j < LAYERS; j++) {
            ok &= !memcmp(&g.layers[j].state, &alone[j].state, sizeof(lw_state));
            free(g.leaf_sums[j]);
            free(g.step_sums[j]);
        }
        free_layers(g.layers);
        free_layers(alone);
    }
    return !ok;
}
