//! The weights of a layer, with what belongs to them: the lower halves of split weights, and a copy of 16 bits.

use super::floats::{Floats, FloatsMut};
use crate::error::Error;
#[cfg(feature = "half")]
use crate::error::{Argument, check_length};
use core::ops::Range;

/// Writable weights.
#[derive(Debug)]
pub(crate) struct WeightsMut<'a> {
    pub(crate) floats: FloatsMut<'a>,
    #[cfg(feature = "half")]
    pub(crate) lower: Option<&'a mut [u16]>,
    #[cfg(feature = "half")]
    pub(crate) copy: Option<WeightCopy<'a>>,
}

/// Read-only weights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weights<'a> {
    pub(crate) floats: Floats<'a>,
    #[cfg(feature = "half")]
    pub(crate) lower: Option<&'a [u16]>,
}

/// Where a copy of the new weights is written.
#[cfg(feature = "half")]
#[derive(Debug)]
pub(crate) struct WeightCopy<'a> {
    pub(crate) floats: FloatsMut<'a>,
    pub(crate) saturating: bool,
}

impl<'a> From<FloatsMut<'a>> for WeightsMut<'a> {
    #[inline]
    fn from(floats: FloatsMut<'a>) -> Self {
        WeightsMut {
            floats,
            #[cfg(feature = "half")]
            lower: None,
            #[cfg(feature = "half")]
            copy: None,
        }
    }
}

impl<'a> From<Floats<'a>> for Weights<'a> {
    #[inline]
    fn from(floats: Floats<'a>) -> Self {
        Weights {
            floats,
            #[cfg(feature = "half")]
            lower: None,
        }
    }
}

impl Weights<'_> {
    /// The number of weights.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.floats.len()
    }

    /// Checks types and lengths.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), Error> {
        #[cfg(feature = "half")]
        return match (self.floats, self.lower) {
            (Floats::F32(_), None) => Ok(()),
            (Floats::Bf16(_), Some(lower)) => check_length(Argument::Lower, self.len(), lower.len()),
            (Floats::F32(_), Some(_)) => Err(Error::of_type(Argument::Lower, "given with weights of bf16")),
            _ => Err(Error::of_type(
                Argument::Weights,
                "f32, or bf16 with `.lower(..)` (of a `Memory`: `split_weights`)",
            )),
        };
        #[cfg(not(feature = "half"))]
        Ok(())
    }
}

impl<'a> WeightsMut<'a> {
    /// The number of weights.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.floats.len()
    }

    /// Adds their lower halves.
    #[cfg(feature = "half")]
    #[inline]
    pub(crate) fn with_lower(self, lower: &'a mut [u16]) -> Self {
        WeightsMut { lower: Some(lower), ..self }
    }

    /// Adds a copy.
    #[cfg(feature = "half")]
    #[inline]
    pub(crate) fn with_copy(self, floats: FloatsMut<'a>, saturating: bool) -> Self {
        WeightsMut { copy: Some(WeightCopy { floats, saturating }), ..self }
    }

    /// Checks types and lengths.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), Error> {
        #[cfg(feature = "half")]
        if let Some(copy) = &self.copy {
            if matches!(copy.floats, FloatsMut::F32(_)) {
                return Err(Error::of_type(Argument::Copy, "bf16 or f16"));
            }
            check_length(Argument::Copy, self.len(), copy.floats.len())?;
        }
        self.read().check()
    }

    /// A read-only view of the weights.
    #[inline]
    pub(crate) fn read(&self) -> Weights<'_> {
        Weights {
            floats: self.floats.as_floats(),
            #[cfg(feature = "half")]
            lower: self.lower.as_deref(),
        }
    }

    /// Reborrows the weights.
    #[inline]
    pub(crate) fn reborrow(&mut self) -> WeightsMut<'_> {
        WeightsMut {
            floats: self.floats.reborrow(),
            #[cfg(feature = "half")]
            lower: self.lower.as_deref_mut(),
            #[cfg(feature = "half")]
            copy: self
                .copy
                .as_mut()
                .map(|copy| WeightCopy { floats: copy.floats.reborrow(), saturating: copy.saturating }),
        }
    }

    /// The weights of a range; `None` if it is out of bounds.
    #[inline]
    pub(crate) fn get(&mut self, range: Range<usize>) -> Option<WeightsMut<'_>> {
        Some(WeightsMut {
            floats: self.floats.get(range.clone())?,
            #[cfg(feature = "half")]
            lower: match &mut self.lower {
                Some(lower) => Some(lower.get_mut(range.clone())?),
                None => None,
            },
            #[cfg(feature = "half")]
            copy: match &mut self.copy {
                Some(copy) => Some(WeightCopy { floats: copy.floats.get(range)?, saturating: copy.saturating }),
                None => None,
            },
        })
    }

    /// Splits at an index; `None` if it is out of bounds.
    #[cfg(feature = "rayon")]
    pub(crate) fn split_at(self, at: usize) -> Option<(Self, Self)> {
        let (left, right) = self.floats.split_at(at)?;
        #[allow(unused_mut, reason = "without 16 bits that is all")]
        let (mut left, mut right) = (WeightsMut::from(left), WeightsMut::from(right));
        #[cfg(feature = "half")]
        if let Some(lower) = self.lower {
            let (l1, l2) = lower.split_at_mut_checked(at)?;
            (left.lower, right.lower) = (Some(l1), Some(l2));
        }
        #[cfg(feature = "half")]
        if let Some(WeightCopy { floats, saturating }) = self.copy {
            let (c1, c2) = floats.split_at(at)?;
            left.copy = Some(WeightCopy { floats: c1, saturating });
            right.copy = Some(WeightCopy { floats: c2, saturating });
        }
        Some((left, right))
    }
}
