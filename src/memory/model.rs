//! Many layers.

use super::layer::LayerMemory;
use crate::error::Error;

/// The layers of a model, for one step: a [`FlatModel`](crate::FlatModel), a slice, array or `Vec` of [`LayerMemory`],
/// or your own type.
///
/// Your own type lends one layer at a time, so it works with memory that can be borrowed only under a lock, or inside a
/// callback:
///
/// ```
/// use layerwise::{LayerMemory, Model, Report, Sgd, SgdConfig, SgdState};
///
/// struct Tensor {
///     weights: Vec<f32>,
///     gradients: Option<Vec<f32>>,
///     state: SgdState,
/// }
/// struct Net {
///     tensors: Vec<Tensor>,
/// }
///
/// impl Model<SgdState> for Net {
///     fn count(&self) -> usize {
///         self.tensors.len()
///     }
///
///     fn layer(&mut self, index: usize, visit: impl FnOnce(LayerMemory<'_, SgdState>)) {
///         let Some(tensor) = self.tensors.get_mut(index) else { return };
///         let Some(gradients) = &tensor.gradients else { return };
///         visit(LayerMemory::new(&mut tensor.weights, gradients, &mut tensor.state));
///     }
/// }
///
/// let state = SgdState::default();
/// let tensor = |gradients| Tensor { weights: vec![1.0], gradients, state };
/// let mut net = Net { tensors: vec![tensor(Some(vec![1.0])), tensor(None)] };
/// let sgd = Sgd::new(SgdConfig::DEFAULT).unwrap();
/// let summary = sgd.step(0.5, &mut net, &mut [Report::ABSENT; 2])?;
/// assert_eq!((summary.applied, summary.skipped), (1, 0));
/// # Ok::<(), layerwise::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a model of layers whose state is `{S}`",
    note = "`FlatModel`, and slices, arrays and `Vec`s of `LayerMemory` are models; your own type needs `count` and `layer`",
    note = "the state must be that of the optimizer's rule"
)]
pub trait Model<S> {
    /// The number of layers.
    fn count(&self) -> usize;

    /// Called before anything else. If it returns an error, so does the step.
    ///
    /// # Errors
    ///
    /// Anything that is wrong with the model as a whole.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Lends one layer to `visit`. A layer that is not lent, say because it has no gradient, takes no part in the step.
    ///
    /// A step calls this two to four times for each layer: to check it; if the [policy](crate::Policy) decides for
    /// whole steps, to measure it and to see whether it can be updated; and to update it. It must get the same layer
    /// each time.
    fn layer(&mut self, index: usize, visit: impl FnOnce(LayerMemory<'_, S>));
}

impl<S> Model<S> for [LayerMemory<'_, S>] {
    #[inline]
    fn count(&self) -> usize {
        self.len()
    }

    #[inline]
    fn layer(&mut self, index: usize, visit: impl FnOnce(LayerMemory<'_, S>)) {
        if let Some(layer) = self.get_mut(index) {
            visit(layer.reborrow());
        }
    }
}

impl<S, const N: usize> Model<S> for [LayerMemory<'_, S>; N] {
    #[inline]
    fn count(&self) -> usize {
        N
    }

    #[inline]
    fn layer(&mut self, index: usize, visit: impl FnOnce(LayerMemory<'_, S>)) {
        self.as_mut_slice().layer(index, visit);
    }
}

#[cfg(feature = "alloc")]
impl<S> Model<S> for alloc::vec::Vec<LayerMemory<'_, S>> {
    #[inline]
    fn count(&self) -> usize {
        self.len()
    }

    #[inline]
    fn layer(&mut self, index: usize, visit: impl FnOnce(LayerMemory<'_, S>)) {
        self.as_mut_slice().layer(index, visit);
    }
}
