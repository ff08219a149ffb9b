//! Steps of whole models: any table of layers, any lengths, every walk.

use crate::input;
use crate::reference::model::{Model, Walk, assert_same_summary, views};
use crate::reference::oracle::same;
use arbitrary::{Result, Unstructured};
use layerwise::{
    CarriedNorms, Error, Layer, LayerSpan, Layers, ModelState, NovoGrad, Optimizer, Report, Rule, Sgd, l2_norm,
};
use std::fmt::Debug;

pub fn models(u: &mut Unstructured) -> Result<()> {
    table(u)?;
    model(u, small_layers)
}

pub fn parallel(u: &mut Unstructured) -> Result<()> {
    model(u, large_layers)
}

/// A model with any settings.
fn model(u: &mut Unstructured, lens: fn(&mut Unstructured) -> Result<Vec<usize>>) -> Result<()> {
    if u.arbitrary()? {
        let (config, policy) = (input::sgd(u)?, input::policy(u)?);
        let Ok(sgd) = Sgd::new(config).and_then(|sgd| sgd.with_policy(policy)) else { return Ok(()) };
        steps(u, &sgd, lens)
    } else {
        let (config, policy) = (input::novograd(u)?, input::policy(u)?);
        let Ok(novograd) = NovoGrad::new(config).and_then(|it| it.with_policy(policy)) else { return Ok(()) };
        steps(u, &novograd, lens)
    }
}

/// Any table of layers is taken or refused as it should be.
fn table(u: &mut Unstructured) -> Result<()> {
    let mut end = 0_usize;
    let mut spans = vec![];
    for _ in 0..u.int_in_range(0..=6)? {
        let gap = if u.ratio(1, 4)? { u.arbitrary()? } else { 0 };
        let start = if u.ratio(1, 16)? { u.arbitrary()? } else { end.wrapping_add(gap) };
        let len = if u.ratio(1, 16)? { u.arbitrary()? } else { u.int_in_range(0..=100)? };
        spans.push(LayerSpan { start, len, layer: input::layer(u)? });
        end = start.wrapping_add(len);
    }
    let len = if u.ratio(7, 8)? { end } else { u.arbitrary()? };
    for gaps in [false, true] {
        let table = if gaps { Layers::with_gaps(&spans, len) } else { Layers::new(&spans, len) };
        assert_eq!(table.is_ok(), table_is_valid(&spans, len, gaps), "{spans:?} {len}");
        if let Ok(table) = table {
            assert_eq!((table.spans(), table.len()), (&spans[..], len));
        }
    }
    Ok(())
}

fn table_is_valid(spans: &[LayerSpan], len: usize, gaps: bool) -> bool {
    let mut end = 0_u128;
    for span in spans {
        let (start, len) = (span.start as u128, span.len as u128);
        if len == 0 || start < end || (start > end && !gaps) || !input::non_negative(span.layer.rate) {
            return false;
        }
        end = start + len;
    }
    !spans.is_empty() && end <= len as u128 && (end == len as u128 || gaps)
}

fn small_layers(u: &mut Unstructured) -> Result<Vec<usize>> {
    (0..u.int_in_range(1..=6)?).map(|_| Ok(input::len(u)?.max(1))).collect()
}

fn large_layers(u: &mut Unstructured) -> Result<Vec<usize>> {
    // More than 64 Ki elements, or as many layers as cost the same, are divided.
    let mut layers = vec![];
    for _ in 0..u.int_in_range(1..=3)? {
        layers.push(if u.arbitrary()? { u.int_in_range(60_000..=140_000)? } else { u.int_in_range(1..=3000)? });
        if u.ratio(1, 4)? {
            layers.extend(vec![u.int_in_range(1..=20)?; u.int_in_range(0..=150)?]);
        }
    }
    Ok(layers)
}

/// Steps a model in every way, and compares.
fn steps<R: Rule<State = S> + Sync, S: Copy + Default + Send + Sync + Debug>(
    u: &mut Unstructured,
    optimizer: &Optimizer<R>,
    lens: fn(&mut Unstructured) -> Result<Vec<usize>>,
) -> Result<()> {
    let layers: Vec<(usize, Layer)> =
        lens(u)?.into_iter().map(|len| Ok((len, input::layer(u)?))).collect::<Result<_>>()?;
    let keeps_momentum = optimizer.rule().keeps_momentum();
    let mut model = Model::new(&layers, u.int_in_range(0..=2)?, keeps_momentum, u.arbitrary()?, u.arbitrary()?);
    if u.ratio(1, 2)? {
        model.weights = input::numbers(u, model.len)?;
    }
    if model.spans.iter().any(|span| !input::non_negative(span.layer.rate)) {
        return Ok(());
    }
    let threads = u.int_in_range(1..=8)?;
    for _ in 0..u.int_in_range(1..=2)? {
        let lr = input::rate(u)?;
        refusals(u, optimizer, lr, &model)?;
        if u.ratio(3, 4)? {
            model.gradients = input::numbers(u, model.len)?;
        }
        let start = model.clone();
        let Ok(summary) = model.try_step(optimizer, lr, Walk::Serial) else {
            model.assert_same("refused", &start);
            return Ok(());
        };
        for walk in [Walk::Views, Walk::Parallel(threads), Walk::ViewsParallel(threads)] {
            let mut other = start.clone();
            assert_same_summary(&other.try_step(optimizer, lr, walk).unwrap(), &summary);
            other.assert_same(&format!("{walk:?}"), &model);
        }
        let mut by_contract = start;
        assert_same_summary(&by_contract.step_by_contract(optimizer, lr), &summary);
        by_contract.norms.clone_from(&model.norms);
        by_contract.assert_same("contract", &model);
        for (norms, span) in model.norms.iter().zip(&model.spans) {
            let norm = l2_norm(&model.weights[span.start..span.start + span.len]);
            assert!(norms.weights().is_none_or(|carried| same(carried, norm)), "carried norm");
        }
    }
    Ok(())
}

/// Calls with something wrong are refused, and write nothing.
fn refusals<R: Rule<State = S> + Sync, S: Copy + Default + Send + Sync + Debug>(
    u: &mut Unstructured,
    optimizer: &Optimizer<R>,
    lr: f64,
    model: &Model<S>,
) -> Result<()> {
    if u.ratio(3, 4)? {
        return Ok(());
    }
    let mut wrong = model.clone();
    match u.int_in_range(0..=6)? {
        0 => wrong.weights.resize(input::perhaps_other_len(u, model.len)?, 0.0),
        1 => wrong.gradients.resize(input::perhaps_other_len(u, model.len)?, 0.0),
        2 => wrong.momentum.resize(input::perhaps_other_len(u, model.len)?, 0.0),
        3 => drop(wrong.states.pop()),
        4 => wrong.norms.push(CarriedNorms::default()),
        5 => wrong.reports.push(Report::default()),
        _ => {
            // A layer of its own with a slice too short.
            let Model { spans, weights, gradients, momentum, states, norms, reports, .. } = &mut wrong;
            let mut views = views(spans, weights, gradients, ModelState { momentum, states, norms });
            let layer = u.choose_index(views.len())?;
            let view = &mut views[layer];
            view.gradients = &view.gradients[1..];
            match optimizer.step_views(lr, &mut views, reports).unwrap_err() {
                Error::LengthInLayer { layer: found, .. } => assert_eq!(found, layer),
                Error::LearningRate(_) => {}
                error => panic!("{error}"),
            }
            wrong.assert_same("a slice too short", model);
            return Ok(());
        }
    }
    let lens = |model: &Model<S>| {
        [model.weights.len(), model.gradients.len(), model.momentum.len(), model.states.len(), model.reports.len()]
    };
    let norms_fit = [0, model.spans.len()].contains(&wrong.norms.len());
    if lens(&wrong) == lens(model) && norms_fit {
        return Ok(());
    }
    let before = wrong.clone();
    for walk in [Walk::Serial, Walk::Parallel(2)] {
        let error = wrong.try_step(optimizer, lr, walk).unwrap_err();
        assert!(matches!(error, Error::Length { .. } | Error::LearningRate(_)), "{error}");
        wrong.assert_same("refused", &before);
    }
    Ok(())
}
