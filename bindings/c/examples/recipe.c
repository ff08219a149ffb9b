/* Learns to read digits with the optimizer, learning rates and loss scaler of an OpenSeq2Seq configuration.
 *
 *     recipe digits.csv recipe.json */
#include "digits.h"

#include <layerwise.h>

static float weights[PARAMETERS], gradients[PARAMETERS], sum[PARAMETERS], momentum[PARAMETERS],
    second_moment[PARAMETERS];

/* Ends the program if a call was refused. */
static lw_status check(lw_status status, const lw_error *error) {
    if (status >= 0) return status;
    fprintf(stderr, "%s (%g)\n", error->text, error->value);
    exit(1);
}

static lw_training read_recipe(const char *path) {
    char json[4096];
    FILE *file = fopen(path, "r");
    if (!file) {
        fprintf(stderr, "no recipe %s\n", path);
        exit(2);
    }
    const size_t len = fread(json, 1, sizeof json, file);
    fclose(file);
    lw_training training;
    lw_error error;
    check(lw_recipe(json, len, BATCHES, &training, &error), &error);
    return training;
}

/* The mean gradient of some batches, times the loss scale. */
static void sum_gradients(uint64_t first, uint64_t count, double scale) {
    lw_error error;
    memset(sum, 0, sizeof sum);
    for (uint64_t i = first; i < first + count; i++) {
        batch_gradient(weights, digits, (int)(i / BATCHES), (int)(i % BATCHES), 0.0f, gradients);
        check(lw_accumulate((lw_array){sum, LW_F32}, (lw_const_array){gradients, LW_F32}, PARAMETERS,
                            scale / (double)count, 0, NULL, &error), &error);
    }
}

static void train(const lw_training *training) {
    /* Biases have neither decay nor adaptation. */
    static const lw_layer_config plain = LW_LAYER_PLAIN;
    lw_span spans[LAYERS];
    for (size_t i = 0; i < LAYERS; i++) spans[i] = (lw_span){layer_start[i], layer_len[i], i % 2 ? &plain : NULL};
    lw_state states[LAYERS] = {0};
    lw_report reports[LAYERS];
    lw_error error;
    lw_flat model = {
        .len = PARAMETERS,
        .weights = {weights, LW_F32},
        .gradients = {sum, LW_F32},
        .spans = spans,
        .count = LAYERS,
        .states = states,
    };
    const lw_status moments = check(lw_moments(&training->optimizer, &error), &error);
    if (moments >= 1) model.momentum.data = momentum;
    if (moments >= 2) model.second_moment.data = second_moment;

    const lw_loss_scaler *scaler = &training->loss_scaler;
    const int scales = scaler->kind != LW_NO_LOSS_SCALE;
    lw_loss_state loss_state = {0};
    double scale = 1.0, rate = 0.0, largest;
    /* A skipped step does not count: the next one has the same rate. */
    uint64_t step = 0;
    for (uint64_t tried = 0; tried < training->steps; tried++) {
        if (scales) check(lw_loss_scale(scaler, &loss_state, &scale, &error), &error);
        check(lw_rate(&training->schedule, step, &rate, &error), &error);
        sum_gradients(tried * training->iter_size, training->iter_size, scale);
        check(lw_max_norm((lw_const_array){sum, LW_F32}, PARAMETERS, &largest, &error), &error);
        lw_summary summary;
        check(lw_step_flat(&training->optimizer, rate, 1.0 / scale, &model, reports, &summary, &error), &error);
        lw_status counts = LW_APPLIED;
        if (scales)
            counts = check(lw_loss_update(scaler, &loss_state, summary.skipped == 0, largest / scale, &error), &error);
        step += counts == LW_APPLIED;
    }
    printf("%llu steps of %llu counted; the last had rate %g and loss scale %g\n", (unsigned long long)step,
           (unsigned long long)training->steps, rate, scale);
}

int main(int argc, char **argv) {
    load(argc > 1 ? argv[1] : NULL);
    if (argc < 3) {
        fprintf(stderr, "give the path of a recipe, such as examples/recipe/larc.json\n");
        return 2;
    }
    const lw_training training = read_recipe(argv[2]);
    if (training.is_mixed) printf("The recipe wants 16-bit numbers; here all are floats.\n");
    initialise(weights);
    train(&training);
    print_result(argv[2], weights);
    return count_right(weights, digits) < 9 * (DIGITS - TRAINED) / 10;
}
