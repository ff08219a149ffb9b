/* layerwise: layer-wise adaptive optimizers (LARC, LARS, NovoGrad, LAMB; SGD and Adam too) on C buffers.
 *
 * Steps have the same bits on every machine and for any number of threads. The caller owns all memory: no function
 * allocates (except lw_recipe), blocks, keeps a pointer, or has internal state. Functions may run on any number of
 * threads at once if none writes memory that another uses.
 *
 * One layer:
 *
 *     lw_optimizer novograd = LW_NOVOGRAD_DEFAULT;
 *     lw_layer layer = {.len = n, .weights = {w, LW_F32}, .gradients = {g, LW_F32}, .momentum = {m, LW_F32}};
 *     lw_error error;
 *     for (...) {                                            // compute the gradients, then
 *         lw_status status = lw_step_layer(&novograd, 0.02, 1.0, &layer, NULL, &error);
 *         if (status < 0) fprintf(stderr, "%s\n", error.text);
 *         skipped = status > 0 ? skipped + 1 : 0;
 *         if (status < 0 || status == LW_OVERFLOWED || skipped == 20) break;
 *     }
 *
 * Buffers start as zeros (momentum, second moment, state), so start with a zeroed lw_layer.
 *
 * A status < 0 is a refusal: nothing was written, and `error`, which may be null, says why. Settings are checked in
 * every call; that takes a few nanoseconds. A status >= 0 is an outcome. Stop at LW_OVERFLOWED: load a checkpoint, and
 * lower the rate or clip the gradient. A single step that skipped layers is no reason to stop, but 20 in a row are. (20
 * is a recommendation.) docs/what_it_is_not.md says what leads to each outcome.
 *
 * Pointers must point to as many elements as the call says, and be aligned to their type. Memory that a function writes
 * must not overlap its other arguments. These are refused: nulls, misaligned pointers, lengths beyond the address
 * space, and buffers of a layer that overlap each other, its configuration, its norms, its report or the summary. For a
 * flat model, neither its buffers nor its configurations may overlap what a step writes, or its spans. Layers in an
 * array may share buffers with each other: they are updated one after the other.
 *
 * Flags in structs are 0 or 1. Reserved bytes must be 0, so that later versions can use them. */
#ifndef LAYERWISE_H
#define LAYERWISE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Changes when a struct or the meaning of a call changes. If you load the library at run time, compare this with
 * lw_abi_version(). */
#define LW_ABI_VERSION 1u

/* ---- Outcomes and refusals ---- */

typedef int32_t lw_status;
enum {
    /* Outcomes. */
    LW_APPLIED = 0,       /* updated; in calls that take no step: done */
    LW_OVERFLOWED = 1,    /* updated, but a new weight is not finite */
    LW_NON_FINITE = 2,    /* not updated: a NaN or an infinity */
    LW_OUT_OF_RANGE = 3,  /* not updated: the step overflows float */
    LW_FROZEN = 4,        /* not updated: the layer is frozen */
    LW_ABSENT = 5,        /* not updated: the layer has no gradients, so it took no part */
    LW_STEP_SKIPPED = 6,  /* not updated: another layer could not be updated */
    /* Refusals. Nothing was written. */
    LW_NULL = -1,         /* a pointer is null */
    LW_MISALIGNED = -2,   /* a pointer is not aligned to its elements */
    LW_TOO_LONG = -3,     /* a length is beyond the address space */
    LW_OVERLAP = -4,      /* two buffers overlap */
    LW_BAD_TYPE = -5,     /* an array has elements of a wrong type */
    LW_BAD_LENGTH = -6,   /* the length of an array, or a number of leaves, is wrong */
    LW_MISSING = -7,      /* the rule keeps an array that the layer was not given */
    LW_BAD_SETTING = -8,  /* a setting is out of range */
    LW_BAD_RATE = -9,     /* a learning rate is not finite and >= 0 */
    LW_BAD_SCALE = -10,   /* a gradient scale is out of range */
    LW_BAD_DECAY = -11,   /* a weight decay is not finite and >= 0 */
    LW_BAD_STATE = -12,   /* a state that no step of the rule can have produced */
    LW_BAD_SPANS = -13,   /* spans of a flat model overlap, leave gaps or end past the buffer */
    LW_OFF_LEAF = -14,    /* a chunk begins, or ends before its layer does, off a multiple of LW_LEAF */
    LW_NOT_SEEN = -15,    /* a plan needs the norm of its step first: lw_limit */
    LW_STALE_NORM = -16,  /* weights have changed since their norm was carried (only in builds with debug assertions) */
    LW_BAD_RECIPE = -17,  /* a recipe cannot be read */
    LW_BAD_PIECES = -18   /* the pieces of a sum are not nodes of the tree, or do not cover all leaves */
};

#define LW_NO_LAYER SIZE_MAX

/* Why a call was refused. A call that is not refused does not touch it. */
typedef struct lw_error {
    size_t layer;      /* which of several layers, or LW_NO_LAYER */
    double value;      /* the number that was refused, or NaN */
    lw_status status;
    char what[32];     /* the setting or argument, as in "larc.eta" or "momentum"; may be empty */
    char text[220];    /* the whole message, without the value */
} lw_error;

/* The message of a status; never null. */
const char *lw_status_text(lw_status status);
/* LW_ABI_VERSION of the library, and its version as in "0.1.0". */
uint32_t lw_abi_version(void);
const char *lw_version(void);

/* ---- Settings ---- */

/* LARC or LARS, in front of any rule:
 *     LW_LARC_CLIP   factor = min(1, eta |w| / (|g| + decay |w| + eps) / lr)
 *     LW_LARC_SCALE  factor = eta |w| / (|g| + decay |w| + eps)                           (LARS) */
enum { LW_LARC_OFF = 0, LW_LARC_CLIP = 1, LW_LARC_SCALE = 2 };
/* What happens to a layer whose weights or gradients are all 0. */
enum {
    LW_ZERO_PLAIN_STEP = 0,
    LW_ZERO_PLAIN_STEP_WITHOUT_DECAY = 1,
    LW_ZERO_PLAIN_STEP_UNLESS_DECAYING = 2,
    LW_ZERO_FORMULA = 3
};
/* How the ratio accounts for the decay: not at all, |g| + decay |w|, |g + decay w|. */
enum { LW_RATIO_NO_DECAY = 0, LW_RATIO_SUM_OF_NORMS = 1, LW_RATIO_NORM_OF_SUM = 2 };
typedef struct lw_larc {
    double eta;        /* > 0 */
    double eps;        /* >= 0 */
    double min_update; /* >= 0 */
    double max_update; /* > 0, or 0 for none */
    double min_norm;   /* >= 0 */
    uint8_t mode;      /* LW_LARC_... */
    uint8_t zero_norm; /* LW_ZERO_... */
    uint8_t decay_in_ratio; /* LW_RATIO_... */
    uint8_t only_with_decay; /* adapts only layers with weight decay, whether or not it is part of the gradient */
    uint8_t reserved[4];
} lw_larc;
#define LW_LARC_DEFAULT {0.002, 1e-8, 0.0, 0.0, 0.0, LW_LARC_CLIP, LW_ZERO_PLAIN_STEP, LW_RATIO_SUM_OF_NORMS, 0, {0}}
#define LW_LARC_NONE {0.0, 0.0, 0.0, 0.0, 0.0, LW_LARC_OFF, 0, 0, 0, {0}}

/* A limit of the step, after any rule: it moves at most trust |w| (NeMo's LUC). */
typedef struct lw_luc {
    double trust;      /* > 0, or 0 for no limit */
    double eps;        /* >= 0 */
    uint8_t freezes_zeros; /* a layer of zeros stays zero */
    uint8_t reserved[7];
} lw_luc;
#define LW_LUC_DEFAULT {0.001, 1e-8, 0, {0}}
#define LW_LUC_NONE {0.0, 0.0, 0, {0}}

/* Gradient descent, plain or with momentum. */
typedef struct lw_sgd {
    double momentum;     /* >= 0 and < 1; at 0 layers need no momentum array */
    double dampening;    /* >= 0 and < 1 */
    double weight_decay; /* >= 0, added to the gradient */
    uint8_t dampen_first_step;
    uint8_t nesterov;
    uint8_t rate_in_momentum;
    uint8_t maximize;
    uint8_t starts_at_gradient;
    uint8_t reserved[3];
} lw_sgd;

enum { LW_DECAY_COUPLED = 0, LW_DECAY_DECOUPLED = 1, LW_DECAY_CORRECTED = 2, LW_DECAY_FIXED = 3 };
enum { LW_INIT_WHILE_ZERO = 0, LW_INIT_FIRST_STEP = 1, LW_INIT_ZERO = 2 };
enum { LW_AVERAGING_OFF = 0, LW_AVERAGING_ON = 1, LW_AVERAGING_AFTER_FIRST_STEP = 2 };
enum { LW_BIAS_OFF = 0, LW_BIAS_MOMENTS = 1, LW_BIAS_STEP_SIZE = 2, LW_BIAS_RATE = 3 };
enum { LW_NORM_L2 = 0, LW_NORM_MAX = 1 };
/* NovoGrad: momentum of gradients that are normalised layer by layer. */
typedef struct lw_novograd {
    double beta1;        /* >= 0 and < 1 */
    double beta2;        /* >= 0 and < 1 */
    double eps;          /* >= 0, outside the root */
    double eps_root;     /* >= 0, inside the root */
    double weight_decay; /* >= 0 */
    double max_rate;     /* > 0 for LW_DECAY_CORRECTED, otherwise 0 */
    uint8_t decay_mode;  /* LW_DECAY_... */
    uint8_t v_init;      /* LW_INIT_... */
    uint8_t gradient_averaging; /* LW_AVERAGING_... */
    uint8_t bias_correction;    /* LW_BIAS_... */
    uint8_t norm;        /* LW_NORM_... */
    uint8_t amsgrad;
    uint8_t starts_at_gradient;
    uint8_t raw_momentum;
    uint8_t rate_in_momentum;
    uint8_t maximize;
    uint8_t reserved[6];
} lw_novograd;

enum { LW_ADAM_L2 = 0, LW_ADAM_IN_UPDATE = 1, LW_ADAM_DECOUPLED = 2, LW_ADAM_CORRECTED = 3, LW_ADAM_FIXED = 4 };
enum { LW_CORRECTION_OFF = 0, LW_CORRECTION_MOMENTS = 1, LW_CORRECTION_RATE = 2, LW_CORRECTION_TENSORFLOW = 3 };
/* Adam, AdamW, and with a trust ratio LAMB. */
typedef struct lw_adam {
    double beta1;        /* >= 0 and < 1 */
    double beta2;        /* >= 0 and < 1 */
    double eps;          /* >= 0, outside the root */
    double eps_root;     /* >= 0, inside the root */
    double weight_decay; /* >= 0 */
    double max_rate;     /* > 0 for LW_ADAM_CORRECTED, otherwise 0 */
    double ratio_eps;    /* of the trust ratio, >= 0 */
    double max_weights;  /* of the trust ratio: a cap on |w|; > 0, or 0 for no limit */
    double max_ratio;    /* of the trust ratio: > 0, or 0 for no limit */
    uint8_t decay_mode;  /* LW_ADAM_... */
    uint8_t bias_correction; /* LW_CORRECTION_... */
    uint8_t grad_averaging;
    uint8_t maximize;
    uint8_t trust_ratio; /* whether there is one: LAMB */
    uint8_t ratio_only_with_decay;
    uint8_t reserved[2];
} lw_adam;

enum { LW_SGD = 1, LW_NOVOGRAD = 2, LW_ADAM = 3 };
enum { LW_SKIP_LAYER = 0, LW_SKIP_STEP = 1 };
/* A rule with a policy, LARC and LUC. The settings of the rule are in the union. */
typedef struct lw_optimizer {
    uint32_t rule;       /* LW_SGD, LW_NOVOGRAD or LW_ADAM */
    uint8_t non_finite;  /* if a layer has a NaN or an infinity: skip that layer, or with LW_SKIP_STEP all layers */
    uint8_t reserved[3];
    double clip_norm;    /* the largest norm of the gradient of the whole model. 0: no clip. With LARC or
                          * LW_NORM_MAX it must be 0 */
    lw_larc larc;
    lw_luc luc;
    union {
        lw_sgd sgd;
        lw_novograd novograd;
        lw_adam adam;
    };
} lw_optimizer;

/* Constant initializers, also for objects in flash. In a variable, set what differs: `optimizer.adam.eps = 1e-6`. */
#define LW_SGD_DEFAULT {LW_SGD, LW_SKIP_LAYER, {0}, 0.0, LW_LARC_NONE, LW_LUC_NONE, \
    {.sgd = {0.0, 0.0, 0.0, 0, 0, 0, 0, 0, {0}}}}
#define LW_NOVOGRAD_DEFAULT {LW_NOVOGRAD, LW_SKIP_LAYER, {0}, 0.0, LW_LARC_NONE, LW_LUC_NONE, \
    {.novograd = {0.95, 0.98, 1e-8, 0.0, 0.0, 0.0, LW_DECAY_COUPLED, LW_INIT_WHILE_ZERO, LW_AVERAGING_OFF, \
        LW_BIAS_OFF, LW_NORM_L2, 0, 0, 0, 0, 0, {0}}}}
#define LW_ADAM_DEFAULT {LW_ADAM, LW_SKIP_LAYER, {0}, 0.0, LW_LARC_NONE, LW_LUC_NONE, \
    {.adam = {0.9, 0.999, 1e-8, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, LW_ADAM_DECOUPLED, LW_CORRECTION_MOMENTS, \
        1, 0, 0, 0, {0}}}}

/* Writes named settings.
 *
 * "sgd", "novograd" and "adam" are the defaults, and these reproduce other systems: "sgd.timm_lars", "sgd.bolts_lars",
 * "sgd.pytorch_optimizer_lars", "sgd.pytorch_optimizer_3_lars", "sgd.optax_lars", "sgd.lars_paper",
 * "novograd.openseq2seq", "novograd.openseq2seq_larc", "novograd.nemo", "novograd.timm", "novograd.optax",
 * "novograd.tfa", "novograd.pytorch_optimizer", "novograd.pytorch_optimizer_3", "novograd.apex", "adam.torch_adam",
 * "adam.torch_adamw", "adam.tensorflow", "adam.optax_adam", "adam.optax_adamw", "adam.optax_lamb", "adam.timm_lamb",
 * "adam.apex_lamb", "adam.pytorch_optimizer_lamb".
 *
 * "larc", "larc.openseq2seq", "larc.apex", "larc.timm", "larc.bolts", "larc.pytorch_optimizer",
 * "larc.pytorch_optimizer_3", "larc.optax", "larc.lars_paper", "luc" and "luc.nemo" write `larc` or `luc` only and
 * leave the rest as it is. The Rust documentation has their numbers under the same names.
 *
 * LW_BAD_SETTING for any other name. */
lw_status lw_preset(const char *name, lw_optimizer *optimizer, lw_error *error);
/* Checks settings, as every call does: LW_APPLIED, or LW_BAD_SETTING. */
lw_status lw_check(const lw_optimizer *optimizer, lw_error *error);
/* How many moments the rule keeps with these settings: 0, 1 (momentum) or 2 (the second moment too). < 0: a refusal. */
lw_status lw_moments(const lw_optimizer *optimizer, lw_error *error);

/* ---- Layers ---- */

/* Types of elements. Gradients may have any type; weights LW_F32, or LW_BF16 if they are split (`lower`); momentum
 * LW_F32 or LW_BF16; the second moment LW_F32; a copy of the weights LW_BF16 or LW_F16. */
enum { LW_F32 = 0, LW_BF16 = 1, LW_F16 = 2 };
typedef struct lw_array {
    void *data;          /* null: there is none */
    uint32_t type;
} lw_array;
typedef struct lw_const_array {
    const void *data;    /* null: there is none */
    uint32_t type;
} lw_const_array;

/* The configuration of a layer. */
typedef struct lw_layer_config {
    double rate;         /* multiplier of the learning rate, >= 0 */
    double decay;        /* multiplier of the weight decay, >= 0 */
    uint8_t adapt;       /* whether LARC, LUC and trust ratios apply to this layer */
    uint8_t frozen;
    uint8_t reserved[6];
} lw_layer_config;
#define LW_LAYER_DEFAULT {1.0, 1.0, 1, 0, {0}}
/* LARC does not lower the rate of a plain layer: with LARC, set its `rate` to 0.1. */
#define LW_LAYER_PLAIN {1.0, 0.0, 0, 0, {0}}  /* biases and normalisation scales: no decay, not adapted */
#define LW_LAYER_FROZEN {1.0, 1.0, 1, 1, {0}}

/* What a rule remembers about a layer. Zeros before the first step; the fourth number is always 0. */
typedef struct lw_state {
    double numbers[4];
} lw_state;

/* L2 norms that are known before a step, or 0. A step uses them. Then it stores the norm of the new weights, if the
 * rule needs that (LARC, LUC, LAMB), and clears the others. So such a rule reads the weights once per step, not twice.
 * Set `weights` to 0 whenever something else changes the weights. The bits of results do not change. */
typedef struct lw_norms {
    double weights;
    double gradients;
} lw_norms;

/* One layer, or a chunk of one. All of its arrays have `len` elements. */
typedef struct lw_layer {
    size_t len;
    lw_array weights;
    lw_const_array gradients;      /* null: the layer takes no part in a step (leave it out of pieces) */
    lw_array momentum;             /* null if the rule keeps none */
    lw_array second_moment;        /* null if the rule keeps none */
    uint16_t *lower;               /* lower halves of split weights, whose upper halves are `weights`; or null */
    lw_array copy;                 /* where a copy of the new weights is written, in 16 bits; or null */
    const lw_layer_config *config; /* null: LW_LAYER_DEFAULT */
    lw_norms *norms;               /* null: no norms are known or stored */
    uint32_t saturate;             /* whether weights that overflow the copy become its largest finite number */
    lw_state state;
} lw_layer;

/* What a step did to a layer. */
typedef struct lw_report {
    double gradient_norm;  /* of the scaled gradient; NaN if it was not measured */
    double weight_norm;    /* of the weights before the step; NaN if the rule does not need it */
    double factor;         /* of LARC, NovoGrad's 1/(sqrt(v) + eps), or their product; 1 if nothing adapts */
    double effective_rate; /* the learning rate after LARC (not in Adam), the limit and LAMB's ratio */
    uint8_t clipped;       /* whether a limit was reached */
    uint8_t outcome;       /* a status >= 0 */
    uint8_t reserved[6];
} lw_report;

/* What a step did to all layers. */
typedef struct lw_summary {
    size_t applied;        /* layers that were updated, with finite weights */
    size_t skipped;        /* layers that could not be updated */
    size_t overflowed;     /* layers that were updated, and now have a weight that is not finite */
    double gradient_norm;  /* of the whole model, before clipping */
    double clip;           /* what gradients were multiplied by to clip them */
} lw_summary;

/* ---- Steps ---- */

/* One step of one layer, at a learning rate. Gradients are multiplied by `gradient_scale`: 1, or one over a loss scale.
 * `report` may be null. Returns the outcome of the layer. */
lw_status lw_step_layer(const lw_optimizer *optimizer, double lr, double gradient_scale, lw_layer *layer,
                        lw_report *report, lw_error *error);

/* One step of `count` layers: a global clip and LW_SKIP_STEP apply to all of them. `reports` has one element for each.
 * `summary` may be null. Returns LW_APPLIED, or the outcome of the first layer that was skipped or overflowed. (Reports
 * are an exception to the rule that a refusal writes nothing: they may become LW_ABSENT.) */
lw_status lw_step(const lw_optimizer *optimizer, double lr, double gradient_scale, lw_layer *layers, size_t count,
                  lw_report *reports, lw_summary *summary, lw_error *error);

/* Where a layer lies in flat buffers. */
typedef struct lw_span {
    size_t start;
    size_t len;
    const lw_layer_config *config; /* null: LW_LAYER_DEFAULT */
} lw_span;

/* A model in flat buffers of `len` elements each. Spans are in the order of the buffers and do not overlap. */
typedef struct lw_flat {
    size_t len;
    lw_array weights;
    lw_const_array gradients;
    lw_array momentum;
    lw_array second_moment;
    uint16_t *lower;
    lw_array copy;
    const lw_span *spans;
    size_t count;
    lw_state *states;    /* one for each span */
    lw_norms *norms;     /* one for each span, or null */
    uint32_t saturate;
    uint32_t gaps;       /* whether there may be elements between spans, which a step neither reads nor writes */
} lw_flat;

/* lw_step of a flat model. */
lw_status lw_step_flat(const lw_optimizer *optimizer, double lr, double gradient_scale, const lw_flat *model,
                       lw_report *reports, lw_summary *summary, lw_error *error);

/* ---- Norms and sums ---- */

/* The sum of squares, the L2 norm and the largest magnitude of an array. They do not overflow; if there is a NaN, the
 * result is NaN. */
lw_status lw_sum_of_squares(lw_const_array x, size_t len, double *result, lw_error *error);
lw_status lw_l2_norm(lw_const_array x, size_t len, double *result, lw_error *error);
lw_status lw_max_norm(lw_const_array x, size_t len, double *result, lw_error *error);

/* sum = sum + scale gradients, for micro-batches. `sum` is LW_F32. `sum_of_squares`, if not null, is set to that of the
 * new sum: its square root may be stored in `lw_norms.gradients`. With `finite_only`, gradients with a NaN or an
 * infinity are not added, and the status is LW_NON_FINITE. */
lw_status lw_accumulate(lw_array sum, lw_const_array gradients, size_t len, double scale, int finite_only,
                        double *sum_of_squares, lw_error *error);

/* ---- Pieces of a step, for hosts with their own threads, ranks or graph nodes ----
 *
 * Workers that have the same numbers make the same decision, bit for bit, so they only need to exchange sums.
 *
 * Whole layers, two loops:   lw_measure each layer; lw_decide; lw_apply each layer.
 * A layer that is divided:   every worker lw_leaf_sums of its chunk; then, with the sums of all leaves, every worker
 *                            lw_fold, lw_decide, lw_plan, and lw_apply_chunk of its own; one of them lw_finish.
 * Where lw_needs_step says so (LUC, LAMB), every worker lw_step_leaf_sums of its chunk before it applies, and lw_limit
 * with those of all. */

/* Elements in a leaf, and the number of sums that lw_leaf_sums computes for it. */
#define LW_LEAF 1024u
#define LW_SUMS 3u
#define LW_LEAVES(len) (((len) + (LW_LEAF - 1u)) / LW_LEAF)

typedef struct lw_range {
    size_t start;
    size_t end;
} lw_range;
/* The elements of a layer of `len` that go to worker `ith` of `nth`: whole leaves. */
lw_range lw_chunk(size_t len, size_t ith, size_t nth);

/* What was measured of a layer, decided for the model, and planned for a layer. The bytes of lw_measured and lw_planned
 * are internal and valid only in this process: keep and pass them, but do not read, send or store them. */
typedef struct lw_measured {
    uint64_t own[8];
} lw_measured;
typedef struct lw_decision {
    double lr;
    double gradient_scale;
    double clip;          /* what gradients are multiplied by to clip them */
    double gradient_norm; /* of the whole model */
    uint8_t skip;         /* whether no layer is updated */
    uint8_t reserved[7];
} lw_decision;
typedef struct lw_planned {
    uint64_t own[72];
} lw_planned;

/* Measures a whole layer. It writes only `measured`. */
lw_status lw_measure(const lw_optimizer *optimizer, double lr, double gradient_scale, const lw_layer *layer,
                     lw_measured *measured, lw_error *error);
/* Measures the leaves of a chunk that begins at element `start` of its layer, a multiple of LW_LEAF: LW_SUMS numbers
 * for each. */
lw_status lw_leaf_sums(const lw_optimizer *optimizer, double lr, double gradient_scale, const lw_layer *chunk,
                       size_t start, double *sums, lw_error *error);
/* lw_measure for a layer of `len` elements, from the sums of all its leaves in order. `config` may be null. */
lw_status lw_fold(const lw_optimizer *optimizer, double lr, double gradient_scale, const lw_layer_config *config,
                  size_t len, const double *sums, lw_measured *measured, lw_error *error);
/* Makes the decision for a model of `count` measured layers. */
lw_status lw_decide(const lw_optimizer *optimizer, double lr, double gradient_scale, const lw_measured *measured,
                    size_t count, lw_decision *decision, lw_error *error);
/* Updates a whole layer. Returns its outcome; `report` may be null. */
lw_status lw_apply(const lw_optimizer *optimizer, const lw_decision *decision, const lw_measured *measured,
                   lw_layer *layer, lw_report *report, lw_error *error);
/* Plans the update of a layer that is divided. `config` may be null. */
lw_status lw_plan(const lw_optimizer *optimizer, const lw_decision *decision, const lw_measured *measured,
                  const lw_layer_config *config, const lw_state *state, lw_planned *planned, lw_error *error);
/* 1 if the plan needs the norm of its step before it is applied, 0 if not. < 0: a refusal. */
lw_status lw_needs_step(const lw_planned *planned, lw_error *error);
/* The sum of squares of each leaf of the planned step of a chunk that begins at `start`. */
lw_status lw_step_leaf_sums(const lw_planned *planned, const lw_layer *chunk, size_t start, double *sums,
                            lw_error *error);
/* Gives a plan the norm of its step, from the sums of all leaves of the step in order. */
lw_status lw_limit(const lw_optimizer *optimizer, const lw_decision *decision, const double *sums, size_t leaves,
                   lw_planned *planned, lw_error *error);
/* With LW_SKIP_STEP: makes the decision skip the step if this plan cannot be applied. If so, plan again. */
lw_status lw_confirm(const lw_optimizer *optimizer, const lw_planned *planned, lw_decision *decision, lw_error *error);
/* Updates a chunk, which may begin anywhere. Its state and norms are ignored. Returns LW_APPLIED, LW_OVERFLOWED if a
 * new weight of the chunk is not finite, or why the layer is not updated. */
lw_status lw_apply_chunk(const lw_planned *planned, lw_layer *chunk, lw_error *error);
/* Writes the state of the layer after the step. Returns its outcome; `report` may be null. */
lw_status lw_finish(const lw_planned *planned, lw_state *state, lw_report *report, lw_error *error);

/* The sum of squares of each leaf of an array or a chunk of one; and the sum of squares of the array from those of all
 * its leaves, with the bits of lw_sum_of_squares. */
lw_status lw_array_leaf_sums(lw_const_array x, size_t len, size_t start, double *sums, lw_error *error);
lw_status lw_fold_leaf_sums(const double *sums, size_t leaves, double *result, lw_error *error);

/* ---- The tree of every sum, for work that is divided between any number of workers ----
 *
 * The number of leaves in the left part of a node of n leaves is the largest power of two below n. A node is a range of
 * leaves, and a node of n leaves is itself the tree of n leaves. For norms a leaf is LW_LEAF elements of an array; for
 * gradients it is the gradient of a micro-batch. Any worker may compute any node, and the total has the same bits.
 * Workers exchange one group of sums for each node of their chunks, where lw_leaf_sums has one for each leaf. */

/* Writes the largest nodes within a range of leaves, from left to right, as many as there is `room` for (LW_COVER is
 * enough). Returns how many there are: 1 if the range is a node. `nodes` may be null if `room` is 0. */
#define LW_COVER 128u
size_t lw_tree_cover(size_t leaves, lw_range range, lw_range *nodes, size_t room);
/* The node that goes to worker `ith` of `nth`: one for each, with sizes as equal as the tree allows. */
lw_range lw_tree_share(size_t leaves, size_t ith, size_t nth);
/* How many times to add the last two sums on a stack after pushing that of leaf `leaf`, counted from 0. At the end one
 * sum is left. */
uint32_t lw_tree_merges(size_t leaves, size_t leaf);
/* Folds the sums of `count` nodes, from left to right, that together cover all leaves. */
lw_status lw_tree_fold(size_t leaves, const lw_range *nodes, const double *sums, size_t count, double *result,
                       lw_error *error);

/* lw_leaf_sums for each node that covers a chunk, of a layer of `len` elements: LW_SUMS numbers for each node of
 * lw_tree_cover(LW_LEAVES(len), leaves of the chunk). The chunk ends at a multiple of LW_LEAF or with the layer. */
lw_status lw_subtree_sums(const lw_optimizer *optimizer, double lr, double gradient_scale, const lw_layer *chunk,
                          size_t len, size_t start, double *sums, lw_error *error);
/* lw_fold from the sums of `count` nodes that together cover the layer, from left to right. `config` may be null. */
lw_status lw_fold_subtrees(const lw_optimizer *optimizer, double lr, double gradient_scale,
                           const lw_layer_config *config, size_t len, const lw_range *nodes, const double *sums,
                           size_t count, lw_measured *measured, lw_error *error);
/* lw_step_leaf_sums for each node that covers a chunk of a layer of `len` elements: one number for each. */
lw_status lw_step_subtree_sums(const lw_planned *planned, const lw_layer *chunk, size_t len, size_t start,
                               double *sums, lw_error *error);
/* lw_limit from the sums of `count` nodes that together cover the layer, from left to right. */
lw_status lw_limit_subtrees(const lw_optimizer *optimizer, const lw_decision *decision, const lw_range *nodes,
                            const double *sums, size_t count, lw_planned *planned, lw_error *error);
/* The sum of squares of each node that covers `x`, a chunk of `len` elements of an array of `array_len`. */
lw_status lw_array_subtree_sums(lw_const_array x, size_t len, size_t array_len, size_t start, double *sums,
                                lw_error *error);
/* sum = sum + other, each element rounded once, so the two may be swapped. `sum` is LW_F32. `sum_of_squares`, if not
 * null, is set to that of the new sum. */
lw_status lw_add(lw_array sum, lw_const_array other, size_t len, double *sum_of_squares, lw_error *error);

/* ---- Learning rates that change from step to step: the rate policies of OpenSeq2Seq ---- */

enum {
    LW_FIXED_LR = 1,           /* learning_rate */
    LW_PIECEWISE_CONSTANT = 2, /* learning_rate steps_per_epoch boundaries decay_rates */
    LW_EXP_DECAY = 3,          /* learning_rate decay_steps decay_rate begin_decay_at min_lr use_staircase_decay */
    LW_POLY_DECAY = 4,         /* learning_rate decay_steps power begin_decay_at min_lr warmup_steps */
    LW_COSINE_DECAY = 5,       /* the same; min_lr is a fraction of learning_rate */
    LW_TRANSFORMER_POLICY = 6, /* learning_rate d_model warmup_steps max_lr coefficient */
    LW_INV_POLY_DECAY = 7      /* learning_rate decay_steps min_lr power begin_decay_at warmup_steps */
};
#define LW_BOUNDARIES 32u
typedef struct lw_schedule {
    double learning_rate;
    double min_lr;
    double power;
    double decay_rate;
    double max_lr;          /* 0: none */
    double coefficient;
    uint64_t decay_steps;   /* 0: lw_schedule_fill sets it */
    uint64_t begin_decay_at;
    uint64_t warmup_steps;
    uint64_t steps_per_epoch;
    uint64_t d_model;
    double boundaries[LW_BOUNDARIES];
    double decay_rates[LW_BOUNDARIES];
    uint32_t boundary_count;
    uint8_t policy;         /* LW_FIXED_LR, ... */
    uint8_t use_staircase_decay;
    uint8_t reserved[2];
} lw_schedule;
/* Writes the defaults of a policy. Settings without default (decay_rate, d_model) are 0, and must be set. */
lw_status lw_schedule_default(uint32_t policy, double learning_rate, lw_schedule *schedule, lw_error *error);
/* Fills in settings that depend on the length of the training run. `steps_per_epoch` may be 0. */
lw_status lw_schedule_fill(lw_schedule *schedule, uint64_t steps, uint64_t steps_per_epoch, lw_error *error);
/* The learning rate of a step, counted from 0. A step that was skipped does not count. */
lw_status lw_rate(const lw_schedule *schedule, uint64_t step, double *rate, lw_error *error);

/* ---- Loss scales ---- */

enum { LW_NO_LOSS_SCALE = 0, LW_STATIC = 1, LW_BACKOFF = 2, LW_LOG_MAX = 3 };
typedef struct lw_loss_scaler {
    double scale;            /* of LW_STATIC */
    double scale_min;
    double scale_max;
    double step_factor;      /* of LW_BACKOFF */
    double log_max;          /* this and the next three of LW_LOG_MAX */
    double beta1;
    double beta2;
    double overflow_std_dev;
    uint32_t step_window;    /* of LW_BACKOFF */
    uint8_t kind;            /* LW_STATIC, LW_BACKOFF or LW_LOG_MAX */
    uint8_t as_executed;     /* of LW_LOG_MAX */
    uint8_t reserved[2];
} lw_loss_scaler;
#define LW_STATIC_SCALE(scale) {(scale), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0u, LW_STATIC, 0, {0}}
#define LW_BACKOFF_DEFAULT {0.0, 1.0, 16384.0, 2.0, 0.0, 0.0, 0.0, 0.0, 2000u, LW_BACKOFF, 0, {0}}
#define LW_LOG_MAX_DEFAULT {0.0, 1.0, 16384.0, 0.0, 16.0, 0.99, 0.999, 3.09, 0u, LW_LOG_MAX, 0, {0}}

/* What a loss scaler remembers; zeros before the first step. */
typedef struct lw_loss_state {
    double numbers[4];
} lw_loss_state;
/* The scale for the loss of the next step. */
lw_status lw_loss_scale(const lw_loss_scaler *scaler, const lw_loss_state *state, double *scale, lw_error *error);
/* Updates the state with a step. `finite` is whether all its gradients were finite; `max_norm`, which only LW_LOG_MAX
 * uses, is the largest magnitude among them, divided by the scale. Returns LW_STEP_SKIPPED if the step does not count,
 * else LW_APPLIED. */
lw_status lw_loss_update(const lw_loss_scaler *scaler, lw_loss_state *state, int finite, double max_norm,
                         lw_error *error);

/* ---- Recipes: configurations of OpenSeq2Seq, in JSON. Only in builds with the feature `std` ---- */

typedef struct lw_training {
    lw_optimizer optimizer;
    lw_schedule schedule;
    lw_loss_scaler loss_scaler; /* of kind LW_NO_LOSS_SCALE if no loss is scaled */
    uint64_t iter_size;         /* the number of batches over which the gradient of a step is averaged */
    uint64_t steps;             /* how many steps the run has */
    uint64_t steps_per_epoch;   /* 0 if the recipe does not count epochs */
    uint8_t is_mixed;           /* whether it asks for 16-bit weights and gradients */
    uint8_t reserved[7];
} lw_training;
/* Reads `len` bytes of JSON. `steps_per_epoch` is how many batches an epoch has. */
lw_status lw_recipe(const char *json, size_t len, uint64_t steps_per_epoch, lw_training *training, lw_error *error);

#ifdef __cplusplus
}
#endif
#endif
