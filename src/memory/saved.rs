//! The saved form of what an optimizer remembers: the same bytes on every machine. Loading is all or nothing.

use super::carried::CarriedNorms;
use super::moment::Moment;
use super::owner::{Memory, Owned};
use super::report::Report;
use crate::error::LoadError;
use crate::rules::layer::LayerConfig;
use crate::rules::rule::RuleState;
use alloc::vec;
use alloc::vec::Vec;

/// The first bytes of a saved memory. The format version follows.
const NAME: &[u8; 9] = b"layerwise";

/// The version in which all numbers are `f32`.
const PLAIN: u8 = 1;

/// The version in which some have 16 bits.
const MIXED: u8 = 2;

impl<S: RuleState> Memory<S> {
    /// Moments and states as bytes, the same on every machine: `layerwise`, the format version, the number of layers,
    /// and for each layer its length, the lengths of its momentum and second moment, the three numbers of its state,
    /// and the moments; all numbers little-endian, counts in 64 bits.
    ///
    /// The version is 1, or 2 if a layer has `bf16` momentum or split weights. In version 2, each layer has two more
    /// counts after its lengths: the size of a number of its momentum in bytes, 4 or 2, and 1 if its weights are split,
    /// otherwise 0. Lower halves follow the moments.
    pub fn to_bytes(&self) -> Vec<u8> {
        let version = if self.layers.iter().any(|layer| layer.form().is_mixed()) { MIXED } else { PLAIN };
        let mut to = Vec::with_capacity(NAME.len() + 9 + self.layers.len() * 64 + self.bytes());
        to.extend(NAME);
        to.push(version);
        to.extend((self.layers.len() as u64).to_le_bytes());
        for layer in &self.layers {
            layer.form().write(version, &mut to);
            to.extend(layer.state.to_numbers().into_iter().flat_map(f64::to_le_bytes));
            layer.momentum.write(&mut to);
            to.extend(layer.second_moment.iter().flat_map(|x| x.to_le_bytes()));
            to.extend(layer.lower.iter().flatten().flat_map(|x| x.to_le_bytes()));
        }
        to
    }

    /// Loads what [`to_bytes`](Memory::to_bytes) saved, if the layers match. Configurations stay as they are.
    ///
    /// The bytes do not name the rule: load them for the rule that saved them. Another rule refuses them only if its
    /// moments differ, or if the saved state is impossible for it.
    ///
    /// Moments must have the same type as here. To load a memory saved in `f32` into one with `bf16` momentum or split
    /// weights, use [`from_bytes`](Memory::from_bytes), convert the result with the same methods as this one, and pass
    /// it to [`take_over`](Memory::take_over).
    ///
    /// # Errors
    ///
    /// A [`LoadError`]; then nothing is changed.
    pub fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.take_over(Memory::from_bytes(bytes)?)
    }

    /// Takes over moments, states and lower halves of another memory, say one that was read by `serde`, if the layers
    /// match. Configurations stay as they are, and norms are forgotten.
    ///
    /// # Errors
    ///
    /// A [`LoadError`]; then nothing is changed.
    pub fn take_over(&mut self, from: Memory<S>) -> Result<(), LoadError> {
        let (expected, found) = (self.layers.len(), from.layers.len());
        if expected != found {
            return Err(LoadError::Layers { expected, found });
        }
        if let Some(layer) = self.layers.iter().zip(&from.layers).position(|(a, b)| a.form() != b.form()) {
            return Err(LoadError::Layer { layer });
        }
        for (to, from) in self.layers.iter_mut().zip(from.layers) {
            // The other memory may know the norms of other weights.
            *to = Owned { config: to.config, norms: CarriedNorms::new(), ..from };
        }
        self.reports.fill(Report::ABSENT);
        Ok(())
    }

    /// Reads a memory that [`to_bytes`](Memory::to_bytes) saved, with default configurations.
    ///
    /// # Errors
    ///
    /// A [`LoadError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LoadError> {
        let mut rest = bytes.strip_prefix(NAME.as_slice()).ok_or(LoadError::Format)?;
        let version = match rest.split_off_first() {
            Some(&version) if version == PLAIN || version == MIXED && cfg!(feature = "half") => version,
            _ => return Err(LoadError::Format),
        };
        let layers = (0..number(&mut rest)?).map(|layer| Owned::read(layer, version, &mut rest));
        let layers = layers.collect::<Result<Vec<_>, _>>()?;
        if !rest.is_empty() {
            return Err(LoadError::Length);
        }
        Ok(Memory { reports: vec![Report::ABSENT; layers.len()], layers, carries_norms: false })
    }
}

/// Which arrays a layer has.
#[derive(PartialEq)]
struct Form {
    len: usize,
    momentum: usize,
    second_moment: usize,
    /// The bytes of a number of the momentum.
    size: usize,
    is_split: bool,
}

impl Form {
    fn is_mixed(&self) -> bool {
        self.size != 4 || self.is_split
    }

    fn write(&self, version: u8, to: &mut Vec<u8>) {
        let counts = [self.len, self.momentum, self.second_moment, self.size, self.is_split.into()];
        let counts = counts.into_iter().take(if version == PLAIN { 3 } else { 5 });
        to.extend(counts.flat_map(|count| (count as u64).to_le_bytes()));
    }

    fn read(layer: usize, version: u8, from: &mut &[u8]) -> Result<Self, LoadError> {
        let [len, momentum, second_moment] = [number(from)?, number(from)?, number(from)?];
        let [size, split] = if version == PLAIN { [4, 0] } else { [number(from)?, number(from)?] };
        let fits = |moment| moment == 0 || moment == len;
        if !fits(momentum) || !fits(second_moment) || !matches!((size, split), (2 | 4, 0 | 1)) {
            return Err(LoadError::Layer { layer });
        }
        Ok(Form { len, momentum, second_moment, size, is_split: split == 1 })
    }
}

impl<S> Owned<S> {
    fn form(&self) -> Form {
        Form {
            len: self.len,
            momentum: self.momentum.get().len(),
            second_moment: self.second_moment.len(),
            size: self.momentum.size(),
            is_split: self.lower.is_some(),
        }
    }
}

impl<S: RuleState> Owned<S> {
    fn read(layer: usize, version: u8, from: &mut &[u8]) -> Result<Self, LoadError> {
        let form = Form::read(layer, version, from)?;
        let mut numbers = [0.0; 3];
        for number in &mut numbers {
            *number = f64::from_le_bytes(take(from)?);
        }
        let state = S::from_numbers(numbers).ok_or(LoadError::State { layer })?;
        let momentum = match form.size {
            #[cfg(feature = "half")]
            2 => Moment::Bf16(array(from, form.momentum, half::bf16::from_le_bytes)?),
            _ => Moment::F32(array(from, form.momentum, f32::from_le_bytes)?),
        };
        let second_moment = array(from, form.second_moment, f32::from_le_bytes)?;
        let lower = if form.is_split { Some(array(from, form.len, u16::from_le_bytes)?) } else { None };
        let (config, norms) = (LayerConfig::DEFAULT, CarriedNorms::new());
        Ok(Owned { len: form.len, config, momentum, second_moment, lower, state, norms })
    }
}

fn take<const N: usize>(from: &mut &[u8]) -> Result<[u8; N], LoadError> {
    let (head, rest) = from.split_first_chunk().ok_or(LoadError::Length)?;
    *from = rest;
    Ok(*head)
}

fn number(from: &mut &[u8]) -> Result<usize, LoadError> {
    usize::try_from(u64::from_le_bytes(take(from)?)).map_err(|_| LoadError::Length)
}

/// Reads an array of `len` numbers, of `N` bytes each.
fn array<const N: usize, E>(from: &mut &[u8], len: usize, of: fn([u8; N]) -> E) -> Result<Vec<E>, LoadError> {
    let size = len.checked_mul(N).ok_or(LoadError::Length)?;
    let (numbers, rest) = from.split_at_checked(size).ok_or(LoadError::Length)?;
    *from = rest;
    Ok(numbers.as_chunks().0.iter().map(|number| of(*number)).collect())
}

/// Two memories are equal if [`to_bytes`](Memory::to_bytes) is the same for both, and their configurations are equal.
/// Norms and reports do not count.
impl<S: RuleState> PartialEq for Memory<S> {
    fn eq(&self, other: &Self) -> bool {
        let configs = |memory: &Self| memory.layers.iter().map(|layer| layer.config).collect::<Vec<_>>();
        self.to_bytes() == other.to_bytes() && configs(self) == configs(other)
    }
}

/// In human-readable formats the bytes are a string of hexadecimal digits, because not every reader preserves decimal
/// numbers.
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
