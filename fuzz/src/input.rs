//! Inputs of every kind. Most are valid, so that a step gets far; some are arbitrary bits.

use crate::harness::{backends, compare::non_negative};
use arbitrary::{Result, Unstructured};
use layerwise::pieces::LEAF;
use layerwise::rule::{SecondMoment, Update};
use layerwise::{
    Adam, AdamConfig, AdamCorrection, AdamDecay, Backend, BiasCorrection, DecayInRatio, DecayMode, GradientAveraging,
    LarcConfig, LarcMode, LayerConfig, Luc, MomentNorm, NonFinite, NovoGrad, NovoGradConfig, Policy, Sgd, SgdConfig,
    Step, TrustRatio, VInit, ZeroNorm,
};

/// How many elements: few, or about a number of leaves.
pub fn len(u: &mut Unstructured) -> Result<usize> {
    if u.ratio(15, 16)? {
        return u.int_in_range(0..=100);
    }
    // More than a tile is slow, so it is rare.
    let leaves = if u.ratio(1, 64)? { 17 } else { *u.choose(&[1, 1, 1, 1, 2, 3])? };
    Ok(leaves * LEAF - 40 + u.int_in_range(0..=80)?)
}

/// Another length, now and then.
pub fn perhaps_other_len(u: &mut Unstructured, len: usize) -> Result<usize> {
    if u.ratio(1, 16)? { u.int_in_range(0..=len + 2) } else { Ok(len) }
}

/// Numbers of one kind, with a few strange ones among them.
pub fn numbers(u: &mut Unstructured, len: usize) -> Result<Vec<f32>> {
    let kind = u.int_in_range(0..=7)?;
    let mut rng = fastrand::Rng::with_seed(u.arbitrary::<u32>()?.into());
    let scale = 2f64.powi(u.int_in_range(-140..=120)?) as f32;
    let mut ordinary = move || 2.0 * rng.f32() - 1.0;
    let mut rng = fastrand::Rng::with_seed(u.arbitrary::<u16>()?.into());
    let mut x: Vec<f32> = match kind {
        0..=2 => (0..len).map(|_| ordinary()).collect(),
        3 => (0..len).map(|_| scale * ordinary()).collect(),
        4 => (0..len).map(|_| f32::from_bits(rng.u32(..0xff << 23) & !(1 << 30) | rng.u32(..2) << 31)).collect(),
        5 => (0..len).map(|_| f32::from_bits(rng.u32(..1 << 23) | rng.u32(..2) << 31)).collect(),
        6 => vec![[0.0, -0.0, scale, f32::MAX][u.int_in_range(0..=3)?]; len],
        _ => {
            let pattern: Vec<f32> = (0..u.int_in_range(1..=40)?).map(|_| u.arbitrary()).collect::<Result<_>>()?;
            pattern.into_iter().cycle().take(len).collect()
        }
    };
    if len > 0 && u.ratio(1, 4)? {
        for _ in 0..u.int_in_range(1..=3)? {
            x[u.choose_index(len)?] = u.arbitrary()?;
        }
    }
    Ok(x)
}

/// A setting: one of these, or something of their size, or any `f64`.
pub fn setting(u: &mut Unstructured, usual: &[f64]) -> Result<f64> {
    let usual = *u.choose(usual)?;
    Ok(match u.int_in_range(0..=15)? {
        0 => u.arbitrary()?,
        1 => [-1.0, f64::NAN, f64::INFINITY, f64::MAX, f64::MIN_POSITIVE, 5e-324, -0.0][u.choose_index(7)?],
        2..=5 => usual * f64::from(u.arbitrary::<u16>()?) / 32768.0,
        6 => usual * 2f64.powi(u.int_in_range(-200..=200)?),
        _ => usual,
    })
}

const FRACTIONS: [f64; 5] = [0.0, 0.5, 0.9, 0.98, 0.999];
const SMALL: [f64; 4] = [0.0, 1e-8, 1e-3, 0.1];

/// A learning rate.
pub fn rate(u: &mut Unstructured) -> Result<f64> {
    setting(u, &[0.01, 0.1, 1.0, 10.0, 0.0])
}

/// A scale of gradients.
pub fn scale(u: &mut Unstructured) -> Result<f64> {
    if u.arbitrary()? { Ok(1.0) } else { setting(u, &[1.0, 0.25, 1.0 / 1024.0, 3.0]) }
}

pub fn step(u: &mut Unstructured) -> Result<Step> {
    Ok(Step::new(rate(u)?).gradient_scale(scale(u)?))
}

pub fn layer(u: &mut Unstructured) -> Result<LayerConfig> {
    let mut multiplier = || if u.ratio(3, 4)? { Ok(1.0) } else { setting(u, &[0.5, 1.0, 0.0]) };
    let (rate, decay) = (multiplier()?, multiplier()?);
    Ok(LayerConfig { adapt: u.ratio(7, 8)?, rate, decay, frozen: u.ratio(1, 16)? })
}

/// Whether the multipliers of a layer are in range.
pub fn is_in_range(config: &LayerConfig) -> bool {
    non_negative(config.rate) && non_negative(config.decay)
}

/// One of this processor's backends, or none for the crate's own choice.
pub fn backend(u: &mut Unstructured) -> Result<Option<Backend>> {
    let backends: Vec<_> = backends().map(|(_, backend)| backend).collect();
    u.choose(&backends).copied()
}

pub fn policy(u: &mut Unstructured) -> Result<Policy> {
    if u.ratio(2, 3)? {
        return Ok(Policy::DEFAULT);
    }
    let non_finite = if u.arbitrary()? { NonFinite::SkipStep } else { NonFinite::SkipLayer };
    let clip_norm = if u.arbitrary()? { Some(setting(u, &[1.0, 0.01])?) } else { None };
    Ok(Policy { non_finite, clip_norm })
}

pub fn larc(u: &mut Unstructured) -> Result<LarcConfig> {
    Ok(LarcConfig {
        mode: if u.ratio(2, 3)? { LarcMode::Clip } else { LarcMode::Scale },
        eta: setting(u, &[0.002, 0.02, 0.001])?,
        eps: setting(u, &SMALL)?,
        min_update: setting(u, &SMALL)?,
        max_update: if u.ratio(1, 4)? { Some(setting(u, &[1.0, 0.01])?) } else { None },
        min_norm: if u.ratio(3, 4)? { 0.0 } else { setting(u, &SMALL)? },
        zero_norm: *u.choose(&[
            ZeroNorm::PlainStep,
            ZeroNorm::PlainStepWithoutDecay,
            ZeroNorm::PlainStepUnlessDecaying,
            ZeroNorm::Formula,
        ])?,
        decay_in_ratio: *u.choose(&[DecayInRatio::No, DecayInRatio::SumOfNorms, DecayInRatio::NormOfSum])?,
        only_with_decay: u.arbitrary()?,
    })
}

fn luc(u: &mut Unstructured) -> Result<Option<Luc>> {
    if u.ratio(3, 4)? {
        return Ok(None);
    }
    Ok(Some(Luc { trust: setting(u, &[0.001, 0.1])?, eps: setting(u, &SMALL)?, freezes_zeros: u.arbitrary()? }))
}

pub fn sgd(u: &mut Unstructured) -> Result<SgdConfig> {
    let larc = if u.ratio(3, 4)? { Some(larc(u)?) } else { None };
    Ok(SgdConfig {
        momentum: setting(u, &FRACTIONS)?,
        dampening: if u.arbitrary()? { 0.0 } else { setting(u, &FRACTIONS)? },
        dampen_first_step: u.arbitrary()?,
        nesterov: u.arbitrary()?,
        weight_decay: setting(u, &SMALL)?,
        rate_in_momentum: u.arbitrary()?,
        maximize: u.arbitrary()?,
        larc,
        luc: luc(u)?,
        starts_at_gradient: u.ratio(1, 4)?,
    })
}

pub fn novograd(u: &mut Unstructured) -> Result<NovoGradConfig> {
    let max_rate = setting(u, &[1.0, 0.1])?;
    let larc = if u.ratio(1, 4)? { Some(larc(u)?) } else { None };
    Ok(NovoGradConfig {
        beta1: setting(u, &FRACTIONS)?,
        beta2: setting(u, &FRACTIONS)?,
        eps: setting(u, &SMALL)?,
        eps_root: if u.ratio(3, 4)? { 0.0 } else { setting(u, &SMALL)? },
        weight_decay: setting(u, &SMALL)?,
        decay_mode: *u.choose(&[
            DecayMode::Coupled,
            DecayMode::Decoupled,
            DecayMode::Corrected { max_rate },
            DecayMode::Fixed,
        ])?,
        v_init: *u.choose(&[VInit::WhileZero, VInit::FirstStep, VInit::Zero])?,
        gradient_averaging: *u.choose(&[
            GradientAveraging::Off,
            GradientAveraging::On,
            GradientAveraging::AfterFirstStep,
        ])?,
        amsgrad: u.arbitrary()?,
        larc,
        luc: luc(u)?,
        starts_at_gradient: u.ratio(1, 4)?,
        bias_correction: *u.choose(&[
            BiasCorrection::Off,
            BiasCorrection::Moments,
            BiasCorrection::StepSize,
            BiasCorrection::Rate,
        ])?,
        norm: if u.ratio(7, 8)? { MomentNorm::L2 } else { MomentNorm::Max },
        raw_momentum: u.ratio(1, 4)?,
        rate_in_momentum: u.ratio(1, 4)?,
        maximize: u.ratio(1, 4)?,
    })
}

pub fn adam(u: &mut Unstructured) -> Result<AdamConfig> {
    let max_rate = setting(u, &[1.0, 0.1])?;
    let decay_mode = *u.choose(&[
        AdamDecay::L2,
        AdamDecay::InUpdate,
        AdamDecay::Decoupled,
        AdamDecay::Corrected { max_rate },
        AdamDecay::Fixed,
    ])?;
    let mut most = || if u.ratio(1, 4)? { Ok(Some(setting(u, &[1.0, 10.0])?)) } else { Ok(None) };
    let (max_weights, max_ratio) = (most()?, most()?);
    let ratio = TrustRatio { eps: setting(u, &SMALL)?, max_weights, max_ratio, only_with_decay: u.arbitrary()? };
    Ok(AdamConfig {
        beta1: setting(u, &FRACTIONS)?,
        beta2: setting(u, &FRACTIONS)?,
        eps: setting(u, &SMALL)?,
        eps_root: if u.ratio(3, 4)? { 0.0 } else { setting(u, &SMALL)? },
        weight_decay: setting(u, &SMALL)?,
        decay_mode,
        bias_correction: *u.choose(&[
            AdamCorrection::Off,
            AdamCorrection::Moments,
            AdamCorrection::Rate,
            AdamCorrection::TensorFlow,
        ])?,
        grad_averaging: u.arbitrary()?,
        trust_ratio: u.ratio(1, 4)?.then_some(ratio),
        larc: if u.ratio(1, 4)? { Some(larc(u)?) } else { None },
        luc: luc(u)?,
        maximize: u.ratio(1, 4)?,
    })
}

/// Every optimizer, with any settings and policy.
pub enum AnyOptimizer {
    Sgd(Sgd),
    NovoGrad(NovoGrad),
    Adam(Adam),
}

/// An optimizer, if its settings are in range.
pub fn optimizer(u: &mut Unstructured) -> Result<Option<AnyOptimizer>> {
    Ok(match u.int_in_range(0..=2)? {
        0 => {
            let (config, policy) = (sgd(u)?, policy(u)?);
            Sgd::new(config).and_then(|sgd| sgd.with_policy(policy)).ok().map(AnyOptimizer::Sgd)
        }
        1 => {
            let (config, policy) = (novograd(u)?, policy(u)?);
            NovoGrad::new(config).and_then(|novograd| novograd.with_policy(policy)).ok().map(AnyOptimizer::NovoGrad)
        }
        _ => {
            let (config, policy) = (adam(u)?, policy(u)?);
            Adam::new(config).and_then(|adam| adam.with_policy(policy)).ok().map(AnyOptimizer::Adam)
        }
    })
}

/// Any scalars of an update.
pub fn update(u: &mut Unstructured) -> Result<Update> {
    let mut scalar = || setting(u, &[0.0, 1.0, 0.9, -0.1, 0.01]);
    Ok(Update {
        gradient: scalar()?,
        decay: scalar()?,
        momentum: scalar()?,
        rate: scalar()?,
        direct: scalar()?,
        shrink: scalar()?,
        ..Update::ZERO
    })
}

/// Its part for a second moment.
pub fn second_moment(u: &mut Unstructured) -> Result<SecondMoment> {
    Ok(SecondMoment {
        share: setting(u, &[0.1, 1.0])?,
        keep: setting(u, &FRACTIONS)?,
        unbias: setting(u, &[1.0, 10.0])?,
        eps_root: setting(u, &SMALL)?,
        eps: setting(u, &SMALL)?,
    })
}

/// A second moment of an array: numbers that are not negative, now and then any.
pub fn second_moments(u: &mut Unstructured, len: usize) -> Result<Vec<f32>> {
    let x = numbers(u, len)?;
    Ok(if u.ratio(7, 8)? { x.into_iter().map(f32::abs).collect() } else { x })
}

/// Places to cut an array into pieces, both ends included.
pub fn cuts(u: &mut Unstructured, len: usize) -> Result<Vec<usize>> {
    let mut cuts = vec![0, len];
    for _ in 0..u.int_in_range(0..=8)? {
        cuts.push(u.int_in_range(0..=len)?);
    }
    cuts.sort_unstable();
    Ok(cuts)
}

/// Offsets of three arrays from a cache line, in elements: often equal.
pub fn offsets(u: &mut Unstructured) -> Result<[usize; 3]> {
    let first = u.int_in_range(0..=15)?;
    if u.arbitrary()? { Ok([first; 3]) } else { Ok([first, u.int_in_range(0..=15)?, u.int_in_range(0..=15)?]) }
}
