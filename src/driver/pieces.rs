//! A step in pieces, for hosts with their own loops, threads or ranks.
//!
//! The types enforce the order. A [`Pass`] measures layers, a [`Decided`] applies their updates, and a [`Planned`]
//! updates one layer that is divided between workers. All workers that have the same numbers make the same decision,
//! bit for bit. The steps of [`Optimizer`] use the same functions.
//!
//! Two loops, say over nodes of a graph:
//!
//! ```
//! use layerwise::pieces::LayerView;
//! use layerwise::{LayerMemory, Sgd, SgdConfig, SgdState, Step};
//!
//! let sgd = Sgd::new(SgdConfig::DEFAULT).unwrap();
//! let (mut tensors, gradients) = ([[1.0; 4], [2.0; 4]], [[4.0; 4], [8.0; 4]]);
//! let mut states = [SgdState::default(); 2];
//!
//! let mut pass = sgd.pass(Step::new(0.5).gradient_scale(0.5))?;
//! let mut measured = Vec::new();
//! for (w, g) in tensors.iter().zip(&gradients) {
//!     measured.push(pass.measure(LayerView::new(w, g))?);
//! }
//! let decided = pass.decide();
//! for (((w, g), state), measured) in tensors.iter_mut().zip(&gradients).zip(&mut states).zip(measured) {
//!     decided.apply(measured, LayerMemory::new(w, g, state))?;
//! }
//! assert_eq!(tensors, [[0.0; 4]; 2]);
//! # Ok::<(), layerwise::Error>(())
//! ```
//!
//! One layer, divided between workers:
//!
//! ```
//! use layerwise::pieces::{LEAF, LayerView, SUMS, chunk};
//! use layerwise::{LayerConfig, LayerMemory, NovoGrad, NovoGradConfig, NovoGradState};
//!
//! let novograd = NovoGrad::new(NovoGradConfig::DEFAULT).unwrap();
//! let (mut weights, gradients, mut momentum) = ([1.0; 5000], [0.5; 5000], [0.0; 5000]);
//! let mut state = NovoGradState::default();
//!
//! let mut pass = novograd.pass(0.1)?;
//! let mut sums = [[0.0; SUMS]; 5000_usize.div_ceil(LEAF)];
//! for worker in 0..2 {
//!     let own = chunk(5000, worker, 2);
//!     let leaves = own.start / LEAF..own.end.div_ceil(LEAF);
//!     let view = LayerView::new(&weights[own.clone()], &gradients[own.clone()]);
//!     pass.leaf_sums(view, own.start, &mut sums[leaves])?;
//! }
//! // From here on every worker does the same.
//! let config = LayerConfig::DEFAULT;
//! let measured = pass.fold(&config, 5000, &sums)?;
//! let planned = pass.decide().plan(measured, &config, state)?;
//! for worker in 0..2 {
//!     let own = chunk(5000, worker, 2);
//!     let (w, g, m) = (&mut weights[own.clone()], &gradients[own.clone()], &mut momentum[own]);
//!     planned.apply(LayerMemory::new(w, g, &mut ()).momentum(m))?;
//! }
//! let (report, next) = planned.report();
//! state = next;
//! # assert!(report.applied() && state.steps == 1);
//! # let (mut whole, mut m, mut s) = ([1.0; 5000], [0.0; 5000], NovoGradState::default());
//! # novograd.step_layer(0.1, LayerMemory::new(&mut whole, &gradients, &mut s).momentum(&mut m))?;
//! # assert_eq!((whole, m, s), (weights, momentum, state));
//! # Ok::<(), layerwise::Error>(())
//! ```

use super::check::{check_config, check_leaves, check_subtrees};
use super::layer::Decision;
use super::measure;
use super::numbers::numbers;
use super::optimizer::Optimizer;
use super::tree::leaves_of;
use crate::error::{Error, is_non_negative};
use crate::kernel::any;
use crate::kernel::machine::{Machine, Threads};
use crate::kernel::shape;
use crate::memory::floats::Floats;
use crate::memory::report::{Outcome, Report};
use crate::rules::double::sqrt;
use crate::rules::layer::LayerConfig;
use crate::rules::rule::Rule;
use crate::rules::step::Step;
use core::ops::Range;

pub use super::accumulate::add;
pub use super::decided::{Decided, Measured, Planned};
pub use super::tree::{Cover, Tree};
pub use crate::memory::layer::LayerView;

/// Elements in a leaf, the unit in which the work on a norm may be divided: chunks of a layer begin at multiples of it.
pub const LEAF: usize = shape::LEAF;

/// How many sums [`Pass::leaf_sums`] computes for a leaf, and [`Pass::subtree_sums`] for a node: gradient, weights and
/// moments. It may grow, so use the constant.
pub const SUMS: usize = measure::SUMS;

/// The elements of a layer of `len` that go to the worker `ith` of `nth`: whole leaves, so that each chunk begins at a
/// multiple of [`LEAF`], divided as evenly as possible. The range is empty if `ith` is not below `nth`.
///
/// ```
/// use layerwise::pieces::{LEAF, chunk};
///
/// assert_eq!(chunk(5 * LEAF + 7, 0, 2), 0..3 * LEAF);
/// assert_eq!(chunk(5 * LEAF + 7, 1, 2), 3 * LEAF..5 * LEAF + 7);
/// ```
#[must_use]
pub const fn chunk(len: usize, ith: usize, nth: usize) -> Range<usize> {
    if ith >= nth {
        return len..len;
    }
    // 128 bits: the product of leaves and workers may overflow 64.
    let leaves = len.div_ceil(LEAF) as u128;
    let from = (leaves * ith as u128 / nth as u128) as usize * LEAF;
    let to = (leaves * (ith as u128 + 1) / nth as u128) as usize;
    let to = if to < len.div_ceil(LEAF) { to * LEAF } else { len };
    (if from < len { from } else { len })..to
}

/// The sum of squares of each leaf of (a chunk of) an array, for your own norms.
///
/// `start` is where in the array the chunk begins. `sums` has an element for each leaf. Concatenate the sums of all
/// chunks in order, and [`fold_leaf_sums`] computes [`sum_of_squares`](crate::sum_of_squares) from them, with the same
/// bits.
///
/// # Errors
///
/// [`Error::OffLeaf`] if `start` is not a multiple of [`LEAF`], and [`Error::Length`] of `sums`; then nothing is
/// written.
///
/// ```
/// use layerwise::pieces::{LEAF, fold_leaf_sums, leaf_sums};
/// use layerwise::norms::sum_of_squares;
///
/// let x: Vec<f32> = (0..5000).map(|i| i as f32).collect();
/// let (left, right) = x.split_at(3 * LEAF);
/// let mut sums = [0.0; 5];
/// leaf_sums(left, 0, &mut sums[..3])?; // on one thread
/// leaf_sums(right, 3 * LEAF, &mut sums[3..])?; // on another
/// assert_eq!(fold_leaf_sums(&sums), sum_of_squares(&x));
/// # Ok::<(), layerwise::Error>(())
/// ```
pub fn leaf_sums<'a>(chunk: impl Into<Floats<'a>>, start: usize, sums: &mut [f64]) -> Result<(), Error> {
    let chunk = chunk.into();
    let leaves = check_leaves(start, chunk.len(), sums.len())?;
    piece_sums(Machine::serial(), chunk, leaves, sums);
    Ok(())
}

/// The sum of squares of an array from its [`leaf_sums`], those of all leaves in order.
pub fn fold_leaf_sums(sums: &[f64]) -> f64 {
    let leaves = Cover::leaf_by_leaf(sums.len());
    let sum = Tree::new(sums.len()).fold(leaves.zip(sums.iter().copied()), |left, right| left + right);
    sum.ok().flatten().unwrap_or(0.0)
}

/// The sum of squares of each node that [covers](Tree::cover) (a chunk of) an array of `len` elements, for your own
/// norms: the fewest numbers possible, where [`leaf_sums`] has one for each leaf.
///
/// `start` is where in the array the chunk begins; an empty one may begin at its end or after it. `sums` has an element
/// for each node of `Tree::of_len(len).cover(..)`, of the leaves of the chunk. [`Tree::fold`] computes
/// [`sum_of_squares`](crate::sum_of_squares) from the sums of all chunks, with the same bits.
///
/// # Errors
///
/// [`Error::OffLeaf`] if `start` is not a multiple of [`LEAF`], or the chunk ends neither at a multiple nor with the
/// array; [`Error::Length`] of `chunk`, if it goes beyond the array, and of `sums`; then nothing is written.
///
/// ```
/// use layerwise::pieces::{LEAF, Tree, subtree_sums};
/// use layerwise::sum_of_squares;
///
/// let x: Vec<f32> = (0..5000).map(|i| i as f32).collect();
/// let (left, right) = x.split_at(3 * LEAF);
/// let tree = Tree::of_len(5000);
/// let nodes = || tree.cover(0..3).chain(tree.cover(3..5));
/// let mut sums = [0.0; 4]; // of the leaves 0..2, 2..3, 3..4, 4..5
/// subtree_sums(left, 5000, 0, &mut sums[..2])?; // on one machine
/// subtree_sums(right, 5000, 3 * LEAF, &mut sums[2..])?; // on another
/// assert_eq!(tree.fold(nodes().zip(sums), |left, right| left + right)?, Some(sum_of_squares(&x)));
/// # Ok::<(), layerwise::Error>(())
/// ```
pub fn subtree_sums<'a>(chunk: impl Into<Floats<'a>>, len: usize, start: usize, sums: &mut [f64]) -> Result<(), Error> {
    subtree_sums_on(Machine::serial(), chunk.into(), len, start, sums)
}

pub(super) fn subtree_sums_on(
    machine: Machine,
    chunk: Floats<'_>,
    len: usize,
    start: usize,
    sums: &mut [f64],
) -> Result<(), Error> {
    let nodes = check_subtrees(len, start, chunk.len(), sums.len())?;
    piece_sums(machine, chunk, nodes, sums);
    Ok(())
}

/// The sum of squares of each piece of a chunk.
fn piece_sums(machine: Machine, chunk: Floats<'_>, pieces: Cover, sums: &mut [f64]) {
    let leaves = pieces.map(|piece| leaves_of(&piece));
    let sums = sums.as_chunks_mut::<1>().0;
    any::each_piece([numbers(chunk)], leaves, sums, 0, |[piece]| any::sum_of_squares(machine, piece));
}

impl<R: Rule> Optimizer<R> {
    /// Begins a step in pieces: [measure](Pass::measure) all layers, [decide](Pass::decide), then
    /// [apply](Decided::apply).
    ///
    /// # Errors
    ///
    /// [`Error::LearningRate`] and [`Error::GradientScale`].
    pub fn pass(&self, step: impl Into<Step>) -> Result<Pass<'_, R>, Error> {
        let step = step.into();
        step.check()?;
        Ok(Pass { optimizer: self, step, squares: 0.0, bad: false })
    }

    /// The second phase of a step that was decided elsewhere: by another worker, or in an earlier call. `clip` and
    /// `skips` are those of its [`Decided`]. The norm of the whole gradient is unknown here, so it is NaN.
    ///
    /// # Errors
    ///
    /// [`Error::LearningRate`], and [`Error::GradientScale`] of the step or of `clip`.
    ///
    /// ```
    /// use layerwise::pieces::LayerView;
    /// use layerwise::{LayerMemory, Policy, Sgd, SgdConfig, SgdState};
    ///
    /// let sgd = Sgd::new(SgdConfig::DEFAULT)?.with_policy(Policy { clip_norm: Some(1.0), ..Policy::DEFAULT })?;
    /// let (mut weights, mut state) = ([1.0, 1.0], SgdState::default());
    ///
    /// // One worker measures,
    /// let measured = sgd.pass(0.5)?.measure(LayerView::new(&weights, &[3.0, 4.0]))?;
    /// // another decides,
    /// let mut pass = sgd.pass(0.5)?;
    /// pass.add(measured);
    /// let decided = pass.decide();
    /// let (clip, skips) = (decided.clip(), decided.skips());
    /// // and a third applies.
    /// let decided = sgd.resume(0.5, clip, skips)?;
    /// decided.apply(measured, LayerMemory::new(&mut weights, &[3.0, 4.0], &mut state))?;
    /// assert_eq!(weights, [0.7, 0.6]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resume(&self, step: impl Into<Step>, clip: f64, skips: bool) -> Result<Decided<'_, R>, Error> {
        let step = step.into();
        step.check()?;
        if !is_non_negative(clip) {
            return Err(Error::GradientScale(clip));
        }
        Ok(Decided { optimizer: self, step, decision: Decision { clip, skip: skips }, gradient_norm: f64::NAN })
    }
}

/// The first phase of a step: layers are measured, nothing is written.
#[must_use]
#[derive(Debug)]
pub struct Pass<'o, R> {
    optimizer: &'o Optimizer<R>,
    step: Step,
    /// The sum of the squares of the gradient norms so far.
    squares: f64,
    /// Whether a layer cannot be updated.
    bad: bool,
}

impl<'o, R: Rule> Pass<'o, R> {
    /// Measures a whole layer.
    ///
    /// With a policy that skips whole steps and a rule that limits its step, this reads the moments too, so the layer
    /// must have them.
    ///
    /// # Errors
    ///
    /// [`Error::Length`], [`Error::Missing`], [`Error::Type`], [`Error::LearningRate`], [`Error::Decay`] and, in builds
    /// with debug assertions, [`Error::StaleNorm`].
    pub fn measure(&mut self, layer: LayerView<'_>) -> Result<Measured, Error> {
        self.optimizer.check_whole(&self.step, &layer)?;
        let machine = self.optimizer.machine(Threads::One);
        let report = self.optimizer.measured(machine, &self.step, &layer);
        let looks = report.outcome == Outcome::Applied && self.optimizer.reads_moments(&layer.config);
        let usable = !looks || measure::are_usable(machine, &layer);
        Ok(self.found(report, layer.weights.len(), usable))
    }

    /// Measures the leaves of a chunk that begins at the element `start` of its layer: one group of [`SUMS`] numbers
    /// for each [`LEAF`] elements. Any worker may do it, for chunks in any order.
    ///
    /// # Errors
    ///
    /// [`Error::OffLeaf`] if `start` is not a multiple of [`LEAF`], otherwise as [`measure`](Pass::measure); then
    /// nothing is written.
    pub fn leaf_sums(&self, chunk: LayerView<'_>, start: usize, sums: &mut [[f64; SUMS]]) -> Result<(), Error> {
        self.optimizer.check_view(&self.step, &chunk)?;
        let leaves = check_leaves(start, chunk.weights.len(), sums.len())?;
        self.piece_sums(&chunk, leaves, sums);
        Ok(())
    }

    /// Measures the nodes that [cover](Tree::cover) a chunk of a layer of `len` elements, which begins at the element
    /// `start`: one group of [`SUMS`] numbers for each node, where [`leaf_sums`](Pass::leaf_sums) has one for each
    /// leaf.
    ///
    /// # Errors
    ///
    /// [`Error::OffLeaf`] if `start` is not a multiple of [`LEAF`], or the chunk ends neither at a multiple nor with
    /// the layer; [`Error::Length`] of the chunk, if it goes beyond the layer, and of `sums`; otherwise as
    /// [`measure`](Pass::measure). Then nothing is written.
    ///
    /// ```
    /// use layerwise::pieces::{LEAF, LayerView, SUMS, Tree, chunk};
    /// use layerwise::{LarcConfig, LayerConfig, Sgd, SgdConfig};
    ///
    /// let sgd = Sgd::new(SgdConfig { larc: Some(LarcConfig::DEFAULT), ..SgdConfig::DEFAULT }).unwrap();
    /// let (weights, gradients) = (vec![1.0; 100_000], vec![0.5; 100_000]);
    /// let mut pass = sgd.pass(0.1)?;
    /// let (tree, mut pieces) = (Tree::of_len(100_000), Vec::new());
    /// for worker in 0..3 {
    ///     let own = chunk(100_000, worker, 3);
    ///     let nodes = tree.cover(own.start / LEAF..own.end.div_ceil(LEAF));
    ///     let mut sums = vec![[0.0; SUMS]; nodes.len()];
    ///     let view = LayerView::new(&weights[own.clone()], &gradients[own.clone()]);
    ///     pass.subtree_sums(view, 100_000, own.start, &mut sums)?;
    ///     pieces.extend(nodes.zip(sums));
    /// }
    /// assert_eq!(pieces.len(), 9); // of 98 leaves
    /// let _measured = pass.fold_subtrees(&LayerConfig::DEFAULT, 100_000, pieces)?;
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn subtree_sums(
        &self,
        chunk: LayerView<'_>,
        len: usize,
        start: usize,
        sums: &mut [[f64; SUMS]],
    ) -> Result<(), Error> {
        self.optimizer.check_view(&self.step, &chunk)?;
        let nodes = check_subtrees(len, start, chunk.weights.len(), sums.len())?;
        self.piece_sums(&chunk, nodes, sums);
        Ok(())
    }

    /// Measures the pieces of a chunk.
    fn piece_sums(&self, chunk: &LayerView<'_>, pieces: Cover, sums: &mut [[f64; SUMS]]) {
        if chunk.config.frozen {
            return sums.fill([0.0; SUMS]);
        }
        let needs = self.optimizer.rule.needs(&chunk.config);
        let moments = self.optimizer.reads_moments(&chunk.config);
        let machine = self.optimizer.machine(Threads::One);
        measure::sums(machine, &needs, self.step.gradient_scale, moments, chunk, pieces, sums);
    }

    /// As [`measure`](Pass::measure), for a layer of `len` elements, from the [sums of all its leaves](Pass::leaf_sums)
    /// in their order.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if there are more or fewer sums than the layer has leaves, [`Error::LearningRate`] and
    /// [`Error::Decay`].
    pub fn fold(&mut self, config: &LayerConfig, len: usize, sums: &[[f64; SUMS]]) -> Result<Measured, Error> {
        if config.frozen {
            return self.fold_subtrees(config, len, []);
        }
        let leaves = check_leaves(0, len, sums.len())?;
        self.fold_subtrees(config, len, leaves.zip(sums.iter().copied()))
    }

    /// As [`fold`](Pass::fold), from the [sums of nodes](Pass::subtree_sums) that together cover all leaves of the
    /// layer, from left to right.
    ///
    /// # Errors
    ///
    /// [`Error::Pieces`] if they do not, [`Error::LearningRate`] and [`Error::Decay`].
    pub fn fold_subtrees(
        &mut self,
        config: &LayerConfig,
        len: usize,
        pieces: impl IntoIterator<Item = (Range<usize>, [f64; SUMS])>,
    ) -> Result<Measured, Error> {
        check_config(self.step.lr, config)?;
        if config.frozen {
            return Ok(Measured { report: Report::FROZEN, len });
        }
        let needs = self.optimizer.rule.needs(config);
        let (norms, usable) = measure::fold(&needs, self.step.gradient_scale, Tree::of_len(len), pieces)?;
        Ok(self.found(self.optimizer.seen(&self.step, config, norms), len, usable))
    }

    /// What was measured of a layer. `usable` is false if its moments were read and have no finite step.
    fn found(&mut self, mut report: Report, len: usize, usable: bool) -> Measured {
        if !usable {
            report.outcome = Outcome::NonFinite;
        }
        let measured = Measured { report, len };
        self.add(measured);
        measured
    }

    /// Adds a layer that another pass measured for the same step: by another worker, or in an earlier call. The sum
    /// over layers is in `f64`, so add layers in the same order everywhere.
    pub fn add(&mut self, measured: Measured) {
        let report = &measured.report;
        if report.counts {
            self.squares += report.gradient_norm * report.gradient_norm;
        }
        self.bad |= report.outcome == Outcome::NonFinite;
    }

    /// Ends the first phase, when all layers have been measured: decides the clip, and whether to skip the whole step.
    pub fn decide(self) -> Decided<'o, R> {
        let Pass { optimizer, step, squares, bad } = self;
        let gradient_norm = sqrt(squares);
        let skip = bad && optimizer.skips_steps();
        let clip = if skip { 1.0 } else { optimizer.clip(gradient_norm) };
        Decided { optimizer, step, decision: Decision { clip, skip }, gradient_norm }
    }
}
