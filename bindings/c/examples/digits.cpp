// The training of digits.c in C++: four tensors, and an owner of the optimizer's memory.
//
//     digits digits.csv
#include "digits.h"

#include <layerwise.hpp>

#include <array>
#include <span>
#include <vector>

// Trains a new network. The learning rate falls from `lr` to 0.
static void train(const char *name, const lw_optimizer &optimizer, double lr) {
    std::vector<float> weights(PARAMETERS), gradients(PARAMETERS);
    std::array<layerwise::Tensor, LAYERS> tensors;
    for (std::size_t i = 0; i < LAYERS; i++)
        tensors[i] = {std::span(weights).subspan(layer_start[i], layer_len[i]),
                      std::span(gradients).subspan(layer_start[i], layer_len[i])};
    layerwise::Memory memory(optimizer, layer_len);

    initialise(weights.data());
    for (std::size_t step = 0; step < EPOCHS * BATCHES; step++) {
        if (step == EPOCHS * BATCHES / 2) {
            // After saving and loading, training resumes with the same bits.
            const std::vector<double> saved = memory.numbers();
            memory = layerwise::Memory(optimizer, layer_len);
            memory.load(saved);
        }
        batch_gradient(weights.data(), digits, static_cast<int>(step / BATCHES), static_cast<int>(step % BATCHES), 0.0f,
                       gradients.data());
        memory.step(optimizer, lr * (1.0 - static_cast<double>(step) / (EPOCHS * BATCHES)), tensors);
    }
    print_result(name, weights.data());
}

int main(int argc, char **argv) try {
    load(argc > 1 ? argv[1] : nullptr);

    lw_optimizer larc = layerwise::preset("larc", layerwise::preset("sgd"));
    larc.larc.eta = 0.02;
    larc.sgd.momentum = 0.9;
    train("LARC", larc, 0.5);
    larc.sgd.momentum = 0.0;
    train("LARC without momentum", larc, 2.0);

    lw_optimizer novograd = LW_NOVOGRAD_DEFAULT;
    train("NovoGrad", novograd, 0.02);
    novograd.novograd.beta1 = 0.0;
    train("NovoGrad without momentum", novograd, 0.2);

    lw_optimizer adam = LW_ADAM_DEFAULT;
    adam.adam.weight_decay = 0.01;
    train("AdamW", adam, 0.01);
    adam.adam.trust_ratio = 1;
    train("LAMB", adam, 0.02);
} catch (const layerwise::Error &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
}
