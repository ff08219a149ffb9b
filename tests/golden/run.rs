//! The steps of a model, by the crate and by the reference.

use crate::compare::{assert_within, wide, worst_relative};
use crate::inputs::InputLayer;
use crate::optimizers::Clipped;
use crate::peers::{Clip, Config, Settings};
use crate::reference::tolerances;
use crate::reference::{self, Memory, l2_norm};
use layerwise::rule::{Moments, Rule};
use layerwise::{Adam, LayerConfig, LayerMemory, NovoGrad, NovoGradState, Optimizer, Policy, Report, Sgd, Step};

/// The numbers of a layer after one step.
pub struct Snapshot {
    pub weights: Vec<f64>,
    pub momentum: Vec<f64>,
    /// NovoGrad's.
    pub second_moment: f64,
    /// The largest so far, of NovoGrad with amsgrad.
    pub max_second_moment: f64,
    /// Adam's.
    pub second_moments: Vec<f64>,
    /// The factor of LARC.
    pub front: f64,
}

/// The steps of each layer of a model by the crate, at these rates.
pub fn by_crate(settings: &Settings, rates: &[f64], clipped: &Clipped, layers: &[&InputLayer]) -> Vec<Vec<Snapshot>> {
    match &settings.config {
        Config::Sgd(config) => by_optimizer(Sgd::new(*config).unwrap(), settings, rates, clipped, layers, |_| [0.0; 2]),
        Config::NovoGrad(config) => {
            let second_moments = |state: &NovoGradState| [state.second_moment, state.max_second_moment];
            by_optimizer(NovoGrad::new(*config).unwrap(), settings, rates, clipped, layers, second_moments)
        }
        Config::Adam(config) => {
            by_optimizer(Adam::new(*config).unwrap(), settings, rates, clipped, layers, |_| [0.0; 2])
        }
    }
}

/// One layer in the crate's types.
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
    rates: &[f64],
    clipped: &Clipped,
    inputs: &[&InputLayer],
    second_moments: impl Fn(&R::State) -> [f64; 2],
) -> Vec<Vec<Snapshot>> {
    let clip_norm = settings.clip.as_ref().filter(|clip| !clip.is_of_host()).map(|clip| clip.norm);
    let optimizer = optimizer.with_policy(Policy { clip_norm, ..Policy::DEFAULT }).unwrap();
    let zeros = |len, keeps| vec![0.0; if keeps { len } else { 0 }];
    let layer = |input: &&InputLayer| Layer {
        weights: input.weights(),
        momentum: zeros(input.n, optimizer.moments() >= Moments::First),
        second_moment: zeros(input.n, optimizer.moments() >= Moments::FirstAndSecond),
        state: R::State::default(),
    };
    let mut layers: Vec<Layer<R::State>> = inputs.iter().map(layer).collect();
    let mut runs: Vec<Vec<Snapshot>> = inputs.iter().map(|_| vec![]).collect();
    for (step, &lr) in (1..).zip(rates) {
        let gradients: Vec<_> = inputs.iter().map(|input| input.gradients(step)).collect();
        let scale = if clip_norm.is_none() { factor(settings, clipped, step, &gradients) } else { 1.0 };
        let mut model: Vec<_> =
            layers.iter_mut().zip(&gradients).map(|(layer, g)| layer.lend(g).config(settings.layer)).collect();
        let mut reports = vec![Report::ABSENT; model.len()];
        let summary = optimizer.step(Step::new(lr).gradient_scale(scale), &mut model[..], &mut reports).unwrap();
        assert!(summary.applied == layers.len(), "step {step}: {reports:?}");
        if let Some(&norm) = clipped.global_norm.get(step as usize - 1) {
            let error = worst_relative(&[summary.gradient_norm / scale], &[norm]);
            assert_within(&format!("step {step}: the norm of the gradient"), error, tolerances::RECORDED);
        }
        for ((layer, report), run) in layers.iter().zip(&reports).zip(&mut runs) {
            let [second_moment, max_second_moment] = second_moments(&layer.state);
            run.push(Snapshot {
                weights: wide(&layer.weights),
                momentum: wide(&layer.momentum),
                second_moment,
                max_second_moment,
                second_moments: wide(&layer.second_moment),
                front: front(settings, report, lr),
            });
        }
    }
    runs
}

/// LARC's factor, as in the report. NovoGrad multiplies it by its own factor; there it follows from the effective rate.
fn front(settings: &Settings, report: &Report, lr: f64) -> f64 {
    match settings.config {
        Config::NovoGrad(_) => report.effective_rate / lr,
        _ => report.factor,
    }
}

impl Clip {
    /// Whether the host must clip, because the clip has an eps, which the crate's does not.
    fn is_of_host(&self) -> bool {
        self.eps > tolerances::RECORDED / 2.0 * self.norm
    }

    /// What gradients are multiplied by. The peer with an eps computes this in `f32`.
    fn factor(&self, gradients: &[Vec<f32>]) -> f64 {
        let norms: Vec<f64> = gradients.iter().map(|g| l2_norm(&wide(g))).collect();
        if self.eps == 0.0 {
            return (self.norm / l2_norm(&norms)).min(1.0);
        }
        let norm = norms.iter().fold(0.0, |sum, norm| sum + (norm * norm) as f32).sqrt();
        (self.norm as f32 / (norm + self.eps as f32)).min(1.0).into()
    }
}

/// What gradients are multiplied by at a step, counted from 1.
fn factor(settings: &Settings, clipped: &Clipped, step: u64, gradients: &[Vec<f32>]) -> f64 {
    let recorded = clipped.clip_factor.get(step as usize - 1).copied();
    recorded.or_else(|| Some(settings.clip.as_ref()?.factor(gradients))).unwrap_or(1.0)
}

/// The steps of each layer of a model by the reference.
pub fn by_reference(
    settings: &Settings,
    rates: &[f64],
    clipped: &Clipped,
    inputs: &[&InputLayer],
) -> Vec<Vec<Snapshot>> {
    let mut memories: Vec<Memory> = inputs.iter().map(|input| Memory::new(&input.weights())).collect();
    let mut runs: Vec<Vec<Snapshot>> = inputs.iter().map(|_| vec![]).collect();
    for (step, &lr) in (1..).zip(rates) {
        let gradients: Vec<_> = inputs.iter().map(|input| input.gradients(step)).collect();
        let at = Step::new(lr).gradient_scale(factor(settings, clipped, step, &gradients));
        for ((memory, gradients), run) in memories.iter_mut().zip(&gradients).zip(&mut runs) {
            let front = settings.config.by_reference(&settings.layer, at, &wide(gradients), memory);
            run.push(Snapshot {
                weights: memory.weights.clone(),
                momentum: memory.momentum.clone(),
                second_moment: memory.second_moment,
                max_second_moment: memory.max_second_moment,
                second_moments: memory.second_moments.clone(),
                front,
            });
        }
    }
    runs
}

impl Config {
    /// One step of the reference; returns LARC's factor.
    pub fn by_reference(&self, layer: &LayerConfig, at: Step, gradients: &[f64], memory: &mut Memory) -> f64 {
        match self {
            Config::Sgd(config) => reference::sgd(config, layer, at, gradients, memory),
            Config::NovoGrad(config) => reference::novograd(config, layer, at, gradients, memory),
            Config::Adam(config) => reference::adam(config, layer, at, gradients, memory),
        }
    }
}
