//! Layers and settings of every kind.

use layerwise::{
    AdamConfig, AdamCorrection, AdamDecay, BiasCorrection, DecayInRatio, DecayMode, GradientAveraging, LarcConfig,
    LarcMode, LayerConfig, Luc, MomentNorm, NovoGradConfig, SgdConfig, Step, TrustRatio, VInit, ZeroNorm,
};
use proptest::prelude::*;

/// Weights and a few gradients of one length, of ordinary size. Some elements are zero.
pub fn layers(steps: usize) -> impl Strategy<Value = (Vec<f32>, Vec<Vec<f32>>)> {
    let len = prop_oneof![4 => 1..70_usize, 1 => 1000..5000_usize];
    let element = || prop_oneof![8 => -1.0..1.0_f32, 1 => Just(0.0)];
    len.prop_flat_map(move |len| {
        let array = move || prop::collection::vec(element(), len);
        (array(), prop::collection::vec(array(), steps))
    })
}

pub fn larc_configs() -> impl Strategy<Value = LarcConfig> {
    (
        any::<bool>(),
        1e-4..0.1,
        prop_oneof![Just(0.0), 1e-9..1e-3],
        prop_oneof![Just(0.0), 1e-7..1e-2],
        prop_oneof![3 => Just(0.0), 1 => 1e-3..1.0],
        prop::option::of(1e-4..2.0),
        0..4_u8,
        0..3_u8,
        any::<bool>(),
    )
        .prop_map(
            |(clip, eta, eps, min_update, min_norm, max_update, zero_norm, decay_in_ratio, only_with_decay)| {
                LarcConfig {
                    mode: if clip { LarcMode::Clip } else { LarcMode::Scale },
                    eta,
                    eps: if zero_norm == 3 { eps + 1e-8 } else { eps },
                    min_update,
                    max_update,
                    min_norm,
                    zero_norm: [
                        ZeroNorm::PlainStep,
                        ZeroNorm::PlainStepWithoutDecay,
                        ZeroNorm::PlainStepUnlessDecaying,
                        ZeroNorm::Formula,
                    ][usize::from(zero_norm)],
                    decay_in_ratio: [DecayInRatio::No, DecayInRatio::SumOfNorms, DecayInRatio::NormOfSum]
                        [usize::from(decay_in_ratio)],
                    only_with_decay,
                }
            },
        )
}

/// Limits of the step, or none.
fn lucs() -> impl Strategy<Value = Option<Luc>> {
    let luc = (1e-4..0.1, prop_oneof![Just(0.0), 1e-9..1e-2], any::<bool>());
    prop::option::of(luc.prop_map(|(trust, eps, freezes_zeros)| Luc { trust, eps, freezes_zeros }))
}

pub fn sgd_configs() -> impl Strategy<Value = SgdConfig> {
    (
        prop_oneof![Just(0.0), 0.1..0.99],
        prop_oneof![Just(0.0), 0.1..0.9],
        any::<[bool; 5]>(),
        prop_oneof![Just(0.0), 1e-4..0.5],
        prop::option::of(larc_configs()),
        lucs(),
    )
        .prop_map(|(momentum, dampening, flags, weight_decay, larc, luc)| {
            let [first, nesterov, inside, maximize, starts_at_gradient] = flags;
            SgdConfig {
                momentum,
                dampening,
                dampen_first_step: first,
                nesterov,
                weight_decay,
                rate_in_momentum: inside,
                maximize,
                larc,
                luc,
                starts_at_gradient,
            }
        })
}

pub fn novograd_configs() -> impl Strategy<Value = NovoGradConfig> {
    let numbers = (
        prop_oneof![Just(0.0), 0.1..0.99],
        prop_oneof![Just(0.0), 0.1..0.999],
        prop_oneof![Just(0.0), 1e-9..1e-2],
        prop_oneof![Just(0.0), 1e-9..1e-2],
        prop_oneof![Just(0.0), 1e-4..0.5],
    );
    let adaptation = (prop::option::of(larc_configs()), lucs());
    (numbers, 0..4_u8, 0..3_usize, 0..3_usize, 0..4_usize, any::<[bool; 6]>(), adaptation).prop_map(
        |((beta1, beta2, eps, eps_root, weight_decay), decay, v_init, averaging, bias, flags, (larc, luc))| {
            let [amsgrad, max, raw_momentum, rate_in_momentum, maximize, starts_at_gradient] = flags;
            NovoGradConfig {
                beta1,
                beta2,
                eps,
                eps_root,
                weight_decay,
                decay_mode: [
                    DecayMode::Coupled,
                    DecayMode::Decoupled,
                    DecayMode::Corrected { max_rate: 1.0 },
                    DecayMode::Fixed,
                ][usize::from(decay)],
                v_init: [VInit::WhileZero, VInit::FirstStep, VInit::Zero][v_init],
                gradient_averaging: [GradientAveraging::Off, GradientAveraging::On, GradientAveraging::AfterFirstStep]
                    [averaging],
                amsgrad,
                larc: larc.filter(|_| !max),
                luc,
                starts_at_gradient,
                bias_correction: [
                    BiasCorrection::Off,
                    BiasCorrection::Moments,
                    BiasCorrection::StepSize,
                    BiasCorrection::Rate,
                ][bias],
                norm: if max { MomentNorm::Max } else { MomentNorm::L2 },
                raw_momentum,
                rate_in_momentum,
                maximize,
            }
        },
    )
}

pub fn adam_configs() -> impl Strategy<Value = AdamConfig> {
    let numbers = (
        prop_oneof![Just(0.0), 0.1..0.99],
        prop_oneof![Just(0.0), 0.1..0.999],
        1e-9..1e-2,
        prop_oneof![Just(0.0), 1e-9..1e-2],
        prop_oneof![Just(0.0), 1e-4..0.5],
    );
    let ratio = (prop_oneof![Just(0.0), 1e-9..1e-2], prop::option::of(0.1..10.0), prop::option::of(0.1..10.0));
    let ratio = (ratio, any::<bool>()).prop_map(|((eps, max_weights, max_ratio), only_with_decay)| TrustRatio {
        eps,
        max_weights,
        max_ratio,
        only_with_decay,
    });
    let adaptation = (prop::option::of(larc_configs()), lucs(), prop::option::of(ratio));
    (numbers, 0..5_usize, 0..4_usize, any::<[bool; 2]>(), adaptation).prop_map(
        |((beta1, beta2, eps, eps_root, weight_decay), decay, bias, flags, (larc, luc, trust_ratio))| AdamConfig {
            beta1,
            beta2,
            eps,
            eps_root,
            weight_decay,
            decay_mode: [
                AdamDecay::L2,
                AdamDecay::InUpdate,
                AdamDecay::Decoupled,
                AdamDecay::Corrected { max_rate: 1.0 },
                AdamDecay::Fixed,
            ][decay],
            bias_correction: [
                AdamCorrection::Off,
                AdamCorrection::Moments,
                AdamCorrection::Rate,
                AdamCorrection::TensorFlow,
            ][bias],
            grad_averaging: flags[0],
            trust_ratio,
            larc,
            luc,
            maximize: flags[1],
        },
    )
}

pub fn layer_configs() -> impl Strategy<Value = LayerConfig> {
    let multiplier = || prop_oneof![Just(1.0), 0.0..2.0];
    (any::<bool>(), multiplier(), prop_oneof![Just(0.0), multiplier()]).prop_map(|(adapt, rate, decay)| LayerConfig {
        adapt,
        rate,
        decay,
        frozen: false,
    })
}

pub fn steps(lr: impl Strategy<Value = f64>) -> impl Strategy<Value = Step> {
    (lr, prop_oneof![Just(1.0), 1e-3..1e3_f64]).prop_map(|(lr, scale)| Step::new(lr).gradient_scale(scale))
}
