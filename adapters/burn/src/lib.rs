//! The optimizers of [`layerwise`] (LARC, LARS, NovoGrad, Adam, LAMB) for models of [`burn`].
//!
//! [`Layerwise`] is a [`burn::optim::Optimizer`], so it can train a module alone, in groups with other optimizers, and
//! in burn's `Learner`. Records, schedulers and gradient clipping are burn's own.
//!
//! ```
//! use burn::module::Module;
//! use burn::nn::LinearConfig;
//! use burn::optim::{GradientsParams, ModuleOptimizer};
//! use burn::tensor::{Device, Tensor};
//! use layerwise::{LayerConfig, NovoGrad, NovoGradConfig};
//! use layerwise_burn::Layerwise;
//!
//! let novograd = NovoGrad::new(NovoGradConfig { weight_decay: 1e-4, ..NovoGradConfig::DEFAULT })?;
//! // Biases, which are vectors, have no decay.
//! let optimizer = Layerwise::new(novograd)?.with_configs(|shape| LayerConfig::of_rank(shape.len()));
//! let handle = optimizer.handle();
//! let mut optimizer = ModuleOptimizer::from(optimizer);
//!
//! let device = Device::flex().autodiff();
//! let mut model = LinearConfig::new(64, 10).init(&device);
//! let loss = model.forward(Tensor::<2>::ones([32, 64], &device)).square().mean();
//! let gradients = GradientsParams::from_grads(loss.backward(), &model);
//! model = optimizer.step(0.01, model, gradients);
//! assert_eq!(handle.counts().applied, 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Groups
//!
//! burn chooses by path which optimizer trains a parameter, and a group can have its own configuration:
//!
//! ```
//! # use burn::module::ParamGroup;
//! # use burn::optim::ModuleOptimizer;
//! # use layerwise::{LarcConfig, LayerConfig, Sgd, SgdConfig};
//! # use layerwise_burn::Layerwise;
//! let larc = Some(LarcConfig::DEFAULT);
//! let larc = Layerwise::new(Sgd::new(SgdConfig { momentum: 0.9, larc, ..SgdConfig::DEFAULT })?)?;
//! let slow = LayerConfig { rate: 0.1, ..LayerConfig::DEFAULT };
//! let bias = LayerConfig { rate: 0.1, ..LayerConfig::PLAIN }; // LARC does not lower its rate
//! let optimizer = ModuleOptimizer::from(larc.clone())
//!     .with_group(ParamGroup::from_predicate("embedding"), larc.clone().with_config(slow), None)
//!     .with_group(ParamGroup::from_predicate("bias"), larc.with_config(bias), None);
//! # let _ = optimizer;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Memory
//!
//! On burn's Flex backend (feature `flex`, on by default) a step works in the memory of the tensors. It copies weights
//! only if they are shared, as in burn's `Learner`, and gradients only if they are not contiguous. On any other backend
//! weights, gradients and moments go through [`TensorData`](burn::tensor::TensorData). The bits are the same.
//!
//! # What it refuses
//!
//! An optimizer whose [policy](layerwise::Policy) needs the whole model is an [`Error`] of [`Layerwise::new`], because
//! burn passes one parameter at a time. burn's `step` cannot return an error, so a wrong parameter is a panic with a
//! message, before anything is written: numbers that are not `f32`, shapes that differ, a negative rate, a record of
//! another rule. A NaN in a gradient is none of these: that parameter is skipped, and the [`Handle`] counts it.

mod handle;
mod numbers;
mod state;

pub use handle::{Counts, Handle};
pub use state::State;

use burn::optim::{LearningRate, ModuleOptimizer, Optimizer};
use burn::tensor::{DType, Device, Tensor};
use layerwise::rule::{Moments, Rule, RuleState};
use layerwise::{LayerConfig, LayerMemory, Outcome, Policy, Report, Step};
use numbers::Numbers;
use std::fmt;
use std::sync::Arc;

/// An optimizer of `layerwise` as a burn optimizer.
///
/// Clones share one [`Handle`], and so the gradient scale and the counts, as the groups of a model should.
#[derive(Clone)]
pub struct Layerwise<R> {
    optimizer: layerwise::Optimizer<R>,
    configs: Configs,
    handle: Handle,
}

/// The configuration of a parameter of each shape.
type Configs = Arc<dyn Fn(&[usize]) -> LayerConfig + Send + Sync>;

impl<R: Rule> Layerwise<R> {
    /// Wraps an optimizer. Every parameter has the [default](LayerConfig::DEFAULT) configuration.
    ///
    /// # Errors
    ///
    /// [`Error::Policy`] if the policy of the optimizer is not the default.
    pub fn new(optimizer: layerwise::Optimizer<R>) -> Result<Self, Error> {
        if *optimizer.policy() != Policy::DEFAULT {
            return Err(Error::Policy);
        }
        Ok(Layerwise { optimizer, configs: Arc::new(|_| LayerConfig::DEFAULT), handle: Handle::new() })
    }

    /// Sets the configuration of all its parameters.
    #[must_use]
    pub fn with_config(self, config: LayerConfig) -> Self {
        self.with_configs(move |_| config)
    }

    /// Sets the configuration of each parameter by its shape.
    ///
    /// `|shape| LayerConfig::of_rank(shape.len())` exempts biases and normalisation scales from decay and adaptation.
    /// To choose by name, use burn's groups.
    #[must_use]
    pub fn with_configs(self, configs: impl Fn(&[usize]) -> LayerConfig + Send + Sync + 'static) -> Self {
        Layerwise { configs: Arc::new(configs), ..self }
    }

    /// Access to the gradient scale and the counts when burn owns the optimizer.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// This optimizer for whole modules, like `init` of burn's own configurations.
    pub fn init(self) -> ModuleOptimizer
    where
        Self: Optimizer,
    {
        ModuleOptimizer::from(self)
    }
}

impl<R: Rule> Layerwise<R> {
    /// The step itself, on numbers taken out of burn's tensors.
    fn update(
        &self,
        step: Step,
        config: LayerConfig,
        weights: &mut Numbers,
        gradients: &Numbers,
        [first, second]: &mut [Option<Numbers>; 2],
        state: &mut [f64; 3],
    ) -> Result<Report, String> {
        let mut of_rule = R::State::from_numbers(*state).ok_or("its state is not one of this rule")?;
        let layer = LayerMemory::new(weights.get_mut(), gradients.get(), &mut of_rule).config(config);
        let layer = match (first, second) {
            (None, _) => layer,
            (Some(first), None) => layer.momentum(first.get_mut()),
            (Some(first), Some(second)) => layer.momentum(first.get_mut()).second_moment(second.get_mut()),
        };
        let report = self.optimizer.step_layer(step, layer).map_err(|error| error.to_string())?;
        *state = of_rule.to_numbers();
        Ok(report)
    }
}

impl<R: Rule + Clone + Send + Sync + 'static> Optimizer for Layerwise<R> {
    type State<const D: usize> = State<D>;

    /// # Panics
    ///
    /// If the arguments are invalid; then nothing is written.
    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<State<D>>,
    ) -> (Tensor<D>, Option<State<D>>) {
        let shape = tensor.dims();
        let config = (self.configs)(&shape);
        if config.frozen {
            self.handle.count(Outcome::Frozen);
            return (tensor, state);
        }
        let refuse = |why: String| -> ! { panic!("layerwise-burn: a parameter of shape {shape:?}: {why}") };
        let moments = self.optimizer.moments();
        let state = state.unwrap_or_else(|| State::zeros(&tensor, moments));
        check(&tensor, &grad, &state, moments).unwrap_or_else(|why| refuse(why));

        let device = tensor.device();
        let (mut weights, gradients) = (Numbers::of(tensor, &device), Numbers::of(grad, &device));
        let mut numbers = state.moments.map(|moment| moment.map(|moment| Numbers::of(moment, &device)));
        let mut rule = state.rule;
        let step = Step::new(lr).gradient_scale(self.handle.gradient_scale());
        match self.update(step, config, &mut weights, &gradients, &mut numbers, &mut rule) {
            Ok(report) => self.handle.count(report.outcome),
            Err(why) => refuse(why),
        }
        let moments = numbers.map(|moment| moment.map(Numbers::into_tensor));
        (weights.into_tensor(), Some(State { moments, rule }))
    }

    fn to_device<const D: usize>(state: State<D>, device: &Device) -> State<D> {
        State { moments: state.moments.map(|moment| moment.map(|moment| moment.to_device(device))), ..state }
    }
}

/// Checks what `layerwise` cannot, because it only knows lengths.
fn check<const D: usize>(
    tensor: &Tensor<D>,
    grad: &Tensor<D>,
    state: &State<D>,
    moments: Moments,
) -> Result<(), String> {
    if tensor.device().is_autodiff() {
        return Err("it is tracked by autodiff: step `tensor.inner()`, as a ModuleOptimizer does".to_owned());
    }
    let kept = usize::from(moments >= Moments::First) + usize::from(moments >= Moments::FirstAndSecond);
    let found = state.moments.iter().flatten().count();
    if found != kept {
        return Err(format!("its state has {found} moments, of another rule or other settings: this one keeps {kept}"));
    }
    let [first, second] = &state.moments;
    let others =
        [("its gradient", Some(grad)), ("its momentum", first.as_ref()), ("its second moment", second.as_ref())];
    for (what, tensor) in [("it", Some(tensor))].into_iter().chain(others) {
        let Some(tensor) = tensor else { continue };
        if tensor.dtype() != DType::F32 {
            return Err(format!("{what} has numbers of type {:?}, but only F32 is trained", tensor.dtype()));
        }
        if tensor.dims() != grad.dims() {
            return Err(format!("{what} has shape {:?}, but its gradient {:?}", tensor.dims(), grad.dims()));
        }
    }
    Ok(())
}

/// What [`Layerwise::new`] and [`Handle`] refuse.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The optimizer has a policy for the whole model, but burn passes one parameter at a time. burn's
    /// `with_grad_clipping` clips, and [`Handle::set_gradient_scale`] can hold a factor for all gradients.
    Policy,
    /// A gradient scale is not finite, or not greater than 0.
    GradientScale(f64),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Policy => f.write_str(
                "the optimizer has a policy, but burn hands over one parameter at a time: clip with burn's \
                 `with_grad_clipping`, or with a gradient scale",
            ),
            Error::GradientScale(scale) => write!(f, "the gradient scale is {scale}, but must be finite and > 0"),
        }
    }
}

impl std::error::Error for Error {}
