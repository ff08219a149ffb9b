//! Optimizers of C to those of Rust, and back.

use crate::pointer;
use crate::refusal::{Refusal, end, lw_error, lw_status, status};
use lw::rule::{Moments, Rule};
use lw::{
    Adam, AdamConfig, AdamCorrection, AdamDecay, AnyOptimizer, AnyRule, BiasCorrection, DecayInRatio, DecayMode,
    GradientAveraging, LarcConfig, LarcMode, Luc, MomentNorm, NonFinite, NovoGrad, NovoGradConfig, Optimizer, Policy,
    Sgd, SgdConfig, TrustRatio, VInit, ZeroNorm,
};

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct lw_larc {
    pub eta: f64,
    pub eps: f64,
    pub min_update: f64,
    pub max_update: f64,
    pub min_norm: f64,
    pub mode: u8,
    pub zero_norm: u8,
    pub decay_in_ratio: u8,
    pub only_with_decay: u8,
    pub reserved: [u8; 4],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct lw_luc {
    pub trust: f64,
    pub eps: f64,
    pub freezes_zeros: u8,
    pub reserved: [u8; 7],
}

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

/// The union of `lw_optimizer`, which has no name in C. Any bytes are a value of each of its fields.
#[repr(C)]
#[derive(Clone, Copy)]
pub union lw_rule {
    pub sgd: lw_sgd,
    pub novograd: lw_novograd,
    pub adam: lw_adam,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct lw_optimizer {
    pub rule: u32,
    pub non_finite: u8,
    pub reserved: [u8; 3],
    pub clip_norm: f64,
    pub larc: lw_larc,
    pub luc: lw_luc,
    pub of: lw_rule,
}

const SGD: u32 = 1;
const NOVOGRAD: u32 = 2;
const ADAM: u32 = 3;

const LARC_MODES: [Option<LarcMode>; 3] = [None, Some(LarcMode::Clip), Some(LarcMode::Scale)];
const ZERO_NORMS: [ZeroNorm; 4] =
    [ZeroNorm::PlainStep, ZeroNorm::PlainStepWithoutDecay, ZeroNorm::PlainStepUnlessDecaying, ZeroNorm::Formula];
const DECAYS_IN_RATIO: [DecayInRatio; 3] = [DecayInRatio::No, DecayInRatio::SumOfNorms, DecayInRatio::NormOfSum];
const V_INITS: [VInit; 3] = [VInit::WhileZero, VInit::FirstStep, VInit::Zero];
const AVERAGINGS: [GradientAveraging; 3] =
    [GradientAveraging::Off, GradientAveraging::On, GradientAveraging::AfterFirstStep];
const BIAS_CORRECTIONS: [BiasCorrection; 4] =
    [BiasCorrection::Off, BiasCorrection::Moments, BiasCorrection::StepSize, BiasCorrection::Rate];
const MOMENT_NORMS: [MomentNorm; 2] = [MomentNorm::L2, MomentNorm::Max];
const CORRECTIONS: [AdamCorrection; 4] =
    [AdamCorrection::Off, AdamCorrection::Moments, AdamCorrection::Rate, AdamCorrection::TensorFlow];
const NON_FINITES: [NonFinite; 2] = [NonFinite::SkipLayer, NonFinite::SkipStep];

/// The modes of NovoGrad's decay, of which one has a number.
fn decay_modes(max_rate: f64) -> [DecayMode; 4] {
    [DecayMode::Coupled, DecayMode::Decoupled, DecayMode::Corrected { max_rate }, DecayMode::Fixed]
}

/// The same of Adam.
fn adam_decays(max_rate: f64) -> [AdamDecay; 5] {
    use AdamDecay::{Corrected, Decoupled, Fixed, InUpdate, L2};
    [L2, InUpdate, Decoupled, Corrected { max_rate }, Fixed]
}

/// The value of an enumeration that C means by a number.
#[inline(always)]
fn choice<T: Copy>(setting: &'static str, number: u8, values: &[T]) -> Result<T, Refusal<'static>> {
    match values.get(usize::from(number)) {
        Some(value) => Ok(*value),
        None => Err(Refusal::setting(setting, number.into(), "one of its names")),
    }
}

/// The number that C means by a value of an enumeration.
fn number<T: PartialEq>(value: &T, values: &[T]) -> u8 {
    values.iter().position(|other| other == value).unwrap_or(0) as u8
}

#[inline(always)]
pub(crate) fn flag(setting: &'static str, number: u8) -> Result<bool, Refusal<'static>> {
    match number {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Refusal::setting(setting, number.into(), "0 or 1")),
    }
}

#[inline(always)]
pub(crate) fn reserved<const N: usize>(bytes: [u8; N]) -> Result<(), Refusal<'static>> {
    if bytes == [0; N] { Ok(()) } else { Err(Refusal::setting("reserved", f64::NAN, "0")) }
}

/// Whether the first `flags` of eight bytes are 0 or 1, and the others 0, in one question.
#[inline(always)]
pub(crate) fn are_flags(bytes: [u8; 8], flags: u32) -> bool {
    u64::from_le_bytes(bytes) & !(u64::from_le_bytes([1; 8]) >> (64 - 8 * flags)) == 0
}

/// The first of flags that is none; if they all are, a reserved byte is not 0.
#[cold]
fn first_refusal<const N: usize>(flags: [Result<bool, Refusal<'static>>; N]) -> Refusal<'static> {
    let refused = flags.into_iter().find_map(Result::err);
    refused.unwrap_or_else(|| Refusal::setting("reserved", f64::NAN, "0"))
}

/// A number that is none where it is 0.
#[inline]
pub(crate) fn unless_zero(number: f64) -> Option<f64> {
    if number == 0.0 { None } else { Some(number) }
}

impl lw_larc {
    #[inline(always)]
    fn config(&self) -> Result<Option<LarcConfig>, Refusal<'static>> {
        let Some(mode) = choice("larc.mode", self.mode, &LARC_MODES)? else { return Ok(None) };
        reserved(self.reserved)?;
        Ok(Some(LarcConfig {
            mode,
            eta: self.eta,
            eps: self.eps,
            min_update: self.min_update,
            max_update: unless_zero(self.max_update),
            min_norm: self.min_norm,
            zero_norm: choice("larc.zero_norm", self.zero_norm, &ZERO_NORMS)?,
            decay_in_ratio: choice("larc.decay_in_ratio", self.decay_in_ratio, &DECAYS_IN_RATIO)?,
            only_with_decay: flag("larc.only_with_decay", self.only_with_decay)?,
        }))
    }

    pub(crate) fn of(config: Option<&LarcConfig>) -> Self {
        config.map_or(lw_larc::default(), |config| lw_larc {
            eta: config.eta,
            eps: config.eps,
            min_update: config.min_update,
            max_update: config.max_update.unwrap_or(0.0),
            min_norm: config.min_norm,
            mode: number(&Some(config.mode), &LARC_MODES),
            zero_norm: number(&config.zero_norm, &ZERO_NORMS),
            decay_in_ratio: number(&config.decay_in_ratio, &DECAYS_IN_RATIO),
            only_with_decay: config.only_with_decay.into(),
            reserved: [0; 4],
        })
    }
}

impl lw_luc {
    #[inline(always)]
    fn config(&self) -> Result<Option<Luc>, Refusal<'static>> {
        let Some(trust) = unless_zero(self.trust) else { return Ok(None) };
        reserved(self.reserved)?;
        Ok(Some(Luc { trust, eps: self.eps, freezes_zeros: flag("luc.freezes_zeros", self.freezes_zeros)? }))
    }

    pub(crate) fn of(luc: Option<&Luc>) -> Self {
        luc.map_or(lw_luc::default(), |luc| lw_luc {
            trust: luc.trust,
            eps: luc.eps,
            freezes_zeros: luc.freezes_zeros.into(),
            reserved: [0; 7],
        })
    }
}

impl lw_sgd {
    #[inline(always)]
    fn config(&self, larc: Option<LarcConfig>, luc: Option<Luc>) -> Result<SgdConfig, Refusal<'static>> {
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

    /// Which flag is none.
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

    fn of(config: &SgdConfig) -> Self {
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
    fn config(&self, larc: Option<LarcConfig>, luc: Option<Luc>) -> Result<NovoGradConfig, Refusal<'static>> {
        let lw_novograd { amsgrad, starts_at_gradient, raw_momentum, rate_in_momentum, maximize, .. } = *self;
        let [a, b, c, rest @ ..] = self.reserved;
        if !are_flags([amsgrad, starts_at_gradient, raw_momentum, rate_in_momentum, maximize, a, b, c], 5) {
            return Err(self.refused_flag());
        }
        reserved(rest)?;
        Ok(NovoGradConfig {
            beta1: self.beta1,
            beta2: self.beta2,
            eps: self.eps,
            eps_root: self.eps_root,
            weight_decay: self.weight_decay,
            decay_mode: choice("decay_mode", self.decay_mode, &decay_modes(self.max_rate))?,
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

    /// Which flag is none.
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

    fn of(config: &NovoGradConfig) -> Self {
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
    fn config(&self, larc: Option<LarcConfig>, luc: Option<Luc>) -> Result<AdamConfig, Refusal<'static>> {
        reserved(self.reserved)?;
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
            decay_mode: choice("decay_mode", self.decay_mode, &adam_decays(self.max_rate))?,
            bias_correction: choice("bias_correction", self.bias_correction, &CORRECTIONS)?,
            grad_averaging: flag("grad_averaging", self.grad_averaging)?,
            maximize: flag("maximize", self.maximize)?,
            trust_ratio: flag("trust_ratio", self.trust_ratio)?.then_some(ratio),
            larc,
            luc,
        })
    }

    fn of(config: &AdamConfig) -> Self {
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

/// What is done with an optimizer whose rule is known. Code for each rule by itself is faster than code for any.
pub(crate) trait Visit {
    fn visit<R: Rule>(self, optimizer: &Optimizer<R>) -> Result<lw_status, Refusal<'static>>;
}

impl lw_optimizer {
    /// The optimizer of these settings, if they are in range.
    pub(crate) fn optimizer(&self) -> Result<AnyOptimizer, Refusal<'static>> {
        match self.rule {
            SGD => Ok(self.sgd()?.any()),
            NOVOGRAD => Ok(self.novograd()?.any()),
            ADAM => Ok(self.adam()?.any()),
            _ => Err(self.no_rule()),
        }
    }

    /// The same for a visitor.
    #[inline(always)]
    pub(crate) fn visit(&self, visit: impl Visit) -> Result<lw_status, Refusal<'static>> {
        match self.rule {
            SGD => visit.visit(&self.sgd()?),
            NOVOGRAD => visit.visit(&self.novograd()?),
            ADAM => visit.visit(&self.adam()?),
            _ => Err(self.no_rule()),
        }
    }

    // These are inlined, so that settings go from C's memory to where they are used. Copies of structs that have just
    // been written cost more than the checks.

    #[inline(always)]
    fn sgd(&self) -> Result<Sgd, Refusal<'static>> {
        // SAFETY: any bytes are a value of each field of the union.
        let config = unsafe { &self.of.sgd }.config(self.larc.config()?, self.luc.config()?)?;
        Ok(Sgd::new(config)?.with_policy(self.policy()?)?)
    }

    #[inline(always)]
    fn novograd(&self) -> Result<NovoGrad, Refusal<'static>> {
        // SAFETY: as above.
        let config = unsafe { &self.of.novograd }.config(self.larc.config()?, self.luc.config()?)?;
        Ok(NovoGrad::new(config)?.with_policy(self.policy()?)?)
    }

    #[inline(always)]
    fn adam(&self) -> Result<Adam, Refusal<'static>> {
        // SAFETY: as above.
        let config = unsafe { &self.of.adam }.config(self.larc.config()?, self.luc.config()?)?;
        Ok(Adam::new(config)?.with_policy(self.policy()?)?)
    }

    #[inline(always)]
    fn policy(&self) -> Result<Policy, Refusal<'static>> {
        reserved(self.reserved)?;
        let non_finite = choice("non_finite", self.non_finite, &NON_FINITES)?;
        Ok(Policy { non_finite, clip_norm: unless_zero(self.clip_norm) })
    }

    #[cold]
    fn no_rule(&self) -> Refusal<'static> {
        Refusal::setting("rule", self.rule.into(), "LW_SGD, LW_NOVOGRAD or LW_ADAM")
    }

    /// The settings of an optimizer.
    pub(crate) fn of(rule: &AnyRule, policy: Policy) -> Self {
        // All bytes of the union are written, whatever the rule.
        let zero = lw_rule { adam: lw_adam::default() };
        let (number_of_rule, larc, luc, mut of) = match rule {
            AnyRule::Sgd(rule) => (SGD, rule.config().larc, rule.config().luc, zero),
            AnyRule::NovoGrad(rule) => (NOVOGRAD, rule.config().larc, rule.config().luc, zero),
            AnyRule::Adam(rule) => (ADAM, rule.config().larc, rule.config().luc, zero),
            // A rule that this interface does not know is none that it can step with.
            _ => (0, None, None, zero),
        };
        match rule {
            AnyRule::Sgd(rule) => of.sgd = lw_sgd::of(rule.config()),
            AnyRule::NovoGrad(rule) => of.novograd = lw_novograd::of(rule.config()),
            AnyRule::Adam(rule) => of.adam = lw_adam::of(rule.config()),
            _ => {}
        }
        lw_optimizer {
            rule: number_of_rule,
            non_finite: number(&policy.non_finite, &NON_FINITES),
            reserved: [0; 3],
            clip_norm: policy.clip_norm.unwrap_or(0.0),
            larc: lw_larc::of(larc.as_ref()),
            luc: lw_luc::of(luc.as_ref()),
            of,
        }
    }
}

/// # Safety
///
/// If the pointer is neither null nor misaligned, it points to settings.
#[inline]
pub(crate) unsafe fn optimizer(settings: *const lw_optimizer) -> Result<AnyOptimizer, Refusal<'static>> {
    // SAFETY: the caller's promise.
    unsafe { pointer::read("optimizer", settings) }?.optimizer()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_check(settings: *const lw_optimizer, error: *mut lw_error) -> lw_status {
    // SAFETY: C's promise.
    end(unsafe { optimizer(settings) }.map(|_| status::APPLIED), error)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_moments(settings: *const lw_optimizer, error: *mut lw_error) -> lw_status {
    // SAFETY: C's promise.
    let optimizer = unsafe { optimizer(settings) };
    end(
        optimizer.map(|optimizer| match optimizer.moments() {
            Moments::None => 0,
            Moments::First => 1,
            _ => 2,
        }),
        error,
    )
}
