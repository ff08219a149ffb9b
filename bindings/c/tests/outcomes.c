/* Every outcome, what a step did and did not write, and schedules and loss scales. */
#include "test.h"

enum { LEN = 5 };
static float weights[3][LEN], gradients[3][LEN], momentum[3][LEN];
static lw_layer layers[3];
static lw_report reports[3];
static lw_summary summary;
static lw_error error;
static const lw_optimizer novograd = LW_NOVOGRAD_DEFAULT;

static void reset(void) {
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < LEN; j++) {
            weights[i][j] = 1.0f;
            gradients[i][j] = 0.5f;
            momentum[i][j] = 0.0f;
        }
        layers[i] = (lw_layer){
            .len = LEN,
            .weights = {weights[i], LW_F32},
            .gradients = {gradients[i], LW_F32},
            .momentum = {momentum[i], LW_F32},
        };
    }
    memset(&error, 0x55, sizeof error);
}

/* Whether the layer is as `reset` left it. */
static int untouched(size_t layer) {
    const lw_state zeros = {{0.0}};
    int same = !memcmp(&layers[layer].state, &zeros, sizeof zeros);
    for (size_t j = 0; j < LEN; j++) same &= weights[layer][j] == 1.0f && momentum[layer][j] == 0.0f;
    return same;
}

static lw_status step_layer(double lr) { return lw_step_layer(&novograd, lr, 1.0, &layers[0], &reports[0], &error); }

static void one_layer(void) {
    reset();
    EXPECT(step_layer(0.1) == LW_APPLIED && reports[0].outcome == LW_APPLIED);
    /* g / |g| is 1 / sqrt(5), and the first step of the momentum is that. */
    for (size_t j = 0; j < LEN; j++) {
        EXPECT(fabs(weights[0][j] - (1.0 - 0.1 / sqrt(5.0))) < 1e-6);
        EXPECT(fabs(momentum[0][j] - 1.0 / sqrt(5.0)) < 1e-6);
    }
    EXPECT(fabs(reports[0].gradient_norm - 0.5 * sqrt(5.0)) < 1e-6 && reports[0].effective_rate == 0.1);
    EXPECT(layers[0].state.numbers[0] != 0.0);

    reset();
    gradients[0][3] = NAN;
    EXPECT(step_layer(0.1) == LW_NON_FINITE && reports[0].outcome == LW_NON_FINITE && untouched(0));
    gradients[0][3] = -INFINITY;
    EXPECT(step_layer(0.1) == LW_NON_FINITE && untouched(0));

    reset();
    EXPECT(step_layer(1e300) == LW_OUT_OF_RANGE && reports[0].outcome == LW_OUT_OF_RANGE && untouched(0));

    reset();
    weights[0][2] = -3e38f;
    EXPECT(step_layer(3e38) == LW_OVERFLOWED && reports[0].outcome == LW_OVERFLOWED && !isfinite(weights[0][2]));
    EXPECT(isfinite(weights[0][1]));

    reset();
    static const lw_layer_config frozen = LW_LAYER_FROZEN;
    layers[0].config = &frozen;
    EXPECT(step_layer(0.1) == LW_FROZEN && reports[0].outcome == LW_FROZEN && untouched(0));

    reset();
    layers[0].gradients.data = NULL;
    EXPECT(step_layer(0.1) == LW_ABSENT && reports[0].outcome == LW_ABSENT && untouched(0));

    reset();
    EXPECT(lw_step_layer(&novograd, 0.1, 1.0, &layers[0], NULL, NULL) == LW_APPLIED && !untouched(0));
}

/* A layer without elements needs no pointers. */
static void no_elements(void) {
    lw_layer empty = {0};
    EXPECT(lw_step_layer(&novograd, 0.1, 1.0, &empty, &reports[0], &error) == LW_APPLIED);
    EXPECT(lw_step(&novograd, 0.1, 1.0, NULL, 0, NULL, &summary, &error) == LW_APPLIED && summary.applied == 0);
    double norm = -1.0;
    EXPECT(lw_l2_norm((lw_const_array){NULL, LW_F32}, 0, &norm, &error) == LW_APPLIED && norm == 0.0);
}

static lw_status step(const lw_optimizer *optimizer) {
    return lw_step(optimizer, 0.1, 1.0, layers, 3, reports, &summary, &error);
}

static void several_layers(void) {
    reset();
    EXPECT(step(&novograd) == LW_APPLIED && summary.applied == 3 && summary.skipped == 0 && summary.overflowed == 0);
    EXPECT(fabs(summary.gradient_norm - 0.5 * sqrt(15.0)) < 1e-6 && summary.clip == 1.0);

    /* One bad layer: either the others are updated, or none is. */
    reset();
    gradients[1][0] = NAN;
    EXPECT(step(&novograd) == LW_NON_FINITE && summary.applied == 2 && summary.skipped == 1);
    EXPECT(!untouched(0) && untouched(1) && !untouched(2) && reports[1].outcome == LW_NON_FINITE);
    lw_optimizer skip = novograd;
    skip.non_finite = LW_SKIP_STEP;
    reset();
    gradients[1][0] = NAN;
    EXPECT(step(&skip) == LW_STEP_SKIPPED && summary.applied == 0 && summary.skipped == 3);
    EXPECT(untouched(0) && untouched(1) && untouched(2));
    EXPECT(reports[0].outcome == LW_STEP_SKIPPED && reports[1].outcome == LW_NON_FINITE);

    /* The status is that of the first bad layer. */
    reset();
    gradients[1][0] = NAN;
    weights[2][0] = INFINITY;
    EXPECT(step(&novograd) == LW_NON_FINITE && reports[2].outcome == LW_OVERFLOWED && summary.overflowed == 1);

    /* A layer that takes no part does not count as skipped. */
    reset();
    layers[2].gradients.data = NULL;
    EXPECT(step(&skip) == LW_APPLIED && summary.applied == 2 && summary.skipped == 0 && untouched(2));
    EXPECT(reports[2].outcome == LW_ABSENT);

    reset();
    lw_optimizer clipped = LW_SGD_DEFAULT;
    clipped.clip_norm = 0.1;
    for (size_t i = 0; i < 3; i++) layers[i].momentum.data = NULL;
    EXPECT(step(&clipped) == LW_APPLIED && fabs(summary.clip - 0.1 / (0.5 * sqrt(15.0))) < 1e-9);
    EXPECT(fabs(weights[1][4] - (1.0 - 0.1 * 0.5 * summary.clip)) < 1e-6);
}

/* Layers in an array may share memory, as if they were updated one by one. */
static void shared_layers(void) {
    const lw_optimizer sgd = LW_SGD_DEFAULT;
    reset();
    for (size_t i = 0; i < 3; i++) layers[i].momentum.data = NULL;
    layers[1].weights.data = weights[0];
    layers[1].gradients.data = gradients[0];
    EXPECT(step(&sgd) == LW_APPLIED && summary.applied == 3);
    EXPECT(fabs(weights[0][0] - 0.9) < 1e-6 && weights[1][0] == 1.0f && fabs(weights[2][0] - 0.95) < 1e-6);
}

/* An outcome does not touch the error. */
static void error_of_outcomes(void) {
    lw_error other;
    memset(&other, 0x55, sizeof other);
    reset();
    gradients[0][0] = NAN;
    EXPECT(step_layer(0.1) == LW_NON_FINITE && !memcmp(&error, &other, sizeof error));
}

/* Carried norms save reading the weights and change nothing. */
static void carried_norms(void) {
    lw_optimizer larc = LW_SGD_DEFAULT;
    larc.larc = (lw_larc)LW_LARC_DEFAULT;
    lw_norms norms = {0.0, 0.0};
    reset();
    layers[0].momentum.data = layers[1].momentum.data = NULL;
    layers[1].norms = &norms;
    for (int i = 0; i < 5; i++) {
        EXPECT(lw_step_layer(&larc, 0.1, 1.0, &layers[0], &reports[0], &error) == LW_APPLIED);
        EXPECT(lw_step_layer(&larc, 0.1, 1.0, &layers[1], &reports[1], &error) == LW_APPLIED);
        EXPECT(norms.weights > 0.0 && norms.gradients == 0.0);
    }
    EXPECT(!memcmp(weights[0], weights[1], sizeof weights[0]));
}

/* Weights in two halves, gradients of f16, and a copy of bf16: the bits of float weights. */
static void halves(void) {
    static uint16_t upper[LEN], lower[LEN], copy[LEN], f16[LEN];
    reset();
    for (size_t j = 0; j < LEN; j++) {
        upper[j] = 0x3f80; /* 1 */
        f16[j] = 0x3800;   /* 0.5 */
    }
    layers[1].weights = (lw_array){upper, LW_BF16};
    layers[1].lower = lower;
    layers[1].gradients = (lw_const_array){f16, LW_F16};
    layers[1].copy = (lw_array){copy, LW_BF16};
    EXPECT(step(&novograd) == LW_APPLIED);
    for (size_t j = 0; j < LEN; j++) {
        const uint32_t bits = (uint32_t)upper[j] << 16 | lower[j];
        EXPECT(!memcmp(&bits, &weights[0][j], sizeof bits));
        const uint32_t rounded = (uint32_t)copy[j] << 16;
        float of_copy;
        memcpy(&of_copy, &rounded, sizeof of_copy);
        EXPECT(fabsf(of_copy - weights[0][j]) <= weights[0][j] / 256.0f);
    }
}

/* Layers in flat buffers have the bits of the same layers in an array: their split weights, and the norms of each. */
static void flat_layers(void) {
    static const lw_span spans[2] = {{0, 2, NULL}, {2, LEN - 2, NULL}};
    static uint16_t upper[2][LEN], lower[2][LEN];
    static lw_norms norms[2][2];
    static lw_state states[2];
    lw_optimizer larc = LW_SGD_DEFAULT;
    larc.larc = (lw_larc)LW_LARC_DEFAULT;
    for (size_t j = 0; j < LEN; j++) {
        gradients[0][j] = (float)j - 1.5f;
        upper[0][j] = upper[1][j] = (uint16_t)(0x3f80 + j);
        lower[0][j] = lower[1][j] = (uint16_t)(0x1234 * j);
    }
    for (size_t i = 0; i < 2; i++) {
        layers[i] = (lw_layer){
            .len = spans[i].len,
            .weights = {upper[1] + spans[i].start, LW_BF16},
            .lower = lower[1] + spans[i].start,
            .gradients = {gradients[0] + spans[i].start, LW_F32},
            .norms = &norms[1][i],
        };
    }
    const lw_flat flat = {
        .len = LEN,
        .weights = {upper[0], LW_BF16},
        .lower = lower[0],
        .gradients = {gradients[0], LW_F32},
        .spans = spans,
        .count = 2,
        .states = states,
        .norms = norms[0],
    };
    for (int i = 0; i < 3; i++) {
        EXPECT(lw_step_flat(&larc, 0.1, 1.0, &flat, reports, &summary, &error) == LW_APPLIED && summary.applied == 2);
        EXPECT(lw_step(&larc, 0.1, 1.0, layers, 2, reports, &summary, &error) == LW_APPLIED && summary.applied == 2);
        EXPECT(!memcmp(upper[0], upper[1], sizeof upper[0]) && !memcmp(lower[0], lower[1], sizeof lower[0]));
        EXPECT(!memcmp(norms[0], norms[1], sizeof norms[0]) && norms[0][1].weights > 0.0);
    }
}

/* A plan that is out of range skips the whole step, and then nothing is clipped. */
static void confirmed(void) {
    lw_measured measured;
    lw_decision decision;
    lw_planned planned;
    lw_optimizer skip = LW_SGD_DEFAULT;
    skip.non_finite = LW_SKIP_STEP;
    skip.clip_norm = 0.1;
    reset();
    EXPECT(lw_measure(&skip, 1e300, 1.0, &layers[0], &measured, &error) == LW_APPLIED);
    EXPECT(lw_decide(&skip, 1e300, 1.0, &measured, 1, &decision, &error) == LW_APPLIED);
    EXPECT(decision.clip < 1.0 && !decision.skip);
    EXPECT(lw_plan(&skip, &decision, &measured, NULL, &layers[0].state, &planned, &error) == LW_APPLIED);
    EXPECT(lw_confirm(&skip, &planned, &decision, &error) == LW_APPLIED);
    EXPECT(decision.clip == 1.0 && decision.skip);
}

/* A weight beyond the range of f16 is an infinity in its copy, or the largest number with `saturate`. */
static void copies_out_of_range(void) {
    uint16_t copy[LEN];
    for (uint32_t saturate = 0; saturate <= 1; saturate++) {
        reset();
        weights[0][0] = -1e6f;
        layers[0].copy = (lw_array){copy, LW_F16};
        layers[0].saturate = saturate;
        EXPECT(step_layer(0.1) == LW_APPLIED && copy[0] == (saturate ? 0xfbff : 0xfc00));
        EXPECT(copy[1] > 0x3b00 && copy[1] < 0x3c00);
    }
}

static void sums(void) {
    static const float x[] = {3.0f, -4.0f};
    static const float bad[] = {1.0f, INFINITY};
    const lw_const_array array = {x, LW_F32};
    float sum[2] = {1.0f, 1.0f};
    double result;
    EXPECT(lw_l2_norm(array, 2, &result, &error) == LW_APPLIED && result == 5.0);
    EXPECT(lw_sum_of_squares(array, 2, &result, &error) == LW_APPLIED && result == 25.0);
    EXPECT(lw_max_norm(array, 2, &result, &error) == LW_APPLIED && result == 4.0);
    EXPECT(lw_accumulate((lw_array){sum, LW_F32}, array, 2, 0.5, 0, &result, &error) == LW_APPLIED);
    EXPECT(sum[0] == 2.5f && sum[1] == -1.0f && result == 7.25);
    const lw_const_array infinite = {bad, LW_F32};
    const lw_array into = {sum, LW_F32};
    EXPECT(lw_accumulate(into, infinite, 2, 1.0, 1, NULL, &error) == LW_NON_FINITE && sum[0] == 2.5f);
    /* What is not 0 is true. */
    EXPECT(lw_accumulate(into, infinite, 2, 1.0, -1, NULL, &error) == LW_NON_FINITE && sum[0] == 2.5f);
    EXPECT(lw_accumulate(into, infinite, 2, 1.0, 0, NULL, &error) == LW_APPLIED && sum[0] == 3.5f);
}

static void rates_and_scales(void) {
    lw_schedule schedule;
    double rate;
    EXPECT(lw_schedule_default(LW_POLY_DECAY, 1.0, &schedule, &error) == LW_APPLIED);
    schedule.power = 1.0;
    EXPECT(lw_schedule_fill(&schedule, 100, 0, &error) == LW_APPLIED && schedule.decay_steps == 100);
    EXPECT(lw_rate(&schedule, 0, &rate, &error) == LW_APPLIED && rate == 1.0);
    EXPECT(lw_rate(&schedule, 50, &rate, &error) == LW_APPLIED && fabs(rate - 0.5) < 1e-12);
    EXPECT(lw_rate(&schedule, 1000, &rate, &error) == LW_APPLIED && rate == schedule.min_lr);

    /* A step that overflows halves the scale and does not count; two good steps double it. */
    lw_loss_scaler scaler = LW_BACKOFF_DEFAULT;
    scaler.step_window = 2;
    lw_loss_state state = {{0.0}};
    double scale;
    EXPECT(lw_loss_update(&scaler, &state, 0, INFINITY, &error) == LW_STEP_SKIPPED);
    EXPECT(lw_loss_scale(&scaler, &state, &scale, &error) == LW_APPLIED && scale == 8192.0);
    EXPECT(lw_loss_update(&scaler, &state, 1, 1.0, &error) == LW_APPLIED);
    EXPECT(lw_loss_update(&scaler, &state, -1, 1.0, &error) == LW_APPLIED);
    EXPECT(lw_loss_scale(&scaler, &state, &scale, &error) == LW_APPLIED && scale == 16384.0);
}

/* Every status has its own message, and a number that is not a status has one too. */
static void words(void) {
    for (lw_status a = LW_BAD_PIECES; a <= LW_STEP_SKIPPED; a++) {
        EXPECT(lw_status_text(a) && lw_status_text(a)[0]);
        for (lw_status b = LW_BAD_PIECES; b < a; b++) EXPECT(strcmp(lw_status_text(a), lw_status_text(b)));
    }
    EXPECT(lw_status_text(99) && lw_status_text(INT32_MIN));
    EXPECT(lw_abi_version() == LW_ABI_VERSION && !strcmp(lw_version(), LAYERWISE_VERSION));
}

int main(void) {
    one_layer();
    no_elements();
    several_layers();
    shared_layers();
    error_of_outcomes();
    carried_norms();
    halves();
    flat_layers();
    confirmed();
    copies_out_of_range();
    sums();
    rates_and_scales();
    words();
    return end_of_tests();
}
