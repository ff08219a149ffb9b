#include "layerwise.h"

/* The optimizers of main.rs, by their numbers there. */
static const lw_optimizer momentum = {.rule = LW_SGD, .larc = LW_LARC_NONE, .sgd = {.momentum = 0.9}};
static const lw_optimizer larc = {.rule = LW_SGD, .larc = LW_LARC_DEFAULT, .sgd = {.momentum = 0.9}};
static const lw_optimizer novograd = LW_NOVOGRAD_DEFAULT;
static const lw_optimizer adam = LW_ADAM_DEFAULT;
const lw_optimizer *const c_optimizers[] = {&momentum, &larc, &novograd, &adam};

/* Repeats a step until it does not update the layer. Moments that the rule does not keep are null. */
lw_status c_steps(unsigned calls, const lw_optimizer *optimizer, double lr, float *weights, const float *gradients,
                  float *momentum, float *second_moment, size_t len) {
    lw_layer layer = {.len = len, .weights = {weights, LW_F32}, .gradients = {gradients, LW_F32}};
    lw_error error;
    layer.momentum.data = momentum;
    layer.second_moment.data = second_moment;
    for (unsigned i = 0; i < calls; i++) {
        lw_status status = lw_step_layer(optimizer, lr, 1.0, &layer, NULL, &error);
        if (status != LW_APPLIED) {
            return status;
        }
    }
    return LW_APPLIED;
}
