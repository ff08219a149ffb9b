//! A variable, with what its optimizer remembers about it.

use crate::numbers;
use candle_core::backprop::GradStore;
use candle_core::{DType, Result, Tensor, Var, bail};
use layerwise::rule::{Moments, RuleState};
use layerwise::{LayerConfig, LayerMemory};
use std::collections::HashSet;

/// A variable that is trained.
pub(crate) struct Parameter<S> {
    pub(crate) name: String,
    pub(crate) var: Var,
    pub(crate) config: LayerConfig,
    pub(crate) kept: Kept<S>,
    /// Its gradient while a step is taken.
    gradient: Option<Tensor>,
}

/// What is kept for a variable from step to step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept<S> {
    /// As long as the variable, or empty if the rule keeps none; the same for the second moment.
    pub(crate) momentum: Vec<f32>,
    pub(crate) second_moment: Vec<f32>,
    /// The lower halves of the weights, if the variable is `bf16`.
    pub(crate) lower: Option<Vec<u16>>,
    pub(crate) state: S,
}

impl<S: RuleState> Parameter<S> {
    pub(crate) fn new(name: String, var: Var, moments: Moments) -> Result<Self> {
        if !var.device().is_cpu() {
            bail!("{name}: layerwise computes on the CPU, and this variable is on {:?}", var.device().location());
        }
        let len = var.elem_count();
        let lower = match var.dtype() {
            DType::F32 => None,
            DType::BF16 => Some(vec![0; len]),
            other => bail!("{name}: a variable of {other:?}; keep it in F32 and use `to_dtype` of it in the model"),
        };
        let kept = Kept {
            momentum: vec![0.0; if moments >= Moments::First { len } else { 0 }],
            second_moment: vec![0.0; if moments >= Moments::FirstAndSecond { len } else { 0 }],
            lower,
            state: S::default(),
        };
        Ok(Parameter { name, config: LayerConfig::of_rank(var.rank()), var, kept, gradient: None })
    }

    /// Takes the gradient of the next step, if there is one. `variables` are the addresses of all variables.
    pub(crate) fn take_gradient(&mut self, grads: &GradStore, variables: &HashSet<usize>) -> Result<()> {
        let Some(gradient) = grads.get(&self.var) else { return Ok(()) };
        let name = &self.name;
        if gradient.shape() != self.var.shape() {
            bail!("{name}: a gradient of {:?} for a variable of {:?}", gradient.shape(), self.var.shape());
        }
        if !matches!(gradient.dtype(), DType::F32 | DType::BF16 | DType::F16) || !gradient.device().is_cpu() {
            let location = gradient.device().location();
            bail!(
                "{name}: a gradient of {:?} on {location:?}; it must be F32, BF16 or F16 on the CPU",
                gradient.dtype()
            );
        }
        let gradient = gradient.contiguous()?;
        // A gradient in the memory of a variable would change during the step, or deadlock.
        let is_shared = variables.contains(&numbers::address(&gradient));
        self.gradient = Some(if is_shared { gradient.copy()? } else { gradient });
        Ok(())
    }

    pub(crate) fn drop_gradient(&mut self) {
        self.gradient = None;
    }

    /// Lends everything that a step needs, if there is a gradient.
    pub(crate) fn lend(&mut self, visit: impl FnOnce(LayerMemory<'_, S>)) -> Result<()> {
        let Some(gradient) = &self.gradient else { return Ok(()) };
        let Kept { momentum, second_moment, lower, state } = &mut self.kept;
        numbers::read(gradient, |gradients| {
            numbers::write(&self.var, |weights| {
                let layer = LayerMemory::new(weights, gradients, state).config(self.config);
                let layer = layer.momentum(momentum).second_moment(second_moment);
                visit(match lower {
                    Some(lower) => layer.lower(lower),
                    None => layer,
                });
            })
        })?
    }
}
