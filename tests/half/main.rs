//! Numbers of 16 bits: a step on them is the step on the same numbers in `f32`, and what it writes is that, rounded; a
//! step on split weights is the step in `f32`, bit for bit.

#![cfg(feature = "half")]

#[path = "../harness/backends.rs"]
mod backends;

use backends::{Case, backends, on};
use half::{bf16, f16};
use layerwise::rule::{Moments, Rule};
use layerwise::{
    Adam, AdamConfig, CarriedNorms, Floats, FloatsMut, LarcConfig, LayerMemory, NovoGrad, NovoGradConfig, Optimizer,
    Report, Sgd, SgdConfig, Step,
};

const LENGTHS: [usize; 14] = [0, 1, 7, 15, 16, 17, 31, 33, 255, 300, 1025, 5000, 65_537, 70_000];

/// An array of any type.
#[derive(Clone, Debug)]
enum Array {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Type {
    F32,
    Bf16,
    F16,
}

impl Array {
    fn new(kind: Type, x: &[f32]) -> Array {
        match kind {
            Type::F32 => Array::F32(x.to_vec()),
            Type::Bf16 => Array::Bf16(x.iter().map(|x| bf16::from_f32(*x)).collect()),
            Type::F16 => Array::F16(x.iter().map(|x| f16::from_f32(*x)).collect()),
        }
    }

    fn widened(&self) -> Vec<f32> {
        match self {
            Array::F32(x) => x.clone(),
            Array::Bf16(x) => x.iter().map(|x| x.to_f32()).collect(),
            Array::F16(x) => x.iter().map(|x| x.to_f32()).collect(),
        }
    }

    fn get(&self) -> Floats<'_> {
        match self {
            Array::F32(x) => x.into(),
            Array::Bf16(x) => x.into(),
            Array::F16(x) => x.into(),
        }
    }

    fn get_mut(&mut self) -> FloatsMut<'_> {
        match self {
            Array::F32(x) => x.into(),
            Array::Bf16(x) => x.into(),
            Array::F16(x) => x.into(),
        }
    }

    fn bits(&self) -> Vec<u32> {
        self.widened().iter().map(|x| x.to_bits()).collect()
    }
}

fn random(len: usize, seed: u64, scale: f32) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..len).map(|_| scale * (2.0 * random.f32() - 1.0)).collect()
}

/// A layer in memory: weights as they are lent, and their lower halves if they are split.
struct Host<S> {
    weights: Array,
    lower: Option<Vec<u16>>,
    gradients: Array,
    momentum: Array,
    second: Vec<f32>,
    copy: Option<(Array, bool)>,
    state: S,
    norms: CarriedNorms,
}

impl<S: Default + Copy> Host<S> {
    fn layer(&mut self) -> LayerMemory<'_, S> {
        let Host { weights, lower, gradients, momentum, second, copy, state, norms } = self;
        let mut layer = LayerMemory::new(weights.get_mut(), gradients.get(), state).norms(norms);
        if let Some(lower) = lower {
            layer = layer.lower(lower);
        }
        match copy {
            Some((copy, false)) => layer = layer.copy(copy.get_mut()),
            Some((copy, true)) => layer = layer.saturating_copy(copy.get_mut()),
            None => {}
        }
        layer.momentum(momentum.get_mut()).second_moment(second)
    }

    fn joined(&self) -> Vec<f32> {
        match (&self.weights, &self.lower) {
            (Array::Bf16(upper), Some(lower)) => {
                let join = |(u, l): (&bf16, &u16)| f32::from_bits(u32::from(u.to_bits()) << 16 | u32::from(*l));
                upper.iter().zip(lower).map(join).collect()
            }
            (weights, _) => weights.widened(),
        }
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

fn upper(x: &[f32]) -> Array {
    Array::Bf16(x.iter().map(|x| bf16::from_bits((x.to_bits() >> 16) as u16)).collect())
}

fn lower(x: &[f32]) -> Vec<u16> {
    x.iter().map(|x| x.to_bits() as u16).collect()
}

/// Steps with 16 bits against the same in `f32`, whose gradients and momentum are rounded as they would be.
fn check<R: Rule>(optimizer: &Optimizer<R>, name: &str)
where
    R::State: Default,
{
    let keeps = |moments| if optimizer.moments() >= moments { 1 } else { 0 };
    for len in LENGTHS {
        for (gradients, momentum) in [
            (Type::F32, Type::F32),
            (Type::F32, Type::Bf16),
            (Type::Bf16, Type::F32),
            (Type::Bf16, Type::Bf16),
            (Type::F16, Type::F32),
            (Type::F16, Type::Bf16),
        ] {
            for (split, copy) in [
                (false, None),
                (true, None),
                (false, Some((Type::Bf16, false))),
                (false, Some((Type::F16, false))),
                (true, Some((Type::F16, true))),
            ] {
                let _case = Case(|| format!("{name}, {len}, {gradients:?} {momentum:?} {split} {copy:?}"));
                let w = random(len, 1, if copy.is_some() { 1e5 } else { 1.0 });
                let mut ours = Host {
                    weights: if split { upper(&w) } else { Array::F32(w.clone()) },
                    lower: split.then(|| lower(&w)),
                    gradients: Array::F32(vec![]),
                    momentum: Array::new(momentum, &vec![0.0; len * keeps(Moments::First)]),
                    second: vec![0.0; len * keeps(Moments::FirstAndSecond)],
                    copy: copy.map(|(kind, saturating)| (Array::new(kind, &vec![0.0; len]), saturating)),
                    state: R::State::default(),
                    norms: CarriedNorms::new(),
                };
                let mut theirs = Host {
                    weights: Array::F32(w),
                    lower: None,
                    gradients: Array::F32(vec![]),
                    momentum: Array::F32(vec![0.0; len * keeps(Moments::First)]),
                    second: ours.second.clone(),
                    copy: None,
                    state: R::State::default(),
                    norms: CarriedNorms::new(),
                };
                for step in 0..3 {
                    ours.gradients = Array::new(gradients, &random(len, 2 + step, 1.0));
                    theirs.gradients = Array::F32(ours.gradients.widened());
                    theirs.momentum = Array::F32(ours.momentum.widened());
                    let step = Step::new(0.1).gradient_scale(0.5);
                    let report = optimizer.step_layer(step, ours.layer()).unwrap();
                    let expected: Report = optimizer.step_layer(step, theirs.layer()).unwrap();
                    assert_eq!(format!("{report:?}"), format!("{expected:?}"));
                    let new = theirs.weights.widened();
                    assert_eq!(bits(&ours.joined()), bits(&new));
                    assert_eq!(ours.norms.weights(), theirs.norms.weights());
                    let rounded = Array::new(momentum, &theirs.momentum.widened());
                    assert_eq!(ours.momentum.bits(), rounded.bits());
                    assert_eq!(bits(&ours.second), bits(&theirs.second));
                    assert_eq!(ours.state, theirs.state);
                    if let (Some((copied, saturating)), Some((kind, _))) = (&ours.copy, copy) {
                        let largest = if kind == Type::F16 { 65504.0 } else { bf16::MAX.to_f32() };
                        let clamp = |x: &f32| if *saturating { x.clamp(-largest, largest) } else { *x };
                        let expected = Array::new(kind, &new.iter().map(clamp).collect::<Vec<_>>());
                        assert_eq!(copied.bits(), expected.bits());
                    }
                }
            }
        }
    }
}

#[test]
fn a_step_is_that_of_widened_numbers() {
    let larc = Some(LarcConfig::DEFAULT);
    let sgd = Sgd::new(SgdConfig::DEFAULT).unwrap();
    let larc = Sgd::new(SgdConfig { momentum: 0.9, larc, weight_decay: 0.01, ..SgdConfig::DEFAULT }).unwrap();
    let novograd = NovoGrad::new(NovoGradConfig { weight_decay: 0.01, ..NovoGradConfig::DEFAULT }).unwrap();
    for (name, backend) in backends() {
        check(&on(sgd, backend), &format!("SGD, {name}"));
        check(&on(larc, backend), &format!("LARC, {name}"));
        check(&on(novograd, backend), &format!("NovoGrad, {name}"));
        check(&on(Adam::new(AdamConfig::TORCH_ADAMW).unwrap(), backend), &format!("AdamW, {name}"));
        check(&on(Adam::new(AdamConfig::TIMM_LAMB).unwrap(), backend), &format!("LAMB, {name}"));
    }
}
