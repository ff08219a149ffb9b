//! What a step of one layer must do, for any input. Tests and fuzzing use it; a wrong result panics.

use super::compare::{assert_same, assert_same_report, non_negative, same, wide};
use super::host::Host;
use super::optimizers::{keeps_momentum, keeps_second_moment};
use crate::reference::{self, Memory, contract, l2_norm, max_norm, tolerances};
use layerwise::rule::{Rule, RuleState};
use layerwise::{
    AdamConfig, AdamState, Argument, CarriedNorms, DecayInRatio, Error, LarcConfig, Luc, NovoGradConfig, NovoGradState,
    Optimizer, Outcome, Policy, Report, SgdConfig, SgdState, Step,
};

impl<S: RuleState> Host<S> {
    /// Updates this layer, and fails unless the step does what it must: return the expected error and write nothing, or
    /// give all bits of the contract.
    pub fn step<R: Rule<State = S>>(
        &mut self,
        optimizer: &Optimizer<R>,
        step: impl Into<Step>,
    ) -> Result<Report, Error> {
        let step = step.into();
        let refused = self.refusal(optimizer, &step);
        let (mut weights, gradients) = (self.weights.get().to_vec(), self.gradients.get().to_vec());
        let (mut momentum, mut second_moment) = (self.momentum.get().to_vec(), self.second_moment.get().to_vec());
        let (mut state, norms) = (self.state, self.norms);

        let result = optimizer.step_layer(step, self.memory());
        if let Some(error) = refused {
            // Compared as text, because a NaN rate does not equal itself.
            assert_eq!(format!("{result:?}"), format!("{:?}", Err::<Report, _>(error)));
            assert_eq!(format!("{:?}", self.norms), format!("{norms:?}"));
        } else {
            let report = result.unwrap_or_else(|error| panic!("refused without a reason: {error}"));
            let layer = contract::Layer {
                config: self.config,
                weights: &mut weights,
                gradients: &gradients,
                momentum: &mut momentum,
                second_moment: &mut second_moment,
                state: &mut state,
            };
            let expected = contract::step(optimizer.rule(), optimizer.policy(), &step, layer);
            assert_same_report(&report, &expected);
            if let (Some(now), Some(before)) = (self.norms, norms) {
                let needed = optimizer.rule().needs(&self.config).weights;
                assert_carried(&now, &before, &report, needed.then_some(&weights));
            }
        }
        assert_same("weight", self.weights.get(), &weights);
        assert_same("gradient", self.gradients.get(), &gradients);
        assert_same("momentum", self.momentum.get(), &momentum);
        assert_same("second moment", self.second_moment.get(), &second_moment);
        // Compared as text, because a state may have a NaN.
        assert_eq!(format!("{:?}", self.state), format!("{state:?}"));
        for array in [&self.weights, &self.gradients, &self.momentum, &self.second_moment] {
            array.assert_guards();
        }
        result
    }

    /// The error with which a step must be refused, if any.
    fn refusal<R: Rule<State = S>>(&self, optimizer: &Optimizer<R>, step: &Step) -> Option<Error> {
        let (layer, scale, rate) = (None, step.gradient_scale, step.lr * self.config.rate);
        if !non_negative(step.lr) {
            return Some(Error::LearningRate { layer, rate: step.lr });
        }
        if !non_negative(scale) || scale == 0.0 {
            return Some(Error::GradientScale(scale));
        }
        if !non_negative(self.config.rate) || !non_negative(rate) {
            return Some(Error::LearningRate { layer, rate });
        }
        if !non_negative(self.config.decay) {
            return Some(Error::Decay { layer, decay: self.config.decay });
        }
        if self.config.frozen {
            return None;
        }
        let [len, gradients] = [&self.weights, &self.gradients].map(|x| x.get().len());
        if gradients != len {
            return Some(Error::Length { layer, what: Argument::Gradients, expected: len, found: gradients });
        }
        for (what, keeps, moment) in [
            (Argument::Momentum, keeps_momentum(optimizer), &self.momentum),
            (Argument::SecondMoment, keeps_second_moment(optimizer), &self.second_moment),
        ] {
            let (expected, found) = (if keeps { len } else { 0 }, moment.get().len());
            if found == 0 && expected > 0 {
                return Some(Error::Missing { layer, what });
            }
            if found != expected {
                return Some(Error::Length { layer, what, expected, found });
            }
        }
        if !optimizer.rule().accepts(self.state) {
            return Some(Error::State { layer });
        }
        let looks = cfg!(debug_assertions) && optimizer.rule().needs(&self.config).weights;
        let carried = self.norms.and_then(|norms| norms.weights()).filter(|_| looks);
        let stale = |norm| !same(norm, contract::sum_of_squares(self.weights.get()).sqrt());
        carried.is_some_and(stale).then_some(Error::StaleNorm { layer })
    }

    /// This layer in `f64`.
    fn in_f64(&self) -> Memory {
        Memory {
            momentum: wide(self.momentum.get()),
            second_moments: wide(self.second_moment.get()),
            ..Memory::new(self.weights.get())
        }
    }
}

/// Fails unless the carried norms after a step are right. `weights` are the new weights if their norm must be carried.
fn assert_carried(now: &CarriedNorms, before: &CarriedNorms, report: &Report, weights: Option<&Vec<f32>>) {
    let expected = match report.outcome {
        Outcome::Applied => weights.map(|w| contract::sum_of_squares(w).sqrt()).filter(|norm| *norm > 0.0),
        Outcome::Overflowed => None,
        _ => before.weights(),
    };
    assert!(
        same(now.weights().unwrap_or(-1.0), expected.unwrap_or(-1.0)),
        "carried norm {now:?} instead of {expected:?}"
    );
    assert_eq!(now.gradient(), None, "the norm of a gradient is carried for one step");
}

impl Host<SgdState> {
    /// Like [`step`](Host::step), and also fails unless the result agrees with the plain `f64` reference, within `f32`
    /// rounding.
    pub fn step_sgd(&mut self, config: &SgdConfig, policy: Policy, step: impl Into<Step>) -> Result<Report, Error> {
        let optimizer = layerwise::Sgd::new(*config).and_then(|sgd| sgd.with_policy(policy)).unwrap();
        let step = step.into();
        let mut memory = Memory { steps: self.state.steps.min(1).try_into().unwrap(), ..self.in_f64() };
        let gradients = wide(self.gradients.get());
        let report = self.step(&optimizer, step)?;

        let settings = [config.momentum, config.dampening, config.weight_decay];
        let adaptation = adaptation(config.larc, config.luc);
        let ordinary = self.is_ordinary(&step) && settings.into_iter().chain(adaptation).all(is_ordinary);
        if !report.applied() || policy.clip_norm.is_some() || !ordinary {
            return Ok(report);
        }
        let scaled: Vec<f64> = gradients.iter().map(|g| step.gradient_scale * g).collect();
        if config.larc.is_some_and(|larc| larc.decay_in_ratio == DecayInRatio::NormOfSum)
            && cancels(&scaled, config.weight_decay * self.config.decay, &memory.weights)
        {
            return Ok(report);
        }
        let factor = reference::sgd(config, &self.config, step, &gradients, &mut memory);
        assert!(
            (report.factor - factor).abs() <= tolerances::FACTOR * factor,
            "factor {} instead of {factor}",
            report.factor
        );
        if config.luc.is_some() && has_no_norm(&memory) {
            return Ok(report);
        }
        self.assert_close(&memory, &gradients, 1.0);
        Ok(report)
    }
}

impl Host<NovoGradState> {
    /// Like [`step`](Host::step), and also fails unless the result agrees with the plain `f64` reference, within `f32`
    /// rounding.
    pub fn step_novograd(
        &mut self,
        config: &NovoGradConfig,
        policy: Policy,
        step: impl Into<Step>,
    ) -> Result<Report, Error> {
        let optimizer = layerwise::NovoGrad::new(*config).and_then(|novograd| novograd.with_policy(policy)).unwrap();
        let step = step.into();
        let NovoGradState { second_moment, max_second_moment, steps } = self.state;
        let steps_before = steps.min(10_000).try_into().unwrap();
        let mut memory = Memory { second_moment, max_second_moment, steps: steps_before, ..self.in_f64() };
        let gradients = wide(self.gradients.get());
        let report = self.step(&optimizer, step)?;

        let adaptation = adaptation(config.larc, config.luc);
        let moments = [second_moment, max_second_moment];
        let settings = [config.beta1, config.beta2, config.weight_decay, config.eps, config.eps_root];
        let ordinary = self.is_ordinary(&step)
            && settings.into_iter().chain(adaptation).chain(moments).all(is_ordinary)
            && [config.beta1, config.beta2].iter().all(|beta| *beta < 0.9999)
            && steps < 1000;
        if !report.applied() || policy.clip_norm.is_some() || !ordinary {
            return Ok(report);
        }
        reference::novograd(config, &self.config, step, &gradients, &mut memory);
        if config.luc.is_some() && has_no_norm(&memory) {
            return Ok(report);
        }
        self.assert_close(&memory, &gradients, 1.0);
        Ok(report)
    }
}

impl Host<AdamState> {
    /// Like [`step`](Host::step), and also fails unless the result agrees with the plain `f64` reference, within `f32`
    /// rounding.
    pub fn step_adam(&mut self, config: &AdamConfig, policy: Policy, step: impl Into<Step>) -> Result<Report, Error> {
        let optimizer = layerwise::Adam::new(*config).and_then(|adam| adam.with_policy(policy)).unwrap();
        let step = step.into();
        let mut memory = Memory { steps: self.state.steps.min(10_000).try_into().unwrap(), ..self.in_f64() };
        let gradients = wide(self.gradients.get());
        let report = self.step(&optimizer, step)?;

        let settings = [config.beta1, config.beta2, config.weight_decay, config.eps, config.eps_root];
        let ratio = config
            .trust_ratio
            .map_or([0.0; 3], |ratio| [ratio.eps, ratio.max_weights.unwrap_or(0.0), ratio.max_ratio.unwrap_or(0.0)]);
        let settings = settings.into_iter().chain(adaptation(config.larc, config.luc)).chain(ratio);
        let betas = [config.beta1, config.beta2].iter().all(|beta| *beta < 0.9999);
        // (No step gives a second moment below 0.)
        let squares = memory.second_moments.iter().all(|v| *v >= 0.0);
        let ordinary = self.is_ordinary(&step) && settings.into_iter().all(is_ordinary) && betas && squares;
        if !report.applied() || policy.clip_norm.is_some() || !ordinary || self.state.steps > 1000 {
            return Ok(report);
        }
        reference::adam(config, &self.config, step, &gradients, &mut memory);
        // A subnormal second moment has lost digits in `f32`.
        let least = memory.second_moments.iter().filter(|v| **v > 0.0).fold(1.0_f64, |least, v| least.min(*v));
        let divides_by_it = config.eps + config.eps_root.sqrt() < 1e-12;
        let limits = config.luc.is_some() || config.trust_ratio.is_some();
        if (least < 1e-34 && divides_by_it) || (limits && has_no_norm(&memory)) {
            return Ok(report);
        }
        // What the momentum loses to underflow is divided by eps and the root of the second moment, like the momentum
        // itself.
        let divisor = if divides_by_it { least.sqrt() } else { config.eps + config.eps_root.sqrt() };
        self.assert_close(&memory, &gradients, divisor.min(1.0));
        Ok(report)
    }
}

/// The numbers of the settings that adapt a rate.
fn adaptation(larc: Option<LarcConfig>, luc: Option<Luc>) -> [f64; 7] {
    let of_larc =
        |larc: LarcConfig| [larc.eta, larc.eps, larc.min_update, larc.min_norm, larc.max_update.unwrap_or(0.0)];
    let [a, b, c, d, e] = larc.map_or([0.0; 5], of_larc);
    let [trust, eps] = luc.map_or([0.0; 2], |luc| [luc.trust, luc.eps]);
    [a, b, c, d, e, trust, eps]
}

/// Whether the terms of a planned step cancel or underflow, so that its norm is only rounding errors.
fn has_no_norm(memory: &Memory) -> bool {
    let [step, sizes, weights] = [&memory.planned_step, &memory.step_sizes, &memory.weight_sizes].map(|x| l2_norm(x));
    step < 0.1 * sizes || sizes < 1e-30 * (1.0 + weights)
}

impl<S> Host<S> {
    /// Whether the numbers of a step and of this layer are ordinary.
    fn is_ordinary(&self, step: &Step) -> bool {
        [step.lr, step.gradient_scale, self.config.rate, self.config.decay].into_iter().all(is_ordinary)
    }

    /// Fails unless weights and momentum match a memory within `f32` rounding: the error of two norms, relative to the
    /// sizes of the terms, or the smallest number. (A gradient of 10³⁸ in a step of 10⁻³⁸ costs a few more, and a
    /// subnormal scalar of the decay is off by up to that smallest number, times the weights. What underflows is
    /// divided by `divisor` afterwards.)
    fn assert_close(&self, memory: &Memory, gradients: &[f64], divisor: f64) {
        let finite = f64::from(f32::MAX) / 8.0;
        let mut sizes = memory.weight_sizes.iter().chain(&memory.momentum_sizes).chain(&memory.second_moment_sizes);
        if !sizes.all(|size| *size <= finite) || memory.rate > 1e30 {
            return;
        }
        let underflow = (1.0 + memory.rate)
            * (2f64.powi(-140) * (1.0 + max_norm(&memory.momentum_sizes)) + 2f64.powi(-238) * max_norm(gradients))
            / divisor
            + 2f64.powi(-149) * max_norm(&memory.weight_sizes);
        let check = |what, ours: &[f32], theirs: &[f64], sizes: &[f64]| {
            for (i, ((ours, theirs), size)) in ours.iter().zip(theirs).zip(sizes).enumerate() {
                let error = (f64::from(*ours) - theirs).abs();
                assert!(
                    error <= tolerances::STEP * size + underflow,
                    "{what} {i}: {ours:e} instead of {theirs:e}, of {size:e}"
                );
            }
        };
        check("weight", self.weights.get(), &memory.weights, &memory.weight_sizes);
        check("momentum", self.momentum.get(), &memory.momentum, &memory.momentum_sizes);
        check("second moment", self.second_moment.get(), &memory.second_moments, &memory.second_moment_sizes);
    }
}

/// Whether a setting is zero, or of such a size that products of a few settings fit in `f64` and are close to `f32`.
fn is_ordinary(setting: f64) -> bool {
    setting == 0.0 || (1e-30..1e30).contains(&setting)
}

/// Whether gradient and decay nearly cancel, so that the norm of their sum depends on rounding.
fn cancels(gradients: &[f64], decay: f64, weights: &[f64]) -> bool {
    let terms = |sign: f64| -> Vec<f64> { gradients.iter().zip(weights).map(|(g, w)| sign * g + decay * w).collect() };
    let size = l2_norm(gradients) + decay * l2_norm(weights);
    let least = l2_norm(&terms(1.0)).min(l2_norm(&terms(-1.0)));
    least < 0.1 * size || size < 1e-30
}
