/* Sharded training over MPI: every rank has all weights, but gradients, moments and the optimizer's work only for its
 * own leaves of each layer. The weights have the bits of one process, on any number of ranks.
 *
 * Ranks exchange the sums of the few nodes that cover their leaves, 24 bytes for each, and the new weights. From the
 * same sums every rank makes the same decision. A rule that limits its step sends 8 bytes more.
 *
 *     mpirun -n 3 mpi */
#include "problem.h"

#include <mpi.h>

static int rank, ranks;

enum { MOST_RANKS = 64 };

/* Gathers the weights of a layer. Each rank has its chunk in place. */
static void all_gather(float *weights, size_t layer) {
    int counts[MOST_RANKS], places[MOST_RANKS];
    for (int i = 0; i < ranks; i++) {
        const lw_range range = lw_chunk(layer_len[layer], (size_t)i, (size_t)ranks);
        counts[i] = (int)(range.end - range.start);
        places[i] = (int)range.start;
    }
    MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, weights, counts, places, MPI_FLOAT, MPI_COMM_WORLD);
}

/* The nodes that cover the chunks of all ranks, in order, and those of each rank. */
typedef struct pieces {
    lw_range nodes[MOST_RANKS * LW_COVER];
    size_t counts[MOST_RANKS], places[MOST_RANKS], count;
} pieces;

static const pieces *pieces_of(size_t layer) {
    static pieces p;
    p.count = 0;
    for (int i = 0; i < ranks; i++) {
        const lw_range own = lw_chunk(layer_len[layer], (size_t)i, (size_t)ranks);
        const lw_range leaves = {own.start / LW_LEAF, LW_LEAVES(own.end)};
        p.places[i] = p.count;
        p.counts[i] = lw_tree_cover(LW_LEAVES(layer_len[layer]), leaves, p.nodes + p.count, LW_COVER);
        p.count += p.counts[i];
    }
    return &p;
}

/* Gathers the sums of all nodes, `each` per node. Each rank has its own in place. */
static void gather_sums(const pieces *p, double *sums, size_t each) {
    int counts[MOST_RANKS], places[MOST_RANKS];
    for (int i = 0; i < ranks; i++) {
        counts[i] = (int)(each * p->counts[i]);
        places[i] = (int)(each * p->places[i]);
    }
    MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, sums, counts, places, MPI_DOUBLE, MPI_COMM_WORLD);
}

/* A rank's part of a layer: its arrays are those of the shard, except that the weights are those of the whole layer. */
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
            const pieces *p = pieces_of(i);
            double *own = s->sums + p->places[rank];
            check(lw_step_subtree_sums(&planned[i], &s->chunk, layer_len[i], s->own.start, own, &error), &error);
            gather_sums(p, s->sums, 1);
            check(lw_limit_subtrees(optimizer, decision, p->nodes, s->sums, p->count, &planned[i], &error), &error);
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
        const pieces *p = pieces_of(i);
        double *own = s->sums + LW_SUMS * p->places[rank];
        check(lw_subtree_sums(optimizer, lr, scale, &s->chunk, layer_len[i], s->own.start, own, &error), &error);
        gather_sums(p, s->sums, LW_SUMS);
        check(lw_fold_subtrees(optimizer, lr, scale, &configs[i], layer_len[i], p->nodes, s->sums, p->count,
                               &measured[i], &error), &error);
    }
    check(lw_decide(optimizer, lr, scale, measured, LAYERS, &decision, &error), &error);
    plan(optimizer, &decision, measured, shards, planned);
    /* If one layer cannot be updated in this step, none is. */
    if (decision.skip) plan(optimizer, &decision, measured, shards, planned);
    for (size_t i = 0; i < LAYERS; i++) {
        check(lw_apply_chunk(&planned[i], &shards[i].chunk, &error), &error);
        check(lw_finish(&planned[i], &shards[i].chunk.state, NULL, &error), &error);
        all_gather(layers[i].weights.data, i);
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
    int ok = ranks <= MOST_RANKS;
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
