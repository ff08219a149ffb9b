//! Every key of a recipe, in made-up configurations.

use super::{BATCHES, adam, novograd, sgd, training};
use layerwise::recipe::Recipe;
use layerwise::schedule::{
    Backoff, CosineDecay, ExpDecay, FixedLr, InvPolyDecay, LogMax, LossScaling, PiecewiseConstant, PolyDecay,
    RatePolicy, TransformerPolicy,
};
use layerwise::{
    AdamConfig, AdamCorrection, AdamDecay, DecayInRatio, GradientAveraging, LarcConfig, LarcMode, NonFinite,
    NovoGradConfig, SgdConfig,
};
use serde_json::{Value, json};

/// A configuration with some keys changed or added; null removes a key.
pub fn with(changes: Value) -> Value {
    let mut configuration = json!({
        "optimizer": "SGD", "lr_policy": "fixed_lr", "lr_policy_params": {"learning_rate": 0.5}, "num_epochs": 2,
    });
    for (word, value) in changes.as_object().unwrap() {
        configuration[word] = value.clone();
    }
    configuration
}

#[test]
fn gradient_descent() {
    assert_eq!(sgd(&training(&with(json!({})))), SgdConfig::DEFAULT);
    let words = json!({"optimizer": "Momentum", "optimizer_params": {"momentum": 0.8}});
    assert_eq!(sgd(&training(&with(words))), SgdConfig { momentum: 0.8, ..SgdConfig::DEFAULT });
    let words = json!({
        "optimizer": "Momentum", "optimizer_params": {"momentum": "0.8", "use_nesterov": true},
        "regularizer": "l2_regularizer", "regularizer_params": {"scale": 0.25},
    });
    let nesterov = SgdConfig { momentum: 0.8, nesterov: true, weight_decay: 0.25, ..SgdConfig::DEFAULT };
    assert_eq!(sgd(&training(&with(words))), nesterov);
}

#[test]
fn larc() {
    let of = |params: Value| sgd(&training(&with(json!({ "larc_params": params })))).larc.unwrap();
    assert_eq!(of(json!({"larc_eta": 0.5})), LarcConfig { eta: 0.5, ..LarcConfig::OPENSEQ2SEQ });
    assert_eq!(of(json!({"larc_eta": 0.5, "larc_mode": "clip"})).mode, LarcMode::Clip);
    let all = json!({"larc_eta": 0.5, "larc_mode": "scale", "min_update": 0.01, "epsilon": 0.1});
    let config = LarcConfig { mode: LarcMode::Scale, eta: 0.5, min_update: 0.01, eps: 0.1, ..LarcConfig::OPENSEQ2SEQ };
    assert_eq!(of(all), config);
    // The gradient that LARC measures includes the regularizer.
    let words = json!({
        "larc_params": {"larc_eta": 0.5}, "regularizer": "l2_regularizer", "regularizer_params": {"scale": 0.25},
    });
    assert_eq!(sgd(&training(&with(words))).larc.unwrap().decay_in_ratio, DecayInRatio::NormOfSum);
}

#[test]
fn novograd_with_all_its_words() {
    let of = |params: Value| novograd(&training(&with(json!({"optimizer": "NovoGrad", "optimizer_params": params}))));
    assert_eq!(of(json!({})), NovoGradConfig::DEFAULT);
    let all = json!({"beta1": 0.5, "beta2": 0.25, "epsilon": 0.1, "weight_decay": 0.2, "grad_averaging": true});
    let config = NovoGradConfig { beta1: 0.5, beta2: 0.25, eps: 0.1, weight_decay: 0.2, ..NovoGradConfig::DEFAULT };
    assert_eq!(of(all), NovoGradConfig { gradient_averaging: GradientAveraging::On, ..config });
    let as_meant = json!({"grad_averaging": false, "ema_persisted": true, "eps_inside_sqrt": false});
    assert_eq!(of(as_meant), NovoGradConfig::DEFAULT);
    assert_eq!(of(json!({"eps_inside_sqrt": true})), NovoGradConfig::OPENSEQ2SEQ);
    assert_eq!(of(json!({"ema_persisted": false})), NovoGradConfig { beta2: 0.0, ..NovoGradConfig::DEFAULT });
}

#[test]
fn adam_and_its_relatives() {
    let of = |name: &str, params: Value| adam(&training(&with(json!({"optimizer": name, "optimizer_params": params}))));
    let tensorflow = AdamConfig { bias_correction: AdamCorrection::TensorFlow, ..AdamConfig::DEFAULT };
    let l2 = AdamConfig { decay_mode: AdamDecay::L2, ..tensorflow };
    for name in ["Adam", "LazyAdamOptimizer"] {
        assert_eq!(of(name, json!({})), l2);
        let all = json!({"beta1": 0.5, "beta2": 0.25, "epsilon": 0.1});
        assert_eq!(of(name, all), AdamConfig { beta1: 0.5, beta2: 0.25, eps: 0.1, ..l2 });
    }
    let adam_w = AdamConfig { weight_decay: 0.3, eps: 0.1, decay_mode: AdamDecay::Decoupled, ..tensorflow };
    assert_eq!(of("AdamW", json!({"weight_decay": 0.3, "epsilon": 0.1})), adam_w);
    // A regularizer of 0 is not a conflict.
    let words = json!({
        "optimizer": "AdamW", "optimizer_params": {"weight_decay": 0.3, "epsilon": 0.1},
        "regularizer": "l2_regularizer", "regularizer_params": {"scale": 0},
    });
    assert_eq!(adam(&training(&with(words))), adam_w);
}

/// A policy with these parameters, in a training run of this length.
fn policy(name: &str, params: Value, length: Value) -> RatePolicy<Vec<f64>> {
    let mut words = with(json!({"lr_policy": name, "lr_policy_params": params, "num_epochs": null}));
    words.as_object_mut().unwrap().extend(length.as_object().unwrap().clone());
    training(&words).schedule.policy().clone()
}

#[test]
fn rate_policies() {
    let (epochs, steps) = (json!({"num_epochs": 2}), json!({"max_steps": 300}));
    let learning_rate = 0.5;
    let fixed = RatePolicy::FixedLr(FixedLr { learning_rate });
    assert_eq!(policy("fixed_lr", json!({"learning_rate": 0.5}), steps.clone()), fixed);
    let drops = json!({"learning_rate": 0.5, "boundaries": [1, 1.5], "decay_rates": [0.5, 0.1]});
    let (boundaries, decay_rates) = (vec![1.0, 1.5], vec![0.5, 0.1]);
    let piecewise = PiecewiseConstant { learning_rate, boundaries, decay_rates, steps_per_epoch: BATCHES };
    assert_eq!(policy("piecewise_constant", drops.clone(), epochs), RatePolicy::PiecewiseConstant(piecewise.clone()));
    let in_steps = PiecewiseConstant { steps_per_epoch: 0, ..piecewise };
    assert_eq!(policy("piecewise_constant", drops, steps.clone()), RatePolicy::PiecewiseConstant(in_steps));
    let exp = json!({
        "learning_rate": 0.5, "decay_rate": 0.9, "begin_decay_at": 100, "use_staircase_decay": true, "min_lr": 0.1,
    });
    let decay = ExpDecay {
        learning_rate,
        decay_rate: 0.9,
        begin_decay_at: 100,
        decay_steps: 200,
        use_staircase_decay: true,
        min_lr: 0.1,
    };
    assert_eq!(policy("exp_decay", exp, steps.clone()), RatePolicy::ExpDecay(decay));
    let all = json!({
        "learning_rate": 0.5, "decay_steps": 7.0, "power": 2, "begin_decay_at": 3, "min_lr": 0.1, "warmup_steps": 5,
    });
    let (decay_steps, power, begin_decay_at, min_lr, warmup_steps) = (7, 2.0, 3, 0.1, 5);
    let poly = PolyDecay { learning_rate, decay_steps, power, begin_decay_at, min_lr, warmup_steps };
    assert_eq!(policy("poly_decay", all.clone(), steps.clone()), RatePolicy::PolyDecay(poly));
    let cosine = CosineDecay { learning_rate, decay_steps, power, begin_decay_at, min_lr, warmup_steps };
    assert_eq!(policy("cosine_decay", all.clone(), steps.clone()), RatePolicy::CosineDecay(cosine));
    let inverse = InvPolyDecay { learning_rate, decay_steps, power, begin_decay_at, min_lr, warmup_steps };
    assert_eq!(policy("inv_poly_decay", all, steps.clone()), RatePolicy::InvPolyDecay(inverse));
    let all = json!({"learning_rate": 0.5, "d_model": 512, "warmup_steps": 9, "max_lr": 0.1, "coefficient": 3});
    let (max_lr, coefficient) = (Some(0.1), 3.0);
    let transformer = TransformerPolicy { learning_rate, d_model: 512, warmup_steps: 9, max_lr, coefficient };
    assert_eq!(policy("transformer_policy", all, steps), RatePolicy::TransformerPolicy(transformer));
}

#[test]
fn a_decay_without_length_fills_the_training() {
    let params = json!({"learning_rate": 0.5, "begin_decay_at": 100, "warmup_steps": 500});
    let rates = training(&with(json!({"lr_policy": "poly_decay", "lr_policy_params": params}))).schedule;
    assert_eq!([0, 250, 500, 1250, 2000].map(|step| rates.rate(step)), [0.0, 0.25, 0.5, 0.25, 0.0]);
}

#[test]
fn loss_scalers() {
    let of = |scaling: Value, params: Value| {
        let words = json!({"dtype": "mixed", "loss_scaling": scaling, "loss_scaling_params": params});
        let training = training(&with(words));
        assert_eq!(training.optimizer().policy().non_finite, NonFinite::SkipStep);
        *training.loss_scaler.unwrap().scaling()
    };
    assert_eq!(of(json!(512), json!(null)), LossScaling::Static(512.0));
    for name in ["Backoff", "backoff"] {
        assert_eq!(of(json!(name), json!({})), LossScaling::Backoff(Backoff::DEFAULT));
    }
    let all = json!({"scale_min": 2, "scale_max": 32, "step_factor": 4, "step_window": 10});
    let backoff = Backoff { scale_min: 2.0, scale_max: 32.0, step_factor: 4.0, step_window: 10 };
    assert_eq!(of(json!("Backoff"), all), LossScaling::Backoff(backoff));
    // A window longer than any training is the longest that there is.
    let longest = Backoff { step_window: u32::MAX, ..Backoff::DEFAULT };
    assert_eq!(of(json!("Backoff"), json!({"step_window": 1_u64 << 32 | 7})), LossScaling::Backoff(longest));
    assert_eq!(of(json!("logmax"), json!(null)), LossScaling::LogMax(LogMax::DEFAULT));
    let all = json!({
        "scale_min": 2, "scale_max": 32, "log_max": 15, "beta1": 0.5, "beta2": 0.25, "overflow_std_dev": 3,
        "as_executed": true,
    });
    let log_max = LogMax {
        scale_min: 2.0,
        scale_max: 32.0,
        log_max: 15.0,
        beta1: 0.5,
        beta2: 0.25,
        overflow_std_dev: 3.0,
        as_executed: true,
    };
    assert_eq!(of(json!("LogMax"), all), LossScaling::LogMax(log_max));
    // Only mixed precision scales the loss.
    let single = training(&with(json!({"dtype": "float32", "loss_scaling": "Backoff"})));
    assert_eq!((single.loss_scaler, single.optimizer().policy().non_finite), (None, NonFinite::SkipLayer));
}

#[test]
fn lengths() {
    let recipe: Recipe = serde_json::from_value(with(json!({"iter_size": 3, "num_epochs": 4}))).unwrap();
    let training = recipe.training(100).unwrap();
    assert_eq!((training.iter_size, training.steps_per_epoch, training.steps), (3, 33, 4 * 33));
    let recipe: Recipe = serde_json::from_value(with(json!({"num_epochs": null, "max_steps": 50}))).unwrap();
    let training = recipe.training(0).unwrap();
    assert_eq!((training.iter_size, training.steps_per_epoch, training.steps), (1, 0, 50));
}

#[test]
fn words_that_say_nothing_of_training_are_passed_over() {
    let host = json!({
        "base_model": "Speech2Text", "logdir": "jasper", "use_horovod": true, "batch_size_per_gpu": 32, "num_gpus": 8,
        "data_layer": "Speech2TextDataLayer", "data_layer_params": {"shuffle": true, "files": ["a", "b"]},
        "summaries": ["learning_rate", "larc_summaries"], "max_grad_norm": null, "larc_params": null,
    });
    assert_eq!(training(&with(host)), training(&with(json!({}))));
}

#[test]
fn other_formats_are_read_too() {
    let mut bytes = vec![];
    ciborium::into_writer(&with(json!({"max_grad_norm": 2, "larc_params": null})), &mut bytes).unwrap();
    let recipe: Recipe = ciborium::from_reader(bytes.as_slice()).unwrap();
    assert_eq!(recipe.training(BATCHES).unwrap().optimizer().policy().clip_norm, Some(2.0));
    let error = serde_json::from_str::<Recipe>("null").unwrap_err().to_string();
    assert!(error.starts_with("the configuration is null, but must be an object"), "{error}");
}
