//! Steps over all variables.

use crate::numbers;
use crate::parameter::Parameter;
use candle_core::backprop::GradStore;
use candle_core::{Error, Result, Var, bail};
use candle_nn::VarMap;
use layerwise::rule::{Rule, RuleState};
use layerwise::{LayerConfig, LayerMemory, Model, Optimizer, Report, Step, Summary};
use std::collections::HashSet;

/// Any optimizer of `layerwise` as a candle optimizer.
///
/// [`of_map`](Layerwise::of_map) creates one for the variables of a [`VarMap`], [`named`](Layerwise::named) for a list.
/// [`candle_nn::Optimizer::new`] has no names, so its result cannot be [saved](Layerwise::save).
pub struct Layerwise<R: Rule> {
    pub(crate) optimizer: Optimizer<R>,
    pub(crate) parameters: Vec<Parameter<R::State>>,
    /// Whether the names come from the caller.
    pub(crate) has_names: bool,
    step: Step,
    reports: Vec<Report>,
    summary: Option<Summary>,
    /// The addresses of the variables' memory.
    addresses: HashSet<usize>,
}

impl<R: Rule> Layerwise<R> {
    /// An optimizer of all variables of a map, by their names there.
    ///
    /// # Errors
    ///
    /// As [`named`](Layerwise::named).
    pub fn of_map(map: &VarMap, optimizer: Optimizer<R>, lr: f64) -> Result<Self> {
        let variables = map.data().lock().map_err(|_| Error::msg("another thread has panicked with this map"))?;
        Self::named(variables.iter().map(|(name, var)| (name.clone(), var.clone())), optimizer, lr)
    }

    /// An optimizer of variables with names. Their order does not matter: they are sorted by name, because the order of
    /// a map differs from run to run.
    ///
    /// # Errors
    ///
    /// If two names or two variables are the same, or a variable is of a type that cannot be trained or not on the CPU.
    pub fn named(vars: impl IntoIterator<Item = (String, Var)>, optimizer: Optimizer<R>, lr: f64) -> Result<Self> {
        let mut vars: Vec<_> = vars.into_iter().collect();
        vars.sort_by(|(a, _), (b, _)| a.cmp(b));
        if let Some(pair) = vars.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            bail!("there are two variables {}", pair[0].0);
        }
        Self::in_order(vars, optimizer, lr, true)
    }

    fn in_order(vars: Vec<(String, Var)>, optimizer: Optimizer<R>, lr: f64, has_names: bool) -> Result<Self> {
        let (mut parameters, mut addresses) = (Vec::new(), HashSet::new());
        for (name, var) in vars {
            if var.dtype().is_int() {
                continue;
            }
            if !addresses.insert(numbers::address(&var)) {
                bail!("{name} is there under another name or number too, and would be stepped twice");
            }
            parameters.push(Parameter::new(name, var, optimizer.moments())?);
        }
        let reports = vec![Report::ABSENT; parameters.len()];
        Ok(Layerwise { optimizer, parameters, has_names, step: Step::new(lr), reports, summary: None, addresses })
    }

    /// Sets the configuration of each layer, by its name and variable. By default, biases and other variables with
    /// fewer than two dimensions are exempt from adaptation and decay.
    ///
    /// ```
    /// # use candle_core::{DType, Device};
    /// # use candle_nn::{VarBuilder, VarMap};
    /// use layerwise::{LayerConfig, NovoGrad, NovoGradConfig};
    /// use layerwise_candle::Layerwise;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let map = VarMap::new();
    /// # candle_nn::linear(8, 1, VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu))?;
    /// let mut optimizer = Layerwise::of_map(&map, NovoGrad::new(NovoGradConfig::DEFAULT)?, 0.01)?;
    /// optimizer.configure(|name, _| match name {
    ///     name if name.starts_with("embedding.") => LayerConfig::FROZEN,
    ///     name if name.ends_with(".bias") => LayerConfig::PLAIN,
    ///     _ => LayerConfig::DEFAULT,
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If a multiplier is negative or not finite; the layers before it then have their new configuration.
    pub fn configure(&mut self, mut config_of: impl FnMut(&str, &Var) -> LayerConfig) -> Result<()> {
        for Parameter { name, var, config, .. } in &mut self.parameters {
            let new = config_of(name, var);
            for (what, multiplier) in [("rate", new.rate), ("decay", new.decay)] {
                if !(multiplier >= 0.0 && multiplier.is_finite()) {
                    bail!("{name}: a {what} of {multiplier}");
                }
            }
            *config = new;
        }
        Ok(())
    }

    /// Sets what all gradients are multiplied by from the next step on: one over the loss scale, or over the number of
    /// micro-batches whose gradients were added up. It is 1 at first.
    pub fn set_gradient_scale(&mut self, gradient_scale: f64) {
        self.step = self.step.gradient_scale(gradient_scale);
    }

    /// What happened to each layer in the last step that was not refused, by name, in the order of names.
    pub fn reports(&self) -> impl Iterator<Item = (&str, &Report)> {
        self.parameters.iter().map(|parameter| parameter.name.as_str()).zip(&self.reports)
    }

    /// What the last step did; `None` if there was none, or if it was refused.
    pub fn summary(&self) -> Option<&Summary> {
        self.summary.as_ref()
    }

    /// How many layers the last step could not update, say because of a NaN. Their reports say why.
    pub fn skipped(&self) -> usize {
        self.summary.map_or(0, |summary| summary.skipped)
    }

    /// Forgets the lower halves of `bf16` weights. Call this after changing such variables, say by loading weights
    /// without their state.
    pub fn forget_lower_halves(&mut self) {
        for parameter in &mut self.parameters {
            if let Some(lower) = &mut parameter.kept.lower {
                lower.fill(0);
            }
        }
    }

    fn take_gradients(&mut self, grads: &GradStore) -> Result<()> {
        self.parameters.iter_mut().try_for_each(|parameter| parameter.take_gradient(grads, &self.addresses))
    }

    /// A step with the gradients that were taken.
    fn update(&mut self) -> Result<Summary> {
        let mut lent = Lent { parameters: &mut self.parameters, failed: None };
        let summary = self.optimizer.step(self.step, &mut lent, &mut self.reports).map_err(Error::wrap)?;
        lent.failed.map_or(Ok(summary), Err)
    }
}

impl<R: Rule> candle_nn::Optimizer for Layerwise<R> {
    /// An optimizer of `layerwise`, and the learning rate.
    type Config = (Optimizer<R>, f64);

    fn new(vars: Vec<Var>, (optimizer, lr): Self::Config) -> Result<Self> {
        let numbered = vars.into_iter().enumerate().map(|(number, var)| (number.to_string(), var));
        Self::in_order(numbered.collect(), optimizer, lr, false)
    }

    /// Updates all variables that have a gradient. If it is refused, nothing is written.
    fn step(&mut self, grads: &GradStore) -> Result<()> {
        self.summary = None;
        let taken = self.take_gradients(grads);
        let updated = taken.and_then(|()| self.update());
        self.parameters.iter_mut().for_each(Parameter::drop_gradient);
        self.summary = Some(updated?);
        Ok(())
    }

    fn learning_rate(&self) -> f64 {
        self.step.lr
    }

    fn set_learning_rate(&mut self, lr: f64) {
        self.step.lr = lr;
    }
}

/// The variables as a model that lends one layer at a time, because candle gives access to memory only that way.
struct Lent<'a, S> {
    parameters: &'a mut [Parameter<S>],
    /// An error of candle's. (Types, shapes and devices have been checked before.)
    failed: Option<Error>,
}

impl<S: RuleState> Model<S> for Lent<'_, S> {
    fn count(&self) -> usize {
        self.parameters.len()
    }

    fn layer(&mut self, index: usize, visit: impl FnOnce(LayerMemory<'_, S>)) {
        let Some(parameter) = self.parameters.get_mut(index) else { return };
        if let Err(error) = parameter.lend(visit) {
            self.failed.get_or_insert(error);
        }
    }
}
