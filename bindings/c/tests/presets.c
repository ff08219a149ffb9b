/* The macros equal the presets of their names; every preset in the header exists and passes its check. */
#include "test.h"

static lw_error error;

/* An optimizer written by lw_preset over garbage bytes. */
static lw_optimizer preset(const char *name) {
    lw_optimizer optimizer;
    memset(&optimizer, 0xff, sizeof optimizer);
    EXPECT(lw_preset(name, &optimizer, &error) == LW_APPLIED);
    return optimizer;
}

/* The settings besides the rule. */
static int same_around(const lw_optimizer *a, const lw_optimizer *b) {
    return !memcmp(a, b, offsetof(lw_optimizer, sgd));
}

static void macros(void) {
    static const lw_optimizer sgd = LW_SGD_DEFAULT, novograd = LW_NOVOGRAD_DEFAULT, adam = LW_ADAM_DEFAULT;
    static const lw_larc larc = LW_LARC_DEFAULT;
    static const lw_luc luc = LW_LUC_DEFAULT;
    lw_optimizer found = preset("sgd");
    EXPECT(same_around(&found, &sgd) && !memcmp(&found.sgd, &sgd.sgd, sizeof sgd.sgd));
    found = preset("novograd");
    EXPECT(same_around(&found, &novograd) && !memcmp(&found.novograd, &novograd.novograd, sizeof novograd.novograd));
    found = preset("adam");
    EXPECT(same_around(&found, &adam) && !memcmp(&found.adam, &adam.adam, sizeof adam.adam));
    EXPECT(lw_preset("larc", &found, &error) == LW_APPLIED);
    EXPECT(!memcmp(&found.larc, &larc, sizeof larc));
    EXPECT(lw_preset("luc", &found, &error) == LW_APPLIED);
    EXPECT(!memcmp(&found.luc, &luc, sizeof luc));
    /* The rest is unchanged. */
    found.larc = (lw_larc)LW_LARC_NONE;
    found.luc = (lw_luc)LW_LUC_NONE;
    EXPECT(same_around(&found, &adam) && !memcmp(&found.adam, &adam.adam, sizeof adam.adam));
}

static void names(void) {
    static const char *const rules[] = {
        "sgd.timm_lars", "sgd.bolts_lars", "sgd.pytorch_optimizer_lars", "sgd.pytorch_optimizer_3_lars",
        "sgd.optax_lars", "sgd.lars_paper", "novograd.openseq2seq", "novograd.openseq2seq_larc", "novograd.nemo",
        "novograd.timm", "novograd.optax", "novograd.tfa", "novograd.pytorch_optimizer",
        "novograd.pytorch_optimizer_3", "novograd.apex", "adam.torch_adam", "adam.torch_adamw", "adam.tensorflow",
        "adam.optax_adam", "adam.optax_adamw", "adam.optax_lamb", "adam.timm_lamb", "adam.apex_lamb",
        "adam.pytorch_optimizer_lamb",
    };
    static const char *const ratios[] = {
        "larc", "larc.openseq2seq", "larc.apex", "larc.timm", "larc.bolts", "larc.pytorch_optimizer",
        "larc.pytorch_optimizer_3", "larc.optax", "larc.lars_paper", "luc", "luc.nemo",
    };
    static const char *const none[] = {"", "SGD", "sgd.", "larc.nemo", "adam.torch_adamw ", "luc.apex"};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        const lw_optimizer optimizer = preset(rules[i]);
        const uint32_t rule = rules[i][0] == 's' ? LW_SGD : rules[i][0] == 'n' ? LW_NOVOGRAD : LW_ADAM;
        const int right = optimizer.rule == rule && lw_check(&optimizer, &error) == LW_APPLIED;
        if (!right) printf("%s: %s\n", rules[i], error.text);
        EXPECT(right);
    }
    for (size_t i = 0; i < sizeof ratios / sizeof *ratios; i++) {
        const lw_optimizer sgd = LW_SGD_DEFAULT;
        lw_optimizer optimizer = sgd;
        EXPECT(lw_preset(ratios[i], &optimizer, &error) == LW_APPLIED && lw_check(&optimizer, &error) == LW_APPLIED);
        const int is_larc = ratios[i][1] == 'a';
        EXPECT((optimizer.larc.mode != LW_LARC_OFF) == is_larc && (optimizer.luc.trust > 0.0) == !is_larc);
        EXPECT(!memcmp(&optimizer.sgd, &sgd.sgd, sizeof sgd.sgd) && optimizer.rule == LW_SGD);
    }
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        const lw_optimizer adam = LW_ADAM_DEFAULT;
        lw_optimizer optimizer = adam;
        EXPECT(lw_preset(none[i], &optimizer, &error) == LW_BAD_SETTING && !strcmp(error.what, "name"));
        EXPECT(!memcmp(&optimizer, &adam, sizeof adam));
    }
    lw_optimizer optimizer = LW_ADAM_DEFAULT;
    EXPECT(lw_preset(NULL, &optimizer, &error) == LW_NULL && !strcmp(error.what, "name"));
    EXPECT(lw_preset("adam", NULL, &error) == LW_NULL && !strcmp(error.what, "optimizer"));
}

/* Settings from the other systems' own documentation. */
static void numbers(void) {
    const lw_optimizer adamw = preset("adam.torch_adamw"), lamb = preset("adam.apex_lamb");
    EXPECT(adamw.adam.weight_decay == 0.01 && adamw.adam.decay_mode == LW_ADAM_DECOUPLED && !adamw.adam.trust_ratio);
    EXPECT(adamw.adam.beta1 == 0.9 && adamw.adam.beta2 == 0.999 && adamw.adam.eps == 1e-8);
    EXPECT(lamb.adam.trust_ratio == 1 && lamb.adam.eps == 1e-6);
    const lw_optimizer paper = preset("sgd.lars_paper");
    EXPECT(paper.larc.mode == LW_LARC_SCALE && paper.larc.eta == 0.001);
}

static void layers_and_scalers(void) {
    static const lw_loss_scaler backoff = LW_BACKOFF_DEFAULT, log_max = LW_LOG_MAX_DEFAULT;
    static const lw_loss_scaler fixed = LW_STATIC_SCALE(128.0);
    static const lw_layer_config full = LW_LAYER_DEFAULT, plain = LW_LAYER_PLAIN, frozen = LW_LAYER_FROZEN;
    const lw_loss_state start = {{0.0}};
    double scale;
    EXPECT(lw_loss_scale(&backoff, &start, &scale, &error) == LW_APPLIED && scale == 16384.0);
    EXPECT(lw_loss_scale(&log_max, &start, &scale, &error) == LW_APPLIED && scale == 1.0);
    EXPECT(lw_loss_scale(&fixed, &start, &scale, &error) == LW_APPLIED && scale == 128.0);
    EXPECT(full.rate == 1.0 && full.decay == 1.0 && full.adapt && !full.frozen);
    EXPECT(plain.rate == 1.0 && plain.decay == 0.0 && !plain.adapt && !plain.frozen && frozen.frozen);
}

int main(void) {
    macros();
    names();
    numbers();
    layers_and_scalers();
    return end_of_tests();
}
