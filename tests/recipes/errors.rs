//! Everything that can be wrong with a recipe, and the error messages.

use super::words::with;
use layerwise::recipe::{Configuration, Recipe, RecipeError};
use serde_json::{Value, json};

/// The error of a configuration with these keys. Deserializing a recipe directly gives the same message.
fn error(changes: Value) -> RecipeError {
    let configuration = with(changes);
    let words: Configuration = serde_json::from_value(configuration.clone()).unwrap();
    let error = Recipe::try_from(words).unwrap_err();
    assert_eq!(serde_json::from_value::<Recipe>(configuration).unwrap_err().to_string(), error.to_string());
    error
}

fn message(changes: Value) -> String {
    error(changes).to_string()
}

fn rates(policy: &str, params: Value) -> String {
    message(json!({"lr_policy": policy, "lr_policy_params": params}))
}

#[test]
fn unknown_words() {
    for (changes, place) in [
        (json!({"learning_rate": 1}), "learning_rate"),
        (json!({"freeze_variables_regex": "a"}), "freeze_variables_regex"),
        (json!({"optimizer_params": {"momentum": 0.9}}), "optimizer_params.momentum"),
        (json!({"optimizer": "Adam", "optimizer_params": {"beta3": 1}}), "optimizer_params.beta3"),
        (json!({"optimizer": "NovoGrad", "optimizer_params": {"use_nesterov": true}}), "optimizer_params.use_nesterov"),
        (json!({"larc_params": {"larc_eta": 0.1, "eta": 0.1}}), "larc_params.eta"),
        (json!({"lr_policy_params": {"learning_rate": 1, "power": 2}}), "lr_policy_params.power"),
        (
            json!({"regularizer": "l2_regularizer", "regularizer_params": {"scale": 0, "l1": 0}}),
            "regularizer_params.l1",
        ),
        (json!({"regularizer_params": {"scale": 0}}), "regularizer_params.scale"),
        (json!({"loss_scaling": "Backoff", "loss_scaling_params": {"beta1": 0}}), "loss_scaling_params.beta1"),
        (json!({"loss_scaling": 8, "loss_scaling_params": {"scale_min": 1}}), "loss_scaling_params.scale_min"),
    ] {
        assert_eq!(error(changes.clone()), RecipeError::Unknown { place: place.into() });
        assert_eq!(message(changes), format!("{place} has no meaning here, or is given twice"));
    }
    let twice = r#"{"optimizer": "SGD", "lr_policy": "fixed_lr",
                    "lr_policy_params": {"learning_rate": 1, "learning_rate": 2}}"#;
    let error = serde_json::from_str::<Recipe>(twice).unwrap_err().to_string();
    assert!(error.starts_with("lr_policy_params.learning_rate has no meaning here, or is given twice"), "{error}");
}

#[test]
fn missing_words() {
    for (changes, place) in [
        (json!({"optimizer": null}), "optimizer"),
        (json!({"optimizer": "Momentum"}), "optimizer_params.momentum"),
        (json!({"optimizer": "AdamW"}), "optimizer_params.weight_decay"),
        (json!({"larc_params": {}}), "larc_params.larc_eta"),
        (json!({"regularizer": "l2_regularizer"}), "regularizer_params.scale"),
        (json!({"lr_policy": null}), "lr_policy"),
        (json!({"lr_policy_params": null}), "lr_policy_params.learning_rate"),
        (json!({"lr_policy": "exp_decay"}), "lr_policy_params.decay_rate"),
        (json!({"lr_policy": "piecewise_constant"}), "lr_policy_params.boundaries"),
        (json!({"lr_policy": "transformer_policy"}), "lr_policy_params.d_model"),
        (json!({"num_epochs": null}), "num_epochs or max_steps"),
    ] {
        assert_eq!(error(changes.clone()), RecipeError::Missing { place: place.into() });
        assert_eq!(message(changes), format!("{place} is missing"));
    }
}

#[test]
fn words_that_exclude_each_other() {
    let larc = json!({"larc_params": {"larc_eta": 0.1}, "max_grad_norm": 1});
    assert_eq!(message(larc), "larc_params excludes max_grad_norm: LARC bounds each layer itself");
    assert_eq!(message(json!({"max_steps": 5})), "num_epochs excludes max_steps: each is the whole length");
    for name in ["AdamW", "NovoGrad"] {
        let words = json!({
            "optimizer": name, "optimizer_params": {"weight_decay": 0.1},
            "regularizer": "l2_regularizer", "regularizer_params": {"scale": 0.1},
        });
        let expected = "optimizer excludes regularizer: this optimizer has a weight_decay of its own";
        assert_eq!(message(words), expected);
    }
}

#[test]
fn names_that_are_not_known() {
    let optimizers = "Momentum, SGD, Adam, LazyAdamOptimizer, AdamW or NovoGrad";
    assert_eq!(message(json!({"optimizer": "Ftrl"})), format!("optimizer is Ftrl, but must be {optimizers}"));
    let policies = "fixed_lr, piecewise_constant, exp_decay, poly_decay, cosine_decay, transformer_policy or \
                    inv_poly_decay";
    assert_eq!(message(json!({"lr_policy": "step"})), format!("lr_policy is step, but must be {policies}"));
    let regularizer = json!({"regularizer": "l1_regularizer"});
    assert_eq!(message(regularizer), "regularizer is l1_regularizer, but must be l2_regularizer");
    let mode = json!({"larc_params": {"larc_eta": 0.1, "larc_mode": "lars"}});
    assert_eq!(message(mode), "larc_params.larc_mode is lars, but must be clip or scale");
    assert_eq!(message(json!({"dtype": "float16"})), "dtype is float16, but must be float32 or mixed");
    let scaling = json!({"loss_scaling": "Dynamic"});
    assert_eq!(message(scaling), "loss_scaling is \"Dynamic\", but must be a number, Backoff or LogMax");
}

#[test]
fn numbers_outside_their_range() {
    let optimizer = |name: &str, params: Value| message(json!({"optimizer": name, "optimizer_params": params}));
    let fraction = "but must be >= 0 and < 1";
    assert_eq!(optimizer("Momentum", json!({"momentum": 1})), format!("optimizer_params.momentum is 1, {fraction}"));
    assert_eq!(optimizer("Adam", json!({"beta2": 1.5})), format!("optimizer_params.beta2 is 1.5, {fraction}"));
    let beta2 = json!({"beta2": -1, "ema_persisted": false});
    assert_eq!(optimizer("NovoGrad", beta2), format!("optimizer_params.beta2 is -1, {fraction}"));
    let at_least_0 = "but must be finite and >= 0";
    for params in [json!({"epsilon": -1}), json!({"epsilon": -1, "eps_inside_sqrt": true})] {
        assert_eq!(optimizer("NovoGrad", params), format!("optimizer_params.epsilon is -1, {at_least_0}"));
    }
    let decay = optimizer("AdamW", json!({"weight_decay": -1}));
    assert_eq!(decay, format!("optimizer_params.weight_decay is -1, {at_least_0}"));
    // A regularizer of 0 is allowed beside a decay, which is then not its own.
    for name in ["AdamW", "NovoGrad"] {
        let words = json!({
            "optimizer": name, "optimizer_params": {"weight_decay": -1},
            "regularizer": "l2_regularizer", "regularizer_params": {"scale": 0},
        });
        assert_eq!(message(words), format!("optimizer_params.weight_decay is -1, {at_least_0}"));
    }
    let scale = json!({"regularizer": "l2_regularizer", "regularizer_params": {"scale": -1}});
    assert_eq!(message(scale), format!("regularizer_params.scale is -1, {at_least_0}"));
    let above_0 = "but must be finite and > 0";
    for (word, allowed) in [("larc_eta", above_0), ("epsilon", at_least_0), ("min_update", at_least_0)] {
        let mut params = json!({"larc_eta": 0.1});
        params[word] = json!(-1);
        assert_eq!(message(json!({ "larc_params": params })), format!("larc_params.{word} is -1, {allowed}"));
    }
    assert_eq!(message(json!({"max_grad_norm": 0})), format!("max_grad_norm is 0, {above_0}"));
    assert_eq!(message(json!({"loss_scaling": 0})), format!("loss_scaling is 0, {above_0}"));
    let factor = json!({"loss_scaling": "Backoff", "loss_scaling_params": {"step_factor": 1}});
    assert_eq!(message(factor), "loss_scaling_params.step_factor is 1, but must be finite and > 1");
}

#[test]
fn rates_outside_their_range() {
    assert_eq!(
        rates("poly_decay", json!({"learning_rate": 1, "decay_steps": 0})),
        "lr_policy_params.decay_steps is 0, but must be a whole number >= 1"
    );
    assert_eq!(
        rates("cosine_decay", json!({"learning_rate": 1, "warmup_steps": -1})),
        "lr_policy_params.warmup_steps is -1, but must be a whole number >= 0"
    );
    assert_eq!(
        rates("fixed_lr", json!({"learning_rate": -1})),
        "lr_policy_params.learning_rate is -1, but must be finite and > 0"
    );
    assert_eq!(
        rates("poly_decay", json!({"learning_rate": 1, "power": 0})),
        "lr_policy_params.power is 0, but must be finite and > 0"
    );
    assert_eq!(
        rates("piecewise_constant", json!({"learning_rate": 1, "boundaries": [2, 1], "decay_rates": [1, 1]})),
        "lr_policy_params.boundaries is 1, but must be finite, >= 0 and not less than the boundary before it"
    );
    assert_eq!(
        rates("piecewise_constant", json!({"learning_rate": 1, "boundaries": [2], "decay_rates": []})),
        "lr_policy_params.decay_rates.len is 0, but must be the number of boundaries"
    );
    for count in [json!(0), json!(1.5), json!(-1), json!("many"), json!(1e300)] {
        let found = message(json!({ "iter_size": count.clone() }));
        assert!(found.starts_with("iter_size is ") && found.ends_with(", but must be a whole number >= 1"), "{found}");
        assert!(message(json!({ "num_epochs": count })).starts_with("num_epochs is "));
    }
}

#[test]
fn values_of_another_type() {
    for (changes, expected) in [
        (json!({"optimizer": 3}), "optimizer is 3, but must be text"),
        (json!({"optimizer_params": 3}), "optimizer_params is 3, but must be an object"),
        (json!({"larc_params": [1]}), "larc_params is a list, but must be an object"),
        (json!({"larc_params": {"larc_eta": "big"}}), "larc_params.larc_eta is \"big\", but must be a number"),
        (json!({"max_grad_norm": true}), "max_grad_norm is true, but must be a number"),
        (json!({"loss_scaling": {}}), "loss_scaling is an object, but must be a number, Backoff or LogMax"),
        (
            json!({"optimizer": "NovoGrad", "optimizer_params": {"grad_averaging": "no"}}),
            "optimizer_params.grad_averaging is \"no\", but must be true or false",
        ),
        (
            json!({
                "lr_policy": "piecewise_constant",
                "lr_policy_params": {"learning_rate": 1, "boundaries": 3, "decay_rates": [1]},
            }),
            "lr_policy_params.boundaries is 3, but must be a list of numbers",
        ),
    ] {
        assert_eq!(message(changes), expected);
    }
    let error = serde_json::from_str::<Recipe>("[1]").unwrap_err().to_string();
    assert!(error.starts_with("the configuration is a list, but must be an object"), "{error}");
}

#[test]
fn epochs_without_steps() {
    let recipe: Recipe = serde_json::from_value(with(json!({"iter_size": 5}))).unwrap();
    let error = recipe.training(4).unwrap_err();
    assert_eq!(error.to_string(), "iter_size is 5, but must be at most the number of batches of an epoch");
    assert_eq!(recipe.training(5).unwrap().steps, 2);
    let recipe: Recipe = serde_json::from_value(with(json!({"num_epochs": 3}))).unwrap();
    let error = recipe.training(u64::MAX).unwrap_err();
    assert_eq!(error.to_string(), "num_epochs is 3, but must be so small that its steps can be counted");
}
