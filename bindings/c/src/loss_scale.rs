//! Loss scales.

use crate::choice::{flag, reserved};
use crate::pointer;
use crate::refusal::{Refusal, end, lw_error, lw_status, status};
use lw::schedule::{Backoff, LogMax, LossScaleState, LossScaler, LossScaling};

#[repr(C)]
#[derive(Clone, Copy)]
pub struct lw_loss_scaler {
    pub scale: f64,
    pub scale_min: f64,
    pub scale_max: f64,
    pub step_factor: f64,
    pub log_max: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub overflow_std_dev: f64,
    pub step_window: u32,
    pub kind: u8,
    pub as_executed: u8,
    pub reserved: [u8; 2],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct lw_loss_state {
    pub numbers: [f64; 4],
}

const STATIC: u8 = 1;
const BACKOFF: u8 = 2;
const LOG_MAX: u8 = 3;

impl lw_loss_scaler {
    fn scaler(&self) -> Result<LossScaler, Refusal<'static>> {
        reserved(self.reserved)?;
        let lw_loss_scaler { scale_min, scale_max, step_factor, log_max, beta1, beta2, .. } = *self;
        let lw_loss_scaler { overflow_std_dev, step_window, .. } = *self;
        let as_executed = flag("as_executed", self.as_executed)?;
        let scaling = match self.kind {
            STATIC => LossScaling::Static(self.scale),
            BACKOFF => LossScaling::Backoff(Backoff { scale_min, scale_max, step_factor, step_window }),
            LOG_MAX => LossScaling::LogMax(LogMax {
                scale_min,
                scale_max,
                log_max,
                beta1,
                beta2,
                overflow_std_dev,
                as_executed,
            }),
            kind => return Err(Refusal::setting("kind", kind.into(), "LW_STATIC, LW_BACKOFF or LW_LOG_MAX")),
        };
        Ok(LossScaler::new(scaling)?)
    }

    /// The numbers of a loss scaler, or those that mean no scaler.
    #[cfg(feature = "std")]
    pub(crate) fn of(scaler: Option<&LossScaler>) -> Self {
        let empty = lw_loss_scaler {
            scale: 0.0,
            scale_min: 0.0,
            scale_max: 0.0,
            step_factor: 0.0,
            log_max: 0.0,
            beta1: 0.0,
            beta2: 0.0,
            overflow_std_dev: 0.0,
            step_window: 0,
            kind: 0,
            as_executed: 0,
            reserved: [0; 2],
        };
        match scaler.map(LossScaler::scaling) {
            Some(LossScaling::Static(scale)) => lw_loss_scaler { kind: STATIC, scale: *scale, ..empty },
            Some(LossScaling::Backoff(backoff)) => lw_loss_scaler {
                kind: BACKOFF,
                scale_min: backoff.scale_min,
                scale_max: backoff.scale_max,
                step_factor: backoff.step_factor,
                step_window: backoff.step_window,
                ..empty
            },
            Some(LossScaling::LogMax(log_max)) => lw_loss_scaler {
                kind: LOG_MAX,
                scale_min: log_max.scale_min,
                scale_max: log_max.scale_max,
                log_max: log_max.log_max,
                beta1: log_max.beta1,
                beta2: log_max.beta2,
                overflow_std_dev: log_max.overflow_std_dev,
                as_executed: log_max.as_executed.into(),
                ..empty
            },
            _ => empty,
        }
    }
}

fn restored(scaler: &LossScaler, state: &lw_loss_state) -> Result<LossScaleState, Refusal<'static>> {
    let refused = Refusal::new(status::BAD_STATE, "state", "cannot come from this loss scaler");
    scaler.restore(state.numbers).ok_or(refused)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_loss_scale(
    scaler: *const lw_loss_scaler,
    state: *const lw_loss_state,
    scale: *mut f64,
    error: *mut lw_error,
) -> lw_status {
    let done = || {
        let place = pointer::place("scale", scale)?;
        // SAFETY: the C caller guarantees each pointer.
        unsafe {
            let scaler = pointer::read("scaler", scaler)?.scaler()?;
            place.set(scaler.scale(&restored(&scaler, pointer::read("state", state)?)?));
        }
        Ok(status::APPLIED)
    };
    end(done(), error)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_loss_update(
    scaler: *const lw_loss_scaler,
    state: *mut lw_loss_state,
    finite: i32,
    max_norm: f64,
    error: *mut lw_error,
) -> lw_status {
    let done = || {
        // SAFETY: the C caller guarantees each pointer.
        let (scaler, state) = unsafe { (pointer::read("scaler", scaler)?.scaler()?, pointer::change("state", state)?) };
        let mut own = restored(&scaler, state)?;
        let update = scaler.update(&mut own, finite != 0, max_norm);
        state.numbers = own.to_numbers();
        Ok(if update.skip { status::STEP_SKIPPED } else { status::APPLIED })
    };
    end(done(), error)
}
