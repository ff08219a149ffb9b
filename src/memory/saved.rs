//! The saved form of what an optimizer remembers: bytes that are the same on every machine, loaded all or nothing.

use super::carried::CarriedNorms;
use super::owner::{Memory, Owned};
use super::report::Report;
use crate::error::LoadError;
use crate::rules::layer::LayerConfig;
use crate::rules::rule::RuleState;
use alloc::vec;
use alloc::vec::Vec;

/// What a saved memory begins with. The last byte is the version of the form.
const MAGIC: &[u8; 10] = b"layerwise\x01";

impl<S: RuleState> Memory<S> {
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
