//! Layers and settings of every kind.

use layerwise::{
    BiasCorrection, DecayInRatio, DecayMode, GradientAveraging, LarcConfig, LarcMode, LayerConfig, Luc, MomentNorm,
    NovoGradConfig, SgdConfig, Step, VInit, ZeroNorm,
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
        0..4_u8,
        0..3_u8,
        any::<bool>(),
    )
        .prop_map(|(clip, eta, eps, min_update, min_norm, zero_norm, decay_in_ratio, only_with_decay)| {
            LarcConfig {
                mode: if clip { LarcMode::Clip } else { LarcMode::Scale },
                eta,
                eps: if zero_norm == 3 { eps + 1e-8 } else { eps },
                min_update,
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
        })
}

pub fn sgd_configs() -> impl Strategy<Value = SgdConfig> {
    (
        prop_oneof![Just(0.0), 0.1..0.99],
        prop_oneof![Just(0.0), 0.1..0.9],
        any::<[bool; 4]>(),
        prop_oneof![Just(0.0), 1e-4..0.5],
        prop::option::of(larc_configs()),
    )
        .prop_map(|(momentum, dampening, [first, nesterov, inside, maximize], weight_decay, larc)| SgdConfig {
            momentum,
            dampening,
            dampen_first_step: first,
            nesterov,
            weight_decay,
            rate_in_momentum: inside,
            maximize,
            larc,
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
    let luc = prop::option::of((1e-4..0.1, prop_oneof![Just(0.0), 1e-9..1e-2], any::<bool>()));
    (numbers, 0..4_u8, 0..3_usize, 0..3_usize, 0..3_usize, any::<[bool; 5]>(), luc).prop_map(
        |((beta1, beta2, eps, eps_root, weight_decay), decay, v_init, averaging, bias, flags, luc)| {
            let [amsgrad, max, raw_momentum, rate_in_momentum, maximize] = flags;
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
                luc: luc.map(|(trust, eps, freezes_zeros)| Luc { trust, eps, freezes_zeros }),
                bias_correction: [BiasCorrection::Off, BiasCorrection::Moments, BiasCorrection::StepSize][bias],
                norm: if max { MomentNorm::Max } else { MomentNorm::L2 },
                raw_momentum,
                rate_in_momentum,
                maximize,
            }
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
