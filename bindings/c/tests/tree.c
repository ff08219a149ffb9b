/* The tree of every sum: its nodes and shares, sums of nodes compared with those of whole arrays and whole steps, and
 * refusals. */
#include "test.h"

enum { LEN = 20 * LW_LEAF + 7, LEAVES = LW_LEAVES(LEN), RANKS = 5 };

static float weights[LEN], gradients[LEN], momentum[LEN], second_moment[LEN];
static float whole_weights[LEN], whole_momentum[LEN], whole_second_moment[LEN];

static lw_const_array of(const float *data) { return (lw_const_array){data, LW_F32}; }

static void fill(float *x, float scale) {
    static uint32_t seed = 1;
    for (size_t i = 0; i < LEN; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = scale * ((float)(seed >> 8) / 8388608.0f - 1.0f);
    }
}

/* The depth at which `range` is a node of the tree of `leaves`; -1 if it is not a node. */
static int depth_of(lw_range node, lw_range range) {
    if (node.start == range.start && node.end == range.end) return 0;
    size_t left = 1;
    if (node.end - node.start < 2) return -1;
    while (2 * left < node.end - node.start) left *= 2;
    const size_t middle = node.start + left;
    lw_range part = range.end <= middle ? (lw_range){node.start, middle} : (lw_range){middle, node.end};
    const int below = range.end <= middle || range.start >= middle ? depth_of(part, range) : -1;
    return below < 0 ? -1 : below + 1;
}

static void nodes_and_shares(void) {
    for (size_t leaves = 1; leaves < 40; leaves++) {
        const lw_range root = {0, leaves};
        for (size_t start = 0; start < leaves; start++) {
            for (size_t end = start; end <= leaves; end++) {
                lw_range nodes[LW_COVER], range = {start, end};
                const size_t count = lw_tree_cover(leaves, range, nodes, LW_COVER);
                size_t at = start;
                EXPECT(count == lw_tree_cover(leaves, range, NULL, 0) && count <= LW_COVER);
                for (size_t i = 0; i < count; i++) {
                    EXPECT(nodes[i].start == at && depth_of(root, nodes[i]) >= 0);
                    at = nodes[i].end;
                }
                EXPECT(at == end && (count == 1) == (start < end && depth_of(root, range) >= 0));
            }
        }
        for (size_t ranks = 1; ranks <= leaves; ranks++) {
            size_t at = 0;
            for (size_t i = 0; i < ranks; i++) {
                const lw_range share = lw_tree_share(leaves, i, ranks);
                EXPECT(share.start == at && share.end > at && depth_of(root, share) >= 0);
                at = share.end;
            }
            EXPECT(at == leaves);
        }
        size_t kept = 0;
        for (size_t leaf = 0; leaf < leaves; leaf++) kept = kept + 1 - lw_tree_merges(leaves, leaf);
        EXPECT(kept == 1);
    }
    /* Not enough room, and no room at all. */
    lw_range nodes[2] = {{7, 7}, {7, 7}};
    EXPECT(lw_tree_cover(24, (lw_range){5, 24}, nodes, 1) == 4);
    EXPECT(nodes[0].start == 5 && nodes[0].end == 6 && nodes[1].start == 7);
    EXPECT(lw_tree_cover(24, (lw_range){9, 3}, NULL, 9) == 0 && lw_tree_cover(24, (lw_range){24, 99}, NULL, 0) == 0);
}

/* The nodes of all ranks, with arbitrary cuts, and how many the first ranks have. */
static size_t nodes_of_ranks(lw_range *nodes, size_t counts[RANKS + 1], lw_range own[RANKS]) {
    static const size_t cuts[RANKS + 1] = {0, 3, 4, 11, 11, LEAVES};
    counts[0] = 0;
    for (size_t i = 0; i < RANKS; i++) {
        const lw_range leaves = {cuts[i], cuts[i + 1]};
        const size_t end = leaves.end * LW_LEAF;
        own[i] = (lw_range){leaves.start * LW_LEAF, end < LEN ? end : LEN};
        counts[i + 1] = counts[i] + lw_tree_cover(LEAVES, leaves, nodes + counts[i], LW_COVER);
    }
    return counts[RANKS];
}

static void sums_of_an_array(void) {
    lw_range nodes[RANKS * LW_COVER], own[RANKS];
    size_t counts[RANKS + 1];
    double sums[RANKS * LW_COVER], whole, found;
    const size_t count = nodes_of_ranks(nodes, counts, own);
    EXPECT(count < LEAVES);
    for (size_t i = 0; i < RANKS; i++) {
        const size_t len = own[i].end - own[i].start;
        EXPECT(lw_array_subtree_sums(of(weights + own[i].start), len, LEN, own[i].start, sums + counts[i], NULL) == 0);
    }
    EXPECT(lw_sum_of_squares(of(weights), LEN, &whole, NULL) == 0);
    EXPECT(lw_tree_fold(LEAVES, nodes, sums, count, &found, NULL) == 0 && found == whole);
    EXPECT(lw_tree_fold(0, NULL, NULL, 0, &found, NULL) == 0 && found == 0.0);
}

static lw_layer part(lw_range range) {
    lw_layer layer = {.len = range.end - range.start, .weights = {weights + range.start, LW_F32}};
    layer.gradients = of(gradients + range.start);
    layer.momentum = (lw_array){momentum + range.start, LW_F32};
    layer.second_moment = (lw_array){second_moment + range.start, LW_F32};
    return layer;
}

/* A LAMB step by ranks that exchange sums of nodes, compared with a whole step. */
static void a_step(void) {
    lw_optimizer lamb;
    lw_range nodes[RANKS * LW_COVER], own[RANKS];
    size_t counts[RANKS + 1];
    double sums[RANKS * LW_COVER * LW_SUMS];
    lw_measured measured;
    lw_decision decision;
    lw_planned planned;
    lw_layer whole = {.len = LEN, .weights = {whole_weights, LW_F32}, .momentum = {whole_momentum, LW_F32}};
    whole.gradients = of(gradients), whole.second_moment = (lw_array){whole_second_moment, LW_F32};
    EXPECT(lw_preset("adam.apex_lamb", &lamb, NULL) == 0);
    lw_state state = {{0}};
    for (int step = 0; step < 3; step++) {
        const size_t count = nodes_of_ranks(nodes, counts, own);
        EXPECT(lw_step_layer(&lamb, 0.01, 0.5, &whole, NULL, NULL) == LW_APPLIED);
        for (size_t i = 0; i < RANKS; i++) {
            const lw_layer chunk = part(own[i]);
            double *mine = sums + LW_SUMS * counts[i];
            EXPECT(lw_subtree_sums(&lamb, 0.01, 0.5, &chunk, LEN, own[i].start, mine, NULL) == 0);
        }
        EXPECT(lw_fold_subtrees(&lamb, 0.01, 0.5, NULL, LEN, nodes, sums, count, &measured, NULL) == 0);
        EXPECT(lw_decide(&lamb, 0.01, 0.5, &measured, 1, &decision, NULL) == 0);
        EXPECT(lw_plan(&lamb, &decision, &measured, NULL, &state, &planned, NULL) == 0);
        EXPECT(lw_needs_step(&planned, NULL) == 1);
        for (size_t i = 0; i < RANKS; i++) {
            const lw_layer chunk = part(own[i]);
            EXPECT(lw_step_subtree_sums(&planned, &chunk, LEN, own[i].start, sums + counts[i], NULL) == 0);
        }
        EXPECT(lw_limit_subtrees(&lamb, &decision, nodes, sums, count, &planned, NULL) == 0);
        for (size_t i = 0; i < RANKS; i++) {
            lw_layer chunk = part(own[i]);
            EXPECT(lw_apply_chunk(&planned, &chunk, NULL) == LW_APPLIED);
        }
        EXPECT(lw_finish(&planned, &state, NULL, NULL) == LW_APPLIED);
        EXPECT(memcmp(weights, whole_weights, sizeof weights) == 0);
        EXPECT(memcmp(momentum, whole_momentum, sizeof momentum) == 0);
        EXPECT(memcmp(second_moment, whole_second_moment, sizeof second_moment) == 0);
        EXPECT(memcmp(&state, &whole.state, sizeof state) == 0);
    }
}

static void an_addition(void) {
    static float sum[LEN], expected[LEN];
    double squares, whole;
    for (size_t i = 0; i < LEN; i++) expected[i] = weights[i] + gradients[i];
    EXPECT(lw_sum_of_squares(of(expected), LEN, &whole, NULL) == 0);
    memcpy(sum, weights, sizeof sum);
    EXPECT(lw_add((lw_array){sum, LW_F32}, of(gradients), LEN, &squares, NULL) == 0 && squares == whole);
    EXPECT(memcmp(sum, expected, sizeof sum) == 0);
    memcpy(sum, gradients, sizeof sum);
    EXPECT(lw_add((lw_array){sum, LW_F32}, of(weights), LEN, NULL, NULL) == 0);
    EXPECT(memcmp(sum, expected, sizeof sum) == 0);
    EXPECT(lw_add((lw_array){sum, LW_F32}, of(sum), LEN, NULL, NULL) == LW_OVERLAP);
}

#define REFUSED(expected, argument, call) \
    EXPECT((call) == (expected) && error.status == (expected) && strcmp(error.what, argument) == 0)

static void refusals(void) {
    lw_error error;
    double sums[LEAVES] = {7.0}, result = 7.0;
    const lw_range gap[2] = {{0, 16}, {17, LEAVES}}, all[1] = {{0, LEAVES}};
    REFUSED(LW_BAD_PIECES, "nodes", lw_tree_fold(LEAVES, gap, sums, 2, &result, &error));
    REFUSED(LW_BAD_PIECES, "nodes", lw_tree_fold(LEAVES, all, sums, 0, &result, &error));
    REFUSED(LW_NULL, "nodes", lw_tree_fold(LEAVES, NULL, sums, 1, &result, &error));
    REFUSED(LW_NULL, "sums", lw_tree_fold(LEAVES, all, NULL, 1, &result, &error));
    REFUSED(LW_NULL, "result", lw_tree_fold(LEAVES, all, sums, 1, NULL, &error));
    REFUSED(LW_OFF_LEAF, "start", lw_array_subtree_sums(of(weights), LEN, LEN + 5, 5, sums, &error));
    REFUSED(LW_OFF_LEAF, "start", lw_array_subtree_sums(of(weights), LEN, LEN + 5, 0, sums, &error));
    REFUSED(LW_BAD_LENGTH, "chunk", lw_array_subtree_sums(of(weights), LEN, LEN - 1, 0, sums, &error));
    REFUSED(LW_NULL, "sums", lw_array_subtree_sums(of(weights), LEN, LEN, 0, NULL, &error));
    REFUSED(LW_OVERLAP, "sums", lw_array_subtree_sums(of(weights), LEN, LEN, 0, (double *)(void *)weights, &error));
    lw_optimizer lamb;
    lw_measured measured;
    const lw_layer layer = part((lw_range){0, LEN});
    EXPECT(lw_preset("adam.apex_lamb", &lamb, NULL) == 0);
    REFUSED(LW_OFF_LEAF, "start", lw_subtree_sums(&lamb, 0.1, 1.0, &layer, LEN + 9, 0, sums, &error));
    REFUSED(LW_NULL, "chunk", lw_subtree_sums(&lamb, 0.1, 1.0, NULL, LEN, 0, sums, &error));
    REFUSED(LW_BAD_RATE, "lr", lw_subtree_sums(&lamb, -0.1, 1.0, &layer, LEN, 0, sums, &error));
    REFUSED(LW_BAD_PIECES, "nodes", lw_fold_subtrees(&lamb, 0.1, 1.0, NULL, LEN, gap, sums, 2, &measured, &error));
    EXPECT(sums[0] == 7.0 && result == 7.0);
}

int main(void) {
    fill(weights, 1.0f), fill(gradients, 3.0f);
    memcpy(whole_weights, weights, sizeof weights);
    nodes_and_shares();
    sums_of_an_array();
    an_addition();
    refusals();
    a_step();
    return end_of_tests();
}
