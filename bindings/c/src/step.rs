//! Steps of one layer, of several, and of flat buffers.

use crate::choice::flag;
use crate::layer::{
    F32, State, check_apart, config, lw_array, lw_const_array, lw_layer, lw_layer_config, lw_norms, lw_state, no_state,
    state,
};
use crate::pointer::{self, Extent, Place};
use crate::refusal::{Refusal, end, lw_error, lw_status, of_outcome, status};
use crate::settings::{Visit, lw_optimizer, optimizer};
use core::ffi::c_void;
use core::ptr;
use lw::rule::{Rule, RuleState};
use lw::{AnyOptimizer, LayerMemory, Model, Optimizer, Report, Step, Summary};

#[repr(C)]
#[derive(Clone, Copy)]
pub struct lw_report {
    pub gradient_norm: f64,
    pub weight_norm: f64,
    pub factor: f64,
    pub effective_rate: f64,
    pub clipped: u8,
    pub outcome: u8,
    pub reserved: [u8; 6],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct lw_summary {
    pub applied: usize,
    pub skipped: usize,
    pub overflowed: usize,
    pub gradient_norm: f64,
    pub clip: f64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct lw_span {
    pub start: usize,
    pub len: usize,
    pub config: *const lw_layer_config,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct lw_flat {
    pub len: usize,
    pub weights: lw_array,
    pub gradients: lw_const_array,
    pub momentum: lw_array,
    pub second_moment: lw_array,
    pub lower: *mut u16,
    pub copy: lw_array,
    pub spans: *const lw_span,
    pub count: usize,
    pub states: *mut lw_state,
    pub norms: *mut lw_norms,
    pub saturate: u32,
    pub gaps: u32,
}

impl lw_report {
    #[inline]
    pub(crate) fn of(report: &Report) -> Self {
        lw_report {
            gradient_norm: report.gradient_norm,
            weight_norm: report.weight_norm,
            factor: report.factor,
            effective_rate: report.effective_rate,
            clipped: report.clipped.into(),
            outcome: of_outcome(report.outcome) as u8,
            reserved: [0; 6],
        }
    }
}

// A step writes its Rust reports into C's memory, which this shows to be large enough. (On 32-bit x86 a Rust report is
// smaller than a C one.)
const _: () = assert!(size_of::<Report>() <= size_of::<lw_report>() && align_of::<Report>() <= align_of::<lw_report>());

/// Checked layers, each with the place of its state.
trait Lender {
    fn count(&self) -> usize;
    /// A layer and its state; `None` if it takes no part.
    fn lend(&mut self, index: usize) -> Option<(lw_layer, &mut State)>;
}

/// A lender as a model.
struct Lent<L>(L);

impl<L: Lender> Model<State> for Lent<L> {
    #[inline]
    fn count(&self) -> usize {
        self.0.count()
    }

    #[inline]
    fn layer(&mut self, index: usize, visit: impl FnOnce(LayerMemory<'_, State>)) {
        let Some((layer, state)) = self.0.lend(index) else { return };
        // SAFETY: the C caller guarantees that the buffers exist and are not used elsewhere; it has been checked that
        // no two of a layer overlap. Layers are lent one at a time.
        if let Ok(memory) = unsafe { layer.memory(state) } {
            visit(memory);
        }
    }
}

impl Lender for &mut [lw_layer] {
    #[inline]
    fn count(&self) -> usize {
        self.len()
    }

    #[inline]
    fn lend(&mut self, index: usize) -> Option<(lw_layer, &mut State)> {
        let layer = self.get_mut(index)?;
        let copy = *layer;
        let state = state(&mut layer.state).ok()?;
        copy.is_there().then_some((copy, state))
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_step_layer(
    settings: *const lw_optimizer,
    lr: f64,
    gradient_scale: f64,
    layer: *mut lw_layer,
    report: *mut lw_report,
    error: *mut lw_error,
) -> lw_status {
    // SAFETY: the C caller guarantees the pointers.
    end(unsafe { step_layer(settings, step(lr, gradient_scale), layer, report) }, error)
}

#[inline]
pub(crate) fn step(lr: f64, gradient_scale: f64) -> Step {
    Step::new(lr).gradient_scale(gradient_scale)
}

unsafe fn step_layer(
    settings: *const lw_optimizer,
    step: Step,
    layer: *mut lw_layer,
    report: *mut lw_report,
) -> Result<lw_status, Refusal<'static>> {
    let place = pointer::optional_place("report", report)?;
    // SAFETY: the C caller guarantees the pointers.
    let (settings, copy) = unsafe { (pointer::read("optimizer", settings)?, apart_from(layer, report)?) };
    settings.visit(StepLayer { step, layer, copy, place })
}

/// A copy of a layer, after checking that its buffers overlap neither each other nor the layer itself nor its report.
///
/// # Safety
///
/// If the pointer to the layer is neither null nor misaligned, it can be read.
#[inline(always)]
pub(crate) unsafe fn apart_from(
    layer: *const lw_layer,
    report: *const lw_report,
) -> Result<lw_layer, Refusal<'static>> {
    // SAFETY: guaranteed by the caller.
    let copy = *unsafe { pointer::read("layer", layer) }?;
    let around = [("layer", Extent::of(layer, 1)), ("report", Extent::of(report, 1))];
    check_apart(&around, &[])?;
    copy.check_overlaps(around.map(|(_, extent)| extent))?;
    Ok(copy)
}

/// A step of a layer whose buffers do not overlap.
struct StepLayer {
    step: Step,
    /// The address of the layer, neither null nor misaligned.
    layer: *mut lw_layer,
    copy: lw_layer,
    place: Place<lw_report>,
}

impl Visit for StepLayer {
    #[inline(always)]
    fn visit<R: Rule>(self, optimizer: &Optimizer<R>) -> Result<lw_status, Refusal<'static>> {
        let StepLayer { step, layer, mut copy, place } = self;
        let mut own = R::State::from_numbers(*state(&mut copy.state)?).ok_or_else(no_state)?;
        let done = if copy.is_there() {
            // SAFETY: the C caller guarantees each pointer; that the layer's buffers do not overlap has been checked.
            optimizer.step_layer(step, unsafe { copy.memory(&mut own) }?)?
        } else {
            // (This checks the rate, like a step.)
            optimizer.pass(step).map(|_| Report::ABSENT)?
        };
        let [a, b, c] = own.to_numbers();
        // SAFETY: the C caller guarantees the pointers. Nothing refers to the layer or its buffers any more.
        unsafe {
            (&raw mut (*layer).state.numbers).write([a, b, c, 0.0]);
            place.set(lw_report::of(&done));
        }
        Ok(of_outcome(done.outcome))
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_step(
    settings: *const lw_optimizer,
    lr: f64,
    gradient_scale: f64,
    layers: *mut lw_layer,
    count: usize,
    reports: *mut lw_report,
    summary: *mut lw_summary,
    error: *mut lw_error,
) -> lw_status {
    // SAFETY: the C caller guarantees the pointers.
    end(unsafe { step_layers(settings, step(lr, gradient_scale), layers, count, reports, summary) }, error)
}

unsafe fn step_layers(
    settings: *const lw_optimizer,
    step: Step,
    layers: *mut lw_layer,
    count: usize,
    reports: *mut lw_report,
    summary: *mut lw_summary,
) -> Result<lw_status, Refusal<'static>> {
    // SAFETY: the C caller guarantees each pointer.
    unsafe {
        let optimizer = optimizer(settings)?;
        pointer::check("layers", layers, count)?;
        let around = [
            ("layers", Extent::of(layers, count)),
            ("reports", Extent::of(reports, count)),
            ("summary", Extent::of(summary, 1)),
        ];
        check_apart(&around, &[])?;
        let around = around.map(|(_, extent)| extent);
        let layers = pointer::elements_mut("layers", layers, count)?;
        for (index, layer) in layers.iter_mut().enumerate() {
            check_layer(layer, around).map_err(|refusal| refusal.in_layer(index))?;
        }
        run(&optimizer, step, layers, reports, summary)
    }
}

/// Checks one of several layers before the first one is visited.
///
/// # Safety
///
/// That of [`lw_layer::memory`].
unsafe fn check_layer<const N: usize>(layer: &mut lw_layer, around: [Extent; N]) -> Result<(), Refusal<'static>> {
    let copy = *layer;
    state(&mut layer.state)?;
    if copy.is_there() {
        copy.check_overlaps(around)?;
        // SAFETY: guaranteed by the caller.
        unsafe { copy.memory(&mut ()).map(drop) }?;
    }
    Ok(())
}

/// A step over checked layers.
///
/// # Safety
///
/// `reports` points to as many reports as there are layers, and `summary` to one or is null.
unsafe fn run(
    optimizer: &AnyOptimizer,
    step: Step,
    layers: impl Lender,
    reports: *mut lw_report,
    summary: *mut lw_summary,
) -> Result<lw_status, Refusal<'static>> {
    let count = layers.count();
    pointer::check("reports", reports, count)?;
    let summary = pointer::optional_place("summary", summary)?;
    let made = reports.cast::<Report>();
    for index in 0..count {
        // SAFETY: the pointer is checked, the C caller guarantees the number, and a Rust report is no larger than a C
        // one.
        unsafe { made.add(index).write(Report::ABSENT) };
    }
    // SAFETY: each has just been written.
    let done = optimizer.step(step, &mut Lent(layers), unsafe { pointer::elements_mut("reports", made, count) }?);
    let mut outcome = status::APPLIED;
    // From the last to the first, so that a C report never overwrites a Rust report that is still to be read.
    for index in (0..count).rev() {
        // SAFETY: within the reports, each of which is a Rust report until it is read here.
        let report = unsafe {
            let report = lw_report::of(&made.add(index).read());
            reports.add(index).write(report);
            report
        };
        if ![status::APPLIED, status::FROZEN, status::ABSENT].contains(&report.outcome.into()) {
            outcome = report.outcome.into();
        }
    }
    let Summary { applied, skipped, overflowed, gradient_norm, clip, .. } = done?;
    // SAFETY: the C caller guarantees the pointers.
    unsafe { summary.set(lw_summary { applied, skipped, overflowed, gradient_norm, clip }) };
    Ok(outcome)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_step_flat(
    settings: *const lw_optimizer,
    lr: f64,
    gradient_scale: f64,
    model: *const lw_flat,
    reports: *mut lw_report,
    summary: *mut lw_summary,
    error: *mut lw_error,
) -> lw_status {
    // SAFETY: the C caller guarantees the pointers.
    end(unsafe { step_flat(settings, step(lr, gradient_scale), model, reports, summary) }, error)
}

unsafe fn step_flat(
    settings: *const lw_optimizer,
    step: Step,
    model: *const lw_flat,
    reports: *mut lw_report,
    summary: *mut lw_summary,
) -> Result<lw_status, Refusal<'static>> {
    // SAFETY: the C caller guarantees each pointer.
    unsafe {
        let optimizer = optimizer(settings)?;
        let model = *pointer::read("model", model)?;
        let count = model.count;
        pointer::check("spans", model.spans, count)?;
        pointer::check("states", model.states, count)?;
        let around = [
            ("spans", Extent::of(model.spans, count)),
            ("states", Extent::of(model.states, count)),
            ("norms", Extent::of(model.norms, count)),
            ("reports", Extent::of(reports, count)),
            ("summary", Extent::of(summary, 1)),
        ];
        check_apart(&around, &[])?;
        let around = around.map(|(_, extent)| extent);
        if !model.norms.is_null() {
            pointer::check("norms", model.norms, count)?;
        }
        let all = model.layer(0, model.len, None);
        all.check_overlaps(around)?;
        all.memory(&mut ()).map(drop)?;
        let spans = pointer::elements("spans", model.spans, count)?;
        let states = pointer::elements_mut("states", model.states, count)?;
        check_spans(spans, model.len, flag("gaps", u8::try_from(model.gaps).unwrap_or(u8::MAX))?)?;
        for (index, (span, kept)) in spans.iter().zip(&mut *states).enumerate() {
            let all = lw_layer { config: span.config, ..all };
            check_span(&all, around, kept).map_err(|refusal| refusal.in_layer(index))?;
        }
        run(&optimizer, step, Flat { model, spans, states }, reports, summary)
    }
}

/// Checks the state and the configuration of a span. `all` is the whole buffers with this configuration.
///
/// # Safety
///
/// That of [`config`].
unsafe fn check_span<const N: usize>(
    all: &lw_layer,
    around: [Extent; N],
    kept: &mut lw_state,
) -> Result<(), Refusal<'static>> {
    if !all.config.is_null() {
        all.check_overlaps(around)?;
    }
    // SAFETY: guaranteed by the caller.
    unsafe { config(all.config) }?;
    state(kept).map(|_| ())
}

/// Refuses spans that overlap, leave gaps where there may be none, or end past the buffers.
fn check_spans(spans: &[lw_span], len: usize, gaps: bool) -> Result<(), Refusal<'static>> {
    let refused = |layer, why| Err(Refusal::new(status::BAD_SPANS, "spans", why).in_layer(layer));
    let mut end = 0;
    for (layer, span) in spans.iter().enumerate() {
        if span.start < end {
            return refused(layer, "must not begin before the end of the one before");
        }
        if span.start > end && !gaps {
            return refused(layer, "must leave no gap before it");
        }
        end = match span.start.checked_add(span.len) {
            Some(end) if end <= len => end,
            _ => return refused(layer, "must not end past the end of the buffers"),
        };
    }
    if end < len && !gaps {
        Err(Refusal::new(status::BAD_SPANS, "spans", "must reach the end of the buffers"))
    } else {
        Ok(())
    }
}

/// A flat model that has passed its checks.
struct Flat<'a> {
    model: lw_flat,
    spans: &'a [lw_span],
    states: &'a mut [lw_state],
}

impl Lender for Flat<'_> {
    #[inline]
    fn count(&self) -> usize {
        self.spans.len()
    }

    #[inline]
    fn lend(&mut self, index: usize) -> Option<(lw_layer, &mut State)> {
        let (span, kept) = (self.spans.get(index)?, self.states.get_mut(index)?);
        let mut layer = self.model.layer(span.start, span.len, Some(index));
        layer.config = span.config;
        Some((layer, state(kept).ok()?))
    }
}

impl lw_flat {
    /// The part of the buffers from `start` on, as a layer. It has norms if `index` says which layer it is.
    #[inline]
    fn layer(&self, start: usize, len: usize, index: Option<usize>) -> lw_layer {
        let at = |array: lw_array| lw_array { data: offset(array.data, array.r#type, start), ..array };
        lw_layer {
            len,
            weights: at(self.weights),
            gradients: at(lw_array { data: self.gradients.data.cast_mut(), r#type: self.gradients.r#type }).as_const(),
            momentum: at(self.momentum),
            second_moment: at(self.second_moment),
            lower: if self.lower.is_null() { self.lower } else { self.lower.wrapping_add(start) },
            copy: at(self.copy),
            config: ptr::null(),
            norms: match index {
                Some(index) if !self.norms.is_null() => self.norms.wrapping_add(index),
                _ => ptr::null_mut(),
            },
            saturate: self.saturate,
            state: lw_state { numbers: [0.0; 4] },
        }
    }
}

/// A pointer to the element `start` of an array, which may be null.
#[inline]
fn offset(data: *mut c_void, kind: u32, start: usize) -> *mut c_void {
    match kind {
        _ if data.is_null() => data,
        F32 => data.cast::<f32>().wrapping_add(start).cast(),
        _ => data.cast::<u16>().wrapping_add(start).cast(),
    }
}
