//! Steps of whole models: any table of layers, any lengths, every walk, and pieces.

use crate::harness::compare::non_negative;
use crate::harness::net::{Net, Walk, range};
use crate::harness::optimizers::{keeps_momentum, keeps_second_moment};
use crate::harness::{on, same};
use crate::input::{self, AnyOptimizer};
use arbitrary::{Result, Unstructured};
use layerwise::rule::{Rule, RuleState};
use layerwise::{
    CarriedNorms, Error, LayerConfig, LayerMemory, LayerSpan, Layers, NonFinite, Optimizer, Report, Step, l2_norm,
    sum_of_squares,
};

pub fn models(u: &mut Unstructured) -> Result<()> {
    table(u)?;
    model(u, small_layers)
}

pub fn parallel(u: &mut Unstructured) -> Result<()> {
    model(u, large_layers)
}

/// A model with any settings.
fn model(u: &mut Unstructured, lens: fn(&mut Unstructured) -> Result<Vec<usize>>) -> Result<()> {
    match input::optimizer(u)? {
        Some(AnyOptimizer::Sgd(sgd)) => steps(u, sgd, lens),
        Some(AnyOptimizer::NovoGrad(novograd)) => steps(u, novograd, lens),
        Some(AnyOptimizer::Adam(adam)) => steps(u, adam, lens),
        None => Ok(()),
    }
}

/// Any table of layers is accepted or refused as it should be.
fn table(u: &mut Unstructured) -> Result<()> {
    let mut end = 0_usize;
    let mut spans = vec![];
    for _ in 0..u.int_in_range(0..=6)? {
        let gap = if u.ratio(1, 4)? { u.arbitrary()? } else { 0 };
        let start = if u.ratio(1, 16)? { u.arbitrary()? } else { end.wrapping_add(gap) };
        let len = if u.ratio(1, 16)? { u.arbitrary()? } else { u.int_in_range(0..=100)? };
        spans.push(LayerSpan::new(start, len).config(input::layer(u)?));
        end = start.wrapping_add(len);
    }
    let len = if u.ratio(7, 8)? { end } else { u.arbitrary()? };
    for gaps in [false, true] {
        let table = if gaps { Layers::with_gaps(&spans, len) } else { Layers::new(&spans, len) };
        assert_eq!(table.is_ok(), table_is_valid(&spans, len, gaps), "{spans:?} {len}");
        if let Ok(table) = table {
            assert_eq!((table.spans(), table.count(), table.elements()), (&spans[..], spans.len(), len));
        }
    }
    Ok(())
}

fn table_is_valid(spans: &[LayerSpan], len: usize, gaps: bool) -> bool {
    let mut end = 0_u128;
    for span in spans {
        let start = span.start as u128;
        if start < end || (start > end && !gaps) || !input::is_in_range(&span.config) {
            return false;
        }
        end = start + span.len as u128;
    }
    end <= len as u128 && (end == len as u128 || gaps)
}

fn small_layers(u: &mut Unstructured) -> Result<Vec<usize>> {
    (0..u.int_in_range(0..=6)?).map(|_| input::len(u)).collect()
}

fn large_layers(u: &mut Unstructured) -> Result<Vec<usize>> {
    // Work is divided if there are more than 64 Ki elements, or layers of the same total cost.
    let mut layers = vec![];
    for _ in 0..u.int_in_range(1..=3)? {
        layers.push(if u.arbitrary()? { u.int_in_range(60_000..=140_000)? } else { u.int_in_range(0..=3000)? });
        if u.ratio(1, 4)? {
            layers.extend(vec![u.int_in_range(0..=20)?; u.int_in_range(0..=150)?]);
        }
    }
    Ok(layers)
}

/// A model of layers of these lengths, with any numbers. Now and then layers are absent.
fn net<R: Rule<State = S>, S: RuleState>(
    u: &mut Unstructured,
    optimizer: &Optimizer<R>,
    lens: Vec<usize>,
) -> Result<Net<S>> {
    let layers: Vec<(usize, LayerConfig)> =
        lens.into_iter().map(|len| Ok((len, input::layer(u)?))).collect::<Result<_>>()?;
    let (gap, momentum, seed) = (u.int_in_range(0..=2)?, keeps_momentum(optimizer), u.arbitrary()?);
    let mut net = Net::new(&layers, gap, momentum, u.arbitrary()?, seed);
    if keeps_second_moment(optimizer) {
        net = net.with_second_moment(seed);
    }
    if u.arbitrary()? {
        net.weights = input::numbers(u, net.len)?;
    }
    if u.ratio(1, 8)? {
        net.momentum = input::numbers(u, net.momentum.len())?;
        net.second_moment = input::second_moments(u, net.second_moment.len())?;
    }
    if u.ratio(1, 4)? {
        for absent in &mut net.absent {
            *absent = u.ratio(1, 3)?;
        }
    }
    Ok(net)
}

/// Steps a model in every way, and compares.
fn steps<R: Rule<State = S> + Copy + Sync, S: RuleState + Sync>(
    u: &mut Unstructured,
    optimizer: Optimizer<R>,
    lens: fn(&mut Unstructured) -> Result<Vec<usize>>,
) -> Result<()> {
    let lens = lens(u)?;
    let mut net = net(u, &optimizer, lens)?;
    let walks = walks(&net, u.int_in_range(1..=8)?);
    for _ in 0..u.int_in_range(1..=2)? {
        let (optimizer, step) = (on(optimizer, input::backend(u)?), input::step(u)?);
        wrong_lengths(u, &optimizer, step, &net)?;
        wrong_layer(u, &optimizer, step, &net)?;
        next_gradients(u, &mut net)?;
        let start = net.clone();
        if let Some(error) = refusal(&net, &step) {
            for &walk in &walks {
                let result = net.try_step(&optimizer, step, walk);
                // Compared as text, because a NaN rate does not equal itself.
                assert_eq!(format!("{:?}", result.unwrap_err()), format!("{error:?}"), "{walk:?}");
                net.assert_same("refused", &start);
            }
            return Ok(());
        }
        let totals = net.step(&optimizer, step, walks[0]);
        for &walk in &walks[1..] {
            let (mut other, what) = (start.clone(), format!("{walk:?}"));
            other.step(&optimizer, step, walk).assert_same(&what, &totals);
            other.assert_same(&what, &net);
        }
        let mut by_contract = start.without_norms();
        by_contract.step_by_contract(&optimizer, step).assert_same("contract", &totals);
        by_contract.assert_same("contract", &net.without_norms());
        in_pieces(u, &optimizer, step, &start, &net)?;
        for (norms, span) in net.norms.iter().zip(&net.spans) {
            let norm = l2_norm(&net.weights[range(span)]);
            assert!(norms.weights().is_none_or(|carried| same(carried, norm)), "carried norm");
        }
    }
    Ok(())
}

/// The walks that work for a model: only a host's own type can leave out layers, and a table refuses numbers out of
/// range.
fn walks<S>(net: &Net<S>, threads: usize) -> Vec<Walk> {
    if net.absent.contains(&true) {
        return vec![Walk::Lent];
    }
    let mut walks = vec![Walk::Lent, Walk::Slice, Walk::SliceParallel(threads)];
    if net.spans.iter().all(|span| input::is_in_range(&span.config)) {
        walks.extend([Walk::Flat, Walk::FlatParallel(threads)]);
    }
    walks
}

/// The expected error of a step of a model with the right lengths, if any.
fn refusal<S>(net: &Net<S>, step: &Step) -> Option<Error> {
    if !non_negative(step.lr) {
        return Some(Error::LearningRate { layer: None, rate: step.lr });
    }
    if !non_negative(step.gradient_scale) || step.gradient_scale == 0.0 {
        return Some(Error::GradientScale(step.gradient_scale));
    }
    let of_layer = |index: usize| {
        let (layer, LayerConfig { rate, decay, .. }) = (Some(index), net.spans[index].config);
        if !non_negative(rate) || !non_negative(step.lr * rate) {
            return Some(Error::LearningRate { layer, rate: step.lr * rate });
        }
        (!non_negative(decay)).then_some(Error::Decay { layer, decay })
    };
    (0..net.spans.len()).filter(|&index| !net.absent[index]).find_map(of_layer)
}

/// The gradients of the next step, whose norms may be known.
fn next_gradients<S>(u: &mut Unstructured, net: &mut Net<S>) -> Result<()> {
    if u.ratio(3, 4)? {
        net.gradients = input::numbers(u, net.len)?;
    }
    for (norms, span) in net.norms.iter_mut().zip(&net.spans) {
        norms.forget_gradient();
        if u.ratio(1, 4)? {
            norms.set_gradient(sum_of_squares(&net.gradients[range(span)]));
        }
    }
    Ok(())
}

/// The same step by whole layers, and in chunks.
fn in_pieces<R: Rule<State = S>, S: RuleState>(
    u: &mut Unstructured,
    optimizer: &Optimizer<R>,
    step: Step,
    start: &Net<S>,
    whole: &Net<S>,
) -> Result<()> {
    // If a bad moment skips the whole step, pieces find it earlier, and report other layers differently.
    let skips = optimizer.policy().non_finite == NonFinite::SkipStep;
    let bad_moments = start.momentum.iter().any(|m| !m.is_finite()) || start.second_moment.iter().any(|v| v.is_nan());
    if skips && bad_moments {
        return Ok(());
    }
    let mut by_pass = start.clone();
    by_pass.step_by_pass(optimizer, step);
    // Pieces that take no step do not use up the norm of the gradient.
    by_pass.norms.iter_mut().zip(&start.absent).filter(|(_, absent)| !**absent).for_each(|(n, _)| n.forget_gradient());
    by_pass.assert_same("by pass", whole);

    let mut in_chunks = start.without_norms();
    in_chunks.step_in_chunks(optimizer, step, &mut fastrand::Rng::with_seed(u.arbitrary()?));
    in_chunks.assert_same("in chunks", &whole.without_norms());
    Ok(())
}

/// A model with an array of a wrong length is refused, and not written.
fn wrong_lengths<R: Rule<State = S> + Sync, S: RuleState + Sync>(
    u: &mut Unstructured,
    optimizer: &Optimizer<R>,
    step: Step,
    net: &Net<S>,
) -> Result<()> {
    let walks: Vec<_> = walks(net, 2).into_iter().filter(|w| matches!(w, Walk::Flat | Walk::FlatParallel(_))).collect();
    // Layers that are frozen or empty need no momentum.
    let trains = net.spans.iter().any(|span| span.len > 0 && !span.config.frozen);
    if u.ratio(3, 4)? || walks.is_empty() || !trains {
        return Ok(());
    }
    let mut wrong = net.clone();
    match u.int_in_range(0..=6)? {
        0 => wrong.weights.resize(input::perhaps_other_len(u, net.len)?, 0.0),
        1 => wrong.gradients.resize(input::perhaps_other_len(u, net.len)?, 0.0),
        2 => wrong.momentum.resize(input::perhaps_other_len(u, net.len)?, 0.0),
        3 => wrong.second_moment.resize(input::perhaps_other_len(u, net.len)?, 0.0),
        4 => drop(wrong.states.pop()),
        5 => wrong.norms.push(CarriedNorms::default()),
        _ => wrong.reports.push(Report::default()),
    }
    let lens = |net: &Net<S>| {
        let arrays = [&net.weights, &net.gradients, &net.momentum, &net.second_moment].map(Vec::len);
        (arrays, net.states.len(), net.reports.len())
    };
    if lens(&wrong) == lens(net) && [0, net.spans.len()].contains(&wrong.norms.len()) {
        return Ok(());
    }
    let before = wrong.clone();
    for walk in walks {
        let error = wrong.try_step(optimizer, step, walk).unwrap_err();
        let of_lengths = matches!(error, Error::Length { .. } | Error::Missing { .. });
        assert!(of_lengths || refusal(net, &step).is_some(), "{error}");
        wrong.assert_same("refused", &before);
    }
    Ok(())
}

/// A model with one slice that is too short is refused, and not written.
fn wrong_layer<R: Rule<State = S>, S: RuleState>(
    u: &mut Unstructured,
    optimizer: &Optimizer<R>,
    step: Step,
    net: &Net<S>,
) -> Result<()> {
    if u.ratio(7, 8)? || net.spans.is_empty() {
        return Ok(());
    }
    let mut wrong = net.clone();
    let index = u.choose_index(net.spans.len())?;
    let (mut weights, mut state) = ([1.0; 3], S::default());
    let (mut layers, reports) = wrong.layers();
    layers[index] = LayerMemory::new(&mut weights, &[1.0; 2], &mut state);
    match optimizer.step(step, &mut layers[..], reports).unwrap_err() {
        Error::Length { layer, expected, found, .. } => assert_eq!((layer, expected, found), (Some(index), 3, 2)),
        error => {
            let others = Net { absent: vec![false; net.spans.len()], ..net.clone() };
            assert!(refusal(&others, &step).is_some(), "{error}");
        }
    }
    assert_eq!((weights, state), ([1.0; 3], S::default()));
    wrong.assert_same("a slice too short", net);
    Ok(())
}
