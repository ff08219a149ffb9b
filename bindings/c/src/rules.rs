//! The settings of rules, from C to Rust and back.

use crate::choice::{are_flags, choice, first_refusal, flag, number, reserved, unless_zero};
use crate::refusal::Refusal;
use lw::{
    AdamConfig, AdamCorrection, AdamDecay, BiasCorrection, DecayMode, GradientAveraging, LarcConfig, Luc, MomentNorm,
    NovoGradConfig, SgdConfig, TrustRatio, VInit,
};

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct lw_sgd {
    pub momentum: f64,
    pub dampening: f64,
    pub weight_decay: f64,
    pub dampen_first_step: u8,
    pub nesterov: u8,
    pub rate_in_momentum: u8,
    pub maximize: u8,
    pub starts_at_gradient: u8,
    pub reserved: [u8; 3],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct lw_novograd {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub eps_root: f64,
    pub weight_decay: f64,
    pub max_rate: f64,
    pub decay_mode: u8,
    pub v_init: u8,
    pub gradient_averaging: u8,
    pub bias_correction: u8,
    pub norm: u8,
    pub amsgrad: u8,
    pub starts_at_gradient: u8,
    pub raw_momentum: u8,
    pub rate_in_momentum: u8,
    pub maximize: u8,
    pub reserved: [u8; 6],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct lw_adam {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub eps_root: f64,
    pub weight_decay: f64,
    pub max_rate: f64,
    pub ratio_eps: f64,
    pub max_weights: f64,
    pub max_ratio: f64,
    pub decay_mode: u8,
    pub bias_correction: u8,
    pub grad_averaging: u8,
    pub maximize: u8,
    pub trust_ratio: u8,
    pub ratio_only_with_decay: u8,
    pub reserved: [u8; 2],
}

const V_INITS: [VInit; 3] = [VInit::WhileZero, VInit::FirstStep, VInit::Zero];
const AVERAGINGS: [GradientAveraging; 3] =
    [GradientAveraging::Off, GradientAveraging::On, GradientAveraging::AfterFirstStep];
const BIAS_CORRECTIONS: [BiasCorrection; 4] =
    [BiasCorrection::Off, BiasCorrection::Moments, BiasCorrection::StepSize, BiasCorrection::Rate];
const MOMENT_NORMS: [MomentNorm; 2] = [MomentNorm::L2, MomentNorm::Max];
const CORRECTIONS: [AdamCorrection; 4] =
    [AdamCorrection::Off, AdamCorrection::Moments, AdamCorrection::Rate, AdamCorrection::TensorFlow];

#[cold]
fn idle_max_rate(value: f64) -> Refusal<'static> {
    Refusal::setting("max_rate", value, "0 where the decay is not corrected by it")
}

/// The modes of NovoGrad's decay, one of which has a number.
fn decay_modes(max_rate: f64) -> [DecayMode; 4] {
    [DecayMode::Coupled, DecayMode::Decoupled, DecayMode::Corrected { max_rate }, DecayMode::Fixed]
}

/// The same for Adam.
fn adam_decays(max_rate: f64) -> [AdamDecay; 5] {
    use AdamDecay::{Corrected, Decoupled, Fixed, InUpdate, L2};
    [L2, InUpdate, Decoupled, Corrected { max_rate }, Fixed]
}

impl lw_sgd {
    #[inline(always)]
    pub(crate) fn config(&self, larc: Option<LarcConfig>, luc: Option<Luc>) -> Result<SgdConfig, Refusal<'static>> {
        let lw_sgd { dampen_first_step, nesterov, rate_in_momentum, maximize, starts_at_gradient, .. } = *self;
        let [a, b, c] = self.reserved;
        let flags = [dampen_first_step, nesterov, rate_in_momentum, maximize, starts_at_gradient, a, b, c];
        if !are_flags(flags, 5) {
            return Err(self.refused_flag());
        }
        Ok(SgdConfig {
            momentum: self.momentum,
            dampening: self.dampening,
            weight_decay: self.weight_decay,
            dampen_first_step: dampen_first_step != 0,
            nesterov: nesterov != 0,
            rate_in_momentum: rate_in_momentum != 0,
            maximize: maximize != 0,
            starts_at_gradient: starts_at_gradient != 0,
            larc,
            luc,
        })
    }

    /// The flag that is invalid.
    #[cold]
    fn refused_flag(&self) -> Refusal<'static> {
        let flags = [
            flag("dampen_first_step", self.dampen_first_step),
            flag("nesterov", self.nesterov),
            flag("rate_in_momentum", self.rate_in_momentum),
            flag("maximize", self.maximize),
            flag("starts_at_gradient", self.starts_at_gradient),
        ];
        first_refusal(flags)
    }

    pub(crate) fn of(config: &SgdConfig) -> Self {
        lw_sgd {
            momentum: config.momentum,
            dampening: config.dampening,
            weight_decay: config.weight_decay,
            dampen_first_step: config.dampen_first_step.into(),
            nesterov: config.nesterov.into(),
            rate_in_momentum: config.rate_in_momentum.into(),
            maximize: config.maximize.into(),
            starts_at_gradient: config.starts_at_gradient.into(),
            reserved: [0; 3],
        }
    }
}

impl lw_novograd {
    #[inline(always)]
    pub(crate) fn config(
        &self,
        larc: Option<LarcConfig>,
        luc: Option<Luc>,
    ) -> Result<NovoGradConfig, Refusal<'static>> {
        let lw_novograd { amsgrad, starts_at_gradient, raw_momentum, rate_in_momentum, maximize, .. } = *self;
        let [a, b, c, rest @ ..] = self.reserved;
        if !are_flags([amsgrad, starts_at_gradient, raw_momentum, rate_in_momentum, maximize, a, b, c], 5) {
            return Err(self.refused_flag());
        }
        reserved(rest)?;
        let decay_mode = choice("decay_mode", self.decay_mode, &decay_modes(self.max_rate))?;
        if self.max_rate != 0.0 && !matches!(decay_mode, DecayMode::Corrected { .. }) {
            return Err(idle_max_rate(self.max_rate));
        }
        Ok(NovoGradConfig {
            beta1: self.beta1,
            beta2: self.beta2,
            eps: self.eps,
            eps_root: self.eps_root,
            weight_decay: self.weight_decay,
            decay_mode,
            v_init: choice("v_init", self.v_init, &V_INITS)?,
            gradient_averaging: choice("gradient_averaging", self.gradient_averaging, &AVERAGINGS)?,
            bias_correction: choice("bias_correction", self.bias_correction, &BIAS_CORRECTIONS)?,
            norm: choice("norm", self.norm, &MOMENT_NORMS)?,
            amsgrad: amsgrad != 0,
            starts_at_gradient: starts_at_gradient != 0,
            raw_momentum: raw_momentum != 0,
            rate_in_momentum: rate_in_momentum != 0,
            maximize: maximize != 0,
            larc,
            luc,
        })
    }

    /// The flag that is invalid.
    #[cold]
    fn refused_flag(&self) -> Refusal<'static> {
        let flags = [
            flag("amsgrad", self.amsgrad),
            flag("starts_at_gradient", self.starts_at_gradient),
            flag("raw_momentum", self.raw_momentum),
            flag("rate_in_momentum", self.rate_in_momentum),
            flag("maximize", self.maximize),
        ];
        first_refusal(flags)
    }

    pub(crate) fn of(config: &NovoGradConfig) -> Self {
        let max_rate = if let DecayMode::Corrected { max_rate } = config.decay_mode { max_rate } else { 0.0 };
        lw_novograd {
            beta1: config.beta1,
            beta2: config.beta2,
            eps: config.eps,
            eps_root: config.eps_root,
            weight_decay: config.weight_decay,
            max_rate,
            decay_mode: number(&config.decay_mode, &decay_modes(max_rate)),
            v_init: number(&config.v_init, &V_INITS),
            gradient_averaging: number(&config.gradient_averaging, &AVERAGINGS),
            bias_correction: number(&config.bias_correction, &BIAS_CORRECTIONS),
            norm: number(&config.norm, &MOMENT_NORMS),
            amsgrad: config.amsgrad.into(),
            starts_at_gradient: config.starts_at_gradient.into(),
            raw_momentum: config.raw_momentum.into(),
            rate_in_momentum: config.rate_in_momentum.into(),
            maximize: config.maximize.into(),
            reserved: [0; 6],
        }
    }
}

impl lw_adam {
    #[inline(always)]
    pub(crate) fn config(&self, larc: Option<LarcConfig>, luc: Option<Luc>) -> Result<AdamConfig, Refusal<'static>> {
        reserved(self.reserved)?;
        let decay_mode = choice("decay_mode", self.decay_mode, &adam_decays(self.max_rate))?;
        if self.max_rate != 0.0 && !matches!(decay_mode, AdamDecay::Corrected { .. }) {
            return Err(idle_max_rate(self.max_rate));
        }
        let only_with_decay = flag("ratio_only_with_decay", self.ratio_only_with_decay)?;
        let ratio = TrustRatio {
            eps: self.ratio_eps,
            max_weights: unless_zero(self.max_weights),
            max_ratio: unless_zero(self.max_ratio),
            only_with_decay,
        };
        Ok(AdamConfig {
            beta1: self.beta1,
            beta2: self.beta2,
            eps: self.eps,
            eps_root: self.eps_root,
            weight_decay: self.weight_decay,
            decay_mode,
            bias_correction: choice("bias_correction", self.bias_correction, &CORRECTIONS)?,
            grad_averaging: flag("grad_averaging", self.grad_averaging)?,
            maximize: flag("maximize", self.maximize)?,
            trust_ratio: flag("trust_ratio", self.trust_ratio)?.then_some(ratio),
            larc,
            luc,
        })
    }

    pub(crate) fn of(config: &AdamConfig) -> Self {
        let max_rate = if let AdamDecay::Corrected { max_rate } = config.decay_mode { max_rate } else { 0.0 };
        let ratio = config.trust_ratio.unwrap_or(TrustRatio::DEFAULT);
        lw_adam {
            beta1: config.beta1,
            beta2: config.beta2,
            eps: config.eps,
            eps_root: config.eps_root,
            weight_decay: config.weight_decay,
            max_rate,
            ratio_eps: ratio.eps,
            max_weights: ratio.max_weights.unwrap_or(0.0),
            max_ratio: ratio.max_ratio.unwrap_or(0.0),
            decay_mode: number(&config.decay_mode, &adam_decays(max_rate)),
            bias_correction: number(&config.bias_correction, &CORRECTIONS),
            grad_averaging: config.grad_averaging.into(),
            maximize: config.maximize.into(),
            trust_ratio: config.trust_ratio.is_some().into(),
            ratio_only_with_decay: ratio.only_with_decay.into(),
            reserved: [0; 2],
        }
    }
}
