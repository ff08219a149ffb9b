//! The owner of all that an optimizer remembers of a model.

use super::carried::CarriedNorms;
use super::floats::{Floats, FloatsMut};
use super::layer::{LayerMemory, LayerView};
use super::report::Report;
use crate::error::{Argument, Error, LoadError, check_length};
use crate::rules::layer::LayerConfig;
use crate::rules::rule::{Moments, RuleState};
use alloc::vec;
use alloc::vec::Vec;

/// All that an optimizer remembers of a model: moments, states and norms of each layer, with its configuration and the
/// report of the last step. The weights and gradients stay yours.
///
/// [`Optimizer::memory`](crate::Optimizer::memory) makes one, of zeros; [`step`](Memory::step) uses it.
/// [`to_bytes`](Memory::to_bytes) saves it, and with the feature `serde` any format does: training that is
/// [loaded](Memory::load) goes on with the same bits. (What is saved are moments and states. Configurations are yours
/// to set again, and norms are measured again.)
///
/// ```
/// use layerwise::{Sgd, SgdConfig};
///
/// let sgd = Sgd::new(SgdConfig { momentum: 0.9, ..SgdConfig::DEFAULT }).unwrap();
/// let mut tensors = [vec![1.0; 3], vec![2.0; 5]];
/// let gradients = [vec![0.5; 3], vec![0.25; 5]];
///
/// let mut memory = sgd.memory(tensors.iter().map(Vec::len));
/// let summary = memory.step(&sgd, 0.1, tensors.iter_mut().zip(&gradients))?;
/// assert_eq!((summary.applied, memory.reports()[1].applied()), (2, true));
///
/// let saved = memory.to_bytes();
/// let mut resumed = sgd.memory(tensors.iter().map(Vec::len));
/// resumed.load(&saved).unwrap();
/// assert_eq!(resumed, memory);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Memory<S> {
    pub(crate) layers: Vec<Owned<S>>,
    pub(crate) reports: Vec<Report>,
    carries_norms: bool,
}

/// What is remembered of one layer.
#[derive(Clone, Debug)]
pub(crate) struct Owned<S> {
    len: usize,
    config: LayerConfig,
    momentum: Vec<f32>,
    second_moment: Vec<f32>,
    state: S,
    norms: CarriedNorms,
}

impl<S: RuleState> Memory<S> {
    /// Zeros for layers of these lengths.
    pub(crate) fn new(moments: Moments, lengths: impl IntoIterator<Item = usize>) -> Self {
        let owned = |len| Owned {
            len,
            config: LayerConfig::DEFAULT,
            momentum: vec![0.0; if moments >= Moments::First { len } else { 0 }],
            second_moment: vec![0.0; if moments >= Moments::FirstAndSecond { len } else { 0 }],
            state: S::default(),
            norms: CarriedNorms::new(),
        };
        let layers: Vec<_> = lengths.into_iter().map(owned).collect();
        Memory { reports: vec![Report::ABSENT; layers.len()], layers, carries_norms: false }
    }

    /// Whether the norms of weights are [carried](CarriedNorms) from step to step; they are not at first. Do so only if
    /// nothing but steps changes the weights, or call [`forget_norms`](Memory::forget_norms) when something does.
    pub fn carry_norms(&mut self, carry: bool) {
        self.carries_norms = carry;
        self.forget_norms();
    }

    /// Makes all norms unknown: call it when you have changed weights, say by clamping or loading them.
    pub fn forget_norms(&mut self) {
        for layer in &mut self.layers {
            layer.norms = CarriedNorms::new();
        }
    }

    /// The number of layers.
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// How many bytes are remembered from step to step.
    pub fn bytes(&self) -> usize {
        let of_moments = |layer: &Owned<S>| layer.moments().map(size_of_val).into_iter().sum::<usize>();
        self.layers.iter().map(|layer| of_moments(layer) + size_of::<S>()).sum()
    }

    /// What happened to each layer in the last [`step`](Memory::step).
    pub fn reports(&self) -> &[Report] {
        &self.reports
    }

    /// What is particular about a layer, to be changed.
    pub fn config_mut(&mut self, layer: usize) -> Option<&mut LayerConfig> {
        Some(&mut self.layers.get_mut(layer)?.config)
    }

    /// The state of a layer.
    pub fn state(&self, layer: usize) -> Option<S> {
        Some(self.layers.get(layer)?.state)
    }

    /// The momentum of a layer; empty if there is none.
    pub fn momentum(&self, layer: usize) -> Option<Floats<'_>> {
        Some(Floats::from(&self.layers.get(layer)?.momentum))
    }

    /// The moment of the squares of a layer; empty if there is none.
    pub fn second_moment(&self, layer: usize) -> Option<Floats<'_>> {
        Some(Floats::from(&self.layers.get(layer)?.second_moment))
    }

    /// One layer with its weights and gradients, for hosts that lend one tensor at a time.
    ///
    /// # Errors
    ///
    /// [`Error::Layers`] if there is no such layer, and [`Error::Length`].
    pub fn layer<'a>(
        &'a mut self,
        layer: usize,
        weights: impl Into<FloatsMut<'a>>,
        gradients: impl Into<Floats<'a>>,
    ) -> Result<LayerMemory<'a, S>, Error> {
        let (expected, carries_norms) = (self.layers.len(), self.carries_norms);
        let owned = self.layers.get_mut(layer).ok_or(Error::Layers { expected, found: layer.saturating_add(1) })?;
        owned.lend(layer, carries_norms, weights.into(), gradients.into())
    }

    /// The same layer, to be read.
    ///
    /// # Errors
    ///
    /// As [`layer`](Memory::layer).
    pub fn view<'a>(
        &'a self,
        layer: usize,
        weights: impl Into<Floats<'a>>,
        gradients: impl Into<Floats<'a>>,
    ) -> Result<LayerView<'a>, Error> {
        let (weights, expected) = (weights.into(), self.layers.len());
        let owned = self.layers.get(layer).ok_or(Error::Layers { expected, found: layer.saturating_add(1) })?;
        check_length(Argument::Weights, owned.len, weights.len()).map_err(|error| error.in_layer(layer))?;
        let view = LayerView::new(weights, gradients).config(owned.config);
        let view = view.momentum(&owned.momentum).second_moment(&owned.second_moment);
        Ok(if self.carries_norms { view.norms(&owned.norms) } else { view })
    }

    /// All layers, with the weights and gradients of each, in order. The list is a [`Model`](crate::Model).
    ///
    /// # Errors
    ///
    /// [`Error::Layers`] if there are more or fewer, and [`Error::Length`].
    pub fn layers<'a, W: Into<FloatsMut<'a>>, G: Into<Floats<'a>>>(
        &'a mut self,
        tensors: impl IntoIterator<Item = (W, G)>,
    ) -> Result<Vec<LayerMemory<'a, S>>, Error> {
        lend_all(&mut self.layers, self.carries_norms, tensors)
    }

    /// All layers as [`layers`](Memory::layers) gives them, and their reports.
    pub(crate) fn layers_and_reports<'a, W: Into<FloatsMut<'a>>, G: Into<Floats<'a>>>(
        &'a mut self,
        tensors: impl IntoIterator<Item = (W, G)>,
    ) -> Result<(Vec<LayerMemory<'a, S>>, &'a mut [Report]), Error> {
        Ok((lend_all(&mut self.layers, self.carries_norms, tensors)?, &mut self.reports))
    }

    /// Moments and states as bytes, in the same form on every machine: `layerwise`, the version of the form, the number
    /// of layers, and for each its length, the lengths of its momentum and second moment, the three numbers of its
    /// state, and the moments; all numbers little-endian, counts in 64 bits.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(MAGIC.len() + 8 + self.layers.len() * 48 + self.bytes());
        to.extend(MAGIC);
        to.extend((self.layers.len() as u64).to_le_bytes());
        for layer in &self.layers {
            to.extend((layer.len as u64).to_le_bytes());
            for moment in layer.moments() {
                to.extend((moment.len() as u64).to_le_bytes());
            }
            to.extend(layer.state.to_numbers().into_iter().flat_map(f64::to_le_bytes));
            to.extend(layer.moments().into_iter().flatten().flat_map(|x| x.to_le_bytes()));
        }
        to
    }

    /// Takes over what [`to_bytes`](Memory::to_bytes) has saved, if it is of layers like these. Configurations stay as
    /// they are.
    ///
    /// # Errors
    ///
    /// A [`LoadError`]; then nothing is changed.
    pub fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.take_over(Memory::from_bytes(bytes)?)
    }

    /// Takes over moments and states of another memory, say one that was read by `serde`, if it is of layers like
    /// these. Configurations stay as they are.
    ///
    /// # Errors
    ///
    /// A [`LoadError`]; then nothing is changed.
    pub fn take_over(&mut self, from: Memory<S>) -> Result<(), LoadError> {
        let (expected, found) = (self.layers.len(), from.layers.len());
        if expected != found {
            return Err(LoadError::Layers { expected, found });
        }
        let lengths = |layer: &Owned<S>| (layer.len, layer.moments().map(<[f32]>::len));
        let same = |(a, b): (&Owned<S>, &Owned<S>)| lengths(a) == lengths(b);
        if let Some(layer) = self.layers.iter().zip(&from.layers).position(|pair| !same(pair)) {
            return Err(LoadError::Layer { layer });
        }
        for (to, from) in self.layers.iter_mut().zip(from.layers) {
            *to = Owned { config: to.config, ..from };
        }
        self.reports.fill(Report::ABSENT);
        Ok(())
    }

    /// A memory that was saved by [`to_bytes`](Memory::to_bytes), with default configurations.
    ///
    /// # Errors
    ///
    /// A [`LoadError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LoadError> {
        let mut rest = bytes.strip_prefix(MAGIC.as_slice()).ok_or(LoadError::Format)?;
        let count = number(&mut rest)?;
        let mut layers = Vec::new();
        for layer in 0..count {
            let [len, momentum_len, second_len] = [number(&mut rest)?, number(&mut rest)?, number(&mut rest)?];
            if [momentum_len, second_len].iter().any(|&moment| moment != 0 && moment != len) {
                return Err(LoadError::Layer { layer });
            }
            let mut numbers = [0.0; 3];
            for number in &mut numbers {
                *number = f64::from_le_bytes(take(&mut rest)?);
            }
            let state = S::from_numbers(numbers).ok_or(LoadError::State { layer })?;
            let (momentum, second_moment) = (floats(&mut rest, momentum_len)?, floats(&mut rest, second_len)?);
            let (config, norms) = (LayerConfig::DEFAULT, CarriedNorms::new());
            layers.push(Owned { len, config, momentum, second_moment, state, norms });
        }
        if !rest.is_empty() {
            return Err(LoadError::Length);
        }
        Ok(Memory { reports: vec![Report::ABSENT; layers.len()], layers, carries_norms: false })
    }
}

/// What a saved memory begins with. The last byte is the version of the form.
const MAGIC: &[u8; 10] = b"layerwise\x01";

fn take<const N: usize>(from: &mut &[u8]) -> Result<[u8; N], LoadError> {
    let (head, rest) = from.split_first_chunk().ok_or(LoadError::Length)?;
    *from = rest;
    Ok(*head)
}

fn number(from: &mut &[u8]) -> Result<usize, LoadError> {
    usize::try_from(u64::from_le_bytes(take(from)?)).map_err(|_| LoadError::Length)
}

fn floats(from: &mut &[u8], len: usize) -> Result<Vec<f32>, LoadError> {
    let size = len.checked_mul(size_of::<f32>()).ok_or(LoadError::Length)?;
    let (numbers, rest) = from.split_at_checked(size).ok_or(LoadError::Length)?;
    *from = rest;
    Ok(numbers.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect())
}

impl<S> Owned<S> {
    fn moments(&self) -> [&[f32]; 2] {
        [&self.momentum, &self.second_moment]
    }
}

impl<S: RuleState> Owned<S> {
    fn lend<'a>(
        &'a mut self,
        layer: usize,
        carries_norms: bool,
        weights: FloatsMut<'a>,
        gradients: Floats<'a>,
    ) -> Result<LayerMemory<'a, S>, Error> {
        check_length(Argument::Weights, self.len, weights.len()).map_err(|error| error.in_layer(layer))?;
        let memory = LayerMemory::new(weights, gradients, &mut self.state).config(self.config);
        let memory = memory.momentum(&mut self.momentum).second_moment(&mut self.second_moment);
        Ok(if carries_norms { memory.norms(&mut self.norms) } else { memory })
    }
}

fn lend_all<'a, S: RuleState, W: Into<FloatsMut<'a>>, G: Into<Floats<'a>>>(
    layers: &'a mut [Owned<S>],
    carries_norms: bool,
    tensors: impl IntoIterator<Item = (W, G)>,
) -> Result<Vec<LayerMemory<'a, S>>, Error> {
    let (expected, mut tensors) = (layers.len(), tensors.into_iter());
    let mut lent = Vec::with_capacity(expected);
    for (index, owned) in layers.iter_mut().enumerate() {
        let (weights, gradients) = tensors.next().ok_or(Error::Layers { expected, found: index })?;
        lent.push(owned.lend(index, carries_norms, weights.into(), gradients.into())?);
    }
    match tensors.count() {
        0 => Ok(lent),
        more => Err(Error::Layers { expected, found: expected + more }),
    }
}

/// Two memories are the same if they are of the same layers and remember the same, bit for bit.
impl<S: RuleState> PartialEq for Memory<S> {
    fn eq(&self, other: &Self) -> bool {
        let configs = |memory: &Self| memory.layers.iter().map(|layer| layer.config).collect::<Vec<_>>();
        self.to_bytes() == other.to_bytes() && configs(self) == configs(other)
    }
}

/// In formats for people the bytes are a text of hexadecimal digits, for decimal numbers do not survive every reader.
#[cfg(feature = "serde")]
mod serde_form {
    use super::*;
    use alloc::string::String;
    use core::fmt;
    use core::marker::PhantomData;
    use serde::de::{Error, SeqAccess, Visitor};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    impl<S: RuleState> Serialize for Memory<S> {
        fn serialize<T: Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
            let bytes = self.to_bytes();
            if !serializer.is_human_readable() {
                return serializer.serialize_bytes(&bytes);
            }
            let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
            let text: String = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
            serializer.serialize_str(&text)
        }
    }

    impl<'de, S: RuleState> Deserialize<'de> for Memory<S> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let saved = Saved(PhantomData);
            if deserializer.is_human_readable() {
                deserializer.deserialize_str(saved)
            } else {
                deserializer.deserialize_byte_buf(saved)
            }
        }
    }

    struct Saved<S>(PhantomData<S>);

    impl<'de, S: RuleState> Visitor<'de> for Saved<S> {
        type Value = Memory<S>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a saved memory, as bytes or as hexadecimal digits")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Memory<S>, E> {
            Memory::from_bytes(bytes).map_err(E::custom)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Memory<S>, A::Error> {
            let mut bytes = Vec::new();
            while let Some(byte) = sequence.next_element()? {
                bytes.push(byte);
            }
            self.visit_bytes(&bytes)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Memory<S>, E> {
            let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
            let digits =
                digits.filter(|digits| digits.len().is_multiple_of(2)).ok_or_else(|| E::custom(LoadError::Format))?;
            let bytes: Vec<u8> = digits.as_chunks().0.iter().map(|[high, low]| (high << 4 | low) as u8).collect();
            self.visit_bytes(&bytes)
        }
    }
}
