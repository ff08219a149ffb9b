//! The steps of a model, by the crate and by the reference.

use crate::inputs::InputLayer;
use crate::peers::{Config, Settings};
use crate::reference::{self, Memory, l2_norm};
use crate::{TOLERANCE, Trace, wide, worst};
use layerwise::rule::{Moments, Rule};
use layerwise::{Adam, LayerMemory, NovoGrad, NovoGradState, Optimizer, Policy, Report, Sgd, Step};

/// The numbers of a layer after one step.
pub struct Snapshot {
    pub weights: Vec<f64>,
    pub momentum: Vec<f64>,
    /// NovoGrad's.
    pub second_moment: f64,
    /// Adam's.
    pub second_moments: Vec<f64>,
    /// The factor of LARC.
    pub front: f64,
}

/// The steps of each layer of a model by the crate.
pub fn by_crate(settings: &Settings, trace: &Trace, layers: &[&InputLayer]) -> Vec<Vec<Snapshot>> {
    match &settings.config {
        Config::Sgd(config) => by_optimizer(Sgd::new(*config).unwrap(), settings, trace, layers, |_| 0.0),
        Config::NovoGrad(config) => {
            let second_moment = |state: &NovoGradState| state.second_moment;
            by_optimizer(NovoGrad::new(*config).unwrap(), settings, trace, layers, second_moment)
        }
        Config::Adam(config) => by_optimizer(Adam::new(*config).unwrap(), settings, trace, layers, |_| 0.0),
    }
}

/// One layer in the crate's numbers.
struct Layer<S> {
    weights: Vec<f32>,
    momentum: Vec<f32>,
    second_moment: Vec<f32>,
    state: S,
}

impl<S> Layer<S> {
    fn lend<'a>(&'a mut self, gradients: &'a [f32]) -> LayerMemory<'a, S> {
        LayerMemory::new(&mut self.weights, gradients, &mut self.state)
            .momentum(&mut self.momentum)
            .second_moment(&mut self.second_moment)
    }
}

fn by_optimizer<R: Rule>(
    optimizer: Optimizer<R>,
    settings: &Settings,
    trace: &Trace,
    inputs: &[&InputLayer],
    second_moment: impl Fn(&R::State) -> f64,
) -> Vec<Vec<Snapshot>> {
    let policy = Policy { clip_norm: settings.clip_norm, ..Policy::DEFAULT };
    let optimizer = optimizer.with_policy(policy).unwrap();
    let zeros = |len, keeps| vec![0.0; if keeps { len } else { 0 }];
    let layer = |input: &&InputLayer| Layer {
        weights: input.weights(),
        momentum: zeros(input.n, optimizer.moments() >= Moments::First),
        second_moment: zeros(input.n, optimizer.moments() >= Moments::FirstAndSecond),
        state: R::State::default(),
    };
    let mut layers: Vec<Layer<R::State>> = inputs.iter().map(layer).collect();
    let mut runs: Vec<Vec<Snapshot>> = inputs.iter().map(|_| vec![]).collect();
    for (step, &lr) in (1..).zip(&trace.lr) {
        let gradients: Vec<_> = inputs.iter().map(|input| input.gradients(step)).collect();
        let mut model: Vec<_> =
            layers.iter_mut().zip(&gradients).map(|(layer, g)| layer.lend(g).config(settings.layer)).collect();
        let mut reports = vec![Report::ABSENT; model.len()];
        let summary = optimizer.step(lr, &mut model[..], &mut reports).unwrap();
        assert!(summary.applied == layers.len(), "step {step}: {reports:?}");
        if let Some(&norm) = trace.global_norm.get(step as usize - 1) {
            assert!(worst(&[summary.gradient_norm], &[norm], norm) <= TOLERANCE, "{}", summary.gradient_norm);
        }
        for ((layer, report), run) in layers.iter().zip(&reports).zip(&mut runs) {
            run.push(Snapshot {
                weights: wide(&layer.weights),
                momentum: wide(&layer.momentum),
                second_moment: second_moment(&layer.state),
                second_moments: wide(&layer.second_moment),
                front: front(settings, report, lr),
            });
        }
    }
    runs
}

/// LARC's factor: that of the report, but for NovoGrad, which multiplies it by its own. There the rate that is left
/// says it.
fn front(settings: &Settings, report: &Report, lr: f64) -> f64 {
    match settings.config {
        Config::NovoGrad(_) => report.effective_rate / lr,
        _ => report.factor,
    }
}

/// What gradients are multiplied by at a step from 1.
fn clip(settings: &Settings, trace: &Trace, step: u64, gradients: &[Vec<f64>]) -> f64 {
    if let Some(factor) = trace.clip_factor.get(step as usize - 1) {
        return *factor;
    }
    let norm = l2_norm(&gradients.iter().map(|g| l2_norm(g)).collect::<Vec<_>>());
    settings.clip_norm.filter(|limit| norm > *limit).map_or(1.0, |limit| limit / norm)
}

/// The steps of each layer of a model by the reference.
pub fn by_reference(settings: &Settings, trace: &Trace, inputs: &[&InputLayer]) -> Vec<Vec<Snapshot>> {
    let mut memories: Vec<Memory> = inputs.iter().map(|input| Memory::new(&input.weights())).collect();
    let mut runs: Vec<Vec<Snapshot>> = inputs.iter().map(|_| vec![]).collect();
    for (step, &lr) in (1..).zip(&trace.lr) {
        let gradients: Vec<_> = inputs.iter().map(|input| wide(&input.gradients(step))).collect();
        let at = Step::new(lr).gradient_scale(clip(settings, trace, step, &gradients));
        for ((memory, gradients), run) in memories.iter_mut().zip(&gradients).zip(&mut runs) {
            let front = match &settings.config {
                Config::Sgd(config) => reference::sgd(config, &settings.layer, at, gradients, memory),
                Config::NovoGrad(config) => reference::novograd(config, &settings.layer, at, gradients, memory),
                Config::Adam(config) => reference::adam(config, &settings.layer, at, gradients, memory),
            };
            run.push(Snapshot {
                weights: memory.weights.clone(),
                momentum: memory.momentum.clone(),
                second_moment: memory.second_moment,
                second_moments: memory.second_moments.clone(),
                front,
            });
        }
    }
    runs
}
