//! The optimizers of most tests, by name.

use layerwise::rule::{Moments, Needs, Norms, Plan, Rule, SecondMoment, StepNorm, Update};
use layerwise::{
    Adam, AdamConfig, AdamDecay, LarcConfig, LayerConfig, Luc, MomentNorm, NonFinite, NovoGrad, NovoGradConfig,
    Optimizer, Policy, Sgd, SgdConfig, TrustRatio,
};

/// Plain gradient descent: no momentum, no norm of the weights.
pub fn plain() -> Sgd {
    Sgd::new(SgdConfig::DEFAULT).unwrap()
}

/// Gradient descent with momentum and decay.
pub fn momentum() -> Sgd {
    Sgd::new(SgdConfig { momentum: 0.9, weight_decay: 0.01, ..SgdConfig::DEFAULT }).unwrap()
}

/// LARC with momentum and decay.
pub fn larc() -> Sgd {
    larc_with(LarcConfig::DEFAULT)
}

/// The LARS of optax, which uses the norm of gradient plus decay.
pub fn optax() -> Sgd {
    larc_with(LarcConfig::OPTAX)
}

/// Gradient descent with momentum, decay, and LARC with this configuration.
pub fn larc_with(config: LarcConfig) -> Sgd {
    Sgd::new(SgdConfig { momentum: 0.9, weight_decay: 0.01, larc: Some(config), ..SgdConfig::DEFAULT }).unwrap()
}

/// NovoGrad with decay.
pub fn novograd() -> NovoGrad {
    NovoGrad::new(NOVOGRAD).unwrap()
}

/// NovoGrad of the maximum norm.
pub fn novograd_max() -> NovoGrad {
    NovoGrad::new(NovoGradConfig { norm: MomentNorm::Max, ..NOVOGRAD }).unwrap()
}

/// NovoGrad with layer-wise update clipping, which needs the norm of its planned step.
pub fn luc() -> NovoGrad {
    NovoGrad::new(NovoGradConfig { luc: Some(Luc::DEFAULT), ..NOVOGRAD }).unwrap()
}

/// Gradient descent with momentum and decay, with steps limited by the norm of the weights.
pub fn sgd_luc() -> Sgd {
    Sgd::new(SgdConfig { momentum: 0.9, weight_decay: 0.01, luc: Some(LUC), ..SgdConfig::DEFAULT }).unwrap()
}

/// NovoGrad with LARC in front.
pub fn larc_novograd() -> NovoGrad {
    NovoGrad::new(NovoGradConfig { larc: Some(LarcConfig::DEFAULT), ..NOVOGRAD }).unwrap()
}

/// AdamW.
pub fn adam() -> Adam {
    Adam::new(ADAMW).unwrap()
}

/// Adam with LARC in front, and so with L2 decay.
pub fn larc_adam() -> Adam {
    Adam::new(AdamConfig { larc: Some(LarcConfig::DEFAULT), decay_mode: AdamDecay::L2, ..ADAMW }).unwrap()
}

/// LAMB, which needs the norm of its planned step.
pub fn lamb() -> Adam {
    let trust_ratio = Some(TrustRatio::DEFAULT);
    Adam::new(AdamConfig { eps: 1e-6, decay_mode: AdamDecay::InUpdate, trust_ratio, ..ADAMW }).unwrap()
}

/// AdamW with steps limited by the norm of the weights.
pub fn adam_luc() -> Adam {
    Adam::new(AdamConfig { luc: Some(LUC), ..ADAMW }).unwrap()
}

const LUC: Luc = Luc { trust: 0.01, ..Luc::DEFAULT };
const ADAMW: AdamConfig = AdamConfig { weight_decay: 0.01, ..AdamConfig::DEFAULT };
const NOVOGRAD: NovoGradConfig = NovoGradConfig { weight_decay: 0.01, ..NovoGradConfig::DEFAULT };

/// The same optimizer with a policy that skips the whole step if one layer is bad.
pub fn skipping<R: Rule>(optimizer: Optimizer<R>) -> Optimizer<R> {
    let policy = Policy { non_finite: NonFinite::SkipStep, ..*optimizer.policy() };
    optimizer.with_policy(policy).unwrap()
}

/// The same optimizer with a clip of the global gradient norm.
pub fn clipping<R: Rule>(optimizer: Optimizer<R>, norm: f64) -> Optimizer<R> {
    let policy = Policy { clip_norm: Some(norm), ..*optimizer.policy() };
    optimizer.with_policy(policy).unwrap()
}

/// Whether an optimizer keeps momentum.
pub fn keeps_momentum<R: Rule>(optimizer: &Optimizer<R>) -> bool {
    optimizer.moments() != Moments::None
}

/// Whether an optimizer keeps a second moment.
pub fn keeps_second_moment<R: Rule>(optimizer: &Optimizer<R>) -> bool {
    optimizer.moments() == Moments::FirstAndSecond
}

/// Every form that an update without a second moment can take.
pub const UPDATES: [Update; 6] = [
    Update { gradient: 0.3, momentum: 0.9, rate: 0.1, ..Update::ZERO },
    Update { gradient: 0.3, decay: 0.01, momentum: 0.9, rate: 0.1, ..Update::ZERO },
    Update { gradient: 0.3, momentum: 0.9, rate: 0.1, direct: 0.7, ..Update::ZERO },
    Update { gradient: -0.3, decay: 0.01, momentum: 0.5, rate: 0.1, direct: 0.7, shrink: 0.001, second: None },
    Update { gradient: 1.0, momentum: 0.9, rate: 0.1, shrink: 0.01, ..Update::ZERO },
    Update { gradient: 1.0, direct: 0.1, ..Update::ZERO },
];

const SECOND: SecondMoment = SecondMoment { share: 0.1, keep: 0.999, unbias: 50.0, eps_root: 0.0, eps: 1e-8 };

/// Every form that an update with a second moment can take.
pub const SECOND_UPDATES: [Update; 6] = [
    Update { gradient: 0.3, momentum: 0.9, rate: 0.1, second: Some(SECOND), ..Update::ZERO },
    Update { gradient: 0.3, decay: 0.01, momentum: 0.9, rate: 0.1, second: Some(SECOND), ..Update::ZERO },
    Update {
        gradient: 1.0,
        momentum: 0.9,
        rate: 0.1,
        shrink: 0.01,
        second: Some(SecondMoment { share: 1.0, eps_root: 1e-6, eps: 0.0, ..SECOND }),
        ..Update::ZERO
    },
    Update {
        gradient: -0.3,
        decay: 0.01,
        momentum: 0.5,
        rate: 0.1,
        direct: 0.7,
        shrink: 0.001,
        second: Some(SecondMoment { keep: 0.5, unbias: 1.0, ..SECOND }),
    },
    // Without any epsilon, a quotient of 0 by 0 is 0.
    Update {
        gradient: 1.0,
        rate: 0.1,
        second: Some(SecondMoment { keep: 0.0, unbias: 1.0, eps: 0.0, ..SECOND }),
        ..Update::ZERO
    },
    Update { gradient: 1.0, direct: 0.1, second: Some(SECOND), ..Update::ZERO },
];

/// A rule that always plans the same update.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    pub update: Update,
    pub moments: Moments,
    pub needs: Needs,
}

impl Fixed {
    /// An optimizer that applies an update, with or without momentum; with a second moment if the update has one.
    pub fn optimizer(update: Update, momentum: bool) -> Optimizer<Fixed> {
        let moments = match update.second {
            Some(_) => Moments::FirstAndSecond,
            None if momentum => Moments::First,
            None => Moments::None,
        };
        Optimizer::from_rule(Fixed { update, moments, needs: Needs::GRADIENT })
    }

    /// The same, but it also needs the norm of the weights, so that the norm can be carried.
    pub fn summing(update: Update, momentum: bool) -> Optimizer<Fixed> {
        let rule = *Fixed::optimizer(update, momentum).rule();
        Optimizer::from_rule(Fixed { needs: rule.needs.weights(), ..rule })
    }

    /// The same, but it needs the norm of its step, and then changes nothing.
    pub fn seeing(update: Update, momentum: bool, step: StepNorm) -> Optimizer<Fixed> {
        let rule = *Fixed::optimizer(update, momentum).rule();
        Optimizer::from_rule(Fixed { needs: rule.needs.step(step), ..rule })
    }
}

impl Rule for Fixed {
    type State = u32;
    const MOMENTS: Moments = Moments::FirstAndSecond;

    fn moments(&self) -> Moments {
        self.moments
    }

    fn needs(&self, _: &LayerConfig) -> Needs {
        self.needs
    }

    fn plan(&self, lr: f64, _: &LayerConfig, _: &Norms, state: u32) -> (Plan, u32) {
        (Plan::new(self.update, lr), state + 1)
    }

    /// The report gets the norm of the step as its rate.
    fn limit(&self, _: f64, _: &LayerConfig, _: &Norms, plan: Plan, step: f64) -> Plan {
        Plan::new(plan.update, step)
    }
}

/// LARC as in each of the other systems.
pub const LARCS: [LarcConfig; 9] = [
    LarcConfig::DEFAULT,
    LarcConfig::OPENSEQ2SEQ,
    LarcConfig::APEX,
    LarcConfig::TIMM,
    LarcConfig::BOLTS,
    LarcConfig::PYTORCH_OPTIMIZER,
    LarcConfig::PYTORCH_OPTIMIZER_3,
    LarcConfig::OPTAX,
    LarcConfig::LARS_PAPER,
];
