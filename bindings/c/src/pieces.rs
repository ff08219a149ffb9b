//! The pieces of a step.

use crate::choice::{flag, reserved};
use crate::layer::{State, check_apart, config, lw_layer, lw_layer_config, lw_state, state};
use crate::pointer::{self, Extent};
use crate::refusal::{Refusal, end, lw_error, lw_status, of_outcome, status};
use crate::settings::{lw_optimizer, optimizer};
use crate::step::{apart_from, lw_report, step};
use core::mem::MaybeUninit;
use core::ptr;
use lw::pieces::{Decided, LEAF, Measured, Planned, SUMS, chunk};
use lw::{AnyOptimizer, AnyRule, Report};

pub const LW_LEAF: u32 = 1024;
pub const LW_SUMS: u32 = 3;
const _: () = assert!(LW_LEAF as usize == LEAF && LW_SUMS as usize == SUMS);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct lw_range {
    pub start: usize,
    pub end: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct lw_decision {
    pub lr: f64,
    pub gradient_scale: f64,
    pub clip: f64,
    pub gradient_norm: f64,
    pub skip: u8,
    pub reserved: [u8; 7],
}

/// Memory in C for a Rust value, with a mark that shows that there is one.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Kept<const WORDS: usize> {
    own: [MaybeUninit<u64>; WORDS],
}

pub type lw_measured = Kept<8>;
pub type lw_planned = Kept<72>;

/// A value with its mark in front.
#[repr(C)]
struct Marked<T> {
    mark: u64,
    value: T,
}

/// The marker of a type of values.
pub(crate) trait Mark: Copy {
    const MARK: u64;
}

/// A mark of this copy of the library: a value of another copy or another process is not valid here. (The mark contains
/// an address, so it differs as far as addresses do.)
fn mark<T: Mark>() -> u64 {
    static OF_THIS_LIBRARY: u8 = 0;
    T::MARK ^ ptr::from_ref(&OF_THIS_LIBRARY).addr() as u64
}

impl Mark for Measured {
    const MARK: u64 = u64::from_be_bytes(*b"measured");
}

impl Mark for Planned<State> {
    const MARK: u64 = u64::from_be_bytes(*b"planned ");
}

impl<const WORDS: usize> Kept<WORDS> {
    /// # Safety
    ///
    /// If the pointer is neither null nor misaligned, it can be read; and if it has the mark, a function of this
    /// library has written it.
    pub(crate) unsafe fn value<T: Mark>(what: &'static str, kept: *const Self) -> Result<T, Refusal<'static>> {
        // SAFETY: guaranteed by the caller.
        let kept: *const Marked<T> = ptr::from_ref(unsafe { pointer::read(what, kept) }?).cast();
        // SAFETY: it is large enough, as `of` asserts, and aligned to words.
        if unsafe { (&raw const (*kept).mark).read() } != mark::<T>() {
            return Err(Refusal::new(status::BAD_STATE, what, "was not written by this library"));
        }
        // SAFETY: the mark says that there is one.
        Ok(unsafe { (&raw const (*kept).value).read() })
    }

    pub(crate) fn of<T: Mark>(value: T) -> Self {
        const { assert!(size_of::<Marked<T>>() <= size_of::<Self>() && align_of::<Marked<T>>() <= align_of::<Self>()) };
        let mut kept = Kept { own: [MaybeUninit::zeroed(); WORDS] };
        // SAFETY: it fits, as asserted above.
        unsafe { (&raw mut kept).cast::<Marked<T>>().write(Marked { mark: mark::<T>(), value }) };
        kept
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn lw_chunk(len: usize, ith: usize, nth: usize) -> lw_range {
    chunk(len, ith, nth).into()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_measure(
    settings: *const lw_optimizer,
    lr: f64,
    gradient_scale: f64,
    layer: *const lw_layer,
    measured: *mut lw_measured,
    error: *mut lw_error,
) -> lw_status {
    let done = || {
        // SAFETY: the C caller guarantees each pointer.
        unsafe {
            let optimizer = optimizer(settings)?;
            let layer = pointer::read("layer", layer)?;
            let place = pointer::place("measured", measured)?;
            let found = optimizer.pass(step(lr, gradient_scale))?.measure(layer.view()?)?;
            place.set(Kept::of(found));
        }
        Ok(status::APPLIED)
    };
    end(done(), error)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_leaf_sums(
    settings: *const lw_optimizer,
    lr: f64,
    gradient_scale: f64,
    layer: *const lw_layer,
    start: usize,
    sums: *mut f64,
    error: *mut lw_error,
) -> lw_status {
    let done = || {
        // SAFETY: the C caller guarantees each pointer; that nothing overlaps the sums is checked.
        unsafe {
            let optimizer = optimizer(settings)?;
            let layer = pointer::read("chunk", layer)?;
            let count = layer.len.div_ceil(LEAF).saturating_mul(LW_SUMS as usize);
            let sums = sums_of(layer, sums, count)?.as_chunks_mut().0;
            optimizer.pass(step(lr, gradient_scale))?.leaf_sums(layer.view()?, start, sums)?;
        }
        Ok(status::APPLIED)
    };
    end(done(), error)
}

/// The memory for `count` sums of a chunk, which overlaps none of its buffers.
///
/// # Safety
///
/// The C caller must guarantee each pointer.
pub(crate) unsafe fn sums_of<'a>(
    layer: &lw_layer,
    sums: *mut f64,
    count: usize,
) -> Result<&'a mut [f64], Refusal<'static>> {
    layer.check_overlaps([Extent::of(sums, count), Extent::of(ptr::from_ref(layer), 1)])?;
    check_apart(&[("sums", Extent::of(sums, count)), ("chunk", Extent::of(ptr::from_ref(layer), 1))], &[])?;
    // SAFETY: guaranteed by the caller.
    unsafe { pointer::elements_mut("sums", sums, count) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_fold(
    settings: *const lw_optimizer,
    lr: f64,
    gradient_scale: f64,
    of: *const lw_layer_config,
    len: usize,
    sums: *const f64,
    measured: *mut lw_measured,
    error: *mut lw_error,
) -> lw_status {
    let done = || {
        let count = len.div_ceil(LEAF).saturating_mul(LW_SUMS as usize);
        // SAFETY: the C caller guarantees each pointer.
        unsafe {
            let optimizer = optimizer(settings)?;
            let place = pointer::place("measured", measured)?;
            let sums = pointer::elements("sums", sums, count)?.as_chunks().0;
            let found = optimizer.pass(step(lr, gradient_scale))?.fold(&config(of)?, len, sums)?;
            place.set(Kept::of(found));
        }
        Ok(status::APPLIED)
    };
    end(done(), error)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_decide(
    settings: *const lw_optimizer,
    lr: f64,
    gradient_scale: f64,
    measured: *const lw_measured,
    count: usize,
    decision: *mut lw_decision,
    error: *mut lw_error,
) -> lw_status {
    let done = || {
        // SAFETY: the C caller guarantees each pointer.
        unsafe {
            let optimizer = optimizer(settings)?;
            let place = pointer::place("decision", decision)?;
            let mut pass = optimizer.pass(step(lr, gradient_scale))?;
            for (index, layer) in pointer::elements("measured", measured, count)?.iter().enumerate() {
                pass.add(Kept::value("measured", layer).map_err(|refusal| refusal.in_layer(index))?);
            }
            let decided = pass.decide();
            place.set(lw_decision {
                lr,
                gradient_scale,
                clip: decided.clip(),
                gradient_norm: decided.gradient_norm(),
                skip: decided.skips().into(),
                reserved: [0; 7],
            });
        }
        Ok(status::APPLIED)
    };
    end(done(), error)
}

impl lw_decision {
    /// The second phase with this decision.
    pub(crate) fn resume<'o>(&self, optimizer: &'o AnyOptimizer) -> Result<Decided<'o, AnyRule>, Refusal<'static>> {
        let skip = flag("decision.skip", self.skip)?;
        reserved(self.reserved)?;
        Ok(optimizer.resume(step(self.lr, self.gradient_scale), self.clip, skip)?)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_apply(
    settings: *const lw_optimizer,
    decision: *const lw_decision,
    measured: *const lw_measured,
    layer: *mut lw_layer,
    report: *mut lw_report,
    error: *mut lw_error,
) -> lw_status {
    let done = || {
        // SAFETY: the C caller guarantees each pointer; that the layer's buffers do not overlap is checked.
        unsafe {
            let optimizer = optimizer(settings)?;
            let decided = pointer::read("decision", decision)?.resume(&optimizer)?;
            let measured: Measured = Kept::value("measured", measured)?;
            let place = pointer::optional_place("report", report)?;
            let copy = apart_from(layer, report)?;
            let layer = pointer::change("layer", layer)?;
            let done = decided.apply(measured, copy.memory(state(&mut layer.state)?)?)?;
            place.set(lw_report::of(&done));
            Ok(of_outcome(done.outcome))
        }
    };
    end(done(), error)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_plan(
    settings: *const lw_optimizer,
    decision: *const lw_decision,
    measured: *const lw_measured,
    of: *const lw_layer_config,
    before: *const lw_state,
    planned: *mut lw_planned,
    error: *mut lw_error,
) -> lw_status {
    let done = || {
        // SAFETY: the C caller guarantees each pointer.
        unsafe {
            let optimizer = optimizer(settings)?;
            let decided = pointer::read("decision", decision)?.resume(&optimizer)?;
            let measured: Measured = Kept::value("measured", measured)?;
            let mut before = *pointer::read("state", before)?;
            let place = pointer::place("planned", planned)?;
            let state = *state(&mut before)?;
            place.set(Kept::of(decided.plan(measured, &config(of)?, state)?));
        }
        Ok(status::APPLIED)
    };
    end(done(), error)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_needs_step(planned: *const lw_planned, error: *mut lw_error) -> lw_status {
    // SAFETY: the C caller guarantees the pointers.
    let planned: Result<Planned<State>, _> = unsafe { Kept::value("planned", planned) };
    end(planned.map(|planned| planned.needs_step().into()), error)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_step_leaf_sums(
    planned: *const lw_planned,
    layer: *const lw_layer,
    start: usize,
    sums: *mut f64,
    error: *mut lw_error,
) -> lw_status {
    let done = || {
        // SAFETY: the C caller guarantees each pointer; that nothing overlaps the sums is checked.
        unsafe {
            let planned: Planned<State> = Kept::value("planned", planned)?;
            let layer = pointer::read("chunk", layer)?;
            let sums = sums_of(layer, sums, layer.len.div_ceil(LEAF))?;
            planned.step_leaf_sums(layer.view()?, start, sums)?;
        }
        Ok(status::APPLIED)
    };
    end(done(), error)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_limit(
    settings: *const lw_optimizer,
    decision: *const lw_decision,
    sums: *const f64,
    leaves: usize,
    planned: *mut lw_planned,
    error: *mut lw_error,
) -> lw_status {
    let done = || {
        // SAFETY: the C caller guarantees each pointer.
        unsafe {
            let optimizer = optimizer(settings)?;
            let decided = pointer::read("decision", decision)?.resume(&optimizer)?;
            let plan: Planned<State> = Kept::value("planned", planned)?;
            let limited = decided.limit(plan, pointer::elements("sums", sums, leaves)?)?;
            pointer::place("planned", planned)?.set(Kept::of(limited));
        }
        Ok(status::APPLIED)
    };
    end(done(), error)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_confirm(
    settings: *const lw_optimizer,
    planned: *const lw_planned,
    decision: *mut lw_decision,
    error: *mut lw_error,
) -> lw_status {
    let done = || {
        // SAFETY: the C caller guarantees each pointer.
        unsafe {
            let optimizer = optimizer(settings)?;
            let planned: Planned<State> = Kept::value("planned", planned)?;
            let decision = pointer::change("decision", decision)?;
            let mut decided = decision.resume(&optimizer)?;
            decided.confirm(&planned)?;
            (decision.clip, decision.skip) = (decided.clip(), decided.skips().into());
        }
        Ok(status::APPLIED)
    };
    end(done(), error)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_apply_chunk(
    planned: *const lw_planned,
    layer: *mut lw_layer,
    error: *mut lw_error,
) -> lw_status {
    let done = || {
        // SAFETY: the C caller guarantees each pointer; that the chunk's buffers do not overlap is checked.
        unsafe {
            let planned: Planned<State> = Kept::value("planned", planned)?;
            // Other workers may have the same norms.
            let layer = lw_layer { norms: ptr::null_mut(), ..*pointer::read("chunk", layer)? };
            layer.check_overlaps([])?;
            let finite = planned.apply(layer.memory(&mut ())?)?;
            let (report, _) = planned.report();
            Ok(if finite { of_outcome(report.outcome) } else { status::OVERFLOWED })
        }
    };
    end(done(), error)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_finish(
    planned: *const lw_planned,
    after: *mut lw_state,
    report: *mut lw_report,
    error: *mut lw_error,
) -> lw_status {
    let done = || {
        // SAFETY: the C caller guarantees each pointer.
        unsafe {
            let planned: Planned<State> = Kept::value("planned", planned)?;
            let state_place = pointer::place("state", after)?;
            let place = pointer::optional_place("report", report)?;
            if planned.needs_step() {
                return Err(lw::Error::StepNotSeen.into());
            }
            let (report, [a, b, c]): (Report, State) = planned.report();
            state_place.set(lw_state { numbers: [a, b, c, 0.0] });
            place.set(lw_report::of(&report));
            Ok(of_outcome(report.outcome))
        }
    };
    end(done(), error)
}
