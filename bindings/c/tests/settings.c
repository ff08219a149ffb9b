/* Every number and flag of an optimizer is refused if it is out of range, with its name and value. */
#include "test.h"

#include <stddef.h>

enum range { FRACTION, NON_NEGATIVE, POSITIVE, POSITIVE_OR_NONE, FLAG, RESERVED };

typedef struct setting {
    const char *name;
    uint32_t rule;
    size_t offset;
    enum range range;
} setting;

/* An enumeration, given by the first invalid number. */
#define NAMES(count) (enum range)(100 + (count))
#define AT(field) offsetof(lw_optimizer, field)

static const setting settings[] = {
    {"non_finite", LW_SGD, AT(non_finite), NAMES(2)},
    {"reserved", LW_SGD, AT(reserved), RESERVED},
    {"clip_norm", LW_SGD, AT(clip_norm), POSITIVE_OR_NONE},
    {"larc.eta", LW_SGD, AT(larc.eta), POSITIVE},
    {"larc.eps", LW_SGD, AT(larc.eps), NON_NEGATIVE},
    {"larc.min_update", LW_SGD, AT(larc.min_update), NON_NEGATIVE},
    {"larc.max_update", LW_SGD, AT(larc.max_update), POSITIVE_OR_NONE},
    {"larc.min_norm", LW_SGD, AT(larc.min_norm), NON_NEGATIVE},
    {"larc.mode", LW_SGD, AT(larc.mode), NAMES(3)},
    {"larc.zero_norm", LW_SGD, AT(larc.zero_norm), NAMES(4)},
    {"larc.decay_in_ratio", LW_SGD, AT(larc.decay_in_ratio), NAMES(3)},
    {"larc.only_with_decay", LW_SGD, AT(larc.only_with_decay), FLAG},
    {"reserved", LW_SGD, AT(larc.reserved), RESERVED},
    {"luc.trust", LW_SGD, AT(luc.trust), POSITIVE_OR_NONE},
    {"luc.eps", LW_SGD, AT(luc.eps), NON_NEGATIVE},
    {"luc.freezes_zeros", LW_SGD, AT(luc.freezes_zeros), FLAG},
    {"reserved", LW_SGD, AT(luc.reserved), RESERVED},
    {"momentum", LW_SGD, AT(sgd.momentum), FRACTION},
    {"dampening", LW_SGD, AT(sgd.dampening), FRACTION},
    {"weight_decay", LW_SGD, AT(sgd.weight_decay), NON_NEGATIVE},
    {"dampen_first_step", LW_SGD, AT(sgd.dampen_first_step), FLAG},
    {"nesterov", LW_SGD, AT(sgd.nesterov), FLAG},
    {"rate_in_momentum", LW_SGD, AT(sgd.rate_in_momentum), FLAG},
    {"maximize", LW_SGD, AT(sgd.maximize), FLAG},
    {"starts_at_gradient", LW_SGD, AT(sgd.starts_at_gradient), FLAG},
    {"reserved", LW_SGD, AT(sgd.reserved), RESERVED},
    {"beta1", LW_NOVOGRAD, AT(novograd.beta1), FRACTION},
    {"beta2", LW_NOVOGRAD, AT(novograd.beta2), FRACTION},
    {"eps", LW_NOVOGRAD, AT(novograd.eps), NON_NEGATIVE},
    {"eps_root", LW_NOVOGRAD, AT(novograd.eps_root), NON_NEGATIVE},
    {"weight_decay", LW_NOVOGRAD, AT(novograd.weight_decay), NON_NEGATIVE},
    {"decay_mode", LW_NOVOGRAD, AT(novograd.decay_mode), NAMES(4)},
    {"v_init", LW_NOVOGRAD, AT(novograd.v_init), NAMES(3)},
    {"gradient_averaging", LW_NOVOGRAD, AT(novograd.gradient_averaging), NAMES(3)},
    {"bias_correction", LW_NOVOGRAD, AT(novograd.bias_correction), NAMES(4)},
    {"norm", LW_NOVOGRAD, AT(novograd.norm), NAMES(2)},
    {"amsgrad", LW_NOVOGRAD, AT(novograd.amsgrad), FLAG},
    {"starts_at_gradient", LW_NOVOGRAD, AT(novograd.starts_at_gradient), FLAG},
    {"raw_momentum", LW_NOVOGRAD, AT(novograd.raw_momentum), FLAG},
    {"rate_in_momentum", LW_NOVOGRAD, AT(novograd.rate_in_momentum), FLAG},
    {"maximize", LW_NOVOGRAD, AT(novograd.maximize), FLAG},
    {"reserved", LW_NOVOGRAD, AT(novograd.reserved), RESERVED},
    {"beta1", LW_ADAM, AT(adam.beta1), FRACTION},
    {"beta2", LW_ADAM, AT(adam.beta2), FRACTION},
    {"eps", LW_ADAM, AT(adam.eps), NON_NEGATIVE},
    {"eps_root", LW_ADAM, AT(adam.eps_root), NON_NEGATIVE},
    {"weight_decay", LW_ADAM, AT(adam.weight_decay), NON_NEGATIVE},
    {"trust_ratio.eps", LW_ADAM, AT(adam.ratio_eps), NON_NEGATIVE},
    {"trust_ratio.max_weights", LW_ADAM, AT(adam.max_weights), POSITIVE_OR_NONE},
    {"trust_ratio.max_ratio", LW_ADAM, AT(adam.max_ratio), POSITIVE_OR_NONE},
    {"decay_mode", LW_ADAM, AT(adam.decay_mode), NAMES(5)},
    {"bias_correction", LW_ADAM, AT(adam.bias_correction), NAMES(4)},
    {"grad_averaging", LW_ADAM, AT(adam.grad_averaging), FLAG},
    {"maximize", LW_ADAM, AT(adam.maximize), FLAG},
    {"trust_ratio", LW_ADAM, AT(adam.trust_ratio), FLAG},
    {"ratio_only_with_decay", LW_ADAM, AT(adam.ratio_only_with_decay), FLAG},
    {"reserved", LW_ADAM, AT(adam.reserved), RESERVED},
};

/* An optimizer in which every setting is checked. */
static lw_optimizer all_of(uint32_t rule) {
    const lw_optimizer sgd = LW_SGD_DEFAULT, novograd = LW_NOVOGRAD_DEFAULT, adam = LW_ADAM_DEFAULT;
    lw_optimizer optimizer = rule == LW_SGD ? sgd : rule == LW_NOVOGRAD ? novograd : adam;
    optimizer.larc = (lw_larc)LW_LARC_DEFAULT;
    optimizer.luc = (lw_luc)LW_LUC_DEFAULT;
    if (rule == LW_ADAM) optimizer.adam.trust_ratio = 1;
    return optimizer;
}

/* A step, too, is refused with these settings, and writes nothing. */
static void refused(const setting *setting, const lw_optimizer *optimizer, double value) {
    lw_error error = {0};
    float w[2] = {1.0f, 2.0f}, g[2] = {1.0f, 1.0f};
    lw_layer layer = {.len = 2, .weights = {w, LW_F32}, .gradients = {g, LW_F32}};
    EXPECT(lw_check(optimizer, &error) == LW_BAD_SETTING);
    const int named = error.status == LW_BAD_SETTING && !strcmp(error.what, setting->name) &&
                      error.layer == LW_NO_LAYER && strstr(error.text, setting->name);
    const int valued = isnan(value) ? isnan(error.value) : error.value == value;
    checks++;
    if (!named || !valued) {
        failures++;
        printf("%s %g: refused as \"%s\" %g: %s\n", setting->name, value, error.what, error.value, error.text);
    }
    EXPECT(lw_step_layer(optimizer, 0.1, 1.0, &layer, NULL, NULL) == LW_BAD_SETTING);
    EXPECT(w[0] == 1.0f && w[1] == 2.0f);
}

static void try_number(const setting *setting, double value) {
    lw_optimizer optimizer = all_of(setting->rule);
    memcpy((char *)&optimizer + setting->offset, &value, sizeof value);
    refused(setting, &optimizer, value);
}

static void try_byte(const setting *setting, uint8_t value, double told) {
    lw_optimizer optimizer = all_of(setting->rule);
    ((uint8_t *)&optimizer)[setting->offset] = value;
    refused(setting, &optimizer, told);
}

int main(void) {
    for (uint32_t rule = LW_SGD; rule <= LW_ADAM; rule++) {
        const lw_optimizer right = all_of(rule);
        EXPECT(lw_check(&right, NULL) == LW_APPLIED);
    }
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        const setting *setting = &settings[i];
        switch ((int)setting->range) {
        case FRACTION:
            try_number(setting, 1.0);
            /* fall through */
        case NON_NEGATIVE:
        case POSITIVE_OR_NONE:
        case POSITIVE:
            try_number(setting, -0.5);
            try_number(setting, NAN);
            try_number(setting, INFINITY);
            if (setting->range == POSITIVE) try_number(setting, 0.0);
            break;
        case FLAG:
            try_byte(setting, 2, 2.0);
            try_byte(setting, 255, 255.0);
            break;
        case RESERVED:
            try_byte(setting, 1, NAN);
            break;
        default:
            try_byte(setting, (uint8_t)(setting->range - 100), setting->range - 100);
            try_byte(setting, 200, 200.0);
        }
    }
    static const setting rule = {"rule", 0, 0, NAMES(4)};
    lw_optimizer none = all_of(LW_SGD);
    none.rule = 0;
    refused(&rule, &none, 0.0);
    none.rule = 4;
    refused(&rule, &none, 4.0);
    /* The number of a corrected decay. */
    static const setting max_rate = {"decay_mode.max_rate", LW_ADAM, AT(adam.max_rate), POSITIVE};
    lw_optimizer adam = all_of(LW_ADAM);
    adam.adam.decay_mode = LW_ADAM_CORRECTED;
    refused(&max_rate, &adam, 0.0);
    adam.adam.max_rate = 0.1;
    EXPECT(lw_check(&adam, NULL) == LW_APPLIED);
    /* It must be 0 for other decays. */
    static const setting idle = {"max_rate", LW_ADAM, AT(adam.max_rate), POSITIVE};
    adam.adam.decay_mode = LW_ADAM_DECOUPLED;
    refused(&idle, &adam, 0.1);
    lw_optimizer novograd = all_of(LW_NOVOGRAD);
    novograd.novograd.max_rate = 0.1;
    refused(&idle, &novograd, 0.1);
    return end_of_tests();
}
