//! Recipes: configurations of OpenSeq2Seq, in JSON.

use crate::loss_scale::lw_loss_scaler;
use crate::pointer;
use crate::refusal::{Refusal, lw_error, lw_status, status};
use crate::schedule::lw_schedule;
use crate::settings::lw_optimizer;
use core::ffi::c_char;
use lw::recipe::{Recipe, Training};

#[repr(C)]
#[derive(Clone, Copy)]
pub struct lw_training {
    pub optimizer: lw_optimizer,
    pub schedule: lw_schedule,
    pub loss_scaler: lw_loss_scaler,
    pub iter_size: u64,
    pub steps: u64,
    pub steps_per_epoch: u64,
    pub is_mixed: u8,
    pub reserved: [u8; 7],
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_recipe(
    json: *const c_char,
    len: usize,
    steps_per_epoch: u64,
    training: *mut lw_training,
    error: *mut lw_error,
) -> lw_status {
    let done = || {
        // SAFETY: the C caller guarantees the pointers.
        let json = unsafe { pointer::elements("json", json.cast::<u8>(), len) }?;
        Ok((pointer::place("training", training)?, read(json, steps_per_epoch)))
    };
    match done() {
        Ok((place, Ok(training))) => {
            // SAFETY: the C caller guarantees the pointers.
            unsafe { place.set(training) };
            status::APPLIED
        }
        Ok((_, Err(why))) => Refusal::new(status::BAD_RECIPE, "", &why).report(error),
        Err(refusal) => Refusal::report(refusal, error),
    }
}

/// A recipe as C structs, or the error message.
fn read(json: &[u8], steps_per_epoch: u64) -> Result<lw_training, String> {
    let recipe: Recipe = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let training = recipe.training(steps_per_epoch).map_err(|error| error.to_string())?;
    let optimizer = training.optimizer();
    let Training { ref schedule, loss_scaler, iter_size, steps, steps_per_epoch, is_mixed, .. } = training;
    Ok(lw_training {
        optimizer: lw_optimizer::of(optimizer.rule(), *optimizer.policy()),
        schedule: lw_schedule::of(schedule.policy()).map_err(|refusal| format!("{} {}", refusal.what, refusal.why))?,
        loss_scaler: lw_loss_scaler::of(loss_scaler.as_ref()),
        iter_size,
        steps,
        steps_per_epoch,
        is_mixed: is_mixed.into(),
        reserved: [0; 7],
    })
}
