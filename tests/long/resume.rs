//! Training that is saved at a random step and resumed from the bytes alone has the bits of uninterrupted training:
//! `LAYERWISE_RESUMES=100000 cargo test --release --all-features --test long resume`.
//!
//! Each run has different settings: rule, schedule, loss scale, model and instruction set.

use super::count;
use super::harness::settings::{ADAM_AND_LAMB, NOVOGRAD, NOVOGRAD_IN_FRONT, SGD, SGD_LIMITED};
use super::harness::{backends, on};
use fastrand::Rng;
use layerwise::rule::{Rule, RuleState};
use layerwise::schedule::{
    Backoff, CosineDecay, ExpDecay, FixedLr, InvPolyDecay, LogMax, LossScaleState, LossScaler, LossScaling,
    PiecewiseConstant, PolyDecay, RatePolicy, Schedule, TransformerPolicy,
};
use layerwise::{
    Adam, Floats, FloatsMut, LayerConfig, Memory, NonFinite, NovoGrad, Optimizer, Policy, Sgd, Step, max_norm,
};

/// How many settings there are.
const SETTINGS: usize = SGD.len() + SGD_LIMITED.len() + NOVOGRAD.len() + NOVOGRAD_IN_FRONT.len() + ADAM_AND_LAMB.len();

/// A visitor of settings, for any rule.
fn with_settings(mut index: usize, visit: &mut impl Visit) {
    if let Some((name, config)) = SGD.iter().chain(&SGD_LIMITED).nth(index) {
        return visit.visit(name, Sgd::new(*config).unwrap());
    }
    index -= SGD.len() + SGD_LIMITED.len();
    if let Some((name, config)) = NOVOGRAD.iter().chain(&NOVOGRAD_IN_FRONT).nth(index) {
        return visit.visit(name, NovoGrad::new(*config).unwrap());
    }
    index -= NOVOGRAD.len() + NOVOGRAD_IN_FRONT.len();
    let (name, config) = ADAM_AND_LAMB[index];
    visit.visit(name, Adam::new(config).unwrap());
}

trait Visit {
    fn visit<R: Rule + Copy>(&mut self, name: &str, optimizer: Optimizer<R>);
}

/// The fixed part of a training program, which is not saved.
struct Training<R: Rule> {
    optimizer: Optimizer<R>,
    schedule: Schedule<Vec<f64>>,
    scaler: LossScaler,
    layers: Vec<(usize, LayerConfig)>,
    form: Form,
    carries_norms: bool,
}

/// How numbers are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    F32,
    #[cfg(feature = "half")]
    Bf16Momentum,
    #[cfg(feature = "half")]
    Split,
}

const FORMS: &[Form] = &[
    Form::F32,
    #[cfg(feature = "half")]
    Form::Bf16Momentum,
    #[cfg(feature = "half")]
    Form::Split,
];

/// Weights as a host keeps them.
enum Weights {
    F32(Vec<f32>),
    #[cfg(feature = "half")]
    Bf16(Vec<half::bf16>),
}

/// The state of a training run.
struct Run<S: RuleState> {
    memory: Memory<S>,
    weights: Vec<Weights>,
    step: u64,
    scale: LossScaleState,
    rng: Rng,
}

impl<R: Rule + Copy> Training<R> {
    /// A training run of a random model with any kind of schedule and loss scale.
    fn new(optimizer: Optimizer<R>, steps: u64, rng: &mut Rng) -> Self {
        let schedule = Schedule::try_from(rates(rng).for_training(steps, 7)).unwrap();
        let clip_norm = rng.bool().then_some(0.5);
        let policy = Policy { non_finite: NonFinite::SkipStep, clip_norm };
        let without_clip = Policy { clip_norm: None, ..policy };
        let optimizer = optimizer.with_policy(policy).or_else(|_| optimizer.with_policy(without_clip)).unwrap();
        Training {
            optimizer,
            schedule,
            scaler: LossScaler::new(scaling(rng)).unwrap(),
            layers: (0..rng.usize(1..=4)).map(|_| (layer_len(rng), layer_config(rng))).collect(),
            form: FORMS[rng.usize(..FORMS.len())],
            carries_norms: rng.bool(),
        }
    }

    /// A memory before the first step.
    fn memory(&self) -> Memory<R::State> {
        let mut memory = self.optimizer.memory(self.layers.iter().map(|(len, _)| *len));
        for (layer, (_, config)) in self.layers.iter().enumerate() {
            *memory.config_mut(layer).unwrap() = *config;
        }
        memory.carry_norms(self.carries_norms);
        match self.form {
            Form::F32 => memory,
            #[cfg(feature = "half")]
            Form::Bf16Momentum => memory.bf16_momentum(),
            #[cfg(feature = "half")]
            Form::Split => memory.split_weights(|_| true),
        }
    }

    fn start(&self, seed: u64) -> Run<R::State> {
        let (mut memory, mut rng) = (self.memory(), Rng::with_seed(seed));
        let mut weights = vec![];
        for (layer, (len, _)) in self.layers.iter().enumerate() {
            let numbers: Vec<f32> = (0..*len).map(|_| 2.0 * rng.f32() - 1.0).collect();
            weights.push(self.weights(&mut memory, layer, numbers));
        }
        Run { memory, weights, step: 0, scale: LossScaleState::START, rng }
    }

    #[cfg_attr(not(feature = "half"), allow(unused_variables))]
    fn weights(&self, memory: &mut Memory<R::State>, layer: usize, numbers: Vec<f32>) -> Weights {
        match self.form {
            #[cfg(feature = "half")]
            Form::Split => {
                let mut upper = vec![half::bf16::ZERO; numbers.len()];
                memory.split(layer, &numbers, &mut upper).unwrap();
                Weights::Bf16(upper)
            }
            _ => Weights::F32(numbers),
        }
    }

    /// One step. Each weight is pulled to 0, with noise; now and then a gradient overflows.
    fn step(&self, run: &mut Run<R::State>) {
        let scale = self.scaler.scale(&run.scale);
        let Run { memory, weights, rng, .. } = run;
        let mut gradients = vec![];
        for (layer, weights) in weights.iter().enumerate() {
            let numbers = weights.numbers(memory, layer).into_iter().map(|w| (w + rng.f32() - 0.5) * scale as f32);
            gradients.push(numbers.collect::<Vec<_>>());
        }
        if let Some(gradient) = gradients.iter_mut().find_map(|gradients| gradients.last_mut()) {
            *gradient = if rng.u8(..10) == 0 { f32::INFINITY } else { *gradient };
        }
        let largest = gradients.iter().map(|x| f64::from(max_norm(x))).fold(0.0, f64::max) / scale;
        let step = Step::new(self.schedule.rate(run.step)).gradient_scale(1.0 / scale);
        let tensors = weights.iter_mut().map(Weights::get_mut).zip(gradients.iter().map(Floats::from));
        let summary = memory.step(&self.optimizer, step, tensors).unwrap();
        if !self.scaler.update(&mut run.scale, summary.skipped == 0, largest).skip {
            run.step += 1;
        }
    }

    /// A run from the bytes of another.
    fn resume(&self, saved: &[u8]) -> Run<R::State> {
        let mut from = Reader(saved);
        let (step, scale, seed) = (from.u64(), [(); 4].map(|()| f64::from_bits(from.u64())), from.u64());
        let weights = self.layers.iter().map(|(len, _)| self.read_weights(*len, &mut from)).collect();
        let mut memory = self.memory();
        memory.load(from.0).unwrap();
        Run { memory, weights, step, scale: self.scaler.restore(scale).unwrap(), rng: Rng::with_seed(seed) }
    }

    fn read_weights(&self, len: usize, from: &mut Reader) -> Weights {
        match self.form {
            #[cfg(feature = "half")]
            Form::Split => Weights::Bf16((0..len).map(|_| half::bf16::from_le_bytes(from.take())).collect()),
            _ => Weights::F32((0..len).map(|_| f32::from_le_bytes(from.take())).collect()),
        }
    }
}

impl<S: RuleState> Run<S> {
    /// All of it as bytes.
    fn save(&self) -> Vec<u8> {
        let mut to = self.step.to_le_bytes().to_vec();
        to.extend(self.scale.to_numbers().into_iter().flat_map(f64::to_le_bytes));
        to.extend(self.rng.get_seed().to_le_bytes());
        for weights in &self.weights {
            match weights {
                Weights::F32(x) => to.extend(x.iter().flat_map(|x| x.to_le_bytes())),
                #[cfg(feature = "half")]
                Weights::Bf16(x) => to.extend(x.iter().flat_map(|x| x.to_le_bytes())),
            }
        }
        to.extend(self.memory.to_bytes());
        to
    }
}

impl Weights {
    fn get_mut(&mut self) -> FloatsMut<'_> {
        match self {
            Weights::F32(x) => x.into(),
            #[cfg(feature = "half")]
            Weights::Bf16(x) => x.into(),
        }
    }

    /// The weights in `f32`.
    #[cfg_attr(not(feature = "half"), allow(unused_variables))]
    fn numbers<S: RuleState>(&self, memory: &Memory<S>, layer: usize) -> Vec<f32> {
        match self {
            Weights::F32(x) => x.clone(),
            #[cfg(feature = "half")]
            Weights::Bf16(upper) => {
                let mut joined = vec![0.0; upper.len()];
                memory.join(layer, upper, &mut joined).unwrap();
                joined
            }
        }
    }
}

/// Bytes that are read from the beginning.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (bytes, rest) = self.0.split_first_chunk().unwrap();
        self.0 = rest;
        *bytes
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

/// Mostly short layers, now and then an empty one or one of two leaves.
fn layer_len(rng: &mut Rng) -> usize {
    match rng.u8(..16) {
        0 => 0,
        1 => rng.usize(1000..1100),
        _ => rng.usize(1..80),
    }
}

fn layer_config(rng: &mut Rng) -> LayerConfig {
    let slow = LayerConfig { rate: 0.5, decay: 2.0, ..LayerConfig::DEFAULT };
    let configs = [LayerConfig::DEFAULT, LayerConfig::DEFAULT, slow, LayerConfig::PLAIN, LayerConfig::FROZEN];
    configs[rng.usize(..configs.len())]
}

/// A policy of any kind, completed with the length of the training run.
fn rates(rng: &mut Rng) -> RatePolicy<Vec<f64>> {
    let (learning_rate, warmup_steps) = (0.03 * rng.f64(), rng.u64(..10));
    let (boundaries, decay_rates) = (vec![1.0, 3.0 * rng.f64() + 1.0], vec![0.5, 0.1]);
    let piecewise = PiecewiseConstant { learning_rate, boundaries, decay_rates, steps_per_epoch: 0 };
    match rng.u8(..7) {
        0 => RatePolicy::FixedLr(FixedLr { learning_rate }),
        1 => RatePolicy::PiecewiseConstant(piecewise),
        2 => RatePolicy::ExpDecay(ExpDecay { learning_rate, decay_rate: rng.f64(), ..ExpDecay::DEFAULT }),
        3 => RatePolicy::PolyDecay(PolyDecay { learning_rate, warmup_steps, power: 2.0, ..PolyDecay::DEFAULT }),
        4 => RatePolicy::CosineDecay(CosineDecay { learning_rate, warmup_steps, ..CosineDecay::DEFAULT }),
        5 => RatePolicy::TransformerPolicy(TransformerPolicy {
            learning_rate,
            warmup_steps,
            d_model: rng.u64(1..100),
            ..TransformerPolicy::DEFAULT
        }),
        _ => RatePolicy::InvPolyDecay(InvPolyDecay { learning_rate, warmup_steps, ..InvPolyDecay::DEFAULT }),
    }
}

/// A loss scale of any kind. Some factors are not powers of two, so that scales are rounded.
fn scaling(rng: &mut Rng) -> LossScaling {
    match rng.u8(..4) {
        0 => LossScaling::Static(1.0 + 1000.0 * rng.f64()),
        1 => LossScaling::Backoff(Backoff { step_window: 3, ..Backoff::DEFAULT }),
        2 => LossScaling::Backoff(Backoff { step_window: 2, step_factor: 1.0 + rng.f64(), ..Backoff::DEFAULT }),
        _ => LossScaling::LogMax(LogMax { beta1: 0.9, beta2: 0.95, ..LogMax::DEFAULT }),
    }
}

/// Interrupts a training run.
struct Interrupted {
    rng: Rng,
    /// How many steps were taken after an interruption.
    steps: u64,
}

impl Visit for Interrupted {
    fn visit<R: Rule + Copy>(&mut self, name: &str, optimizer: Optimizer<R>) {
        let rng = &mut self.rng;
        let (before, after) = (rng.u64(..30), rng.u64(1..30));
        let mut training = Training::new(optimizer, before + after, rng);
        let mut run = training.start(rng.u64(..));
        (0..before).for_each(|_| training.step(&mut run));
        let saved = run.save();
        (0..after).for_each(|_| training.step(&mut run));

        let backends: Vec<_> = backends().collect();
        let (backend, chosen) = backends[rng.usize(..backends.len())];
        training.optimizer = on(training.optimizer, chosen);
        let mut resumed = training.resume(&saved);
        assert!(resumed.save() == saved, "{name} is not what was saved");
        (0..after).for_each(|_| training.step(&mut resumed));
        assert!(resumed.save() == run.save(), "{name} from step {before} on, {after} steps, on {backend}");
        self.steps += after;
    }
}

#[test]
fn resumed_training_has_the_bits_of_training_that_was_not_interrupted() {
    let resumes = count("LAYERWISE_RESUMES", 2000);
    let mut steps = 0;
    for seed in 0..resumes {
        let mut interrupted = Interrupted { rng: Rng::with_seed(seed), steps: 0 };
        with_settings(seed as usize % SETTINGS, &mut interrupted);
        steps += interrupted.steps;
    }
    println!("{resumes} resumes of {SETTINGS} settings, {steps} steps after them: all bits equal");
}

/// Forgets one number of a checkpoint.
struct Forgetful(Rng);

impl Visit for Forgetful {
    fn visit<R: Rule + Copy>(&mut self, name: &str, optimizer: Optimizer<R>) {
        let mut training = Training::new(optimizer, 20, &mut self.0);
        training.layers = vec![(30, LayerConfig::DEFAULT)];
        training.schedule = Schedule::try_from(RatePolicy::FixedLr(FixedLr { learning_rate: 0.01 })).unwrap();
        let mut run = training.start(1);
        (0..10).for_each(|_| training.step(&mut run));
        let mut resumed = training.resume(&run.save());
        resumed.memory = training.memory();
        assert!(resumed.save() != run.save(), "{name} remembers nothing");
    }
}

/// Shows that the test above would notice lost memory.
#[test]
fn a_checkpoint_without_the_memory_is_another() {
    (0..SETTINGS).for_each(|index| with_settings(index, &mut Forgetful(Rng::with_seed(3))));
}
