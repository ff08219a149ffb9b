//! One layer in pieces, with any partition, invalid pieces and any rule; and LARC in front of a host's optimizer.

use crate::harness::optimizers::{Fixed, keeps_momentum, keeps_second_moment};
use crate::harness::{Array, Host, assert_same, assert_same_report, on};
use crate::input::{self, AnyOptimizer};
use crate::reference::contract;
use arbitrary::{Result, Unstructured};
use layerwise::pieces::{Decided, LEAF, LayerView, Measured, Pass, Planned, SUMS, Tree};
use layerwise::rule::{GradientNorm, Moments, Needs, Rule, RuleState, StepNorm, Update};
use layerwise::{Error, Larc, LayerMemory, NonFinite, Optimizer, Outcome, Report, Step};
use std::ops::Range;

pub fn pieces(u: &mut Unstructured) -> Result<()> {
    if u.arbitrary()? {
        let rule = fixed(u)?;
        layer(u, Optimizer::from_rule(rule))?;
    } else {
        match input::optimizer(u)? {
            Some(AnyOptimizer::Sgd(sgd)) => layer(u, sgd)?,
            Some(AnyOptimizer::NovoGrad(novograd)) => layer(u, novograd)?,
            Some(AnyOptimizer::Adam(adam)) => layer(u, adam)?,
            None => {}
        }
    }
    larc_in_front(u)
}

/// A rule that plans any update, and needs any norms.
fn fixed(u: &mut Unstructured) -> Result<Fixed> {
    let gradient = match u.int_in_range(0..=5)? {
        0 => GradientNorm::Max,
        1 => GradientNorm::L2WithDecay(input::rate(u)?),
        _ => GradientNorm::L2,
    };
    let mut needs = Needs::GRADIENT.gradient(gradient);
    if u.arbitrary()? {
        needs = needs.weights();
    }
    if u.ratio(1, 4)? {
        needs = needs.step(if u.arbitrary()? { StepNorm::Momentum } else { StepNorm::Step });
    }
    let mut update = input::update(u)?;
    let moments = *u.choose(&[Moments::None, Moments::First, Moments::FirstAndSecond])?;
    match moments {
        Moments::None => update.momentum = 0.0,
        Moments::FirstAndSecond => update.second = Some(input::second_moment(u)?),
        _ => {}
    }
    Ok(Fixed { update, moments, needs })
}

/// A step in pieces, which must equal the whole step.
fn layer<R: Rule<State = S> + Copy, S: RuleState>(u: &mut Unstructured, optimizer: Optimizer<R>) -> Result<()> {
    let (len, offsets) = (input::len(u)?, input::offsets(u)?);
    let [w, g, m] = [input::numbers(u, len)?, input::numbers(u, len)?, input::numbers(u, len)?];
    let m = if keeps_momentum(&optimizer) { m } else { vec![] };
    let v = if keeps_second_moment(&optimizer) { input::second_moments(u, len)? } else { vec![] };
    let bad_moments = m.iter().any(|m| !m.is_finite()) || v.iter().any(|v| v.is_nan());
    if optimizer.policy().non_finite == NonFinite::SkipStep && bad_moments {
        // Pieces check that earlier, and find it before a step that is out of range.
        return Ok(());
    }
    let (optimizer, step) = (on(optimizer, input::backend(u)?), input::step(u)?);
    let new = || Host::new(&w, &g, &m, offsets).second_moment(&v, offsets[2]);
    let (mut whole, mut host) = (new(), new());
    whole.config = input::layer(u)?;
    host.config = whole.config;

    let expected = whole.step(&optimizer, step);
    let norm = expected.map_or(1.0, |report| report.gradient_norm);
    if optimizer.policy().clip_norm.is_some() && !(1e-150..1e150).contains(&norm) {
        // The norm of a model goes through squares, that of one layer does not.
        return Ok(());
    }
    match (in_pieces(u, &optimizer, step, &mut host)?, expected) {
        (Some(report), Ok(expected)) => assert_same_report(&report, &expected),
        (None, Err(_)) => {}
        (report, expected) => panic!("{report:?} instead of {expected:?}"),
    }
    assert_same("weight", host.weights.get(), whole.weights.get());
    assert_same("gradient", host.gradients.get(), &g);
    assert_same("momentum", host.momentum.get(), whole.momentum.get());
    assert_same("second moment", host.second_moment.get(), whole.second_moment.get());
    assert_eq!(format!("{:?}", host.state), format!("{:?}", whole.state));
    [&host.weights, &host.gradients, &host.momentum, &host.second_moment]
        .iter()
        .for_each(|array| array.assert_guards());
    Ok(())
}

/// A step in pieces; `None` if it is refused.
fn in_pieces<R: Rule<State = S>, S: RuleState>(
    u: &mut Unstructured,
    optimizer: &Optimizer<R>,
    step: Step,
    host: &mut Host<S>,
) -> Result<Option<Report>> {
    let Ok(mut pass) = optimizer.pass(step) else { return Ok(None) };
    let Some(measured) = measure(u, &mut pass, host)? else { return Ok(None) };
    let decided = pass.decide();
    let Ok(planned) = decided.plan(measured, &host.config, host.state) else { return Ok(None) };
    let planned = limit(u, &decided, planned, host)?;
    let mut finite = true;
    for cut in input::cuts(u, host.weights.get().len())?.windows(2) {
        apply_wrongly(u, &planned, host, cut[0]..cut[1])?;
        finite &= planned.apply(chunk(host, cut[0]..cut[1])).unwrap();
    }
    let (mut report, state) = planned.report();
    host.state = state;
    if !finite {
        report.outcome = Outcome::Overflowed;
    }
    Ok(Some(report))
}

/// Measures a layer in chunks; `None` if that is refused.
fn measure<R: Rule<State = S>, S: RuleState>(
    u: &mut Unstructured,
    pass: &mut Pass<'_, R>,
    host: &Host<S>,
) -> Result<Option<Measured>> {
    let leaves = host.weights.get().len().div_ceil(LEAF);
    let mut sums = vec![[-1.0; SUMS]; leaves];
    for cut in input::cuts(u, leaves)?.windows(2) {
        let (view, start, end) = (view(host, leaf_range(host, cut)), cut[0] * LEAF, cut[1]);
        if u.ratio(1, 8)? {
            // Off a leaf, or with another number of sums.
            let (start, mut sums) = (start + u.int_in_range(0..=2)?, vec![[-1.0; SUMS]; u.int_in_range(0..=2)?]);
            if pass.leaf_sums(view, start, &mut sums).is_ok() {
                assert!(start.is_multiple_of(LEAF) && sums.len() == end - cut[0]);
            } else {
                assert!(sums.as_flattened().iter().all(|sum| *sum == -1.0));
            }
        }
        if pass.leaf_sums(view, start, &mut sums[cut[0]..end]).is_err() {
            return Ok(None);
        }
    }
    let len = host.weights.get().len();
    let more = [sums.as_slice(), &[[0.0; SUMS]]].concat();
    if u.arbitrary()? {
        let measured = pass.fold(&host.config, len, &sums).ok();
        if measured.is_some() {
            assert_eq!(pass.fold(&host.config, len, &more).is_ok(), host.config.frozen);
        }
        return Ok(measured);
    }
    let pieces = subtrees(u, len, |chunk, nodes| {
        let mut sums = vec![[-1.0; SUMS]; nodes];
        pass.subtree_sums(view(host, chunk.clone()), len, chunk.start, &mut sums).unwrap();
        sums
    })?;
    // (For an empty layer, settings are first checked here.)
    Ok(pass.fold_subtrees(&host.config, len, pieces).ok())
}

/// The sums of the nodes of an array, cut at any leaves.
fn subtrees<T>(
    u: &mut Unstructured,
    len: usize,
    measure: impl Fn(Range<usize>, usize) -> Vec<T>,
) -> Result<Vec<(Range<usize>, T)>> {
    let tree = Tree::of_len(len);
    let of_chunk = |cut: &[usize]| {
        let nodes = tree.cover(cut[0]..cut[1]);
        let sums = measure((cut[0] * LEAF).min(len)..(cut[1] * LEAF).min(len), nodes.len());
        nodes.zip(sums).collect::<Vec<_>>()
    };
    Ok(input::cuts(u, tree.leaves())?.windows(2).flat_map(of_chunk).collect())
}

/// Gives the rule the norm of its planned step, if it needs it.
fn limit<R: Rule<State = S>, S: RuleState>(
    u: &mut Unstructured,
    decided: &Decided<'_, R>,
    planned: Planned<S>,
    host: &mut Host<S>,
) -> Result<Planned<S>> {
    if !planned.needs_step() {
        return Ok(planned);
    }
    let len = host.weights.get().len();
    assert_eq!(planned.apply(chunk(host, 0..len)), Err(Error::StepNotSeen));
    let leaves = len.div_ceil(LEAF);
    let mut sums = vec![-1.0; leaves];
    for cut in input::cuts(u, leaves)?.windows(2) {
        let (view, start) = (view(host, leaf_range(host, cut)), cut[0] * LEAF);
        if u.ratio(1, 8)? {
            let mut sums = vec![-1.0; cut[1] - cut[0] + u.int_in_range(0..=1)?];
            let start = start + u.int_in_range(0..=1)?;
            if planned.step_leaf_sums(view, start, &mut sums).is_err() {
                assert!(sums.iter().all(|sum| *sum == -1.0));
            }
        }
        planned.step_leaf_sums(view, start, &mut sums[cut[0]..cut[1]]).unwrap();
    }
    let more = [sums.as_slice(), &[0.0]].concat();
    decided.limit(planned, &more).unwrap_err();
    let pieces = subtrees(u, len, |chunk, nodes| {
        let mut sums = vec![-1.0; nodes];
        planned.step_subtree_sums(view(host, chunk.clone()), chunk.start, &mut sums).unwrap();
        sums
    })?;
    let limited = match u.arbitrary()? {
        true => decided.limit(planned, &sums).unwrap(),
        false => decided.limit_subtrees(planned, pieces).unwrap(),
    };
    assert!(!limited.needs_step());
    Ok(limited)
}

/// A chunk with arrays of different lengths is refused, unless the layer is not read.
fn apply_wrongly<S: RuleState>(
    u: &mut Unstructured,
    planned: &Planned<S>,
    host: &mut Host<S>,
    range: Range<usize>,
) -> Result<()> {
    if u.ratio(7, 8)? || range.is_empty() {
        return Ok(());
    }
    let before = host.weights.get().to_vec();
    let gradients = host.gradients.get()[range.clone()][1..].to_vec();
    let momentum = host.momentum.get_mut().get_mut(range.clone()).unwrap_or_default();
    let wrong = LayerMemory::new(&mut host.weights.get_mut()[range], &gradients, &mut host.state).momentum(momentum);
    let frozen = planned.report().0.outcome == Outcome::Frozen;
    assert!(planned.apply(wrong).is_err() || frozen);
    assert_same("weight", host.weights.get(), &before);
    Ok(())
}

/// The elements of leaves.
fn leaf_range<S>(host: &Host<S>, leaves: &[usize]) -> Range<usize> {
    let len = host.weights.get().len();
    (leaves[0] * LEAF).min(len)..(leaves[1] * LEAF).min(len)
}

/// A read-only view of a chunk of a layer.
fn view<S>(host: &Host<S>, range: Range<usize>) -> LayerView<'_> {
    LayerView::new(&host.weights.get()[range.clone()], &host.gradients.get()[range.clone()])
        .momentum(host.momentum.get().get(range.clone()).unwrap_or_default())
        .second_moment(host.second_moment.get().get(range).unwrap_or_default())
        .config(host.config)
}

/// A chunk of a layer, for an update.
fn chunk<S>(host: &mut Host<S>, range: Range<usize>) -> LayerMemory<'_, S> {
    let momentum = host.momentum.get_mut().get_mut(range.clone()).unwrap_or_default();
    let second_moment = host.second_moment.get_mut().get_mut(range.clone()).unwrap_or_default();
    let (weights, gradients) = (&mut host.weights.get_mut()[range.clone()], &host.gradients.get()[range]);
    let layer = LayerMemory::new(weights, gradients, &mut host.state).config(host.config);
    layer.momentum(momentum).second_moment(second_moment)
}

/// Gradients that LARC scales in front of a host's optimizer.
fn larc_in_front(u: &mut Unstructured) -> Result<()> {
    let Ok(larc) = Larc::new(input::larc(u)?) else { return Ok(()) };
    let (len, offsets) = (input::len(u)?, input::offsets(u)?);
    let (w, g) = (input::numbers(u, len)?, input::numbers(u, len)?);
    let (lr, decay) = (input::rate(u)?, input::rate(u)?);
    let mut scaled = Array::new(&g, offsets[1]);
    let result = larc.scale_gradients(lr, decay, &w, scaled.get_mut());
    let in_range = [lr, decay].into_iter().all(crate::harness::compare::non_negative);
    assert_eq!(result.is_ok(), in_range, "{lr} {decay}");
    scaled.assert_guards();
    let Ok(report) = result else {
        assert_same("gradient", scaled.get(), &g);
        return Ok(());
    };

    let norms = contract::norms(&larc.needs(decay), 1.0, &w, &g);
    let (mut expected, mut gradients) = (Report::ABSENT, g);
    expected.gradient_norm = norms.gradient;
    expected.weight_norm = norms.weights;
    expected.effective_rate = lr;
    expected.outcome = Outcome::NonFinite;
    if norms.gradient.is_finite() && norms.weights.is_finite() {
        let decision = larc.factor(lr, decay, &norms);
        let update = Update { gradient: decision.factor, decay: decision.factor * decision.decay, ..Update::ZERO };
        expected.outcome = Outcome::OutOfRange;
        if contract::in_range(&update, Moments::First) {
            gradients.iter_mut().zip(&w).for_each(|(g, w)| *g = contract::rescaled(&update, *w, *g));
            let finite = gradients.iter().all(|g| g.is_finite());
            expected.outcome = if finite { Outcome::Applied } else { Outcome::Overflowed };
            (expected.factor, expected.clipped) = (decision.factor, decision.clipped);
            expected.effective_rate = decision.factor * lr;
        }
    }
    assert_same_report(&report, &expected);
    assert_same("gradient", scaled.get(), &gradients);
    Ok(())
}
