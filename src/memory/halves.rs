//! What an owner can keep in 16 bits: momentum, and the lower halves of split weights.

use super::carried::CarriedNorms;
use super::owner::{Memory, Owned};
use crate::error::{Argument, Error, check_length};
use crate::rules::rule::RuleState;
use alloc::vec;
use half::bf16;

impl<S: RuleState> Memory<S> {
    /// Keeps momentum in `bf16`: 2 bytes per weight instead of 4.
    ///
    /// Steps compute in `f32`, and round to nearest when they store. Existing momentum is rounded the same way.
    ///
    /// ```
    /// use layerwise::{NovoGrad, NovoGradConfig};
    ///
    /// let novograd = NovoGrad::new(NovoGradConfig::DEFAULT).unwrap();
    /// let plain = novograd.memory([1000]);
    /// let memory = novograd.memory([1000]).bf16_momentum();
    /// assert_eq!(plain.bytes() - memory.bytes(), 2000);
    /// ```
    #[must_use]
    pub fn bf16_momentum(mut self) -> Self {
        for layer in &mut self.layers {
            layer.momentum = layer.momentum.to_bf16();
        }
        self
    }

    /// Keeps the lower halves of the weights of a `bf16` model, which then trains with the bits of `f32` weights: the
    /// tensors that you give to a step are the upper halves.
    ///
    /// `is_split` is called with the number of each layer and returns whether its tensor is `bf16`; a step refuses a
    /// tensor of the other type. Lower halves start as zeros, which is right for weights that have always been `bf16`.
    /// For weights in `f32`, call [`split`](Memory::split). Existing lower halves stay.
    ///
    /// ```
    /// use half::bf16;
    /// use layerwise::{Sgd, SgdConfig};
    ///
    /// let sgd = Sgd::new(SgdConfig { momentum: 0.9, ..SgdConfig::DEFAULT }).unwrap();
    /// let mut weights = [vec![bf16::ONE; 3], vec![bf16::ONE; 5]]; // the model's
    /// let gradients = weights.clone();
    ///
    /// let mut memory = sgd.memory([3, 5]).bf16_momentum().split_weights(|_| true);
    /// for _ in 0..3 {
    ///     memory.step(&sgd, 1e-3, weights.iter_mut().zip(&gradients))?;
    /// }
    /// let mut masters = [0.0; 3]; // the f32 weights
    /// memory.join(0, &weights[0], &mut masters)?;
    /// assert!((0.9943..0.9945).contains(&masters[0])); // 1 - 0.001 - 0.0019 - 0.00271, between two bf16
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    #[must_use]
    pub fn split_weights(mut self, mut is_split: impl FnMut(usize) -> bool) -> Self {
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let lower = layer.lower.take().unwrap_or_else(|| vec![0; layer.len]);
            layer.lower = is_split(index).then_some(lower);
            layer.norms = CarriedNorms::new();
        }
        self
    }

    /// Splits the `f32` weights of a layer: `upper` gets the upper halves of their bits, and the memory keeps the lower
    /// ones. From then on `upper` is the tensor of this layer, as if [`split_weights`](Memory::split_weights) had been
    /// called for it.
    ///
    /// # Errors
    ///
    /// [`Error::Layers`] if there is no such layer, and [`Error::Length`]; then nothing is written.
    ///
    /// ```
    /// use half::bf16;
    /// use layerwise::{Sgd, SgdConfig};
    ///
    /// let mut memory = Sgd::new(SgdConfig::DEFAULT).unwrap().memory([2]);
    /// let (masters, mut upper, mut joined) = ([0.1, -0.3], [bf16::ZERO; 2], [0.0; 2]);
    /// memory.split(0, &masters, &mut upper)?;
    /// memory.join(0, &upper, &mut joined)?;
    /// assert_eq!(joined, masters);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn split(&mut self, layer: usize, weights: &[f32], upper: &mut [bf16]) -> Result<(), Error> {
        let owned = self.get_mut(layer)?;
        owned.check_lengths(layer, [weights.len(), upper.len()])?;
        for (upper, weight) in upper.iter_mut().zip(weights) {
            *upper = bf16::from_bits((weight.to_bits() >> 16) as u16);
        }
        owned.lower = Some(weights.iter().map(|weight| weight.to_bits() as u16).collect());
        owned.norms = CarriedNorms::new();
        Ok(())
    }

    /// Joins the halves of a layer's weights into `f32`; `upper` are the upper halves. (If the memory keeps no lower
    /// halves, they count as zeros.)
    ///
    /// # Errors
    ///
    /// As [`split`](Memory::split).
    pub fn join(&self, layer: usize, upper: &[bf16], weights: &mut [f32]) -> Result<(), Error> {
        let owned = self.get(layer)?;
        owned.check_lengths(layer, [weights.len(), upper.len()])?;
        let lower = owned.lower.iter().flatten().copied().chain(core::iter::repeat(0));
        for ((weight, upper), lower) in weights.iter_mut().zip(upper).zip(lower) {
            *weight = f32::from_bits(u32::from(upper.to_bits()) << 16 | u32::from(lower));
        }
        Ok(())
    }
}

impl<S> Owned<S> {
    /// Checks the number of weights, in both forms.
    fn check_lengths(&self, layer: usize, found: [usize; 2]) -> Result<(), Error> {
        found.into_iter().try_for_each(|found| {
            check_length(Argument::Weights, self.len, found).map_err(|error| error.in_layer(layer))
        })
    }
}
