// layerwise for C++20: spans, exceptions, and an owner of what an optimizer remembers about a model.
//
//     lw_optimizer novograd = LW_NOVOGRAD_DEFAULT;
//     layerwise::Memory memory(novograd, {weights.size(), biases.size()});
//     for (...)                                              // compute the gradients, then
//         if (memory.step(novograd, 0.02, {{weights, weight_gradients}, {biases, bias_gradients}}).overflowed) break;
//
// Settings, reports and everything else come from layerwise.h, and its contract applies. Outcomes are return values:
// stop if `overflowed` of a summary is not 0, or `skipped` is not 0 in 20 steps in a row. Refusals are exceptions of
// type layerwise::Error; then nothing was written.
#ifndef LAYERWISE_HPP
#define LAYERWISE_HPP

#include "layerwise.h"

#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace layerwise {

/// Why a call was refused.
class Error : public std::runtime_error {
public:
    explicit Error(const lw_error &why) : std::runtime_error(words(why)), why_(why) {}

    /// The status, the layer, the setting or argument, and the number.
    const lw_error &why() const noexcept { return why_; }
    lw_status status() const noexcept { return why_.status; }

private:
    static std::string words(const lw_error &why) {
        std::string words = why.text;
        if (!std::isnan(why.value)) {
            char digits[32];
            words.append(": it is ").append(digits, std::to_chars(digits, digits + sizeof digits, why.value).ptr);
        }
        return words;
    }

    lw_error why_;
};

/// Calls a function of layerwise.h without its last argument, and throws if it is refused: `call(lw_leaf_sums,
/// &optimizer, lr, 1.0, &chunk, start, sums)`.
template <class Function, class... Arguments>
lw_status call(Function *function, Arguments... arguments) {
    lw_error error{};
    const lw_status status = function(arguments..., &error);
    if (status < 0) throw Error(error);
    return status;
}

// ---- Arrays ----

/// Elements that a call writes: anything that converts to a span of floats, or 16-bit floats as bits.
class Array {
public:
    Array() = default;
    template <std::convertible_to<std::span<float>> Floats>
    Array(Floats &&floats) : Array(std::span<float>(floats), LW_F32) {}
    static Array bf16(std::span<std::uint16_t> bits) { return {bits, LW_BF16}; }
    static Array f16(std::span<std::uint16_t> bits) { return {bits, LW_F16}; }

    std::size_t size() const noexcept { return size_; }
    operator lw_array() const noexcept { return array_; }

private:
    template <class Element>
    Array(std::span<Element> elements, std::uint32_t type)
        : array_{elements.data(), type}, size_(elements.size()) {}

    lw_array array_{};
    std::size_t size_ = 0;
};

/// Elements that a call reads.
class ConstArray {
public:
    ConstArray() = default;
    template <std::convertible_to<std::span<const float>> Floats>
    ConstArray(Floats &&floats) : ConstArray(std::span<const float>(floats), LW_F32) {}
    static ConstArray bf16(std::span<const std::uint16_t> bits) { return {bits, LW_BF16}; }
    static ConstArray f16(std::span<const std::uint16_t> bits) { return {bits, LW_F16}; }

    std::size_t size() const noexcept { return size_; }
    operator lw_const_array() const noexcept { return array_; }

private:
    template <class Element>
    ConstArray(std::span<const Element> elements, std::uint32_t type)
        : array_{elements.data(), type}, size_(elements.size()) {}

    lw_const_array array_{};
    std::size_t size_ = 0;
};

inline double sum_of_squares(ConstArray x) {
    double result;
    call(lw_sum_of_squares, lw_const_array(x), x.size(), &result);
    return result;
}

inline double l2_norm(ConstArray x) {
    double result;
    call(lw_l2_norm, lw_const_array(x), x.size(), &result);
    return result;
}

inline double max_norm(ConstArray x) {
    double result;
    call(lw_max_norm, lw_const_array(x), x.size(), &result);
    return result;
}

namespace detail {
inline void require_length(std::size_t found, std::size_t wanted, const char *what, std::size_t layer = LW_NO_LAYER) {
    if (found == wanted) return;
    lw_error error{layer, static_cast<double>(found), LW_BAD_LENGTH, {}, {}};
    const std::string in = layer == LW_NO_LAYER ? "" : "layer " + std::to_string(layer) + ": ";
    const std::string text = in + "the length of " + what + " must be " + std::to_string(wanted);
    std::strncpy(error.what, what, sizeof error.what - 1);
    std::strncpy(error.text, text.c_str(), sizeof error.text - 1);
    throw Error(error);
}
}  // namespace detail

/// sum = sum + scale gradients. Returns the sum of squares of the new sum.
inline double accumulate(std::span<float> sum, ConstArray gradients, double scale = 1.0) {
    detail::require_length(gradients.size(), sum.size(), "gradients");
    double result;
    call(lw_accumulate, lw_array(Array(sum)), lw_const_array(gradients), sum.size(), scale, 0, &result);
    return result;
}

// ---- Settings ----

/// The named settings of lw_preset. Those of "larc..." and "luc..." are set in `from`: `preset("larc.apex",
/// preset("sgd"))`.
inline lw_optimizer preset(const char *name, lw_optimizer from = LW_SGD_DEFAULT) {
    call(lw_preset, name, &from);
    return from;
}

/// Throws if settings are wrong. (Every call does.)
inline void check(const lw_optimizer &optimizer) { call(lw_check, &optimizer); }

/// A recipe of OpenSeq2Seq. Only with a library that has the feature `std`.
inline lw_training recipe(std::string_view json, std::uint64_t steps_per_epoch) {
    lw_training training;
    call(lw_recipe, json.data(), json.size(), steps_per_epoch, &training);
    return training;
}

/// The defaults of a learning rate policy.
inline lw_schedule schedule(std::uint32_t policy, double learning_rate) {
    lw_schedule schedule;
    call(lw_schedule_default, policy, learning_rate, &schedule);
    return schedule;
}

/// Fills in settings that depend on the length of the training run.
inline void fill(lw_schedule &schedule, std::uint64_t steps, std::uint64_t steps_per_epoch = 0) {
    call(lw_schedule_fill, &schedule, steps, steps_per_epoch);
}

/// The learning rate of a step, counted from 0.
inline double rate(const lw_schedule &schedule, std::uint64_t step) {
    double rate;
    call(lw_rate, &schedule, step, &rate);
    return rate;
}

/// The scale for the loss of the next step.
inline double loss_scale(const lw_loss_scaler &scaler, const lw_loss_state &state) {
    double scale;
    call(lw_loss_scale, &scaler, &state, &scale);
    return scale;
}

/// Updates the state with a step. Returns whether the step counts.
inline bool update(const lw_loss_scaler &scaler, lw_loss_state &state, bool finite, double max_norm) {
    return call(lw_loss_update, &scaler, &state, int{finite}, max_norm) == LW_APPLIED;
}

// ---- Steps ----

/// One step of a layer that the caller describes. Its report has the outcome.
inline lw_report step_layer(const lw_optimizer &optimizer, double lr, lw_layer &layer, double gradient_scale = 1.0) {
    lw_report report;
    call(lw_step_layer, &optimizer, lr, gradient_scale, &layer, &report);
    return report;
}

/// The arrays of a layer for a step. Without gradients the layer takes no part in it.
struct Tensor {
    Array weights;
    ConstArray gradients{};
    std::span<std::uint16_t> lower{};  // lower halves of split weights
    Array copy{};                      // where a copy of the new weights is written, in 16 bits
    bool saturate = false;             // whether weights that overflow the copy become its largest finite number
};

/// Everything that an optimizer remembers about a model: moments, states, norms, and the configuration of each layer.
class Memory {
public:
    /// For layers of these lengths.
    Memory(const lw_optimizer &optimizer, std::span<const std::size_t> lengths) : layers_(lengths.size()) {
        const lw_status moments = call(lw_moments, &optimizer);
        for (std::size_t i = 0; i < lengths.size(); i++) layers_[i].len = lengths[i];
        const std::size_t total = std::accumulate(lengths.begin(), lengths.end(), std::size_t{0});
        momentum_.resize(moments >= 1 ? total : 0);
        second_moment_.resize(moments >= 2 ? total : 0);
        configs_.resize(lengths.size(), LW_LAYER_DEFAULT);
        norms_.resize(lengths.size());
        reports_.resize(lengths.size());
    }
    Memory(const lw_optimizer &optimizer, std::initializer_list<std::size_t> lengths)
        : Memory(optimizer, std::span(lengths.begin(), lengths.size())) {}

    /// One step of all layers. Gradients are multiplied by `gradient_scale`: 1, or one over a loss scale.
    lw_summary step(const lw_optimizer &optimizer, double lr, std::span<const Tensor> tensors,
                    double gradient_scale = 1.0) {
        lend(tensors);
        lw_summary summary;
        call(lw_step, &optimizer, lr, gradient_scale, layers_.data(), layers_.size(), reports_.data(), &summary);
        return summary;
    }
    lw_summary step(const lw_optimizer &optimizer, double lr, std::initializer_list<Tensor> tensors,
                    double gradient_scale = 1.0) {
        return step(optimizer, lr, std::span(tensors.begin(), tensors.size()), gradient_scale);
    }

    /// What the last step did to each layer.
    std::span<const lw_report> reports() const noexcept { return reports_; }
    lw_layer_config &config(std::size_t layer) { return configs_.at(layer); }
    const lw_state &state(std::size_t layer) const { return layers_.at(layer).state; }
    /// Of all layers, concatenated.
    std::span<const float> momentum() const noexcept { return momentum_; }
    std::span<const float> second_moment() const noexcept { return second_moment_; }

    /// Whether norms of the weights are carried from step to step. If something else changes weights, forget them.
    void carry_norms(bool carry) {
        carries_norms_ = carry;
        forget_norms();
    }
    void forget_norms() { norms_.assign(norms_.size(), {}); }

    /// Everything to save: states and moments. Converting float to double loses nothing.
    std::vector<double> numbers() const {
        std::vector<double> numbers;
        for (const lw_layer &layer : layers_)
            numbers.insert(numbers.end(), std::begin(layer.state.numbers), std::end(layer.state.numbers));
        numbers.insert(numbers.end(), momentum_.begin(), momentum_.end());
        numbers.insert(numbers.end(), second_moment_.begin(), second_moment_.end());
        return numbers;
    }

    /// Loads the numbers of a memory made for the same rule and lengths. Training resumes with the same bits.
    void load(std::span<const double> numbers) {
        const std::size_t wanted = 4 * layers_.size() + momentum_.size() + second_moment_.size();
        detail::require_length(numbers.size(), wanted, "numbers");
        auto next = numbers.begin();
        for (lw_layer &layer : layers_)
            for (double &number : layer.state.numbers) number = *next++;
        for (float &m : momentum_) m = static_cast<float>(*next++);
        for (float &v : second_moment_) v = static_cast<float>(*next++);
        forget_norms();
    }

private:
    /// Fills in the layers with the arrays and with what is remembered.
    void lend(std::span<const Tensor> tensors) {
        detail::require_length(tensors.size(), layers_.size(), "tensors");
        std::size_t start = 0;
        for (std::size_t i = 0; i < layers_.size(); i++) {
            const Tensor &tensor = tensors[i];
            lw_layer &layer = layers_[i];
            const auto require = [&](std::size_t size, const char *what) {
                detail::require_length(size, layer.len, what, i);
            };
            require(tensor.weights.size(), "weights");
            // A carried norm is of the weights of the step before.
            if (lw_array(tensor.weights).data != layer.weights.data) norms_[i] = {};
            // (An empty span may still point somewhere.)
            layer.weights = tensor.weights;
            layer.gradients = lw_const_array{};
            layer.lower = nullptr;
            layer.copy = lw_array{};
            if (tensor.gradients.size() != 0) {
                require(tensor.gradients.size(), "gradients");
                layer.gradients = tensor.gradients;
            }
            if (!tensor.lower.empty()) {
                require(tensor.lower.size(), "lower");
                layer.lower = tensor.lower.data();
            }
            if (tensor.copy.size() != 0) {
                require(tensor.copy.size(), "copy");
                layer.copy = tensor.copy;
            }
            layer.saturate = tensor.saturate;
            layer.config = &configs_[i];
            layer.norms = carries_norms_ ? &norms_[i] : nullptr;
            layer.momentum.data = momentum_.empty() ? nullptr : momentum_.data() + start;
            layer.second_moment.data = second_moment_.empty() ? nullptr : second_moment_.data() + start;
            start += layer.len;
        }
    }

    std::vector<lw_layer> layers_;  // whose pointers are set in every step
    std::vector<float> momentum_, second_moment_;
    std::vector<lw_layer_config> configs_;
    std::vector<lw_norms> norms_;
    std::vector<lw_report> reports_;
    bool carries_norms_ = false;
};

}  // namespace layerwise
#endif
