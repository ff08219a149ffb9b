//! Conversions between C and Rust optimizers: a rule, LARC, LUC and the policy.

use crate::choice::{choice, flag, number, reserved, unless_zero};
use crate::pointer;
use crate::refusal::{Refusal, end, lw_error, lw_status, status};
use crate::rules::{lw_adam, lw_novograd, lw_sgd};
use lw::rule::{Moments, Rule};
use lw::{
    Adam, AnyOptimizer, AnyRule, DecayInRatio, LarcConfig, LarcMode, Luc, NonFinite, NovoGrad, Optimizer, Policy, Sgd,
    ZeroNorm,
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

/// The union of `lw_optimizer`, which has no name in C. Any bytes are valid for each of its fields.
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
const NON_FINITES: [NonFinite; 2] = [NonFinite::SkipLayer, NonFinite::SkipStep];

impl lw_larc {
    #[inline(always)]
    fn config(&self) -> Result<Option<LarcConfig>, Refusal<'static>> {
        reserved(self.reserved)?;
        let Some(mode) = choice("larc.mode", self.mode, &LARC_MODES)? else { return Ok(None) };
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
        reserved(self.reserved)?;
        let Some(trust) = unless_zero(self.trust) else { return Ok(None) };
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

/// A visitor of an optimizer whose rule is known at compile time: code for one rule is faster than code for any.
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

    // These are inlined, so that settings are read from C's memory where they are used. Copies of structs that have
    // just been written cost more than the checks.

    #[inline(always)]
    fn sgd(&self) -> Result<Sgd, Refusal<'static>> {
        // SAFETY: any bytes are valid for each field of the union.
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
        // Writes all bytes of the union, whatever the rule.
        let mut of = lw_rule { adam: lw_adam::default() };
        let (number_of_rule, larc, luc) = match rule {
            AnyRule::Sgd(rule) => {
                of.sgd = lw_sgd::of(rule.config());
                (SGD, rule.config().larc, rule.config().luc)
            }
            AnyRule::NovoGrad(rule) => {
                of.novograd = lw_novograd::of(rule.config());
                (NOVOGRAD, rule.config().larc, rule.config().luc)
            }
            AnyRule::Adam(rule) => {
                of.adam = lw_adam::of(rule.config());
                (ADAM, rule.config().larc, rule.config().luc)
            }
            // This interface cannot step with a rule that it does not know.
            _ => (0, None, None),
        };
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
    // SAFETY: guaranteed by the caller.
    unsafe { pointer::read("optimizer", settings) }?.optimizer()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_check(settings: *const lw_optimizer, error: *mut lw_error) -> lw_status {
    // SAFETY: the C caller guarantees the pointers.
    end(unsafe { optimizer(settings) }.map(|_| status::APPLIED), error)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_moments(settings: *const lw_optimizer, error: *mut lw_error) -> lw_status {
    // SAFETY: the C caller guarantees the pointers.
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
