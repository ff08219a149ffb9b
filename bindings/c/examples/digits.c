/* Learns to read handwritten digits with LARC, NovoGrad, AdamW and LAMB, and prints a hash of the weights of each. The
 * weights are those of the same training in Rust and C++, and on a microcontroller, bit for bit.
 *
 *     digits digits.csv */
#include "digits.h"

#include <layerwise.h>

static float weights[PARAMETERS], gradients[PARAMETERS], momentum[PARAMETERS], second_moment[PARAMETERS];

/* Trains a new network. The learning rate falls from `lr` to 0. */
static void train(const char *name, const lw_optimizer *optimizer, double lr) {
    lw_span spans[LAYERS];
    lw_state states[LAYERS] = {0};
    lw_report reports[LAYERS];
    lw_error error;
    for (size_t i = 0; i < LAYERS; i++) spans[i] = (lw_span){.start = layer_start[i], .len = layer_len[i]};
    lw_flat model = {
        .len = PARAMETERS,
        .weights = {weights, LW_F32},
        .gradients = {gradients, LW_F32},
        .spans = spans,
        .count = LAYERS,
        .states = states,
    };
    const lw_status moments = lw_moments(optimizer, &error);
    if (moments >= 1) model.momentum.data = memset(momentum, 0, sizeof momentum);
    if (moments >= 2) model.second_moment.data = memset(second_moment, 0, sizeof second_moment);

    initialise(weights);
    for (size_t step = 0; step < EPOCHS * BATCHES; step++) {
        batch_gradient(weights, digits, (int)(step / BATCHES), (int)(step % BATCHES), 0.0f, gradients);
        const double rate = lr * (1.0 - (double)step / (EPOCHS * BATCHES));
        if (lw_step_flat(optimizer, rate, 1.0, &model, reports, NULL, &error) < 0) {
            fprintf(stderr, "%s: %s\n", name, error.text);
            exit(1);
        }
    }
    print_result(name, weights);
}

int main(int argc, char **argv) {
    load(argc > 1 ? argv[1] : NULL);

    lw_optimizer larc = LW_SGD_DEFAULT;
    larc.larc = (lw_larc)LW_LARC_DEFAULT;
    larc.larc.eta = 0.02;
    larc.sgd.momentum = 0.9;
    train("LARC", &larc, 0.5);
    larc.sgd.momentum = 0.0;
    train("LARC without momentum", &larc, 2.0);

    lw_optimizer novograd = LW_NOVOGRAD_DEFAULT;
    train("NovoGrad", &novograd, 0.02);
    novograd.novograd.beta1 = 0.0;
    train("NovoGrad without momentum", &novograd, 0.2);

    lw_optimizer adam = LW_ADAM_DEFAULT;
    adam.adam.weight_decay = 0.01;
    train("AdamW", &adam, 0.01);
    adam.adam.trust_ratio = 1;
    train("LAMB", &adam, 0.02);
    return 0;
}
