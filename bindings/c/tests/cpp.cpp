// The C++ header: what it throws, what it returns, and the owner of a model's memory.
#include "test.h"

#include <layerwise.hpp>

#include <array>
#include <functional>
#include <string>
#include <vector>

namespace {

const lw_optimizer novograd = LW_NOVOGRAD_DEFAULT;

// The error that a call throws; one with status 0 if it does not throw.
lw_error thrown(const std::function<void()> &call, std::string *words = nullptr) {
    try {
        call();
    } catch (const layerwise::Error &error) {
        if (words) *words = error.what();
        return error.why();
    }
    return {};
}

void errors() {
    std::string words;
    lw_optimizer bad = LW_SGD_DEFAULT;
    bad.sgd.momentum = 1.25;
    const lw_error error = thrown([&] { layerwise::check(bad); }, &words);
    EXPECT(error.status == LW_BAD_SETTING && error.value == 1.25 && error.what == std::string("momentum"));
    EXPECT(words.find("momentum") != std::string::npos && words.find("1.25") != std::string::npos);
    EXPECT(thrown([] { layerwise::preset("nothing"); }).status == LW_BAD_SETTING);
    EXPECT(thrown([] { layerwise::check(novograd); }).status == 0);
    // It can also be caught as its base class.
    try {
        layerwise::Memory memory(bad, {1});
        EXPECT(false);
    } catch (const std::runtime_error &) {
        EXPECT(true);
    }
}

void arrays() {
    const std::vector<float> x = {3.0f, -4.0f};
    const std::array<std::uint16_t, 2> bf16 = {0x4040, 0xc080}, f16 = {0x4200, 0xc400};
    EXPECT(layerwise::l2_norm(x) == 5.0 && layerwise::sum_of_squares(x) == 25.0 && layerwise::max_norm(x) == 4.0);
    EXPECT(layerwise::l2_norm(layerwise::ConstArray::bf16(bf16)) == 5.0);
    EXPECT(layerwise::l2_norm(layerwise::ConstArray::f16(f16)) == 5.0);
    std::vector<float> sum = {1.0f, 1.0f};
    EXPECT(layerwise::accumulate(sum, x, 0.5) == 7.25 && sum[0] == 2.5f && sum[1] == -1.0f);
    EXPECT(thrown([&] { layerwise::accumulate(std::span(sum).first(1), x); }).status == LW_BAD_LENGTH);
}

void steps() {
    std::vector<float> w = {1.0f, 2.0f, 3.0f}, b = {0.5f};
    const std::vector<float> gw = {1.0f, 0.0f, -1.0f}, gb = {2.0f};
    layerwise::Memory memory(novograd, {w.size(), b.size()});
    memory.config(1) = LW_LAYER_PLAIN;
    lw_summary summary = memory.step(novograd, 0.1, {{w, gw}, {b, gb}});
    EXPECT(summary.applied == 2 && memory.reports()[0].outcome == LW_APPLIED);
    EXPECT(w[0] < 1.0f && w[1] == 2.0f && w[2] > 3.0f && b[0] == 0.4f);
    EXPECT(memory.momentum().size() == 4 && memory.second_moment().empty() && memory.momentum()[3] == 1.0f);

    // A layer without gradients takes no part; a bad one is skipped.
    const std::vector<float> nan = {NAN};
    summary = memory.step(novograd, 0.1, {{w, {}}, {b, nan}});
    EXPECT(summary.applied == 0 && summary.skipped == 1 && b[0] == 0.4f);
    EXPECT(memory.reports()[0].outcome == LW_ABSENT && memory.reports()[1].outcome == LW_NON_FINITE);
    std::vector<float> emptied = {1.0f};
    emptied.clear();
    summary = memory.step(novograd, 0.1, {{w, emptied}, {b, nan}});
    EXPECT(summary.applied == 0 && memory.reports()[0].outcome == LW_ABSENT);

    // Tensors that do not match this model.
    EXPECT(thrown([&] { memory.step(novograd, 0.1, {{w, gw}}); }).status == LW_BAD_LENGTH);
    lw_error error = thrown([&] { memory.step(novograd, 0.1, {{w, gw}, {w, gw}}); });
    EXPECT(error.status == LW_BAD_LENGTH && error.layer == 1 && error.what == std::string("weights"));
    error = thrown([&] { memory.step(novograd, 0.1, {{w, gb}, {b, gb}}); });
    EXPECT(error.status == LW_BAD_LENGTH && error.layer == 0 && error.what == std::string("gradients"));
    EXPECT(thrown([&] { memory.step(novograd, -1.0, {{w, gw}, {b, gb}}); }).status == LW_BAD_RATE);

    // One layer, described by hand.
    lw_layer layer{};
    layer.len = 1;
    layer.weights = layerwise::Array(b);
    layer.gradients = layerwise::ConstArray(gb);
    const lw_optimizer sgd = LW_SGD_DEFAULT;
    const lw_report report = layerwise::step_layer(sgd, 0.1, layer, 0.5);
    EXPECT(report.outcome == LW_APPLIED && report.gradient_norm == 1.0 && std::fabs(b[0] - 0.3f) < 1e-6f);
}

// Split weights and 16-bit gradients have the bits of float weights, also with carried norms and with a copy of the
// memory.
void same_bits() {
    lw_optimizer larc = layerwise::preset("larc", layerwise::preset("sgd"));
    larc.sgd.momentum = 0.9;
    const std::vector<float> g = {0.5f, -0.25f};
    const std::vector<std::uint16_t> half = {0x3800, 0xb400};
    std::vector<float> w = {1.0f, 1.0f}, carried = w, copied = w;
    std::vector<std::uint16_t> upper = {0x3f80, 0x3f80}, lower = {0, 0}, f16(2);
    layerwise::Memory memory(larc, {2}), split(larc, {2}), carrying(larc, {2});
    carrying.carry_norms(true);
    for (int i = 0; i < 3; i++) {
        memory.step(larc, 0.1, {{w, g}});
        carrying.step(larc, 0.1, {{carried, g}});
        split.step(larc, 0.1, {{layerwise::Array::bf16(upper), layerwise::ConstArray::f16(half), lower,
                                layerwise::Array::f16(f16)}});
    }
    EXPECT(w == carried && w[0] < 1.0f && w[1] > 1.0f);
    // Other weights: the norm that was carried is not theirs.
    std::vector<float> other = {3.0f, -2.0f}, same = other;
    layerwise::Memory fresh(larc, {2});
    fresh.load(carrying.numbers());
    carrying.step(larc, 0.1, {{other, g}});
    fresh.step(larc, 0.1, {{same, g}});
    EXPECT(other == same);
    EXPECT(std::fabs(layerwise::l2_norm(layerwise::ConstArray::f16(f16)) - layerwise::l2_norm(w)) < 1e-3);
    for (std::size_t i = 0; i < 2; i++) {
        const std::uint32_t bits = std::uint32_t{upper[i]} << 16 | lower[i];
        EXPECT(!std::memcmp(&bits, &w[i], sizeof bits));
    }
    copied = w;
    layerwise::Memory copy = memory;
    copy.step(larc, 0.1, {{copied, g}});
    memory.step(larc, 0.1, {{w, g}});
    EXPECT(copied == w && memory.numbers() == copy.numbers());
    const std::vector<double> numbers = memory.numbers();
    EXPECT(numbers.size() == 4 + 2);
    EXPECT(thrown([&] { memory.load(std::span(numbers).first(5)); }).status == LW_BAD_LENGTH);
}

void schedules_and_recipes() {
    lw_schedule schedule = layerwise::schedule(LW_POLY_DECAY, 1.0);
    EXPECT(thrown([&] { layerwise::rate(schedule, 0); }).status == LW_BAD_SETTING);
    layerwise::fill(schedule, 10);
    EXPECT(layerwise::rate(schedule, 0) == 1.0 && layerwise::rate(schedule, 5) < 1.0);
    const lw_loss_scaler backoff = LW_BACKOFF_DEFAULT;
    lw_loss_state state{};
    EXPECT(!layerwise::update(backoff, state, false, INFINITY) && layerwise::loss_scale(backoff, state) == 8192.0);
    EXPECT(layerwise::update(backoff, state, true, 1.0));
#ifdef LAYERWISE_STD
    const lw_training training = layerwise::recipe(R"({"optimizer": "NovoGrad", "optimizer_params": {"beta1": 0.9},
        "lr_policy": "fixed_lr", "lr_policy_params": {"learning_rate": 0.02}, "num_epochs": 3})", 10);
    EXPECT(training.steps == 30 && training.optimizer.rule == LW_NOVOGRAD && training.optimizer.novograd.beta1 == 0.9);
    EXPECT(layerwise::rate(training.schedule, 29) == 0.02 && training.loss_scaler.kind == LW_NO_LOSS_SCALE);
    EXPECT(thrown([] { layerwise::recipe("{}", 10); }).status == LW_BAD_RECIPE);
#endif
}

}  // namespace

int main() {
    errors();
    arrays();
    steps();
    same_bits();
    schedules_and_recipes();
    return end_of_tests();
}
