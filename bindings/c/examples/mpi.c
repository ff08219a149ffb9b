/* Sharded training over MPI: every rank has all weights, but gradients, moments and the optimizer's work only for its
 * own leaves of each layer. The weights have the bits of one process, on any number of ranks.
 *
 * Ranks exchange the sums of their leaves, 24 bytes for 1024 weights, and the new weights. From the same sums every
 * rank makes the same decision. A rule that limits its step sends 8 bytes more.
 *
 *     mpirun -n 3 mpi */
#include "problem.h"

#include <mpi.h>

static int rank, ranks;

/* Brings the parts of an array together that the ranks have in place. A rank has `per_leaf` elements for each leaf of
 * its chunk, or as many as the chunk has where `per_leaf` is 0. */
static void all_gather(void *array, MPI_Datatype type, size_t layer, size_t per_leaf) {
    int counts[64], places[64];
    for (int i = 0; i < ranks; i++) {
        const lw_range range = lw_chunk(layer_len[layer], (size_t)i, (size_t)ranks);
        const size_t len = range.end - range.start;
        counts[i] = (int)(per_leaf ? LW_LEAVES(len) * per_leaf : len);
        places[i] = (int)(per_leaf ? range.start / LW_LEAF * per_leaf : range.start);
    }
    MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, array, counts, places, type, MPI_COMM_WORLD);
}

/* A rank's part of a layer: its arrays are the shard's, but the weights are those of the whole layer. */
typedef struct shard {
    lw_range own;
    lw_layer chunk;
    double *sums;
} shard;

static void plan(const lw_optimizer *optimizer, lw_decision *decision, const lw_measured *measured, shard *shards,
                 lw_planned *planned) {
    lw_error error;
    for (size_t i = 0; i < LAYERS; i++) {
        const shard *s = &shards[i];
        check(lw_plan(optimizer, decision, &measured[i], &configs[i], &s->chunk.state, &planned[i], &error), &error);
        if (check(lw_needs_step(&planned[i], &error), &error)) {
            double *own_sums = s->sums + s->own.start / LW_LEAF;
            check(lw_step_leaf_sums(&planned[i], &s->chunk, s->own.start, own_sums, &error), &error);
            all_gather(s->sums, MPI_DOUBLE, i, 1);
            const size_t leaves = LW_LEAVES(layer_len[i]);
            check(lw_limit(optimizer, decision, s->sums, leaves, &planned[i], &error), &error);
        }
        check(lw_confirm(optimizer, &planned[i], decision, &error), &error);
    }
}

static void step(const lw_optimizer *optimizer, double lr, shard *shards, lw_layer *layers) {
    const double scale = 1.0 / loss_scale;
    lw_measured measured[LAYERS];
    lw_planned planned[LAYERS];
    lw_decision decision;
    lw_error error;
    for (size_t i = 0; i < LAYERS; i++) {
        const shard *s = &shards[i];
        double *own_sums = s->sums + s->own.start / LW_LEAF * LW_SUMS;
        check(lw_leaf_sums(optimizer, lr, scale, &s->chunk, s->own.start, own_sums, &error), &error);
        all_gather(s->sums, MPI_DOUBLE, i, LW_SUMS);
        check(lw_fold(optimizer, lr, scale, &configs[i], layer_len[i], s->sums, &measured[i], &error), &error);
    }
    check(lw_decide(optimizer, lr, scale, measured, LAYERS, &decision, &error), &error);
    plan(optimizer, &decision, measured, shards, planned);
    /* Where a layer of this step cannot be updated, no layer is. */
    if (decision.skip) plan(optimizer, &decision, measured, shards, planned);
    for (size_t i = 0; i < LAYERS; i++) {
        check(lw_apply_chunk(&planned[i], &shards[i].chunk, &error), &error);
        check(lw_finish(&planned[i], &shards[i].chunk.state, NULL, &error), &error);
        all_gather(layers[i].weights.data, MPI_FLOAT, i, 0);
    }
}

static void train(const lw_optimizer *optimizer, double lr, lw_layer *layers) {
    lw_error error;
    const lw_status moments = check(lw_moments(optimizer, &error), &error);
    shard shards[LAYERS];
    for (size_t i = 0; i < LAYERS; i++) {
        shard *s = &shards[i];
        s->own = lw_chunk(layer_len[i], (size_t)rank, (size_t)ranks);
        const size_t len = s->own.end - s->own.start;
        float *weights = zeros(layer_len[i]);
        for (size_t j = 0; j < layer_len[i]; j++) weights[j] = 0.01f;
        layers[i] = (lw_layer){.len = layer_len[i], .weights = {weights, LW_F32}};
        s->chunk = (lw_layer){.len = len, .weights = {weights + s->own.start, LW_F32}, .config = &configs[i]};
        s->chunk.gradients.data = zeros(len);
        s->chunk.momentum.data = moments >= 1 ? zeros(len) : NULL;
        s->chunk.second_moment.data = moments >= 2 ? zeros(len) : NULL;
        s->sums = calloc(LW_LEAVES(layer_len[i]), LW_SUMS * sizeof(double));
        if (!s->sums) exit(1);
    }
    for (int i = 0; i < STEPS; i++) {
        begin_step(i);
        for (size_t j = 0; j < LAYERS; j++) {
            const lw_layer *chunk = &shards[j].chunk;
            gradients(i, j, shards[j].own.start, chunk->len, chunk->weights.data, (float *)chunk->gradients.data);
        }
        step(optimizer, lr, shards, layers);
    }
    for (size_t i = 0; i < LAYERS; i++) {
        free((void *)shards[i].chunk.gradients.data);
        free(shards[i].chunk.momentum.data);
        free(shards[i].chunk.second_moment.data);
        free(shards[i].sums);
    }
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    int ok = ranks <= 64;
    for (size_t i = 0; ok && i < RULES; i++) {
        const lw_optimizer optimizer = rule(i);
        lw_layer alone[LAYERS], layers[LAYERS];
        char name[64];
        train_alone(&optimizer, rule_rates[i], alone);
        train(&optimizer, rule_rates[i], layers);
        snprintf(name, sizeof name, "%s, rank %d of %d", rule_names[i], rank, ranks);
        ok = same_weights(name, layers, alone);
        free_layers(layers);
        free_layers(alone);
    }
    if (!ok) MPI_Abort(MPI_COMM_WORLD, 1);
    MPI_Finalize();
    return 0;
}
