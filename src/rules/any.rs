//! A rule chosen at run time.

use super::adam::AdamRule;
use super::layer::LayerConfig;
use super::novograd::NovoGradRule;
use super::rule::{Moments, Needs, Norms, Plan, Rule, RuleState};
use super::sgd::SgdRule;

/// Any rule of this crate, chosen at run time: for configuration files, and for other languages. Its state is three
/// numbers, all 0 before the first step, whatever the rule.
///
/// Programs that use a specific rule do not link it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum AnyRule {
    /// Gradient descent, plain or with momentum.
    Sgd(SgdRule),
    /// NovoGrad.
    NovoGrad(NovoGradRule),
    /// Adam, AdamW, LAMB.
    Adam(AdamRule),
}

/// The same for each rule.
macro_rules! each {
    ($any:expr, $rule:ident => $result:expr) => {
        match $any {
            AnyRule::Sgd($rule) => $result,
            AnyRule::NovoGrad($rule) => $result,
            AnyRule::Adam($rule) => $result,
        }
    };
}

impl Rule for AnyRule {
    type State = [f64; 3];
    const MOMENTS: Moments = Moments::FirstAndSecond;

    fn moments(&self) -> Moments {
        each!(self, rule => rule.moments())
    }

    fn allows_clipping(&self) -> bool {
        each!(self, rule => rule.allows_clipping())
    }

    fn needs(&self, layer: &LayerConfig) -> Needs {
        each!(self, rule => rule.needs(layer))
    }

    fn accepts(&self, state: [f64; 3]) -> bool {
        each!(self, rule => accepts(rule, state))
    }

    fn plan(&self, lr: f64, layer: &LayerConfig, norms: &Norms, state: [f64; 3]) -> (Plan, [f64; 3]) {
        each!(self, rule => plan(rule, lr, layer, norms, state))
    }

    fn limit(&self, lr: f64, layer: &LayerConfig, norms: &Norms, plan: Plan, step: f64) -> Plan {
        each!(self, rule => rule.limit(lr, layer, norms, plan, step))
    }
}

fn accepts<R: Rule>(_: &R, numbers: [f64; 3]) -> bool {
    R::State::from_numbers(numbers).is_some()
}

/// Invalid states have been refused before this.
fn plan<R: Rule>(rule: &R, lr: f64, layer: &LayerConfig, norms: &Norms, numbers: [f64; 3]) -> (Plan, [f64; 3]) {
    let (plan, next) = rule.plan(lr, layer, norms, R::State::from_numbers(numbers).unwrap_or_default());
    (plan, next.to_numbers())
}

impl From<SgdRule> for AnyRule {
    fn from(rule: SgdRule) -> Self {
        AnyRule::Sgd(rule)
    }
}

impl From<NovoGradRule> for AnyRule {
    fn from(rule: NovoGradRule) -> Self {
        AnyRule::NovoGrad(rule)
    }
}

impl From<AdamRule> for AnyRule {
    fn from(rule: AdamRule) -> Self {
        AnyRule::Adam(rule)
    }
}
