//! Training inside a file.

use crate::arrays::{Gradient, check_shape};
use crate::error::Error;
use crate::form::{self, Head, Place, STATE, part, tensor};
use crate::mapped::Mapped;
use layerwise::rule::{Rule, RuleState};
use layerwise::{AnyRule, Argument, BytesError, FloatsMut, LayerMemory, Model, Optimizer, Report, Step, Summary};
use ndarray::ArrayViewD;
use std::fs;
use std::marker::PhantomData;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{Ordering, compiler_fence};

/// A training file whose weights, moments and states are used and updated in place: in a [`Mapped`] file, or in any
/// other byte buffer.
///
/// [`Layerwise::save`](crate::Layerwise::save) writes such files. The model computes with [`weights`](Self::weights),
/// and [`step`](Self::step) changes them: nothing is loaded, and nothing has to be saved.
///
/// # When a process or a machine ends
///
/// The operating system may write a mapped file to disk at any time. So keep a second file as a backup, and write it
/// with [`copy_to`](Checkpoint::copy_to) between steps.
///
/// - If the process ends, the file has everything written until then, which may be a part of a step. The file counts
///   steps that begin and steps that end; if the counts differ, it is refused with [`Error::Torn`]. Otherwise training
///   resumes with the same bits.
/// - If the machine crashes, some pages of the file may be older than others, and nothing in the file can show that. Go
///   back to the copy.
#[derive(Debug)]
pub struct Checkpoint<R: Rule, B> {
    optimizer: Optimizer<R>,
    bytes: B,
    layers: Vec<Place>,
    steps: Range<usize>,
    reports: Vec<Report>,
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Checkpoint<AnyRule, B> {
    /// Resumes with the optimizer that is named in the file.
    ///
    /// # Errors
    ///
    /// [`Error::NoRule`] for your own rule, otherwise as [`with_optimizer`](Checkpoint::with_optimizer).
    pub fn new(bytes: B) -> Result<Self, Error> {
        let optimizer = Head::read(bytes.as_ref())?.settings.optimizer()?;
        Checkpoint::with_optimizer(bytes, optimizer)
    }
}

impl<R: Rule, B: AsRef<[u8]> + AsMut<[u8]>> Checkpoint<R, B> {
    /// Resumes with this optimizer, whatever the file says.
    ///
    /// # Errors
    ///
    /// [`Error::BigEndian`] on such machines; [`Error::Format`], [`Error::NoState`] or [`Error::Settings`] for other
    /// files; [`Error::Torn`]; [`Error::Missing`], [`Error::Unexpected`], [`Error::Tensor`] or [`Error::State`] if the
    /// file was written with a rule that keeps other things; [`Error::Misaligned`].
    pub fn with_optimizer(bytes: B, optimizer: Optimizer<R>) -> Result<Self, Error> {
        if cfg!(target_endian = "big") {
            return Err(Error::BigEndian);
        }
        let file = bytes.as_ref();
        let head = Head::read(file)?;
        let (layers, steps) = (head.places(optimizer.moments())?, head.steps()?);
        form::steps_ended(part(file, &steps))?;
        for layer in &layers {
            layer.check_alignment(file)?;
            let state = form::accepted(part(file, &layer.state), optimizer.rule());
            state.ok_or_else(|| Error::State(tensor(&layer.name, STATE)))?;
        }
        Ok(Checkpoint { optimizer, bytes, reports: vec![Report::ABSENT; layers.len()], layers, steps })
    }

    /// The optimizer.
    pub fn optimizer(&self) -> &Optimizer<R> {
        &self.optimizer
    }

    /// The names of the layers, in the order in which [`step`](Checkpoint::step) gets their gradients.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().map(|layer| layer.name.as_str())
    }

    /// The weights of a layer in C order, in place.
    pub fn weights(&self, layer: usize) -> Option<ArrayViewD<'_, f32>> {
        let place = self.layers.get(layer)?;
        let weights = layerwise::floats(part(self.bytes.as_ref(), &place.weights)).ok()?;
        ArrayViewD::from_shape(&place.shape[..], weights).ok()
    }

    /// How many steps were taken, in this file and before it was written.
    pub fn steps(&self) -> u64 {
        match form::steps_ended(part(self.bytes.as_ref(), &self.steps)) {
            Ok(steps) | Err(Error::Torn { step: steps }) => steps,
            Err(_) => 0,
        }
    }

    /// What happened to each layer in the last step that was not refused.
    pub fn reports(&self) -> impl Iterator<Item = (&str, &Report)> {
        self.names().zip(&self.reports)
    }

    /// Updates all layers. `step` is a learning rate, or a [`Step`] with a scale of the gradients.
    ///
    /// # Errors
    ///
    /// [`Error::Layers`], [`Error::Layer`] for a gradient of another shape, and [`Error::Step`]; then nothing is
    /// written.
    pub fn step(&mut self, step: impl Into<Step>, gradients: &[Gradient<'_>]) -> Result<Summary, Error> {
        let (expected, found) = (self.layers.len(), gradients.len());
        if expected != found {
            return Err(Error::Layers { expected, found });
        }
        for (layer, gradient) in self.layers.iter().zip(gradients) {
            let checked = check_shape(Argument::Gradients, &layer.shape, gradient.order.shape);
            checked.map_err(|error| error.in_layer(&layer.name))?;
        }
        // (The file is torn if the caller's own rule has panicked.)
        let steps = form::steps_ended(part(self.bytes.as_ref(), &self.steps))?;
        self.count(steps.wrapping_add(1), steps);
        let mut model = Lent { layers: &self.layers, gradients, bytes: self.bytes.as_mut(), states: PhantomData };
        let summary = self.optimizer.step(step, &mut model, &mut self.reports);
        let steps = if summary.is_ok() { steps.wrapping_add(1) } else { steps };
        self.count(steps, steps);
        Ok(summary?)
    }

    /// Writes how many steps have begun and ended, before or after what these steps write. (Fences keep the compiler
    /// from reordering. Stores that are still in the processor complete even if the process ends.)
    fn count(&mut self, begun: u64, ended: u64) {
        compiler_fence(Ordering::SeqCst);
        let counts = self.bytes.as_mut().get_mut(self.steps.clone()).unwrap_or_default();
        for (to, count) in counts.as_chunks_mut().0.iter_mut().zip([begun, ended]) {
            *to = count.to_le_bytes();
        }
        compiler_fence(Ordering::SeqCst);
    }

    /// Writes a copy of the file. An existing file is replaced only when the copy is complete and on disk.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if the existing file is mapped (it may be this one), and [`Error::Io`].
    pub fn copy_to(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        form::replace(path.as_ref(), |temporary| Ok(fs::write(temporary, self.bytes.as_ref())?))
    }

    /// The bytes of the file.
    pub fn into_bytes(self) -> B {
        self.bytes
    }
}

impl<R: Rule> Checkpoint<R, Mapped> {
    /// Waits until everything written is on disk. Otherwise the operating system writes when it chooses.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn flush(&self) -> Result<(), Error> {
        self.bytes.flush()
    }
}

impl Place {
    /// Refuses weights and moments that cannot be used in place.
    fn check_alignment(&self, file: &[u8]) -> Result<(), Error> {
        for (name, range) in self.arrays() {
            if let Err(BytesError::Misaligned { size }) = layerwise::floats(part(file, range)) {
                return Err(Error::Misaligned { name, size });
            }
        }
        Ok(())
    }
}

/// A file as a model that lends one layer at a time. Everything has been checked before.
struct Lent<'a, S> {
    layers: &'a [Place],
    gradients: &'a [Gradient<'a>],
    bytes: &'a mut [u8],
    states: PhantomData<S>,
}

impl<S: RuleState> Model<S> for Lent<'_, S> {
    fn count(&self) -> usize {
        self.layers.len()
    }

    fn layer(&mut self, index: usize, visit: impl FnOnce(LayerMemory<'_, S>)) {
        let (Some(place), Some(gradient)) = (self.layers.get(index), self.gradients.get(index)) else { return };
        let Place { weights, momentum, second_moment, state, config, .. } = place;
        let ranges = [weights, momentum, second_moment, state].map(Range::clone);
        let Ok([weights, momentum, second_moment, at]) = self.bytes.get_disjoint_mut(ranges) else { return };
        let floats = |bytes| layerwise::floats_mut(bytes).map(FloatsMut::from);
        let (Ok(weights), Ok(momentum), Ok(second_moment), Some(mut state)) =
            (floats(weights), floats(momentum), floats(second_moment), form::state::<S>(at))
        else {
            return;
        };
        let memory = LayerMemory::new(weights, gradient.floats, &mut state).config(*config);
        visit(memory.momentum(momentum).second_moment(second_moment));
        for (to, number) in at.as_chunks_mut().0.iter_mut().zip(state.to_numbers()) {
            *to = number.to_le_bytes();
        }
    }
}
