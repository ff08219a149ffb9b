//! What a rule decides for one layer, and its application to memory.

use crate::error::{Error, Slice, check_length};
use crate::kernel::join::Join;
use crate::kernel::norm;
use crate::kernel::update::{self, Coefficients, NewMomentum, Slices};

/// An affine update of one layer: all that any rule of this crate does to memory.
///
/// With `g`, `w`, `m` an element of gradient, weights and momentum:
///
/// ```text
/// h = gradient·g + decay·w
/// m = momentum·m + h
/// w = w − (rate·m + direct·h + shrink·w)
/// ```
///
/// Where a layer has no momentum, `h` stands in the place of `m`. The scalars are rounded to `f32` once, when the update
/// is applied; the order of the operations on the elements is fixed, so an update may be applied in any number of pieces,
/// on any threads, and gives the same bits.
///
/// ```
/// use layerwise::Update;
///
/// // Plain gradient descent with rate 0.5 is the update with gradient 1 and direct 0.5.
/// let update = Update { gradient: 1.0, direct: 0.5, ..Update::NONE };
/// let mut weights = [1.0, 2.0, 3.0];
/// update.apply(&mut weights, &[2.0, 2.0, 2.0])?;
/// assert_eq!(weights, [0.0, 1.0, 2.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// How much of the gradient goes into `h`.
    pub gradient: f64,
    /// How much of the weights goes into `h` (L2 regularisation).
    pub decay: f64,
    /// How much of the old momentum is kept.
    pub momentum: f64,
    /// How much of the new momentum is subtracted from the weights.
    pub rate: f64,
    /// How much of `h` is subtracted from the weights besides (Nesterov).
    pub direct: f64,
    /// How much of the weights is subtracted from themselves (decoupled decay).
    pub shrink: f64,
}

/// Where the coefficient of the gradient leaves the range in which `f32` products keep all their bits.
const LARGE: f64 = (1_u128 << 100) as f64;
/// The power of two that brings it back.
const PRESCALE: f64 = (1_u128 << 90) as f64;

impl Update {
    /// The update that changes no weight and clears the momentum: a base for struct update syntax.
    pub const NONE: Update = Update { gradient: 0.0, decay: 0.0, momentum: 0.0, rate: 0.0, direct: 0.0, shrink: 0.0 };

    /// Applies the update to (a chunk of) a layer without momentum.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if the lengths differ, [`Error::Update`] if a scalar is not a finite `f32`.
    pub fn apply(&self, weights: &mut [f32], gradients: &[f32]) -> Result<(), Error> {
        check_length(Slice::Gradients, weights.len(), gradients.len())?;
        self.apply_to(Join::Serial, false, Slices { weights, gradients, momentum: &mut [] })
    }

    /// Applies the update to (a chunk of) a layer with momentum.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if the lengths differ, [`Error::Update`] if a scalar is not a finite `f32`.
    ///
    /// ```
    /// use layerwise::Update;
    ///
    /// let update = Update { gradient: 1.0, momentum: 0.9, rate: 0.5, ..Update::NONE };
    /// let (mut weights, mut momentum) = ([1.0], [10.0]);
    /// update.apply_with_momentum(&mut weights, &[-1.0], &mut momentum)?;
    /// assert_eq!((weights, momentum), ([-3.0], [8.0]));
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn apply_with_momentum(
        &self,
        weights: &mut [f32],
        gradients: &[f32],
        momentum: &mut [f32],
    ) -> Result<(), Error> {
        check_length(Slice::Gradients, weights.len(), gradients.len())?;
        check_length(Slice::Momentum, weights.len(), momentum.len())?;
        self.apply_to(Join::Serial, true, Slices { weights, gradients, momentum })
    }

    /// Applies the update to a whole layer, with or without momentum, and returns the sum of squares of the new weights.
    ///
    /// It has the bits of [`sum_of_squares`](crate::sum_of_squares), but the weights are summed while they are still in the
    /// cache.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if the lengths differ (`momentum` may be empty), [`Error::Update`] if a scalar is not a finite
    /// `f32`.
    ///
    /// ```
    /// use layerwise::Update;
    ///
    /// let update = Update { gradient: 1.0, direct: 1.0, ..Update::NONE };
    /// let mut weights = [5.0, 6.0];
    /// assert_eq!(update.apply_and_sum(&mut weights, &[2.0, 2.0], &mut [])?, 3.0 * 3.0 + 4.0 * 4.0);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn apply_and_sum(&self, weights: &mut [f32], gradients: &[f32], momentum: &mut [f32]) -> Result<f64, Error> {
        check_length(Slice::Gradients, weights.len(), gradients.len())?;
        if !momentum.is_empty() {
            check_length(Slice::Momentum, weights.len(), momentum.len())?;
        }
        self.apply_and_sum_to(Join::Serial, !momentum.is_empty(), Slices { weights, gradients, momentum })
    }

    /// The L2 norm of the momentum that this update would write (of `h` where `momentum` is empty), without writing it.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if the lengths differ, [`Error::Update`] if a scalar is not a finite `f32`.
    pub fn new_momentum_norm(&self, weights: &[f32], gradients: &[f32], momentum: &[f32]) -> Result<f64, Error> {
        check_length(Slice::Gradients, weights.len(), gradients.len())?;
        if !momentum.is_empty() {
            check_length(Slice::Momentum, weights.len(), momentum.len())?;
        }
        self.new_momentum_norm_of(Join::Serial, weights, gradients, momentum)
    }

    /// [`apply`](Update::apply) or [`apply_with_momentum`](Update::apply_with_momentum) to slices that have been checked.
    #[inline]
    pub(crate) fn apply_to(&self, join: Join, with_momentum: bool, slices: Slices<'_>) -> Result<(), Error> {
        update::apply(join, &self.coefficients(with_momentum)?, slices);
        Ok(())
    }

    /// [`apply_and_sum`](Update::apply_and_sum) of slices that have been checked.
    pub(crate) fn apply_and_sum_to(&self, join: Join, with_momentum: bool, slices: Slices<'_>) -> Result<f64, Error> {
        Ok(update::apply_and_sum(join, &self.coefficients(with_momentum)?, slices))
    }

    /// [`new_momentum_norm`](Update::new_momentum_norm) of slices that have been checked.
    pub(crate) fn new_momentum_norm_of(
        &self,
        join: Join,
        weights: &[f32],
        gradients: &[f32],
        momentum: &[f32],
    ) -> Result<f64, Error> {
        let mut k = self.in_f32()?;
        let momentum = if momentum.is_empty() {
            k.momentum = 0.0;
            weights
        } else {
            momentum
        };
        let [sum] = norm::sums_of_squares(join, NewMomentum(&k), [weights, gradients, momentum]);
        Ok(libm::sqrt(sum))
    }

    /// Replaces a gradient by `gradient·g + decay·w`, the `h` of this update.
    pub(crate) fn rescale(&self, gradients: &mut [f32], weights: &[f32]) -> Result<(), Error> {
        update::rescale(&self.in_f32()?, gradients, weights);
        Ok(())
    }

    /// The scalars in `f32` for a layer with momentum or without.
    #[inline]
    fn coefficients(&self, with_momentum: bool) -> Result<Coefficients, Error> {
        if with_momentum { *self } else { self.without_momentum() }.in_f32()
    }

    /// The scalars in `f32`, if that has them.
    #[inline]
    fn in_f32(&self) -> Result<Coefficients, Error> {
        // As bits, which order as the numbers do, for a processor without f64.
        let size = self.gradient.abs().to_bits();
        let (prescale, inverse) = if size > LARGE.to_bits() {
            (PRESCALE, 1.0 / PRESCALE)
        } else if size < (1.0 / LARGE).to_bits() && size != 0 {
            (1.0 / PRESCALE, PRESCALE)
        } else {
            (1.0, 1.0)
        };
        let k = Coefficients {
            prescale: prescale as f32,
            gradient: (self.gradient * inverse) as f32,
            decay: self.decay as f32,
            momentum: self.momentum as f32,
            rate: self.rate as f32,
            direct: self.direct as f32,
            shrink: self.shrink as f32,
        };
        if k.are_finite() { Ok(k) } else { Err(Error::Update) }
    }

    /// The same update where `h` is the momentum: `w = w − (gradient·g + decay·w)`.
    #[inline]
    fn without_momentum(&self) -> Update {
        let rate = self.rate + self.direct;
        Update { gradient: rate * self.gradient, decay: rate * self.decay + self.shrink, ..Update::NONE }
    }
}
