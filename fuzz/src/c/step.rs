//! Steps of models in every way that C has, compared with the same step in Rust; and calls with one wrong argument.

use super::model::Model;
use super::{check_told, pieces, settings, told};
use crate::harness::compare::non_negative;
use crate::harness::same;
use crate::input;
use arbitrary::{Result, Unstructured};
use layerwise::{AnyOptimizer, Outcome, Report, Step, Summary};
use layerwise_c::{
    self as c, lw_error, lw_flat, lw_layer, lw_layer_config, lw_optimizer, lw_report, lw_span, lw_state, lw_status,
    lw_summary,
};
use std::ptr;

/// A few steps of a model; the last may be a wrong call.
pub(super) fn step(u: &mut Unstructured) -> Result<()> {
    let optimizer = match input::optimizer(u)? {
        Some(input::AnyOptimizer::Sgd(sgd)) => sgd.any(),
        Some(input::AnyOptimizer::NovoGrad(novograd)) => novograd.any(),
        Some(input::AnyOptimizer::Adam(adam)) => adam.any(),
        None => return Ok(()),
    };
    let mut model = Model::new(u, &optimizer)?;
    for _ in 0..u.int_in_range(1..=2)? {
        model.next(u)?;
        let step = input::step(u)?;
        match u.int_in_range(0..=4)? {
            0 => pieces::whole(u, &optimizer, step, &mut model)?,
            1 => pieces::divided(u, &optimizer, step, &mut model)?,
            2 => wrong(u, &optimizer, step, &mut model)?,
            _ => right(u, &optimizer, step, &mut model)?,
        }
    }
    Ok(())
}

/// The step in Rust: its result, and the model after it.
pub(super) fn by_rust(
    optimizer: &AnyOptimizer,
    step: Step,
    model: &Model,
) -> (std::result::Result<Summary, layerwise::Error>, Vec<Report>, Model) {
    let mut after = model.clone();
    let mut reports = vec![Report::ABSENT; model.ranges.len()];
    (optimizer.step(step, &mut after, &mut reports), reports, after)
}

/// Fails unless both models are the same.
pub(super) fn assert_same(what: &str, ours: &Model, theirs: &Model, norms: bool) {
    assert!(ours.bits() == theirs.bits(), "{what}: other numbers");
    assert_eq!(ours.rest(norms), theirs.rest(norms), "{what}");
}

pub(super) fn assert_same_report(ours: &lw_report, theirs: &Report) {
    let pairs = [
        (ours.gradient_norm, theirs.gradient_norm),
        (ours.weight_norm, theirs.weight_norm),
        (ours.factor, theirs.factor),
        (ours.effective_rate, theirs.effective_rate),
    ];
    assert!(pairs.iter().all(|(ours, theirs)| same(*ours, *theirs)), "{pairs:?}");
    assert_eq!((ours.clipped, ours.outcome), (theirs.clipped.into(), status_of(theirs.outcome) as u8));
}

pub(super) fn status_of(outcome: Outcome) -> lw_status {
    match outcome {
        Outcome::Applied => 0,
        Outcome::Overflowed => 1,
        Outcome::NonFinite => 2,
        Outcome::OutOfRange => 3,
        Outcome::Frozen => 4,
        Outcome::Absent => 5,
        Outcome::StepSkipped => 6,
        other => panic!("no outcome of the header: {other:?}"),
    }
}

pub(super) const NO_REPORT: lw_report = lw_report {
    gradient_norm: 0.0,
    weight_norm: 0.0,
    factor: 0.0,
    effective_rate: 0.0,
    clipped: 9,
    outcome: 9,
    reserved: [0; 6],
};
const NO_SUMMARY: lw_summary = lw_summary { applied: 99, skipped: 99, overflowed: 99, gradient_norm: 0.0, clip: 0.0 };

/// All arguments of a step.
struct Call {
    settings: lw_optimizer,
    step: Step,
    configs: Vec<lw_layer_config>,
    layers: Vec<lw_layer>,
    spans: Vec<lw_span>,
    states: Vec<lw_state>,
    reports: Vec<lw_report>,
    summary: lw_summary,
    flat: lw_flat,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Layer,
    Layers,
    Flat,
}

impl Call {
    fn new(optimizer: &AnyOptimizer, step: Step, model: &mut Model) -> Self {
        let configs = model.c_configs();
        let layers = model.c_layers(&configs);
        let spans = model.c_spans(&configs);
        let mut states: Vec<lw_state> = layers.iter().map(|layer| layer.state).collect();
        let flat = model.c_flat(&spans, &mut states);
        let (settings, reports) = (settings::optimizer(optimizer), vec![NO_REPORT; layers.len()]);
        Call { settings, step, configs, layers, spans, states, reports, summary: NO_SUMMARY, flat }
    }

    fn run(&mut self, way: Way, error: *mut lw_error) -> lw_status {
        let Step { lr, gradient_scale, .. } = self.step;
        let (settings, reports, summary) = (&raw const self.settings, self.reports.as_mut_ptr(), &raw mut self.summary);
        let (layers, count) = (self.layers.as_mut_ptr(), self.layers.len());
        // SAFETY: all pointers are to separate live memory, as long as the call says, or must be refused.
        unsafe {
            match way {
                Way::Layer => c::lw_step_layer(settings, lr, gradient_scale, layers, reports, error),
                Way::Layers => c::lw_step(settings, lr, gradient_scale, layers, count, reports, summary, error),
                Way::Flat => c::lw_step_flat(settings, lr, gradient_scale, &self.flat, reports, summary, error),
            }
        }
    }

    /// The states after a step.
    fn states(&self, way: Way) -> Vec<[f64; 3]> {
        let numbers = |state: &lw_state| [state.numbers[0], state.numbers[1], state.numbers[2]];
        match way {
            Way::Flat => self.states.iter().map(numbers).collect(),
            _ => self.layers.iter().map(|layer| numbers(&layer.state)).collect(),
        }
    }
}

/// A way that works for the model.
fn way(u: &mut Unstructured, optimizer: &AnyOptimizer, model: &mut Model) -> Result<Way> {
    let one = model.ranges.len() == 1 && optimizer.policy().clip_norm.is_none();
    let way = *u.choose(if one { &[Way::Layer, Way::Layers, Way::Flat] } else { &[Way::Layers, Way::Flat] })?;
    if way == Way::Flat {
        model.absent.fill(false);
    }
    Ok(way)
}

fn right(u: &mut Unstructured, optimizer: &AnyOptimizer, step: Step, model: &mut Model) -> Result<()> {
    let way = way(u, optimizer, model)?;
    let (expected, reports, after) = by_rust(optimizer, step, model);
    let before = model.clone();
    let mut call = Call::new(optimizer, step, model);
    let mut error = told();
    let silent = u.ratio(1, 8)?;
    let status = call.run(way, if silent { ptr::null_mut() } else { &mut error });
    if !silent {
        check_told(status, &error);
    }
    model.states = call.states(way);
    let Ok(summary) = expected else {
        assert!(status < 0, "{way:?}: {status} instead of {expected:?}");
        assert_same("refused", model, &before, true);
        return Ok(());
    };
    assert!(status >= 0, "{way:?} is refused with {status}: {:?}", error.what);
    call.reports.iter().zip(&reports).for_each(|(ours, theirs)| assert_same_report(ours, theirs));
    assert_same(&format!("{way:?}"), model, &after, true);
    if way == Way::Layer {
        assert_eq!(status, status_of(reports[0].outcome));
        return Ok(());
    }
    let is_bad = |status: &lw_status| ![0, 4, 5].contains(status);
    let outcomes = reports.iter().map(|report| status_of(report.outcome));
    assert_eq!(status, outcomes.into_iter().find(is_bad).unwrap_or(0));
    let c = &call.summary;
    let counts = [c.applied, c.skipped, c.overflowed];
    assert_eq!(counts, [summary.applied, summary.skipped, summary.overflowed]);
    assert!(same(c.gradient_norm, summary.gradient_norm) && same(c.clip, summary.clip));
    Ok(())
}

/// A call with one wrong argument. If it is refused, it must not have written.
fn wrong(u: &mut Unstructured, optimizer: &AnyOptimizer, step: Step, model: &mut Model) -> Result<()> {
    let way = way(u, optimizer, model)?;
    if model.ranges.is_empty() || model.ranges[0].is_empty() || model.absent[0] {
        return Ok(());
    }
    let before = model.clone();
    let mut call = Call::new(optimizer, step, model);
    let must_be_refused = spoil(u, &mut call, way)?;
    let mut error = told();
    let status = call.run(way, &mut error);
    check_told(status, &error);
    assert!(status < 0 || !must_be_refused, "{way:?} is not refused");
    if status < 0 {
        model.states = before.states.clone();
        assert_same("refused", model, &before, true);
        let states: Vec<[u64; 3]> = call.states(way).iter().map(|state| state.map(f64::to_bits)).collect();
        let kept: Vec<[u64; 3]> = before.states.iter().map(|state| state.map(f64::to_bits)).collect();
        assert_eq!(states, kept, "{way:?} has written a state");
        assert_eq!((call.summary.applied, call.summary.skipped), (99, 99));
    } else {
        model.states = call.states(way);
    }
    Ok(())
}

/// Makes one thing wrong. Returns whether the header says that it is refused.
fn spoil(u: &mut Unstructured, call: &mut Call, way: Way) -> Result<bool> {
    let flat = way == Way::Flat;
    let (layer, model) = (&mut call.layers[0], &mut call.flat);
    match u.int_in_range(0..=10)? {
        0 => {
            // Any byte of the settings.
            let size = size_of::<lw_optimizer>();
            let at = u.choose_index(size)?;
            // SAFETY: within the settings, for which any bytes are valid.
            unsafe { (&raw mut call.settings).cast::<u8>().add(at).write(u.arbitrary()?) };
            return Ok(false);
        }
        1 => {
            call.settings.rule = u.arbitrary()?;
            return Ok(!(1..=3).contains(&call.settings.rule));
        }
        2 => {
            call.step = Step::new(u.arbitrary()?);
            return Ok(!non_negative(call.step.lr));
        }
        3 => {
            let data = u.choose(&[ptr::null_mut(), ptr::dangling_mut::<u8>()])?.cast();
            *(if flat { &mut model.weights.data } else { &mut layer.weights.data }) = data;
        }
        4 => {
            *(if flat { &mut model.weights.r#type } else { &mut layer.weights.r#type }) =
                u.int_in_range(3..=u32::MAX)?
        }
        5 => *(if flat { &mut model.len } else { &mut layer.len }) = usize::MAX - u.int_in_range(0..=8)?,
        6 => {
            let data = if flat { model.weights.data } else { layer.weights.data };
            *(if flat { &mut model.gradients.data } else { &mut layer.gradients.data }) = data;
        }
        7 => (if flat { &mut call.states[0] } else { &mut layer.state }).numbers[3] = 1.0,
        8 => {
            let config = &mut call.configs[0];
            match u.int_in_range(0..=4)? {
                0 => config.adapt = 2,
                1 => config.frozen = u.int_in_range(2..=255)?,
                2 => config.reserved[u.choose_index(6)?] = 1,
                3 => config.rate = *u.choose(&[-1.0, f64::NAN, f64::INFINITY])?,
                _ => config.decay = *u.choose(&[-1.0, f64::NAN, f64::INFINITY])?,
            }
        }
        9 if flat => {
            let span = &mut call.spans[0];
            *u.choose_index(2).map(|which| if which == 0 { &mut span.start } else { &mut span.len })? =
                u.arbitrary()?;
            return Ok(false);
        }
        10 if flat => {
            model.spans = ptr::null();
        }
        _ => {
            let norms = ptr::without_provenance_mut(u.int_in_range(1..=7)?);
            *(if flat { &mut model.norms } else { &mut layer.norms }) = norms;
        }
    }
    Ok(true)
}
