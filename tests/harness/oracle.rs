//! What a step of one layer must do, whatever it is given. Tests and fuzzing ask here, and a wrong answer panics.

use super::{Memory, contract, l2_norm, max_norm};
use layerwise::{
    CarriedNorms, DecayInRatio, Error, Layer, LayerView, NovoGradConfig, NovoGradState, Optimizer, Outcome, Policy,
    Report, Rule, SgdConfig, SgdState, Slice,
};
use std::fmt::Debug;

/// Whether two numbers are the same, bit for bit; all NaNs are alike.
pub fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

/// Fails unless two arrays are the same, bit for bit.
pub fn assert_same(what: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!(same((*a).into(), (*b).into()), "{what} {i} of {}: {a:e} instead of {b:e}", ours.len());
    }
}

/// Fails unless two reports are the same.
pub fn assert_same_report(ours: &Report, theirs: &Report) {
    let numbers = |r: &Report| [r.gradient_norm, r.weight_norm, r.factor, r.effective_rate];
    let numbers_agree = numbers(ours).into_iter().zip(numbers(theirs)).all(|(a, b)| same(a, b));
    let agree = numbers_agree && (ours.outcome, ours.clipped) == (theirs.outcome, theirs.clipped);
    assert!(agree, "{ours:?} instead of {theirs:?}");
}

/// Elements before and behind an array that nobody may write.
const GUARD: usize = 32;
const GUARDED: f32 = 12345.0;

/// An array that begins a number of elements behind a cache line, between guards.
#[derive(Debug)]
pub struct Array {
    memory: Vec<f32>,
    start: usize,
    len: usize,
}

impl Array {
    pub fn new(x: &[f32], offset: usize) -> Self {
        let mut memory = vec![GUARDED; x.len() + 3 * GUARD];
        let line = memory.as_ptr().align_offset(64);
        let start = if line < 16 { line } else { 0 } + GUARD + offset % 16;
        memory[start..start + x.len()].copy_from_slice(x);
        Array { memory, start, len: x.len() }
    }

    pub fn get(&self) -> &[f32] {
        &self.memory[self.start..self.start + self.len]
    }

    pub fn get_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.start..self.start + self.len]
    }

    fn assert_guards(&self) {
        let (before, behind) = (&self.memory[..self.start], &self.memory[self.start + self.len..]);
        assert!(before.iter().chain(behind).all(|x| *x == GUARDED), "written out of bounds");
    }
}

/// One layer and all that a host keeps of it.
#[derive(Debug)]
pub struct Host<S> {
    pub weights: Array,
    pub gradients: Array,
    pub momentum: Array,
    pub state: S,
    pub norms: Option<CarriedNorms>,
}

impl<S: Copy + Default + PartialEq + Debug> Host<S> {
    /// A layer at these offsets from cache lines, before its first step.
    pub fn new(weights: &[f32], gradients: &[f32], momentum: &[f32], offsets: [usize; 3]) -> Self {
        Host {
            weights: Array::new(weights, offsets[0]),
            gradients: Array::new(gradients, offsets[1]),
            momentum: Array::new(momentum, offsets[2]),
            state: S::default(),
            norms: None,
        }
    }

    /// A layer before its first step, as long as it should be.
    pub fn for_optimizer<R: Rule<State = S>>(optimizer: &Optimizer<R>, weights: &[f32]) -> Self {
        Host::new(weights, &vec![0.0; weights.len()], &vec![0.0; optimizer.momentum_len(weights.len())], [0; 3])
    }

    /// Steps this layer, and fails unless the step does what it must: an error that was to be expected and nothing written, or
    /// all bits of the contract.
    pub fn step<R: Rule<State = S>>(
        &mut self,
        optimizer: &Optimizer<R>,
        lr: f64,
        layer: Layer,
    ) -> Result<Report, Error> {
        let refused = self.refusal(optimizer, lr, &layer);
        let (mut weights, gradients) = (self.weights.get().to_vec(), self.gradients.get().to_vec());
        let (mut momentum, mut state, norms) = (self.momentum.get().to_vec(), self.state, self.norms);

        let view = LayerView {
            layer,
            weights: self.weights.get_mut(),
            gradients: self.gradients.get(),
            momentum: self.momentum.get_mut(),
            state: &mut self.state,
            norms: self.norms.as_mut(),
        };
        let result = optimizer.step_view(lr, view);
        if let Some(error) = refused {
            // As text, for a rate that is NaN does not equal itself.
            assert_eq!(format!("{result:?}"), format!("{:?}", Err::<Report, _>(error)));
            assert_eq!(format!("{:?}", self.norms), format!("{norms:?}"));
        } else {
            let report = result.unwrap_or_else(|error| panic!("refused without a reason: {error}"));
            let (rule, policy) = (optimizer.rule(), optimizer.policy());
            let (w, m) = (&mut weights, &mut momentum);
            let expected = contract::step(rule, policy, lr, &layer, w, &gradients, m, &mut state);
            assert_same_report(&report, &expected);
            if let (Some(now), Some(before)) = (self.norms, norms) {
                let needed = rule.needs(&layer).weights;
                let weights_norm = match report.outcome {
                    Outcome::Applied => needed.then(|| contract::sum_of_squares(w).sqrt()),
                    _ => before.weights(),
                };
                let norm = now.weights().unwrap_or(-1.0);
                assert!(same(norm, weights_norm.unwrap_or(-1.0)), "carried norm {norm} instead of {weights_norm:?}");
                assert_eq!(now.gradient(), None, "the norm of a gradient is carried for one step");
            }
        }
        assert_same("weight", self.weights.get(), &weights);
        assert_same("gradient", self.gradients.get(), &gradients);
        assert_same("momentum", self.momentum.get(), &momentum);
        assert_eq!(format!("{:?}", self.state), format!("{state:?}"));
        for array in [&self.weights, &self.gradients, &self.momentum] {
            array.assert_guards();
        }
        result
    }

    /// Why a step must be refused.
    fn refusal<R: Rule<State = S>>(&self, optimizer: &Optimizer<R>, lr: f64, layer: &Layer) -> Option<Error> {
        let rate = lr * layer.rate;
        if [lr, layer.rate, rate].iter().any(|x| x.is_nan() || x.is_infinite() || *x < 0.0) {
            return Some(Error::LearningRate(rate));
        }
        let [expected, gradients, momentum] = [&self.weights, &self.gradients, &self.momentum].map(|x| x.len);
        if gradients != expected {
            return Some(Error::Length { slice: Slice::Gradients, expected, found: gradients });
        }
        let expected = if optimizer.rule().keeps_momentum() { expected } else { 0 };
        if momentum != expected {
            return Some(Error::Length { slice: Slice::Momentum, expected, found: momentum });
        }
        None
    }

    /// This layer in `f64`.
    fn memory(&self) -> Memory {
        Memory { momentum: wide(self.momentum.get()), ..Memory::new(self.weights.get()) }
    }
}

impl Host<SgdState> {
    /// [`step`](Host::step), and fails unless the result is that of the plain `f64` statement, as far as `f32` goes.
    pub fn step_sgd(&mut self, config: &SgdConfig, policy: Policy, lr: f64, layer: Layer) -> Result<Report, Error> {
        let optimizer = layerwise::Sgd::new(*config).and_then(|sgd| sgd.with_policy(policy)).unwrap();
        let mut memory = Memory { steps: self.state.steps.min(1).try_into().unwrap(), ..self.memory() };
        let gradients = wide(self.gradients.get());
        let report = self.step(&optimizer, lr, layer)?;

        let larc = config.larc.as_ref().map(|larc| *larc.config());
        let of_larc = larc.map_or([0.0; 4], |larc| [larc.eta, larc.eps, larc.min_update, larc.min_norm]);
        let settings =
            [lr, layer.rate, config.momentum, config.dampening, config.weight_decay].into_iter().chain(of_larc);
        if !report.applied() || policy.clip_norm.is_some() || !settings.into_iter().all(is_ordinary) {
            return Ok(report);
        }
        if larc.is_some_and(|larc| larc.decay_in_ratio == DecayInRatio::NormOfSum)
            && cancels(&gradients, config.weight_decay, &memory.weights)
        {
            return Ok(report);
        }
        let factor = super::sgd(config, &layer, lr, &gradients, &mut memory);
        assert!((report.factor - factor).abs() <= 3e-6 * factor, "factor {} instead of {factor}", report.factor);
        self.assert_close(&memory, &gradients);
        Ok(report)
    }
}

impl Host<NovoGradState> {
    /// [`step`](Host::step), and fails unless the result is that of the plain `f64` statement, as far as `f32` goes.
    pub fn step_novograd(
        &mut self,
        config: &NovoGradConfig,
        policy: Policy,
        lr: f64,
        layer: Layer,
    ) -> Result<Report, Error> {
        let optimizer = layerwise::NovoGrad::new(*config).and_then(|novograd| novograd.with_policy(policy)).unwrap();
        let NovoGradState { second_moment, max_second_moment, steps } = self.state;
        let steps_before = steps.min(10_000).try_into().unwrap();
        let mut memory = Memory { second_moment, max_second_moment, steps: steps_before, ..self.memory() };
        let gradients = wide(self.gradients.get());
        let report = self.step(&optimizer, lr, layer)?;

        let luc = config.luc.map_or([0.0; 2], |luc| [luc.trust, luc.eps]);
        let moments = [second_moment, max_second_moment];
        let settings = [lr, layer.rate, config.beta1, config.beta2, config.weight_decay, config.eps, config.eps_root];
        let ordinary = settings.into_iter().chain(luc).chain(moments).all(is_ordinary)
            && [config.beta1, config.beta2].iter().all(|beta| *beta < 0.9999)
            && steps < 1000;
        if !report.applied() || policy.clip_norm.is_some() || !ordinary {
            return Ok(report);
        }
        super::novograd(config, &layer, lr, &gradients, &mut memory);
        let [momentum, sizes, weights] =
            [&memory.momentum, &memory.momentum_sizes, &memory.weight_sizes].map(|x| l2_norm(x));
        if config.luc.is_some() && (momentum < 0.1 * sizes || sizes < 1e-30 * (1.0 + weights)) {
            return Ok(report); // Terms that cancel or underflow leave a norm of rounding errors.
        }
        self.assert_close(&memory, &gradients);
        Ok(report)
    }
}

impl<S> Host<S> {
    /// Fails unless weights and momentum are those of a memory, but for what `f32` rounds: as much as two norms may be off, of the
    /// sizes that were added up, or of the smallest number there is. (A gradient of 10³⁸ in a step of 10⁻³⁸ costs a few more, and a
    /// scalar of the decay that is subnormal is off by up to that smallest number, times the weights.)
    fn assert_close(&self, memory: &Memory, gradients: &[f64]) {
        let finite = f64::from(f32::MAX) / 8.0;
        let mut sizes = memory.weight_sizes.iter().chain(&memory.momentum_sizes);
        if !sizes.all(|size| *size <= finite) || memory.rate > 1e30 {
            return;
        }
        let underflow = (1.0 + memory.rate)
            * (2f64.powi(-140) * (1.0 + max_norm(&memory.momentum_sizes)) + 2f64.powi(-238) * max_norm(gradients))
            + 2f64.powi(-149) * max_norm(&memory.weight_sizes);
        let check = |what, ours: &[f32], theirs: &[f64], sizes: &[f64]| {
            for (i, ((ours, theirs), size)) in ours.iter().zip(theirs).zip(sizes).enumerate() {
                let error = (f64::from(*ours) - theirs).abs();
                assert!(error <= 6e-6 * size + underflow, "{what} {i}: {ours:e} instead of {theirs:e}, of {size:e}");
            }
        };
        check("weight", self.weights.get(), &memory.weights, &memory.weight_sizes);
        check("momentum", self.momentum.get(), &memory.momentum, &memory.momentum_sizes);
    }
}

pub fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// Whether a setting is zero or of a size that products of a few of them keep within `f64` and close to `f32`.
fn is_ordinary(setting: f64) -> bool {
    setting == 0.0 || (1e-30..1e30).contains(&setting)
}

/// Whether gradient and decay nearly cancel, so that the norm of their sum is a matter of rounding.
fn cancels(gradients: &[f64], decay: f64, weights: &[f64]) -> bool {
    let terms = |sign: f64| -> Vec<f64> { gradients.iter().zip(weights).map(|(g, w)| sign * g + decay * w).collect() };
    let size = l2_norm(gradients) + decay * l2_norm(weights);
    let least = l2_norm(&terms(1.0)).min(l2_norm(&terms(-1.0)));
    least < 0.1 * size || size < 1e-30
}
