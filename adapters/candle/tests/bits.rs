//! Steps by the adapter have the bits of steps on plain slices.

mod common;

use candle_core::{DType, Result, Tensor, Var};
use candle_nn::Optimizer as _;
use common::{CPU, bits, numbers, optimizers, store, variable};
use half::{bf16, f16};
use layerwise::rule::{Moments, Rule};
use layerwise::{
    AnyOptimizer, Floats, FloatsMut, LayerConfig, LayerMemory, NonFinite, Optimizer, Outcome, Policy, Report, Step,
};
use layerwise_candle::Layerwise;

const SHAPES: [&[usize]; 4] = [&[20, 30], &[30], &[7, 1, 3, 3], &[]];

/// A layer in plain slices, updated by the crate itself.
struct Plain<W> {
    weights: W,
    lower: Option<Vec<u16>>,
    momentum: Vec<f32>,
    second_moment: Vec<f32>,
    state: [f64; 3],
    config: LayerConfig,
}

impl<E> Plain<Vec<E>> {
    fn new(weights: Vec<E>, lower: Option<Vec<u16>>, optimizer: &AnyOptimizer, rank: usize) -> Self {
        let len = |kept| if optimizer.moments() >= kept { weights.len() } else { 0 };
        let (momentum, second_moment) = (vec![0.0; len(Moments::First)], vec![0.0; len(Moments::FirstAndSecond)]);
        Plain { weights, lower, momentum, second_moment, state: [0.0; 3], config: LayerConfig::of_rank(rank) }
    }

    fn memory<'a>(&'a mut self, gradients: impl Into<Floats<'a>>) -> LayerMemory<'a, [f64; 3]>
    where
        FloatsMut<'a>: From<&'a mut Vec<E>>,
    {
        let layer = LayerMemory::new(&mut self.weights, gradients, &mut self.state).config(self.config);
        let layer = layer.momentum(&mut self.momentum).second_moment(&mut self.second_moment);
        match &mut self.lower {
            Some(lower) => layer.lower(lower),
            None => layer,
        }
    }
}

/// Takes ten steps with variables and with slices, and compares all bits and reports after each.
fn compare(name: &str, optimizer: AnyOptimizer, step: Step) -> Result<()> {
    let vars = SHAPES.iter().enumerate().map(|(seed, shape)| variable(shape, seed)).collect::<Result<Vec<_>>>()?;
    let mut plain: Vec<_> = vars
        .iter()
        .enumerate()
        .map(|(seed, var)| Plain::new(numbers(var.elem_count(), seed), None, &optimizer, var.rank()))
        .collect();
    let mut ours = Layerwise::new(vars.clone(), (optimizer, step.lr))?;
    ours.set_gradient_scale(step.gradient_scale);
    let mut reports = [Report::ABSENT; SHAPES.len()];
    for t in 0..10 {
        let step = Step::new(step.lr / (t + 1) as f64).gradient_scale(step.gradient_scale);
        ours.set_learning_rate(step.lr);
        let gradients: Vec<_> = vars.iter().map(|var| numbers(var.elem_count(), 10 * t + 7)).collect();
        let tensors = vars.iter().zip(&gradients);
        let grads = store(tensors.map(|(var, g)| (var, Tensor::from_slice(g, var.shape(), &CPU).unwrap())))?;
        ours.step(&grads)?;
        let mut layers: Vec<_> = plain.iter_mut().zip(&gradients).map(|(layer, g)| layer.memory(g)).collect();
        let summary = optimizer.step(step, layers.as_mut_slice(), &mut reports).expect("valid layers");
        assert_eq!(ours.summary(), Some(&summary), "{name}");
        assert_eq!(summary.applied, SHAPES.len(), "{name}");
        for ((var, layer), ((_, ours), report)) in vars.iter().zip(&plain).zip(ours.reports().zip(&reports)) {
            assert_eq!(bits(var)?, layer.weights.iter().map(|w| w.to_bits()).collect::<Vec<_>>(), "{name}, step {t}");
            assert_eq!(format!("{ours:?}"), format!("{report:?}"), "{name}, step {t}");
        }
    }
    Ok(())
}

#[test]
fn a_step_has_the_bits_of_plain_slices() -> Result<()> {
    for (name, optimizer) in optimizers() {
        compare(name, optimizer, Step::new(0.01))?;
        compare(name, optimizer, Step::new(0.01).gradient_scale(1.0 / 1024.0))?;
    }
    Ok(())
}

#[test]
fn clips_the_gradient_of_all_tensors_together() -> Result<()> {
    for (name, optimizer) in optimizers() {
        let clip = Policy { clip_norm: Some(0.5), ..Policy::DEFAULT };
        let policy = Policy { non_finite: NonFinite::SkipStep, ..clip };
        // LARC and LAMB limit each layer themselves, and refuse a clip.
        let Ok(clipped) = optimizer.with_policy(policy) else {
            assert!(["larc", "lamb"].contains(&name), "{name}");
            continue;
        };
        compare(name, clipped, Step::new(0.01).gradient_scale(0.25))?;
    }
    Ok(())
}

#[test]
fn bf16_variables_train_with_the_bits_of_split_weights() -> Result<()> {
    for (name, optimizer) in optimizers() {
        let var = Var::from_tensor(&variable(&[20, 30], 3)?.to_dtype(DType::BF16)?)?;
        let start = var.flatten_all()?.to_vec1::<bf16>()?;
        let mut plain = Plain::new(start, Some(vec![0; 600]), &optimizer, 2);
        let mut ours = Layerwise::new(vec![var.clone()], (optimizer, 1e-3))?;
        for t in 0..10 {
            // A gradient of candle's own, in bf16.
            let factors = Tensor::from_vec(numbers(600, t), (20, 30), &CPU)?.to_dtype(DType::BF16)?;
            let grads = (var.as_tensor() * factors)?.sum_all()?.backward()?;
            let gradient = grads.get(&var).expect("a gradient").flatten_all()?.to_vec1::<bf16>()?;
            ours.step(&grads)?;
            optimizer.step_layer(1e-3, plain.memory(&gradient)).expect("a valid layer");
            let weights: Vec<_> = plain.weights.iter().map(|w| w.to_f32().to_bits()).collect();
            assert_eq!(bits(&var)?, weights, "{name}, step {t}");
        }
        assert!(plain.lower.is_some_and(|lower| lower.iter().any(|bits| *bits != 0)), "{name}");
        ours.forget_lower_halves();
    }
    Ok(())
}

#[test]
fn gradients_may_have_16_bits() -> Result<()> {
    let (_, optimizer) = optimizers()[3];
    for dtype in [DType::BF16, DType::F16] {
        let var = variable(&[20, 30], 3)?;
        let mut plain = Plain::new(numbers(600, 3), None, &optimizer, 2);
        // A part of a larger tensor.
        let gradient = Tensor::from_vec(numbers(660, 5), (22, 30), &CPU)?.to_dtype(dtype)?.narrow(0, 1, 20)?;
        Layerwise::new(vec![var.clone()], (optimizer, 0.01))?.step(&store([(&var, gradient.clone())])?)?;
        let gradient = gradient.flatten_all()?;
        if dtype == DType::BF16 {
            optimizer.step_layer(0.01, plain.memory(&gradient.to_vec1::<bf16>()?))
        } else {
            optimizer.step_layer(0.01, plain.memory(&gradient.to_vec1::<f16>()?))
        }
        .expect("a valid layer");
        assert_eq!(bits(&var)?, plain.weights.iter().map(|w| w.to_bits()).collect::<Vec<_>>());
    }
    Ok(())
}

#[test]
fn gradients_need_not_be_contiguous() -> Result<()> {
    let (_, optimizer) = optimizers()[2];
    let whole = Tensor::from_vec(numbers(40 * 30, 5), (40, 30), &CPU)?;
    for gradient in
        [whole.narrow(1, 3, 20)?.t()?, whole.narrow(0, 0, 20)?.t()?, whole.narrow(0, 5, 20)?.reshape((30, 20))?]
    {
        let (dims, len) = (gradient.dims().to_vec(), gradient.elem_count());
        let var = variable(&dims, 3)?;
        let mut plain = Plain::new(numbers(len, 3), None, &optimizer, 2);
        Layerwise::new(vec![var.clone()], (optimizer, 0.01))?.step(&store([(&var, gradient.clone())])?)?;
        let gradient = gradient.flatten_all()?.to_vec1::<f32>()?;
        optimizer.step_layer(0.01, plain.memory(&gradient)).expect("a valid layer");
        assert_eq!(bits(&var)?, plain.weights.iter().map(|w| w.to_bits()).collect::<Vec<_>>());
    }
    Ok(())
}

/// One gradient would deadlock, and the other would have changed before the second variable's update.
#[test]
fn gradients_may_lie_in_the_memory_of_variables() -> Result<()> {
    let (_, optimizer) = optimizers()[1];
    let (a, b) = (variable(&[20, 30], 1)?, variable(&[20, 30], 2)?);
    let mut plain = [1, 2].map(|seed| Plain::new(numbers(600, seed), None, &optimizer, 2));
    let gradient = a.as_tensor().reshape((20, 30))?;
    let grads = store([(&a, gradient.clone()), (&b, gradient)])?;
    Layerwise::new(vec![a.clone(), b.clone()], (optimizer, 0.01))?.step(&grads)?;
    for (var, plain) in [a, b].iter().zip(&mut plain) {
        optimizer.step_layer(0.01, plain.memory(&numbers(600, 1))).expect("a valid layer");
        assert_eq!(bits(var)?, plain.weights.iter().map(|w| w.to_bits()).collect::<Vec<_>>());
    }
    Ok(())
}

#[test]
fn variables_without_gradients_take_no_part() -> Result<()> {
    let (_, optimizer) = optimizers()[4];
    let (used, unused) = (variable(&[4, 3], 1)?, variable(&[4, 3], 2)?);
    let counter = Var::from_vec(vec![1_u32], 1, &CPU)?; // no number that can be trained
    let before = bits(&unused)?;
    let vars = [("used", &used), ("unused", &unused), ("counter", &counter)];
    let mut ours = Layerwise::named(vars.map(|(name, var)| (name.to_string(), var.clone())), optimizer, 0.01)?;
    ours.backward_step(&used.sqr()?.sum_all()?)?;
    let outcomes: Vec<_> = ours.reports().map(|(name, report)| (name, report.outcome)).collect();
    assert_eq!(outcomes, [("unused", Outcome::Absent), ("used", Outcome::Applied)]);
    assert_eq!((bits(&unused)?, ours.skipped()), (before, 0));
    // The gradient of a step is forgotten after it.
    let before = bits(&used)?;
    ours.backward_step(&unused.sqr()?.sum_all()?)?;
    assert_eq!((bits(&used)?, ours.summary().map(|summary| summary.applied)), (before, Some(1)));
    Ok(())
}

#[test]
fn layers_with_a_nan_are_skipped_and_counted_or_the_whole_step_is() -> Result<()> {
    let (_, optimizer) = optimizers()[3];
    let skip_step = optimizer.with_policy(Policy { non_finite: NonFinite::SkipStep, ..Policy::DEFAULT });
    let cases = [(optimizer, 1, Outcome::Applied), (skip_step.expect("a valid policy"), 2, Outcome::StepSkipped)];
    for (optimizer, skipped, other) in cases {
        let (a, b) = (variable(&[4, 3], 1)?, variable(&[4, 3], 2)?);
        let before = [bits(&a)?, bits(&b)?];
        let vars = [("a", &a), ("b", &b)].map(|(name, var)| (name.to_string(), var.clone()));
        let mut ours = Layerwise::named(vars, optimizer, 0.01)?;
        let nan = Tensor::full(f32::NAN, (4, 3), &CPU)?;
        ours.step(&store([(&a, nan), (&b, Tensor::ones((4, 3), DType::F32, &CPU)?)])?)?;
        assert_eq!(ours.skipped(), skipped);
        let outcomes: Vec<_> = ours.reports().map(|(name, report)| (name, report.outcome)).collect();
        assert_eq!(outcomes, [("a", Outcome::NonFinite), ("b", other)]);
        assert_eq!([bits(&a)? == before[0], bits(&b)? == before[1]], [true, skipped == 2]);
    }
    Ok(())
}

#[test]
fn layers_are_configured_by_name() -> Result<()> {
    let (_, optimizer) = optimizers()[2];
    let vars = ["kernel", "frozen", "scale"].map(|name| (name.to_string(), variable(&[4, 3], 1).unwrap()));
    let mut ours = Layerwise::named(vars.clone(), optimizer, 0.5)?;
    ours.configure(|name, var| {
        assert_eq!(var.rank(), 2);
        match name {
            "frozen" => LayerConfig::FROZEN,
            "scale" => LayerConfig { rate: 0.5, ..LayerConfig::PLAIN },
            _ => LayerConfig::DEFAULT,
        }
    })?;
    ours.step(&store(vars.iter().map(|(_, var)| (var, Tensor::ones((4, 3), DType::F32, &CPU).unwrap())))?)?;
    let seen: Vec<_> = ours.reports().map(|(name, report)| (name, report.outcome, report.clipped)).collect();
    let (applied, frozen) = (Outcome::Applied, Outcome::Frozen);
    assert_eq!(seen, [("frozen", frozen, false), ("kernel", applied, true), ("scale", applied, false)]);
    // The exempt layer has used the full rate, times its own multiplier.
    let scale = vars[2].1.flatten_all()?.to_vec1::<f32>()?;
    assert_eq!(scale, numbers(12, 1).iter().map(|w| w - 0.25).collect::<Vec<_>>());
    Ok(())
}

/// The adapter accepts rules that it does not know.
#[test]
fn a_rule_of_the_callers() -> Result<()> {
    use layerwise::rule::{Needs, Norms, Plan, Update};
    struct Halve;
    impl Rule for Halve {
        type State = u32;
        const MOMENTS: Moments = Moments::None;
        fn needs(&self, _: &LayerConfig) -> Needs {
            Needs::GRADIENT
        }
        fn plan(&self, lr: f64, _: &LayerConfig, _: &Norms, steps: u32) -> (Plan, u32) {
            (Plan::new(Update { gradient: 0.5, rate: lr, ..Update::ZERO }, lr), steps + 1)
        }
    }
    let var = Var::from_vec(vec![1.0_f32, 2.0], 2, &CPU)?;
    let mut ours = Layerwise::new(vec![var.clone()], (Optimizer::from_rule(Halve), 1.0))?;
    ours.step(&store([(&var, Tensor::new(&[1.0_f32, -1.0], &CPU)?)])?)?;
    assert_eq!(var.to_vec1::<f32>()?, [0.5, 2.5]);
    Ok(())
}
