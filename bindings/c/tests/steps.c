/* Every function on malloc buffers of exactly the right length, for every named setting, element type and way to take a
 * step. All ways must give the same bytes. With AddressSanitizer or memcheck, this finds any access outside a buffer
 * and any use of uninitialised memory.
 *
 *     steps [RECIPE.json] (a recipe needs a library with the feature `std`) steps --outside passes a length beyond the
 *     end of a buffer, which must be detected */
#include "layerwise.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int checks, failures;
#define CHECK(condition) check((condition) != 0, __LINE__, #condition)
static void check(int holds, int line, const char *condition) {
    checks++;
    if (!holds && failures++ < 20) {
        fprintf(stderr, "steps.c:%d: %s\n", line, condition);
    }
}

static uint32_t random_bits(void) {
    static uint64_t seed = 1;
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 32);
}

/* ---- Buffers ---- */

static size_t size_of(uint32_t type) { return type == LW_F32 ? 4 : 2; }

/* Elements that begin `skip` elements after what malloc returned, and end where that ends. */
typedef struct {
    void *memory, *data;
    size_t bytes;
    uint32_t type;
} buffer;

static buffer zeros(size_t len, uint32_t type, size_t skip) {
    buffer b = {NULL, NULL, len * size_of(type), type};
    b.memory = malloc(b.bytes + skip * size_of(type));
    if (b.memory == NULL) {
        abort();
    }
    b.data = (char *)b.memory + skip * size_of(type);
    memset(b.data, 0, b.bytes);
    return b;
}

/* Random numbers of magnitudes between 1/8 and 1, in any type. */
static void randomise(buffer b) {
    for (size_t i = 0; i < b.bytes / size_of(b.type); i++) {
        uint32_t bits = random_bits(), sign = bits >> 31, exponent = bits % 3, fraction = bits >> 8 & 0x7fffff;
        uint32_t wide = sign << 31 | (124 + exponent) << 23 | fraction;
        if (b.type == LW_F32) {
            ((uint32_t *)b.data)[i] = wide;
        } else {
            ((uint16_t *)b.data)[i] =
                (uint16_t)(b.type == LW_BF16 ? wide >> 16 : sign << 15 | (12 + exponent) << 10 | fraction >> 13);
        }
    }
}

/* ---- Models of one layer, of every shape ---- */

typedef struct {
    size_t len, skip;
    uint32_t gradients, momentum, copy; /* types; `copy` is LW_F32 where there is none */
    int split;                          /* whether weights are split into halves */
    lw_status moments;
} shape;

enum { WEIGHTS, GRADIENTS, MOMENTUM, SECOND_MOMENT, LOWER, COPY, BUFFERS };
typedef struct {
    shape shape;
    buffer buffers[BUFFERS];
    lw_layer layer;
    lw_norms norms;
} model;

static void new_model(shape s, model *m) {
    const uint32_t types[BUFFERS] = {s.split ? LW_BF16 : LW_F32, s.gradients, s.momentum, LW_F32, LW_BF16,
                                     s.copy == LW_F32 ? LW_BF16 : s.copy};
    memset(m, 0, sizeof *m);
    m->shape = s;
    for (int i = 0; i < BUFFERS; i++) {
        m->buffers[i] = zeros(s.len, types[i], s.skip);
    }
    buffer *b = m->buffers;
    m->layer.len = s.len;
    m->layer.weights = (lw_array){b[WEIGHTS].data, b[WEIGHTS].type};
    m->layer.gradients = (lw_const_array){b[GRADIENTS].data, b[GRADIENTS].type};
    if (s.moments > 0) {
        m->layer.momentum = (lw_array){b[MOMENTUM].data, b[MOMENTUM].type};
    }
    if (s.moments > 1) {
        m->layer.second_moment = (lw_array){b[SECOND_MOMENT].data, LW_F32};
    }
    m->layer.lower = s.split ? b[LOWER].data : NULL;
    if (s.copy != LW_F32) {
        m->layer.copy = (lw_array){b[COPY].data, s.copy};
    }
}

static void free_model(model *m) {
    for (int i = 0; i < BUFFERS; i++) {
        free(m->buffers[i].memory);
    }
}

/* A second model with the numbers of the first. */
static void copy_model(const model *from, model *to) {
    new_model(from->shape, to);
    for (int i = 0; i < BUFFERS; i++) {
        memcpy(to->buffers[i].data, from->buffers[i].data, from->buffers[i].bytes);
    }
    to->layer.state = from->layer.state;
}

static int same_model(const model *a, const model *b) {
    int same = memcmp(&a->layer.state, &b->layer.state, sizeof(lw_state)) == 0;
    for (int i = 0; i < BUFFERS; i++) {
        same &= memcmp(a->buffers[i].data, b->buffers[i].data, a->buffers[i].bytes) == 0;
    }
    return same;
}

/* The elements of a layer from `range.start` on, as a layer. */
static lw_layer chunk_of(const lw_layer *layer, lw_range range) {
    lw_layer chunk = *layer;
    lw_array *arrays[] = {&chunk.weights, &chunk.momentum, &chunk.second_moment, &chunk.copy};
    for (int i = 0; i < 4; i++) {
        if (arrays[i]->data != NULL) {
            arrays[i]->data = (char *)arrays[i]->data + range.start * size_of(arrays[i]->type);
        }
    }
    chunk.gradients.data = (const char *)layer->gradients.data + range.start * size_of(layer->gradients.type);
    chunk.lower = layer->lower == NULL ? NULL : layer->lower + range.start;
    chunk.len = range.end - range.start;
    return chunk;
}

/* ---- Ways to take a step. Each returns the outcome. ---- */

#define LR 0.01
typedef lw_status way(const lw_optimizer *o, double scale, model *m, lw_report *report);

static lw_status by_layer(const lw_optimizer *o, double scale, model *m, lw_report *report) {
    return lw_step_layer(o, LR, scale, &m->layer, report, NULL);
}

/* With norms, which must not change anything. */
static lw_status by_layers(const lw_optimizer *o, double scale, model *m, lw_report *report) {
    lw_summary summary;
    m->layer.norms = &m->norms;
    lw_status status = lw_step(o, LR, scale, &m->layer, 1, report, &summary, NULL);
    CHECK(status < 0 || summary.applied + summary.skipped == 1);
    return status;
}

static lw_status by_span(const lw_optimizer *o, double scale, model *m, lw_report *report) {
    const lw_layer *l = &m->layer;
    lw_span *span = malloc(sizeof *span);
    if (span == NULL) {
        abort();
    }
    *span = (lw_span){.len = l->len};
    lw_flat flat = {.len = l->len, .weights = l->weights, .gradients = l->gradients, .momentum = l->momentum,
                    .second_moment = l->second_moment, .lower = l->lower, .copy = l->copy, .spans = span, .count = 1,
                    .states = &m->layer.state, .norms = &m->norms};
    lw_status status = lw_step_flat(o, LR, scale, &flat, report, NULL, NULL);
    free(span);
    return status;
}

static lw_status by_pieces(const lw_optimizer *o, double scale, model *m, lw_report *report) {
    lw_measured measured;
    lw_decision decision;
    CHECK(lw_measure(o, LR, scale, &m->layer, &measured, NULL) >= 0);
    CHECK(lw_decide(o, LR, scale, &measured, 1, &decision, NULL) >= 0);
    return lw_apply(o, &decision, &measured, &m->layer, report, NULL);
}

enum { WORKERS = 3 };
static lw_status by_chunks(const lw_optimizer *o, double scale, model *m, lw_report *report) {
    const size_t len = m->layer.len, leaves = LW_LEAVES(len);
    double *sums = malloc(leaves * LW_SUMS * sizeof *sums), *step_sums = malloc(leaves * sizeof *step_sums);
    lw_measured measured;
    lw_decision decision;
    lw_planned planned;
    lw_layer chunks[WORKERS];
    lw_range ranges[WORKERS];
    for (size_t i = 0; i < WORKERS; i++) {
        ranges[i] = lw_chunk(len, i, WORKERS);
        CHECK(ranges[i].start == (i == 0 ? 0 : ranges[i - 1].end) && ranges[i].end <= len);
        chunks[i] = chunk_of(&m->layer, ranges[i]);
        double *own = sums + LW_SUMS * (ranges[i].start / LW_LEAF);
        CHECK(chunks[i].len == 0 || lw_leaf_sums(o, LR, scale, &chunks[i], ranges[i].start, own, NULL) >= 0);
    }
    CHECK(lw_fold(o, LR, scale, NULL, len, sums, &measured, NULL) >= 0);
    CHECK(lw_decide(o, LR, scale, &measured, 1, &decision, NULL) >= 0);
    CHECK(lw_plan(o, &decision, &measured, NULL, &m->layer.state, &planned, NULL) >= 0);
    if (lw_needs_step(&planned, NULL) == 1) {
        for (size_t i = 0; i < WORKERS; i++) {
            double *own = step_sums + ranges[i].start / LW_LEAF;
            CHECK(chunks[i].len == 0 || lw_step_leaf_sums(&planned, &chunks[i], ranges[i].start, own, NULL) >= 0);
        }
        CHECK(lw_limit(o, &decision, step_sums, leaves, &planned, NULL) >= 0);
    }
    CHECK(lw_confirm(o, &planned, &decision, NULL) >= 0);
    if (decision.skip) {
        CHECK(lw_plan(o, &decision, &measured, NULL, &m->layer.state, &planned, NULL) >= 0);
    }
    int overflowed = 0;
    for (size_t i = 0; i < WORKERS; i++) {
        overflowed |= chunks[i].len > 0 && lw_apply_chunk(&planned, &chunks[i], NULL) == LW_OVERFLOWED;
    }
    free(sums), free(step_sums);
    lw_status status = lw_finish(&planned, &m->layer.state, report, NULL);
    return status == LW_APPLIED && overflowed ? LW_OVERFLOWED : status;
}

static way *const ways[] = {by_layer, by_layers, by_span, by_pieces, by_chunks};
enum { WAYS = sizeof ways / sizeof *ways };

/* Two steps, the second with an infinite gradient if `poison` is set. */
static void compare_ways(const char *name, const lw_optimizer *o, shape s, int poison) {
    model models[WAYS];
    s.moments = lw_moments(o, NULL);
    CHECK(s.moments >= 0 && s.moments <= 2 && lw_check(o, NULL) == LW_APPLIED);
    new_model(s, &models[0]);
    for (int i = WEIGHTS; i <= GRADIENTS; i++) {
        randomise(models[0].buffers[i]);
    }
    for (int i = 1; i < WAYS; i++) {
        copy_model(&models[0], &models[i]);
    }
    for (int step = 0; step < 2; step++) {
        lw_report reports[WAYS];
        lw_status outcomes[WAYS];
        for (int i = 0; i < WAYS; i++) {
            buffer gradients = models[i].buffers[GRADIENTS];
            if (poison && step == 1 && s.len > 0) {
                memset((char *)gradients.data + gradients.bytes - size_of(gradients.type), 0xff, size_of(gradients.type));
            }
            outcomes[i] = ways[i](o, 0.5, &models[i], &reports[i]);
            if (outcomes[i] != outcomes[0] || reports[i].outcome != reports[0].outcome ||
                !same_model(&models[i], &models[0])) {
                fprintf(stderr, "%s, %zu elements, way %d: %d and %d\n", name, s.len, i, outcomes[i], outcomes[0]);
                CHECK(!"all ways leave the same bytes");
            }
        }
        CHECK(outcomes[0] == (poison && step == 1 && s.len > 0 ? LW_NON_FINITE : LW_APPLIED));
    }
    for (int i = 0; i < WAYS; i++) {
        free_model(&models[i]);
    }
}

static const char *const names[] = {
    "sgd", "sgd.timm_lars", "sgd.bolts_lars", "sgd.pytorch_optimizer_lars", "sgd.pytorch_optimizer_3_lars",
    "sgd.optax_lars", "sgd.lars_paper", "novograd", "novograd.openseq2seq", "novograd.openseq2seq_larc",
    "novograd.nemo", "novograd.timm", "novograd.optax", "novograd.tfa", "novograd.pytorch_optimizer",
    "novograd.pytorch_optimizer_3", "novograd.apex", "adam", "adam.torch_adam", "adam.torch_adamw", "adam.tensorflow",
    "adam.optax_adam", "adam.optax_adamw", "adam.optax_lamb", "adam.timm_lamb", "adam.apex_lamb",
    "adam.pytorch_optimizer_lamb", "larc", "larc.openseq2seq", "larc.apex", "larc.timm", "larc.bolts",
    "larc.pytorch_optimizer", "larc.pytorch_optimizer_3", "larc.optax", "larc.lars_paper", "luc", "luc.nemo",
};
static const size_t lengths[] = {1, 7, 31, 100, 1023, 1025, 2500};

static void steps(void) {
    uint32_t turn = 0;
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        lw_optimizer optimizer = LW_SGD_DEFAULT; /* for names that write `larc` or `luc` only */
        optimizer.sgd.momentum = 0.9;
        CHECK(lw_preset(names[n], &optimizer, NULL) == LW_APPLIED);
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            /* Numbers without a common divisor, so that every pair of types meets. */
            for (int k = 0; k < 4; k++, turn++) {
                shape s = {.len = lengths[i], .skip = turn % 2, .gradients = turn % 3, .momentum = turn / 3 % 2,
                           .copy = turn / 2 % 3, .split = turn / 7 % 2};
                /* (LARC and a global clip exclude each other.) */
                optimizer.clip_norm = turn % 5 == 0 && optimizer.larc.mode == LW_LARC_OFF ? 1.0 : 0.0;
                optimizer.non_finite = turn % 5 == 1 ? LW_SKIP_STEP : LW_SKIP_LAYER;
                compare_ways(names[n], &optimizer, s, k == 3 && optimizer.non_finite == LW_SKIP_LAYER);
            }
        }
    }
}

/* ---- Norms and sums ---- */

static double number(buffer b, size_t i) {
    uint32_t bits = b.type == LW_F32 ? ((uint32_t *)b.data)[i] : ((uint16_t *)b.data)[i];
    float x;
    if (b.type == LW_F16) {
        double magnitude = ldexp(1024 + (bits & 1023), (int)(bits >> 10 & 31) - 25); /* (all of them are normal) */
        return bits >> 15 ? -magnitude : magnitude;
    }
    bits <<= b.type == LW_BF16 ? 16 : 0;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static int near(double a, double b) { return fabs(a - b) <= 1e-6 * (fabs(a) + fabs(b)); }

static void sums_of(size_t len, uint32_t type, size_t skip) {
    buffer b = zeros(len, type, skip), sum = zeros(len, LW_F32, skip);
    lw_const_array x = {b.data, type};
    double squares = 0.0, max = 0.0, found = NAN, *leaves = malloc(LW_LEAVES(len) * sizeof *leaves);
    randomise(b);
    for (size_t i = 0; i < len; i++) {
        squares += number(b, i) * number(b, i);
        max = fmax(max, fabs(number(b, i)));
    }
    CHECK(lw_sum_of_squares(x, len, &found, NULL) == LW_APPLIED && near(found, squares));
    double exact = found;
    CHECK(lw_array_leaf_sums(x, len, 0, leaves, NULL) == LW_APPLIED);
    CHECK(lw_fold_leaf_sums(leaves, LW_LEAVES(len), &found, NULL) == LW_APPLIED && found == exact);
    CHECK(lw_l2_norm(x, len, &found, NULL) == LW_APPLIED && near(found, sqrt(squares)));
    CHECK(lw_max_norm(x, len, &found, NULL) == LW_APPLIED && found == max);
    for (int finite_only = 0; finite_only < 2; finite_only++) {
        lw_array to = {sum.data, LW_F32};
        CHECK(lw_accumulate(to, x, len, 0.5, finite_only, &found, NULL) == LW_APPLIED);
        CHECK(near(found, squares * (finite_only ? 1.0 : 0.25)));
        CHECK(lw_accumulate(to, x, len, 0.0, finite_only, NULL, NULL) >= LW_BAD_SCALE);
    }
    free(leaves), free(b.memory), free(sum.memory);
}

static void sums(void) {
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        for (uint32_t kind = 0; kind < 6; kind++) {
            sums_of(lengths[i], kind % 3, kind / 3);
        }
    }
}

/* ---- Schedules, loss scales, texts, recipes ---- */

static void schedules(void) {
    for (uint32_t policy = LW_FIXED_LR; policy <= LW_INV_POLY_DECAY; policy++) {
        lw_schedule *schedule = malloc(sizeof *schedule);
        double rate = NAN;
        CHECK(lw_schedule_default(policy, 0.1, schedule, NULL) == LW_APPLIED && schedule->policy == policy);
        if (policy == LW_PIECEWISE_CONSTANT) {
            schedule->boundary_count = LW_BOUNDARIES;
            for (unsigned i = 0; i < LW_BOUNDARIES; i++) {
                schedule->boundaries[i] = i + 1.0;
                schedule->decay_rates[i] = 1.0 / (i + 1.0);
            }
        }
        schedule->decay_rate = 0.5;
        schedule->d_model = 512;
        schedule->warmup_steps = 4;
        schedule->begin_decay_at = policy == LW_EXP_DECAY ? 0 : 4;
        schedule->use_staircase_decay = 1;
        schedule->min_lr = 0.001;
        /* Of one that is complete nothing is filled in, nor lost. */
        lw_schedule complete = *schedule;
        complete.decay_steps = 100;
        complete.steps_per_epoch = 10;
        lw_schedule filled = complete;
        CHECK(lw_schedule_fill(&filled, 1000, 50, NULL) == LW_APPLIED);
        CHECK(lw_schedule_fill(schedule, 1000, 10, NULL) == LW_APPLIED);
        for (uint64_t step = 0; step < 1000; step += 37) {
            double same = NAN;
            CHECK(lw_rate(schedule, step, &rate, NULL) == LW_APPLIED && rate >= 0.0 && rate <= 0.2);
            CHECK(lw_rate(&complete, step, &rate, NULL) == LW_APPLIED);
            CHECK(lw_rate(&filled, step, &same, NULL) == LW_APPLIED && same == rate);
        }
        free(schedule);
    }
}

static void loss_scales(void) {
    const lw_loss_scaler scalers[] = {LW_STATIC_SCALE(128.0), LW_BACKOFF_DEFAULT, LW_LOG_MAX_DEFAULT};
    for (int i = 0; i < 3; i++) {
        lw_loss_state *state = calloc(1, sizeof *state);
        double scale = NAN;
        for (int step = 0; step < 5; step++) {
            CHECK(lw_loss_scale(&scalers[i], state, &scale, NULL) == LW_APPLIED && scale >= 1.0 && scale <= 16384.0);
            CHECK(lw_loss_update(&scalers[i], state, step != 2, 1.5, NULL) >= LW_APPLIED);
        }
        free(state);
    }
}

static void texts(void) {
    for (lw_status status = -30; status < 10; status++) {
        CHECK(lw_status_text(status) != NULL && strlen(lw_status_text(status)) > 0);
    }
    CHECK(lw_abi_version() == LW_ABI_VERSION && strchr(lw_version(), '.') != NULL);
}

static void recipe(const char *path) {
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    if (file == NULL) {
        return;
    }
    char *json = malloc(1 << 20);
    size_t len = fread(json, 1, 1 << 20, file);
    json = realloc(json, len); /* without a zero at its end */
#ifdef LAYERWISE_STD
    lw_training *training = malloc(sizeof *training);
    CHECK(lw_recipe(json, len, 100, training, NULL) == LW_APPLIED && lw_check(&training->optimizer, NULL) == LW_APPLIED);
    CHECK(lw_recipe(json, len / 2, 100, training, NULL) == LW_BAD_RECIPE);
    free(training);
#endif
    free(json);
    fclose(file);
}

/* The control: makes the library read one element too many. */
static int outside(void) {
    buffer b = zeros(100, LW_F32, 0);
    double norm = 0.0;
    lw_status status = lw_l2_norm((lw_const_array){b.data, LW_F32}, 101, &norm, NULL);
    free(b.memory);
    return status;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--outside") == 0) {
        return outside();
    }
    steps();
    sums();
    schedules();
    loss_scales();
    texts();
    if (argc > 1) {
        recipe(argv[1]);
    }
    printf("%d checks, %d failures\n", checks, failures);
    return failures != 0;
}
