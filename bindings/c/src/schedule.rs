//! Learning rates that change from step to step.

use crate::choice::{flag, reserved, unless_zero};
use crate::pointer;
use crate::refusal::{Refusal, end, lw_error, lw_status, status};
use lw::schedule::{
    CosineDecay, ExpDecay, FixedLr, InvPolyDecay, PiecewiseConstant, PolyDecay, RatePolicy, Schedule, TransformerPolicy,
};

pub const LW_BOUNDARIES: u32 = 32;
const BOUNDARIES: usize = LW_BOUNDARIES as usize;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct lw_schedule {
    pub learning_rate: f64,
    pub min_lr: f64,
    pub power: f64,
    pub decay_rate: f64,
    pub max_lr: f64,
    pub coefficient: f64,
    pub decay_steps: u64,
    pub begin_decay_at: u64,
    pub warmup_steps: u64,
    pub steps_per_epoch: u64,
    pub d_model: u64,
    pub boundaries: [f64; BOUNDARIES],
    pub decay_rates: [f64; BOUNDARIES],
    pub boundary_count: u32,
    pub policy: u8,
    pub use_staircase_decay: u8,
    pub reserved: [u8; 2],
}

const FIXED_LR: u8 = 1;
const PIECEWISE_CONSTANT: u8 = 2;
const EXP_DECAY: u8 = 3;
const POLY_DECAY: u8 = 4;
const COSINE_DECAY: u8 = 5;
const TRANSFORMER_POLICY: u8 = 6;
const INV_POLY_DECAY: u8 = 7;

/// A schedule with all fields zero.
const EMPTY: lw_schedule = lw_schedule {
    learning_rate: 0.0,
    min_lr: 0.0,
    power: 0.0,
    decay_rate: 0.0,
    max_lr: 0.0,
    coefficient: 0.0,
    decay_steps: 0,
    begin_decay_at: 0,
    warmup_steps: 0,
    steps_per_epoch: 0,
    d_model: 0,
    boundaries: [0.0; BOUNDARIES],
    decay_rates: [0.0; BOUNDARIES],
    boundary_count: 0,
    policy: 0,
    use_staircase_decay: 0,
    reserved: [0; 2],
};

impl lw_schedule {
    /// The policy as a Rust policy.
    fn policy(&self) -> Result<RatePolicy<&[f64]>, Refusal<'static>> {
        reserved(self.reserved)?;
        let lw_schedule { learning_rate, min_lr, power, decay_rate, coefficient, .. } = *self;
        let lw_schedule { decay_steps, begin_decay_at, warmup_steps, steps_per_epoch, d_model, .. } = *self;
        let use_staircase_decay = flag("use_staircase_decay", self.use_staircase_decay)?;
        Ok(match self.policy {
            FIXED_LR => RatePolicy::FixedLr(FixedLr { learning_rate }),
            PIECEWISE_CONSTANT => {
                let count = self.boundary_count;
                let (Some(boundaries), Some(decay_rates)) =
                    (self.boundaries.get(..count as usize), self.decay_rates.get(..count as usize))
                else {
                    return Err(Refusal::setting("boundary_count", count.into(), "at most LW_BOUNDARIES"));
                };
                let policy = PiecewiseConstant { learning_rate, boundaries, decay_rates, steps_per_epoch };
                RatePolicy::PiecewiseConstant(policy)
            }
            EXP_DECAY => RatePolicy::ExpDecay(ExpDecay {
                learning_rate,
                decay_steps,
                decay_rate,
                use_staircase_decay,
                begin_decay_at,
                min_lr,
            }),
            POLY_DECAY => RatePolicy::PolyDecay(PolyDecay {
                learning_rate,
                decay_steps,
                power,
                begin_decay_at,
                min_lr,
                warmup_steps,
            }),
            COSINE_DECAY => RatePolicy::CosineDecay(CosineDecay {
                learning_rate,
                decay_steps,
                power,
                begin_decay_at,
                min_lr,
                warmup_steps,
            }),
            TRANSFORMER_POLICY => RatePolicy::TransformerPolicy(TransformerPolicy {
                learning_rate,
                d_model,
                warmup_steps,
                max_lr: unless_zero(self.max_lr),
                coefficient,
            }),
            INV_POLY_DECAY => RatePolicy::InvPolyDecay(InvPolyDecay {
                learning_rate,
                decay_steps,
                min_lr,
                power,
                begin_decay_at,
                warmup_steps,
            }),
            policy => return Err(Refusal::setting("policy", policy.into(), "LW_FIXED_LR or another policy")),
        })
    }

    /// The numbers of a policy, and its lists if there is room.
    pub(crate) fn of<L: AsRef<[f64]>>(policy: &RatePolicy<L>) -> Result<Self, Refusal<'static>> {
        Ok(match policy {
            RatePolicy::FixedLr(p) => lw_schedule { policy: FIXED_LR, learning_rate: p.learning_rate, ..EMPTY },
            RatePolicy::PiecewiseConstant(p) => {
                let (boundaries, decay_rates) = (p.boundaries.as_ref(), p.decay_rates.as_ref());
                if boundaries.len() > BOUNDARIES {
                    return Err(Refusal::setting("boundaries", f64::NAN, "at most LW_BOUNDARIES numbers"));
                }
                let mut schedule = lw_schedule {
                    policy: PIECEWISE_CONSTANT,
                    learning_rate: p.learning_rate,
                    steps_per_epoch: p.steps_per_epoch,
                    boundary_count: boundaries.len() as u32,
                    ..EMPTY
                };
                for (to, from) in [(&mut schedule.boundaries, boundaries), (&mut schedule.decay_rates, decay_rates)] {
                    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                }
                schedule
            }
            RatePolicy::ExpDecay(p) => lw_schedule {
                policy: EXP_DECAY,
                learning_rate: p.learning_rate,
                decay_steps: p.decay_steps,
                decay_rate: p.decay_rate,
                use_staircase_decay: p.use_staircase_decay.into(),
                begin_decay_at: p.begin_decay_at,
                min_lr: p.min_lr,
                ..EMPTY
            },
            RatePolicy::PolyDecay(p) => lw_schedule {
                policy: POLY_DECAY,
                learning_rate: p.learning_rate,
                decay_steps: p.decay_steps,
                power: p.power,
                begin_decay_at: p.begin_decay_at,
                min_lr: p.min_lr,
                warmup_steps: p.warmup_steps,
                ..EMPTY
            },
            RatePolicy::CosineDecay(p) => lw_schedule {
                policy: COSINE_DECAY,
                learning_rate: p.learning_rate,
                decay_steps: p.decay_steps,
                power: p.power,
                begin_decay_at: p.begin_decay_at,
                min_lr: p.min_lr,
                warmup_steps: p.warmup_steps,
                ..EMPTY
            },
            RatePolicy::TransformerPolicy(p) => lw_schedule {
                policy: TRANSFORMER_POLICY,
                learning_rate: p.learning_rate,
                d_model: p.d_model,
                warmup_steps: p.warmup_steps,
                max_lr: p.max_lr.unwrap_or(0.0),
                coefficient: p.coefficient,
                ..EMPTY
            },
            RatePolicy::InvPolyDecay(p) => lw_schedule {
                policy: INV_POLY_DECAY,
                learning_rate: p.learning_rate,
                decay_steps: p.decay_steps,
                min_lr: p.min_lr,
                power: p.power,
                begin_decay_at: p.begin_decay_at,
                warmup_steps: p.warmup_steps,
                ..EMPTY
            },
            _ => return Err(Refusal::setting("policy", f64::NAN, "one of this interface")),
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_schedule_default(
    policy: u32,
    learning_rate: f64,
    schedule: *mut lw_schedule,
    error: *mut lw_error,
) -> lw_status {
    let done = || {
        let place = pointer::place("schedule", schedule)?;
        let default: RatePolicy = match u8::try_from(policy).unwrap_or(0) {
            FIXED_LR => RatePolicy::FixedLr(FixedLr::DEFAULT),
            PIECEWISE_CONSTANT => RatePolicy::PiecewiseConstant(PiecewiseConstant::DEFAULT),
            EXP_DECAY => RatePolicy::ExpDecay(ExpDecay::DEFAULT),
            POLY_DECAY => RatePolicy::PolyDecay(PolyDecay::DEFAULT),
            COSINE_DECAY => RatePolicy::CosineDecay(CosineDecay::DEFAULT),
            TRANSFORMER_POLICY => RatePolicy::TransformerPolicy(TransformerPolicy::DEFAULT),
            INV_POLY_DECAY => RatePolicy::InvPolyDecay(InvPolyDecay::DEFAULT),
            _ => return Err(Refusal::setting("policy", policy.into(), "LW_FIXED_LR or another policy")),
        };
        // SAFETY: the C caller guarantees the pointers.
        unsafe { place.set(lw_schedule { learning_rate, ..lw_schedule::of(&default)? }) };
        Ok(status::APPLIED)
    };
    end(done(), error)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_schedule_fill(
    schedule: *mut lw_schedule,
    steps: u64,
    steps_per_epoch: u64,
    error: *mut lw_error,
) -> lw_status {
    let done = || {
        // SAFETY: the C caller guarantees the pointers.
        let schedule = unsafe { pointer::change("schedule", schedule) }?;
        *schedule = lw_schedule::of(&schedule.policy()?.for_training(steps, steps_per_epoch))?;
        Ok(status::APPLIED)
    };
    end(done(), error)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_rate(
    schedule: *const lw_schedule,
    step: u64,
    rate: *mut f64,
    error: *mut lw_error,
) -> lw_status {
    let done = || {
        let place = pointer::place("rate", rate)?;
        // SAFETY: the C caller guarantees each pointer.
        unsafe { place.set(Schedule::new(pointer::read("schedule", schedule)?.policy()?)?.rate(step)) };
        Ok(status::APPLIED)
    };
    end(done(), error)
}
