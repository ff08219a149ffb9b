//! Steps in pieces from C, compared with whole steps in Rust.

use super::model::Model;
use super::step::{NO_REPORT, assert_same, assert_same_report, by_rust, status_of};
use super::{check_told, settings, told};
use crate::input;
use arbitrary::{Result, Unstructured};
use layerwise::pieces::{LEAF, SUMS};
use layerwise::{AnyOptimizer, NonFinite, Outcome, Step};
use layerwise_c::{
    self as c, lw_decision, lw_layer_config, lw_measured, lw_optimizer, lw_planned, lw_state, lw_status,
};
use std::ops::Range;

/// A call with a place for its error. A refusal ends the step.
macro_rules! call {
    ($function:ident($($argument:expr),*)) => {{
        let mut error = told();
        // SAFETY: all pointers are to separate live memory, as long as the call says.
        let status = unsafe { c::$function($($argument,)* &mut error) };
        check_told(status, &error);
        if status < 0 {
            return Ok(Err(status));
        }
        status
    }};
}

/// What was done, or why not.
type Done<T> = Result<std::result::Result<T, lw_status>>;

fn zeroed<T>() -> T {
    const { assert!(!std::mem::needs_drop::<T>()) };
    // SAFETY: only for C structs, for which any bytes are valid.
    unsafe { std::mem::zeroed() }
}

/// Whether pieces must have the bits of a whole step. With a policy that skips steps they read moments earlier, and a
/// whole model checks in advance what cannot be applied.
fn is_comparable(
    optimizer: &AnyOptimizer,
    expected: &std::result::Result<layerwise::Summary, layerwise::Error>,
) -> bool {
    let norm = expected.map_or(1.0, |summary| summary.gradient_norm);
    let clips = optimizer.policy().clip_norm.is_some();
    // (The norm of a model goes through squares, that of one layer does not.)
    optimizer.policy().non_finite == NonFinite::SkipLayer && (!clips || (1e-150..1e150).contains(&norm))
}

/// Every layer is measured, and then applied.
pub(super) fn whole(u: &mut Unstructured, optimizer: &AnyOptimizer, step: Step, model: &mut Model) -> Result<()> {
    let (expected, reports, after) = by_rust(optimizer, step, model);
    let before = model.clone();
    let configs = model.c_configs();
    let mut applied = 0;
    match whole_layers(u, optimizer, step, model, &configs, &mut applied)? {
        Ok(statuses) if is_comparable(optimizer, &expected) => {
            assert!(expected.is_ok(), "not refused: {expected:?}");
            let there = reports.iter().filter(|report| report.outcome != Outcome::Absent);
            assert_eq!(statuses, there.map(|report| status_of(report.outcome)).collect::<Vec<_>>());
            assert_same("whole pieces", model, &after, true);
        }
        Ok(_) => {}
        Err(status) => {
            assert!(expected.is_err() || !is_comparable(optimizer, &expected), "refused with {status}");
            // (A later layer may be refused when an earlier one has been applied.)
            if applied == 0 {
                assert_same("refused", model, &before, true);
            }
        }
    }
    Ok(())
}

/// The layers that take part in a step.
fn present(model: &Model) -> Vec<usize> {
    (0..model.ranges.len()).filter(|&index| !model.absent[index] || model.ranges[index].is_empty()).collect()
}

fn whole_layers(
    u: &mut Unstructured,
    optimizer: &AnyOptimizer,
    step: Step,
    model: &mut Model,
    configs: &[lw_layer_config],
    applied: &mut usize,
) -> Done<Vec<lw_status>> {
    let (settings, Step { lr, gradient_scale, .. }) = (settings::optimizer(optimizer), step);
    let (present, mut measured) = (present(model), vec![]);
    for &index in &present {
        let layer = model.c_chunk(index, 0..model.ranges[index].len(), &configs[index]);
        let mut of_layer: lw_measured = zeroed();
        call!(lw_measure(&settings, lr, gradient_scale, &layer, &mut of_layer));
        measured.push(of_layer);
    }
    let mut decision: lw_decision = zeroed();
    call!(lw_decide(&settings, lr, gradient_scale, measured.as_ptr(), measured.len(), &mut decision));
    if u.ratio(1, 16)? && !measured.is_empty() {
        // A value that the library has not made is refused.
        let forged: lw_measured = zeroed();
        let mut error = told();
        // SAFETY: as in `call!`.
        let status = unsafe { c::lw_decide(&settings, lr, gradient_scale, &forged, 1, &mut decision, &mut error) };
        check_told(status, &error);
        assert_eq!(status, c::status::BAD_STATE);
    }
    let mut statuses = vec![];
    for (&index, measured) in present.iter().zip(&measured) {
        let mut layer = model.c_chunk(index, 0..model.ranges[index].len(), &configs[index]);
        statuses.push(call!(lw_apply(&settings, &decision, measured, &mut layer, std::ptr::null_mut())));
        model.states[index] = [0, 1, 2].map(|i| layer.state.numbers[i]);
        *applied += 1;
    }
    Ok(Ok(statuses))
}

/// Every layer is divided: sums of leaves, a plan, chunks.
pub(super) fn divided(u: &mut Unstructured, optimizer: &AnyOptimizer, step: Step, model: &mut Model) -> Result<()> {
    let (expected, reports, after) = by_rust(optimizer, step, model);
    let before = model.clone();
    let configs = model.c_configs();
    let settings = settings::optimizer(optimizer);
    let planned = match plan(u, &settings, step, model, &configs)? {
        Ok(planned) => planned,
        Err(status) => {
            assert!(expected.is_err() || !is_comparable(optimizer, &expected), "refused with {status}");
            assert_same("refused", model, &before, true);
            return Ok(());
        }
    };
    let comparable = is_comparable(optimizer, &expected) && expected.is_ok();
    for (index, planned) in present(model).into_iter().zip(&planned) {
        let (mut overflowed, mut state, mut report) = (false, zeroed::<lw_state>(), NO_REPORT);
        match apply_chunks(u, planned, model, index, &configs[index], &mut overflowed)? {
            Ok(()) => {}
            // Arrays of wrong lengths are found by the first chunk, because only it has all of them; this includes
            // those of a frozen layer, which a whole step does not check.
            Err(status) => {
                let frozen = reports[index].outcome == Outcome::Frozen;
                assert!(!comparable || frozen, "refused with {status}");
                return Ok(());
            }
        }
        // SAFETY: as in `call!`.
        let status = unsafe { c::lw_finish(planned, &mut state, &mut report, std::ptr::null_mut()) };
        model.states[index] = [0, 1, 2].map(|i| state.numbers[i]);
        if comparable {
            let mut expected = reports[index];
            assert_eq!(overflowed, expected.outcome == Outcome::Overflowed);
            if overflowed {
                expected.outcome = Outcome::Applied;
            }
            assert_eq!(status, status_of(expected.outcome));
            assert_same_report(&report, &expected);
        }
    }
    if comparable {
        assert_same("divided", model, &after, false);
        model.norms.iter_mut().flatten().for_each(|norms| *norms = layerwise::CarriedNorms::new());
    }
    Ok(())
}

/// The plans of all layers that take part.
fn plan(
    u: &mut Unstructured,
    settings: &lw_optimizer,
    step: Step,
    model: &mut Model,
    configs: &[lw_layer_config],
) -> Done<Vec<lw_planned>> {
    let Step { lr, gradient_scale, .. } = step;
    let (present, mut measured) = (present(model), vec![]);
    for &index in &present {
        let len = model.ranges[index].len();
        let mut sums = vec![-1.0; len.div_ceil(LEAF) * SUMS];
        for leaves in chunks(u, len)? {
            let layer = model.c_chunk(index, elements(&leaves, len), &configs[index]);
            let to = sums[leaves.start * SUMS..].as_mut_ptr();
            call!(lw_leaf_sums(settings, lr, gradient_scale, &layer, leaves.start * LEAF, to));
        }
        let mut of_layer: lw_measured = zeroed();
        call!(lw_fold(settings, lr, gradient_scale, &configs[index], len, sums.as_ptr(), &mut of_layer));
        measured.push(of_layer);
    }
    let mut decision: lw_decision = zeroed();
    call!(lw_decide(settings, lr, gradient_scale, measured.as_ptr(), measured.len(), &mut decision));
    let mut all = vec![];
    for (&index, measured) in present.iter().zip(&measured) {
        let [a, b, c] = model.states[index];
        let state = lw_state { numbers: [a, b, c, 0.0] };
        let mut planned: lw_planned = zeroed();
        call!(lw_plan(settings, &decision, measured, &configs[index], &state, &mut planned));
        if call!(lw_needs_step(&planned)) == 1 {
            let len = model.ranges[index].len();
            let mut sums = vec![-1.0; len.div_ceil(LEAF)];
            for leaves in chunks(u, len)? {
                let layer = model.c_chunk(index, elements(&leaves, len), &configs[index]);
                let to = sums[leaves.start..].as_mut_ptr();
                call!(lw_step_leaf_sums(&planned, &layer, leaves.start * LEAF, to));
            }
            call!(lw_limit(settings, &decision, sums.as_ptr(), sums.len(), &mut planned));
        }
        assert_eq!(call!(lw_needs_step(&planned)), 0);
        let mut confirmed = decision;
        call!(lw_confirm(settings, &planned, &mut confirmed));
        assert!(confirmed.skip >= decision.skip && (confirmed.skip == 0 || settings.non_finite == 1));
        all.push(planned);
    }
    Ok(Ok(all))
}

/// Chunks of whole leaves, as several workers would have.
fn chunks(u: &mut Unstructured, len: usize) -> Result<Vec<Range<usize>>> {
    let workers = u.int_in_range(1..=3)?;
    let chunk = |ith| {
        let range = c::lw_chunk(len, ith, workers);
        range.start / LEAF..range.end.div_ceil(LEAF)
    };
    let chunks: Vec<_> = (0..workers).map(chunk).filter(|leaves| !leaves.is_empty()).collect();
    assert_eq!(chunks.iter().map(Range::len).sum::<usize>(), len.div_ceil(LEAF));
    Ok(chunks)
}

/// The elements of leaves.
fn elements(leaves: &Range<usize>, len: usize) -> Range<usize> {
    leaves.start * LEAF..(leaves.end * LEAF).min(len)
}

/// Applies a plan to chunks that begin anywhere.
fn apply_chunks(
    u: &mut Unstructured,
    planned: &lw_planned,
    model: &mut Model,
    index: usize,
    config: &lw_layer_config,
    overflowed: &mut bool,
) -> Done<()> {
    for cut in input::cuts(u, model.ranges[index].len())?.windows(2) {
        let mut chunk = model.c_chunk(index, cut[0]..cut[1], config);
        *overflowed |= call!(lw_apply_chunk(planned, &mut chunk)) == status_of(Outcome::Overflowed);
    }
    Ok(Ok(()))
}
