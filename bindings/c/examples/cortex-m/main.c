/* Trains a small classifier of handwritten digits on a microcontroller, with all arrays in static memory: the same
 * training as the Rust code in examples/cortex-m, with the same digits and the same bits. There is no heap and no C
 * library. .ci/targets/c-bare builds it and runs it under QEMU:
 *
 *     cargo rustc --release --target thumbv7em-none-eabihf --lib --crate-type staticlib    (in bindings/c)
 *     clang --target=thumbv7em-none-eabihf -mcpu=cortex-m4 -ffp-contract=off -O2 -c ...
 *     ld.lld --gc-sections -T mps2.ld start.o main.o liblayerwise.a -o digits
 *     qemu-system-arm -machine mps2-an386 -semihosting -nographic -kernel digits */
#include "layerwise.h"
#include "machine.h"
#include "../network.h"

/* In flash. */
static const digit digits[DIGITS] = {
#include "digits.inc"
};

static const lw_span spans[4] = {
    {.start = 0, .len = PIXELS * HIDDEN},
    {.start = HIDDEN_WEIGHTS, .len = HIDDEN},
    {.start = HIDDEN_BIASES, .len = HIDDEN * CLASSES},
    {.start = OUTPUT_WEIGHTS, .len = CLASSES},
};
static float weights[PARAMETERS], gradients[PARAMETERS], momentum[PARAMETERS], second_moment[PARAMETERS];
static lw_state states[4];
static lw_report reports[4];

/* The optimizers, constants in flash. */
static const lw_optimizer larc = {
    .rule = LW_SGD,
    .larc = {.eta = 0.02, .eps = 1e-8, .mode = LW_LARC_CLIP, .decay_in_ratio = LW_RATIO_SUM_OF_NORMS},
    .sgd = {.momentum = 0.9},
};
static const lw_optimizer larc_without_momentum = {
    .rule = LW_SGD,
    .larc = {.eta = 0.02, .eps = 1e-8, .mode = LW_LARC_CLIP, .decay_in_ratio = LW_RATIO_SUM_OF_NORMS},
};
static const lw_optimizer novograd = LW_NOVOGRAD_DEFAULT;
static const lw_optimizer novograd_without_momentum = {
    .rule = LW_NOVOGRAD,
    .novograd = {.beta2 = 0.98, .eps = 1e-8},
};
#define ADAMW_SETTINGS .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01, \
    .decay_mode = LW_ADAM_DECOUPLED, .bias_correction = LW_CORRECTION_MOMENTS, .grad_averaging = 1
static const lw_optimizer adamw = {.rule = LW_ADAM, .adam = {ADAMW_SETTINGS}};
static const lw_optimizer lamb = {.rule = LW_ADAM, .adam = {ADAMW_SETTINGS, .trust_ratio = 1}};

/* Prints a line as "epoch 1: loss 1.9427, 129 of 200 right". */
static void print_epoch(int epoch, float loss) {
    /* A float times 10000 is exact as a double. */
    uint32_t rounded = (uint32_t)((double)loss * 10000.0 + 0.5);
    print("epoch "), print_number((uint32_t)epoch + 1), print(": loss "), print_number(rounded / 10000), print(".");
    for (uint32_t place = 1000; place > 0; place /= 10) {
        print_number(rounded / place % 10);
    }
    print(", "), print_number((uint32_t)count_right(weights, digits)), print(" of "), print_number(DIGITS - TRAINED), print(" right\n");
}

/* Everything a rule remembers is zero before the first step. */
static void begin(void) {
    initialise(weights);
    for (int i = 0; i < PARAMETERS; i++) {
        momentum[i] = second_moment[i] = 0.0f;
    }
    for (int i = 0; i < 4; i++) {
        states[i] = (lw_state){{0.0}};
    }
}

/* Trains a new network. The learning rate falls linearly from `lr` to zero. */
static int train(const char *name, const lw_optimizer *optimizer, double lr) {
    lw_error error;
    lw_status moments = lw_moments(optimizer, &error);
    if (moments < 0) {
        print(error.text), print("\n");
        return 1;
    }
    lw_flat model = {.len = PARAMETERS, .spans = spans, .count = 4, .states = states};
    model.weights.data = weights;
    model.gradients.data = gradients;
    model.momentum.data = moments > 0 ? momentum : NULL;
    model.second_moment.data = moments > 1 ? second_moment : NULL;
    print(name), print(": "), print_number((uint32_t)moments * sizeof momentum + sizeof states);
    print(" bytes of state for "), print_number(PARAMETERS), print(" parameters\n");

    begin();
    for (int epoch = 0, step = 0; epoch < EPOCHS; epoch++) {
        float loss = 0.0f;
        for (int batch = 0; batch < BATCHES; batch++, step++) {
            loss = batch_gradient(weights, digits, epoch, batch, loss, gradients);
            double rate = lr * (1.0 - (double)step / (EPOCHS * BATCHES));
            if (lw_step_flat(optimizer, rate, 1.0, &model, reports, NULL, &error) < 0) {
                print(error.text), print("\n");
                return 1;
            }
        }
        print_epoch(epoch, loss / TRAINED);
    }
    print("weights "), print_hex(hash_of(weights)), print("\n");
    return 0;
}

int run(void) {
    return train("LARC", &larc, 0.5) != 0 || train("LARC without momentum", &larc_without_momentum, 2.0) != 0 ||
           train("NovoGrad", &novograd, 0.02) != 0 ||
           train("NovoGrad without momentum", &novograd_without_momentum, 0.2) != 0 ||
           train("AdamW", &adamw, 0.01) != 0 || train("LAMB", &lamb, 0.02) != 0;
}
