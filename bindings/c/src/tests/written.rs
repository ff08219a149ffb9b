//! What is written for C is what is read from it. All numbers differ, and each flag is tried alone, so that no field
//! can be taken for another.

use crate::*;
use lw::{
    AdamConfig, AdamCorrection, AdamDecay, AnyOptimizer, BiasCorrection, DecayInRatio, DecayMode, GradientAveraging,
    LarcConfig, LarcMode, Luc, NonFinite, NovoGrad, NovoGradConfig, Policy, Sgd, SgdConfig, TrustRatio, VInit,
    ZeroNorm,
};
use std::array;
use std::mem::zeroed;

const LARC: LarcConfig = LarcConfig {
    mode: LarcMode::Scale,
    eta: 0.11,
    eps: 0.12,
    min_update: 0.13,
    max_update: Some(0.14),
    min_norm: 0.15,
    zero_norm: ZeroNorm::PlainStepUnlessDecaying,
    decay_in_ratio: DecayInRatio::NormOfSum,
    only_with_decay: true,
};

const LUC: Luc = Luc { trust: 0.16, eps: 0.17, freezes_zeros: true };

/// An optimizer with each of `N` flags.
fn each_flag<const N: usize>(optimizer: impl Fn([bool; N]) -> AnyOptimizer) -> [AnyOptimizer; N] {
    array::from_fn(|flag| optimizer(array::from_fn(|i| i == flag)))
}

fn sgd([dampen_first_step, nesterov, rate_in_momentum, maximize, starts_at_gradient]: [bool; 5]) -> AnyOptimizer {
    let config = SgdConfig {
        momentum: 0.21,
        dampening: 0.22,
        weight_decay: 0.23,
        dampen_first_step,
        nesterov,
        rate_in_momentum,
        maximize,
        starts_at_gradient,
        larc: Some(LARC),
        luc: Some(LUC),
    };
    Sgd::new(config).unwrap().any()
}

fn novograd([amsgrad, starts_at_gradient, raw_momentum, rate_in_momentum, maximize]: [bool; 5]) -> AnyOptimizer {
    let config = NovoGradConfig {
        beta1: 0.31,
        beta2: 0.32,
        eps: 0.33,
        eps_root: 0.34,
        weight_decay: 0.35,
        decay_mode: DecayMode::Corrected { max_rate: 0.36 },
        v_init: VInit::FirstStep,
        gradient_averaging: GradientAveraging::AfterFirstStep,
        bias_correction: BiasCorrection::Rate,
        amsgrad,
        starts_at_gradient,
        raw_momentum,
        rate_in_momentum,
        maximize,
        larc: Some(LARC),
        luc: Some(LUC),
        ..NovoGradConfig::DEFAULT
    };
    NovoGrad::new(config).unwrap().any()
}

fn adam([grad_averaging, maximize, only_with_decay]: [bool; 3]) -> AnyOptimizer {
    let ratio = TrustRatio { eps: 0.41, max_weights: Some(0.42), max_ratio: Some(0.43), only_with_decay };
    let config = AdamConfig {
        beta1: 0.44,
        beta2: 0.45,
        eps: 0.46,
        eps_root: 0.47,
        weight_decay: 0.48,
        decay_mode: AdamDecay::Corrected { max_rate: 0.49 },
        bias_correction: AdamCorrection::TensorFlow,
        grad_averaging,
        trust_ratio: Some(ratio),
        larc: Some(LARC),
        luc: Some(LUC),
        maximize,
    };
    lw::Adam::new(config).unwrap().any()
}

#[test]
fn optimizers() {
    let policy = Policy { non_finite: NonFinite::SkipStep, ..Policy::DEFAULT };
    for optimizer in each_flag(sgd).into_iter().chain(each_flag(novograd)).chain(each_flag(adam)) {
        let optimizer = optimizer.with_policy(policy).unwrap();
        assert_eq!(lw_optimizer::of(optimizer.rule(), policy).optimizer().unwrap(), optimizer);
    }
    // A clip, which LARC forbids.
    let policy = Policy { clip_norm: Some(0.5), ..Policy::DEFAULT };
    let clipped = Sgd::new(SgdConfig::DEFAULT).unwrap().any().with_policy(policy).unwrap();
    assert_eq!(lw_optimizer::of(clipped.rule(), policy).optimizer().unwrap(), clipped);
}

/// The training of a recipe with these settings of the loss scale.
fn training(loss_scaling: &str) -> lw_training {
    let json = format!(
        r#"{{"optimizer": "SGD", "lr_policy": "fixed_lr", "lr_policy_params": {{"learning_rate": 1}}, "dtype": "mixed",
             "num_epochs": 3, "iter_size": 2, {loss_scaling}}}"#
    );
    // SAFETY: zeros are a value of it, and the pointers are good.
    unsafe {
        let mut training = zeroed();
        let status = lw_recipe(json.as_ptr().cast(), json.len(), 20, &mut training, std::ptr::null_mut());
        assert_eq!(status, status::APPLIED, "{json}");
        training
    }
}

#[test]
fn what_surrounds_the_steps_of_a_recipe() {
    let of = training(
        r#""loss_scaling": "LogMax", "loss_scaling_params": {"scale_min": 2, "scale_max": 64, "log_max": 12,
            "beta1": 0.5, "beta2": 0.25, "overflow_std_dev": 3, "as_executed": true}"#,
    );
    assert_eq!((of.iter_size, of.steps_per_epoch, of.steps, of.is_mixed), (2, 10, 30, 1));
    let lw_loss_scaler { kind, scale_min, scale_max, log_max, beta1, beta2, overflow_std_dev, as_executed, .. } =
        of.loss_scaler;
    assert_eq!((kind, scale_min, scale_max, log_max, as_executed), (3, 2.0, 64.0, 12.0, 1));
    assert_eq!((beta1, beta2, overflow_std_dev), (0.5, 0.25, 3.0));

    let params = r#"{"scale_min": 2, "scale_max": 64, "step_factor": 4, "step_window": 7}"#;
    let of = training(&format!(r#""loss_scaling": "Backoff", "loss_scaling_params": {params}"#)).loss_scaler;
    let lw_loss_scaler { kind, scale_min, scale_max, step_factor, step_window, .. } = of;
    assert_eq!((kind, scale_min, scale_max, step_factor, step_window), (2, 2.0, 64.0, 4.0, 7));

    let of = training(r#""loss_scaling": 128"#).loss_scaler;
    assert_eq!((of.kind, of.scale), (1, 128.0));
}
