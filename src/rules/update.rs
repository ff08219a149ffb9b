//! What a rule can do to memory.

/// An affine update of one layer: everything that a rule can do to memory.
///
/// With `g`, `w`, `m` an element of gradient, weights and momentum:
///
/// ```text
/// h = gradient·g + decay·w
/// m = momentum·m + h
/// w = w − (rate·m + direct·h + shrink·w)
/// ```
///
/// For a layer without momentum, `m` is `h`. The scalars are rounded to `f32` once, when the update is applied. The
/// order of the operations on elements is fixed, so an update gives the same bits in any number of pieces, on any
/// threads.
///
/// Fields may be added: write `..Update::ZERO`.
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
    /// How much of `h` is subtracted from the weights directly (Nesterov).
    pub direct: f64,
    /// The share of the weights that is subtracted from them (decoupled decay).
    pub shrink: f64,
    /// The second moment, for rules that keep one.
    pub second: Option<SecondMoment>,
}

/// The part of an [`Update`] for a second moment, as in Adam and LAMB.
///
/// With it, element by element:
///
/// ```text
/// m = momentum·m + share·h
/// v = keep·v + (1 − keep)·h·h
/// u = rate·m / (√(v·unbias + eps_root) + eps) + direct·h + shrink·w    (0/0 is 0)
/// w = w − u
/// ```
///
/// Fields may be added.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SecondMoment {
    /// How much of `h` goes into the momentum.
    pub share: f64,
    /// How much of the old second moment is kept.
    pub keep: f64,
    /// What the second moment is multiplied by in the denominator, to correct its start from zero.
    pub unbias: f64,
    /// A term added under the root. At least 0; otherwise the layer is
    /// [out of range](crate::Outcome::OutOfRange).
    pub eps_root: f64,
    /// A term added to the root. At least 0, as above.
    pub eps: f64,
}

impl Update {
    /// All scalars 0: this changes no weight and clears the momentum. Use it as `..Update::ZERO`.
    pub const ZERO: Update =
        Update { gradient: 0.0, decay: 0.0, momentum: 0.0, rate: 0.0, direct: 0.0, shrink: 0.0, second: None };
}
