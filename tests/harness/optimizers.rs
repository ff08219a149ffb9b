//! The optimizers of most tests, by name.

use layerwise::rule::{Moments, Needs, Norms, Plan, Rule, Update};
use layerwise::{
    LarcConfig, LayerConfig, Luc, MomentNorm, NonFinite, NovoGrad, NovoGradConfig, Optimizer, Policy, Sgd, SgdConfig,
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

/// The LARS of optax, which looks at the norm of gradient plus decay.
pub fn optax() -> Sgd {
    larc_with(LarcConfig::OPTAX)
}

/// Gradient descent with momentum, decay, and LARC so configured.
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

/// NovoGrad with layer-wise update clipping, which looks at the step that it plans.
pub fn luc() -> NovoGrad {
    NovoGrad::new(NovoGradConfig { luc: Some(Luc::DEFAULT), ..NOVOGRAD }).unwrap()
}

const NOVOGRAD: NovoGradConfig = NovoGradConfig { weight_decay: 0.01, ..NovoGradConfig::DEFAULT };

/// The same optimizer that leaves all layers alone if one is bad.
pub fn skipping<R: Rule>(optimizer: Optimizer<R>) -> Optimizer<R> {
    let policy = Policy { non_finite: NonFinite::SkipStep, ..*optimizer.policy() };
    optimizer.with_policy(policy).unwrap()
}

/// The same optimizer that clips the gradient of the whole model to this norm.
pub fn clipping<R: Rule>(optimizer: Optimizer<R>, norm: f64) -> Optimizer<R> {
    let policy = Policy { clip_norm: Some(norm), ..*optimizer.policy() };
    optimizer.with_policy(policy).unwrap()
}

/// Whether an optimizer keeps momentum.
pub fn keeps_momentum<R: Rule>(optimizer: &Optimizer<R>) -> bool {
    optimizer.moments() != Moments::None
}

/// Every form that an update can take.
pub const UPDATES: [Update; 6] = [
    Update { gradient: 0.3, momentum: 0.9, rate: 0.1, ..Update::ZERO },
    Update { gradient: 0.3, decay: 0.01, momentum: 0.9, rate: 0.1, ..Update::ZERO },
    Update { gradient: 0.3, momentum: 0.9, rate: 0.1, direct: 0.7, ..Update::ZERO },
    Update { gradient: -0.3, decay: 0.01, momentum: 0.5, rate: 0.1, direct: 0.7, shrink: 0.001 },
    Update { gradient: 1.0, momentum: 0.9, rate: 0.1, shrink: 0.01, ..Update::ZERO },
    Update { gradient: 1.0, direct: 0.1, ..Update::ZERO },
];

/// A rule that plans one update, whatever it sees.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    pub update: Update,
    pub moments: Moments,
    pub needs: Needs,
}

impl Fixed {
    /// An optimizer of an update, with momentum or without.
    pub fn optimizer(update: Update, momentum: bool) -> Optimizer<Fixed> {
        let moments = if momentum { Moments::First } else { Moments::None };
        Optimizer::from_rule(Fixed { update, moments, needs: Needs::GRADIENT })
    }

    /// The same that looks at the weights too, so that their norm can be carried.
    pub fn summing(update: Update, momentum: bool) -> Optimizer<Fixed> {
        let rule = *Fixed::optimizer(update, momentum).rule();
        Optimizer::from_rule(Fixed { needs: rule.needs.weights(), ..rule })
    }
}

impl Rule for Fixed {
    type State = u32;
    const MOMENTS: Moments = Moments::First;

    fn moments(&self) -> Moments {
        self.moments
    }

    fn needs(&self, _: &LayerConfig) -> Needs {
        self.needs
    }

    fn plan(&self, lr: f64, _: &LayerConfig, _: &Norms, state: u32) -> (Plan, u32) {
        (Plan::new(self.update, lr), state + 1)
    }
}
