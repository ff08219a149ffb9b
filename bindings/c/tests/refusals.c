/* Every refusal: its status, the argument it names, and that nothing was written. */
#include "test.h"

enum { LEN = 3000 };

/* A host's memory: all arrays that a layer can have, and all other outputs of calls. */
static struct memory {
    float weights[LEN], gradients[LEN], momentum[LEN], second_moment[LEN];
    uint16_t upper[LEN], lower[LEN], copy[LEN];
    lw_layer layers[2];
    lw_report reports[2];
    lw_summary summary;
    lw_state states[2];
    lw_norms norms[2];
    double result, sums[LW_SUMS * LW_LEAVES(LEN)];
    lw_schedule schedule;
    lw_decision decision;
    /* The library's internal bytes, which it may leave partly unwritten: they are not compared. */
    lw_measured measured;
    lw_planned planned;
} host, before;

static lw_error error;

/* Memory with numbers in it, and two layers of AdamW that may be stepped. */
static void reset(void) {
    memset(&host, 0, sizeof host);
    for (size_t i = 0; i < LEN; i++) {
        host.weights[i] = 0.5f;
        host.gradients[i] = 0.25f;
        host.upper[i] = 0x3f00;
    }
    for (size_t i = 0; i < 2; i++) {
        const size_t start = i * 2000;
        host.layers[i] = (lw_layer){
            .len = i == 0 ? 2000 : LEN - 2000,
            .weights = {host.weights + start, LW_F32},
            .gradients = {host.gradients + start, LW_F32},
            .momentum = {host.momentum + start, LW_F32},
            .second_moment = {host.second_moment + start, LW_F32},
        };
    }
    memset(&error, 0, sizeof error);
}

static void snapshot(void) { memcpy(&before, &host, sizeof host); }

static int same(void) { return !memcmp(&before, &host, (size_t)((char *)&host.measured - (char *)&host)); }

static void refused_at(int line, lw_status status, lw_status wanted, const char *what) {
    checks++;
    const int told = error.status == wanted && !strcmp(error.what, what) && error.text[0];
    /* Reports may say that layers took no part. */
    for (size_t i = 0; i < 2; i++)
        if (host.reports[i].outcome == LW_ABSENT) memcpy(&before.reports[i], &host.reports[i], sizeof *host.reports);
    const int untouched = same();
    if (status == wanted && told && untouched) return;
    failures++;
    printf("line %d: status %d where %d was expected; error %d of \"%s\", not \"%s\": %s%s\n", line, status, wanted,
           error.status, error.what, what, error.text, untouched ? "" : "; something was written");
}
/* Evaluates a call that must be refused and write nothing. */
#define REFUSED(wanted, what, call) (snapshot(), refused_at(__LINE__, (call), (wanted), (what)))

static const lw_optimizer adam = LW_ADAM_DEFAULT;

static lw_status step_layer(void) { return lw_step_layer(&adam, 0.1, 1.0, &host.layers[0], host.reports, &error); }

/* Changes the first layer, steps it, and restores it. */
#define REFUSED_WITH(wanted, what, change)                                                                             \
    do {                                                                                                               \
        reset();                                                                                                       \
        lw_layer *layer = &host.layers[0];                                                                             \
        change;                                                                                                        \
        REFUSED(wanted, what, step_layer());                                                                           \
        EXPECT(error.layer == LW_NO_LAYER);                                                                            \
    } while (0)

static void *odd(void *pointer) { return (char *)pointer + 1; }

static void pointers(void) {
    reset();
    lw_layer *layers = host.layers;
    REFUSED(LW_NULL, "optimizer", lw_step_layer(NULL, 0.1, 1.0, layers, NULL, &error));
    REFUSED(LW_NULL, "layer", lw_step_layer(&adam, 0.1, 1.0, NULL, NULL, &error));
    REFUSED(LW_NULL, "layers", lw_step(&adam, 0.1, 1.0, NULL, 2, host.reports, NULL, &error));
    REFUSED(LW_NULL, "reports", lw_step(&adam, 0.1, 1.0, layers, 2, NULL, NULL, &error));
    REFUSED(LW_NULL, "x", lw_l2_norm((lw_const_array){NULL, LW_F32}, 1, &host.result, &error));
    REFUSED(LW_NULL, "result", lw_l2_norm((lw_const_array){host.weights, LW_F32}, 1, NULL, &error));
    REFUSED_WITH(LW_NULL, "weights", layer->weights.data = NULL);
    REFUSED(LW_MISALIGNED, "optimizer", lw_step_layer(odd((void *)&adam), 0.1, 1.0, layers, NULL, &error));
    REFUSED(LW_MISALIGNED, "report", lw_step_layer(&adam, 0.1, 1.0, layers, odd(host.reports), &error));
    REFUSED_WITH(LW_MISALIGNED, "weights", layer->weights.data = odd(host.weights));
    REFUSED_WITH(LW_MISALIGNED, "gradients", layer->gradients.data = odd(host.gradients));
    REFUSED_WITH(LW_MISALIGNED, "momentum", layer->momentum.data = odd(host.momentum));
    REFUSED_WITH(LW_MISALIGNED, "second_moment", layer->second_moment.data = odd(host.second_moment));
    REFUSED_WITH(LW_MISALIGNED, "norms", layer->norms = odd(host.norms));
    REFUSED_WITH(LW_MISALIGNED, "copy", (layer->copy.type = LW_F16, layer->copy.data = odd(host.copy)));
    REFUSED_WITH(LW_TOO_LONG, "weights", layer->len = SIZE_MAX / 2);
    REFUSED_WITH(LW_TOO_LONG, "weights", layer->len = SIZE_MAX / 4 + 2);
    REFUSED(LW_TOO_LONG, "layers", lw_step(&adam, 0.1, 1.0, layers, SIZE_MAX / 8, host.reports, NULL, &error));
    /* The error may be null. */
    reset();
    EXPECT(lw_step_layer(NULL, 0.1, 1.0, layers, NULL, NULL) == LW_NULL);
}

/* Two overlapping buffers of a layer, either of which may be named. */
#define OVERLAPPING(one, other, change)                                                                                \
    do {                                                                                                               \
        reset();                                                                                                       \
        lw_layer *layer = &host.layers[0];                                                                             \
        change;                                                                                                        \
        snapshot();                                                                                                    \
        const lw_status status = step_layer();                                                                         \
        refused_at(__LINE__, status, LW_OVERLAP, strcmp(error.what, other) ? one : other);                             \
    } while (0)

static void overlaps(void) {
    float *w = host.weights;
    OVERLAPPING("weights", "gradients", layer->gradients.data = w);
    OVERLAPPING("weights", "gradients", layer->gradients.data = w + 1999);
    OVERLAPPING("weights", "momentum", layer->momentum.data = w + 1);
    OVERLAPPING("weights", "second_moment", layer->second_moment.data = w + 1);
    OVERLAPPING("momentum", "second_moment", layer->second_moment.data = host.momentum + 1);
    OVERLAPPING("momentum", "gradients", layer->gradients.data = host.momentum);
    OVERLAPPING("weights", "copy", (layer->copy.type = LW_F16, layer->copy.data = w));
    OVERLAPPING("weights", "norms", layer->norms = (lw_norms *)(void *)(w + 2));
    /* The other arguments. */
    reset();
    host.layers[0].norms = (lw_norms *)(void *)&host.layers[0].state;
    REFUSED(LW_OVERLAP, "norms", lw_step(&adam, 0.1, 1.0, host.layers, 2, host.reports, NULL, &error));
    reset();
    host.layers[1].len = 2;
    for (size_t i = 0; i < 2; i++) {
        host.layers[1].weights.data = &host.reports[i];
        REFUSED(LW_OVERLAP, "weights", lw_step(&adam, 0.1, 1.0, host.layers, 2, host.reports, NULL, &error));
    }
    reset();
    for (size_t i = 0; i < 2; i++) {
        lw_summary *inside = (lw_summary *)(void *)&host.reports[i];
        REFUSED(LW_OVERLAP, "summary", lw_step(&adam, 0.1, 1.0, host.layers, 2, host.reports, inside, &error));
    }
    lw_array sum = {w, LW_F32};
    REFUSED(LW_OVERLAP, "sum", lw_accumulate(sum, (lw_const_array){w + 9, LW_F32}, 10, 1.0, 0, NULL, &error));
    const lw_const_array gradients = {host.gradients, LW_F32};
    REFUSED(LW_OVERLAP, "sum", lw_accumulate(sum, gradients, 10, 1.0, 0, (double *)(void *)w, &error));
    /* Adjacent buffers do not overlap. */
    reset();
    host.layers[0].gradients.data = w + 2000;
    host.layers[0].len = 1000;
    EXPECT(step_layer() == LW_APPLIED);
}

static void types_and_lengths(void) {
    REFUSED_WITH(LW_BAD_TYPE, "weights", layer->weights.type = 7);
    REFUSED_WITH(LW_BAD_TYPE, "weights", layer->weights.type = LW_F16);
    REFUSED_WITH(LW_BAD_TYPE, "weights", layer->weights = ((lw_array){host.upper, LW_BF16}));
    REFUSED_WITH(LW_BAD_TYPE, "lower", layer->lower = host.lower);
    REFUSED_WITH(LW_BAD_TYPE, "gradients", layer->gradients.type = UINT32_MAX);
    REFUSED_WITH(LW_BAD_TYPE, "momentum", layer->momentum.type = LW_F16);
    REFUSED_WITH(LW_BAD_TYPE, "second_moment", layer->second_moment.type = LW_BF16);
    REFUSED_WITH(LW_BAD_TYPE, "copy", (layer->len = 9, layer->copy = (lw_array){host.copy, LW_F32}));
    REFUSED_WITH(LW_MISSING, "momentum", layer->momentum.data = NULL);
    REFUSED_WITH(LW_MISSING, "second_moment", layer->second_moment.data = NULL);
    reset();
    lw_array halves = {host.copy, LW_BF16};
    const lw_const_array gradients = {host.gradients, LW_F32};
    REFUSED(LW_BAD_TYPE, "sum", lw_accumulate(halves, gradients, LEN, 1.0, 0, NULL, &error));
    /* A moment that the rule does not keep. */
    const lw_optimizer sgd = LW_SGD_DEFAULT;
    REFUSED(LW_BAD_LENGTH, "momentum", lw_step_layer(&sgd, 0.1, 1.0, &host.layers[0], NULL, &error));
    /* The second of several layers. */
    host.layers[1].second_moment.data = NULL;
    REFUSED(LW_MISSING, "second_moment", lw_step(&adam, 0.1, 1.0, host.layers, 2, host.reports, NULL, &error));
    EXPECT(error.layer == 1 && strstr(error.text, "layer 1"));
    /* Reports may be of any bytes before. */
    memset(host.reports, 0xff, sizeof host.reports);
    REFUSED(LW_MISSING, "second_moment", lw_step(&adam, 0.1, 1.0, host.layers, 2, host.reports, NULL, &error));
    EXPECT(host.reports[0].outcome == LW_ABSENT && host.reports[1].outcome == LW_ABSENT);
    reset();
    host.layers[1].weights.data = odd(host.weights);
    REFUSED(LW_MISALIGNED, "weights", lw_step(&adam, 0.1, 1.0, host.layers, 2, host.reports, NULL, &error));
    EXPECT(error.layer == 1);
}

static void numbers(void) {
    static const double rates[] = {-0.1, NAN, INFINITY};
    static const double scales[] = {0.0, -1.0, NAN, INFINITY};
    for (size_t i = 0; i < 3; i++) {
        /* (The layer's configuration went out of scope in the last iteration.) */
        reset();
        REFUSED(LW_BAD_RATE, "lr", lw_step_layer(&adam, rates[i], 1.0, host.layers, NULL, &error));
        EXPECT(!memcmp(&error.value, &rates[i], sizeof(double)) || (isnan(error.value) && isnan(rates[i])));
        lw_layer_config config = LW_LAYER_DEFAULT;
        config.rate = rates[i];
        REFUSED_WITH(LW_BAD_RATE, "rate", layer->config = &config);
        config.rate = 1.0;
        config.decay = rates[i];
        REFUSED_WITH(LW_BAD_DECAY, "decay", layer->config = &config);
    }
    reset();
    for (size_t i = 0; i < 4; i++)
        REFUSED(LW_BAD_SCALE, "scale", lw_step_layer(&adam, 0.1, scales[i], host.layers, NULL, &error));
    lw_layer_config config = LW_LAYER_DEFAULT;
    config.adapt = 2;
    REFUSED_WITH(LW_BAD_SETTING, "adapt", layer->config = &config);
    config.adapt = 1;
    config.frozen = 255;
    REFUSED_WITH(LW_BAD_SETTING, "frozen", layer->config = &config);
    config.frozen = 0;
    config.reserved[5] = 1;
    REFUSED_WITH(LW_BAD_SETTING, "reserved", layer->config = &config);
    REFUSED_WITH(LW_BAD_SETTING, "saturate", (layer->copy = (lw_array){host.copy, LW_F16}, layer->saturate = 256));
    /* Adam's state is a count of steps. */
    REFUSED_WITH(LW_BAD_STATE, "state", layer->state.numbers[0] = -1.0);
    REFUSED_WITH(LW_BAD_STATE, "state", layer->state.numbers[0] = 1.5);
    REFUSED_WITH(LW_BAD_STATE, "state", layer->state.numbers[0] = NAN);
    REFUSED_WITH(LW_BAD_STATE, "state", layer->state.numbers[1] = 1.0);
    REFUSED_WITH(LW_BAD_STATE, "state", layer->state.numbers[3] = 1.0);
}

static lw_flat flat_of(const lw_span *spans) {
    return (lw_flat){
        .len = LEN,
        .weights = {host.weights, LW_F32},
        .gradients = {host.gradients, LW_F32},
        .momentum = {host.momentum, LW_F32},
        .second_moment = {host.second_moment, LW_F32},
        .spans = spans,
        .count = 2,
        .states = host.states,
    };
}

static lw_status step_flat(const lw_flat *flat) {
    return lw_step_flat(&adam, 0.1, 1.0, flat, host.reports, &host.summary, &error);
}

static void flat_models(void) {
    static const lw_span overlap[2] = {{0, 2000, NULL}, {1999, 1001, NULL}};
    static const lw_span gap[2] = {{0, 2000, NULL}, {2001, 999, NULL}};
    static const lw_span past[2] = {{0, 2000, NULL}, {2000, 1001, NULL}};
    static const lw_span wraps[2] = {{0, 2000, NULL}, {2000, SIZE_MAX, NULL}};
    static const lw_span right[2] = {{0, 2000, NULL}, {2000, 1000, NULL}};
    const lw_span *const bad[] = {overlap, gap, past, wraps};
    reset();
    for (size_t i = 0; i < 4; i++) {
        const lw_flat flat = flat_of(bad[i]);
        REFUSED(LW_BAD_SPANS, "spans", step_flat(&flat));
        EXPECT(error.layer == 1);
    }
    static const lw_span shorter[2] = {{0, 2000, NULL}, {2000, 999, NULL}};
    lw_flat flat = flat_of(shorter);
    REFUSED(LW_BAD_SPANS, "spans", step_flat(&flat));
    EXPECT(error.layer == LW_NO_LAYER);
    /* A configuration, and a state, of the second layer. */
    static const lw_layer_config negative = {.rate = 1.0, .decay = -1.0, .adapt = 1};
    const lw_span configured[2] = {right[0], {2000, 1000, &negative}};
    flat = flat_of(configured);
    REFUSED(LW_BAD_DECAY, "decay", step_flat(&flat));
    EXPECT(error.layer == 1);
    flat = flat_of(right);
    host.states[1].numbers[3] = 1.0;
    REFUSED(LW_BAD_STATE, "state", step_flat(&flat));
    EXPECT(error.layer == 1);
    host.states[1].numbers[3] = 0.0;
    flat = flat_of(right);
    flat.states = NULL;
    REFUSED(LW_NULL, "states", step_flat(&flat));
    flat = flat_of(right);
    flat.momentum.data = NULL;
    REFUSED(LW_MISSING, "momentum", step_flat(&flat));
    flat = flat_of(right);
    flat.momentum.data = host.weights;
    REFUSED(LW_OVERLAP, "momentum", step_flat(&flat));
    flat = flat_of(right);
    host.states[1].numbers[0] = -1.0;
    REFUSED(LW_BAD_STATE, "state", step_flat(&flat));
    EXPECT(error.layer == 1);
    host.states[1].numbers[0] = 0.0;
    flat.gaps = 2;
    REFUSED(LW_BAD_SETTING, "gaps", step_flat(&flat));
    /* The settings of a layer overlap memory that a step writes. */
    const void *const written[] = {host.weights + 2, host.reports, host.states};
    for (size_t i = 0; i < 3; i++) {
        const lw_span inside[2] = {{0, 2000, NULL}, {2000, 1000, written[i]}};
        flat = flat_of(inside);
        REFUSED(LW_OVERLAP, "config", step_flat(&flat));
        EXPECT(error.layer == 1);
    }
    flat = flat_of(right);
    /* With gaps allowed, and no mistake, it is updated. */
    flat.spans = gap;
    flat.gaps = 1;
    EXPECT(step_flat(&flat) == LW_APPLIED);
    flat = flat_of(right);
    EXPECT(step_flat(&flat) == LW_APPLIED);
}

static void pieces(void) {
    reset();
    lw_optimizer luc = LW_ADAM_DEFAULT;
    luc.luc = (lw_luc)LW_LUC_DEFAULT;
    lw_layer *layer = &host.layers[0];
    const size_t leaves = LW_LEAVES(2000);
    REFUSED(LW_OFF_LEAF, "start", lw_leaf_sums(&luc, 0.1, 1.0, layer, 1, host.sums, &error));
    const lw_const_array x = {host.weights, LW_F32};
    REFUSED(LW_OFF_LEAF, "start", lw_array_leaf_sums(x, 10, 1023, host.sums, &error));
    EXPECT(lw_leaf_sums(&luc, 0.1, 1.0, layer, 0, host.sums, &error) == LW_APPLIED);
    EXPECT(lw_fold(&luc, 0.1, 1.0, NULL, 2000, host.sums, &host.measured, &error) == LW_APPLIED);
    EXPECT(lw_decide(&luc, 0.1, 1.0, &host.measured, 1, &host.decision, &error) == LW_APPLIED);
    EXPECT(lw_plan(&luc, &host.decision, &host.measured, NULL, &layer->state, &host.planned, &error) == LW_APPLIED);
    EXPECT(lw_needs_step(&host.planned, &error) == 1);
    REFUSED(LW_NOT_SEEN, "planned", lw_apply_chunk(&host.planned, layer, &error));
    REFUSED(LW_NOT_SEEN, "planned", lw_confirm(&luc, &host.planned, &host.decision, &error));
    REFUSED(LW_NOT_SEEN, "planned", lw_finish(&host.planned, &layer->state, host.reports, &error));
    /* Outputs that overlap inputs, and invalid settings of a layer. */
    REFUSED(LW_OVERLAP, "gradients", lw_leaf_sums(&luc, 0.1, 1.0, layer, 0, (double *)(void *)host.gradients, &error));
    REFUSED(LW_OVERLAP, "report", lw_apply(&luc, &host.decision, &host.measured, layer, (lw_report *)(void *)layer, &error));
    lw_layer_config config = LW_LAYER_DEFAULT;
    config.decay = -1.0;
    REFUSED(LW_BAD_DECAY, "decay",
            lw_plan(&luc, &host.decision, &host.measured, &config, &layer->state, &host.planned, &error));
    host.decision.reserved[0] = 1;
    REFUSED(LW_BAD_SETTING, "reserved",
            lw_plan(&luc, &host.decision, &host.measured, NULL, &layer->state, &host.planned, &error));
    host.decision.reserved[0] = 0;
    /* Workers may share norms, because a chunk does not use them. */
    layer->norms = odd(host.norms);
    layer->norms = NULL;
    EXPECT(lw_step_leaf_sums(&host.planned, layer, 0, host.sums, &error) == LW_APPLIED);
    layer->norms = odd(host.norms);
    REFUSED(LW_BAD_LENGTH, "sums", lw_limit(&luc, &host.decision, host.sums, leaves - 1, &host.planned, &error));
    EXPECT(lw_limit(&luc, &host.decision, host.sums, leaves, &host.planned, &error) == LW_APPLIED);
    EXPECT(lw_apply_chunk(&host.planned, layer, &error) == LW_APPLIED);
    layer->norms = NULL;
    /* Bytes that are not a plan. */
    const lw_measured both[2] = {host.measured, {{0}}};
    REFUSED(LW_BAD_STATE, "measured", lw_decide(&luc, 0.1, 1.0, both, 2, &host.decision, &error));
    EXPECT(error.layer == 1);
    const lw_planned nothing = {{0}};
    REFUSED(LW_BAD_STATE, "planned", lw_apply_chunk(&nothing, layer, &error));
}

static void schedules_and_scalers(void) {
    lw_schedule *schedule = &host.schedule;
    reset();
    REFUSED(LW_BAD_SETTING, "policy", lw_schedule_default(99, 0.1, schedule, &error));
    EXPECT(lw_schedule_default(LW_POLY_DECAY, 0.1, schedule, &error) == LW_APPLIED);
    REFUSED(LW_BAD_SETTING, "decay_steps", lw_rate(schedule, 0, &host.result, &error));
    EXPECT(lw_schedule_fill(schedule, 100, 0, &error) == LW_APPLIED);
    schedule->reserved[1] = 1;
    REFUSED(LW_BAD_SETTING, "reserved", lw_rate(schedule, 0, &host.result, &error));
    schedule->reserved[1] = 0;
    schedule->learning_rate = -1.0;
    REFUSED(LW_BAD_SETTING, "learning_rate", lw_rate(schedule, 0, &host.result, &error));
    EXPECT(lw_schedule_default(LW_PIECEWISE_CONSTANT, 0.1, schedule, &error) == LW_APPLIED);
    schedule->boundary_count = LW_BOUNDARIES + 1;
    REFUSED(LW_BAD_SETTING, "boundary_count", lw_rate(schedule, 0, &host.result, &error));

    const lw_loss_state start = {0};
    lw_loss_scaler scaler = LW_BACKOFF_DEFAULT;
    scaler.step_factor = 1.0;
    REFUSED(LW_BAD_SETTING, "step_factor", lw_loss_scale(&scaler, &start, &host.result, &error));
    scaler = (lw_loss_scaler)LW_LOG_MAX_DEFAULT;
    scaler.beta2 = 1.0;
    REFUSED(LW_BAD_SETTING, "beta2", lw_loss_scale(&scaler, &start, &host.result, &error));
    scaler = (lw_loss_scaler)LW_STATIC_SCALE(128.0);
    scaler.kind = 9;
    REFUSED(LW_BAD_SETTING, "kind", lw_loss_scale(&scaler, &start, &host.result, &error));
}

#ifdef LAYERWISE_STD
static void recipes(void) {
    static lw_training training;
    static const char *const bad[] = {"", "{", "{\"optimizer\": \"NoSuch\"}", "\xff"};
    reset();
    for (size_t i = 0; i < 4; i++) {
        const lw_training zero = {0};
        REFUSED(LW_BAD_RECIPE, error.what, lw_recipe(bad[i], strlen(bad[i]), 10, &training, &error));
        EXPECT(!memcmp(&training, &zero, sizeof zero));
    }
    REFUSED(LW_NULL, "json", lw_recipe(NULL, 1, 10, &training, &error));
    REFUSED(LW_NULL, "training", lw_recipe("{}", 2, 10, NULL, &error));
}
#endif

int main(void) {
    pointers();
    overlaps();
    types_and_lengths();
    numbers();
    flat_models();
    pieces();
    schedules_and_scalers();
#ifdef LAYERWISE_STD
    recipes();
#endif
    return end_of_tests();
}
