//! Slices of numbers of any element type.

use bytemuck::{PodCastError, try_cast_slice, try_cast_slice_mut};
use core::fmt;
use core::ops::{Index, IndexMut, Range, RangeFull};
#[cfg(feature = "half")]
use half::{bf16, f16, slice::HalfBitsSliceExt};

/// An element type that the kernels know. Sealed: a new one comes with a new version of this crate.
///
/// `f64` will never be one: a float literal becomes an `f32` here because no other element type is a primitive float.
#[diagnostic::on_unimplemented(
    message = "layerwise has no kernels for elements of type `{Self}`",
    label = "elements are `f32`, or with the feature `half` also `bf16` and `f16`"
)]
pub trait Element: Copy + sealed::Sealed + 'static {
    #[doc(hidden)]
    fn floats(of: &[Self]) -> Floats<'_>;
    #[doc(hidden)]
    fn floats_mut(of: &mut [Self]) -> FloatsMut<'_>;
    #[doc(hidden)]
    fn of_bytes(bytes: &[u8]) -> Result<&[Self], PodCastError>;
    #[doc(hidden)]
    fn of_bytes_mut(bytes: &mut [u8]) -> Result<&mut [Self], PodCastError>;
}

mod sealed {
    pub trait Sealed {}
}

/// Implements an element type: its variant, and the conversion from slices of plain numbers of its size.
macro_rules! element {
    ($type:ident, $variant:ident, $x:ident => $cast:expr, $cast_mut:expr) => {
        impl sealed::Sealed for $type {}

        impl Element for $type {
            #[inline]
            fn floats(of: &[Self]) -> Floats<'_> {
                Floats::$variant(of)
            }

            #[inline]
            fn floats_mut(of: &mut [Self]) -> FloatsMut<'_> {
                FloatsMut::$variant(of)
            }

            #[inline]
            fn of_bytes(bytes: &[u8]) -> Result<&[Self], PodCastError> {
                try_cast_slice(bytes).map(|$x| $cast)
            }

            #[inline]
            fn of_bytes_mut(bytes: &mut [u8]) -> Result<&mut [Self], PodCastError> {
                try_cast_slice_mut(bytes).map(|$x| $cast_mut)
            }
        }
    };
}
element!(f32, F32, x => x, x);
#[cfg(feature = "half")]
element!(bf16, Bf16, x => <[u16]>::reinterpret_cast(x), <[u16]>::reinterpret_cast_mut(x));
#[cfg(feature = "half")]
element!(f16, F16, x => <[u16]>::reinterpret_cast(x), <[u16]>::reinterpret_cast_mut(x));

/// Evaluates the same expression for the slice of every variant.
macro_rules! each {
    ($floats:expr, $type:ident, $x:ident => $result:expr) => {
        match $floats {
            $type::F32($x) => $result,
            #[cfg(feature = "half")]
            $type::Bf16($x) => $result,
            #[cfg(feature = "half")]
            $type::F16($x) => $result,
        }
    };
}

/// A read-only slice of any element type. You need to name it only where the type is known at run time: slices, arrays
/// and `Vec`s convert into it.
///
/// `From` takes references to slices, arrays, `Vec`s and everything else whose `[..]` is such a slice.
///
/// ```
/// use layerwise::buffers::Floats;
///
/// let floats = Floats::from(&[1.0, 2.0, 3.0]);
/// assert_eq!(floats.len(), 3);
/// assert!(matches!(floats.get(1..3), Some(Floats::F32([2.0, 3.0]))));
/// ```
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Floats<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// The upper half of single precision: the same range, with 8 bits of precision.
    #[cfg(feature = "half")]
    Bf16(&'a [bf16]),
    /// Half precision (IEEE 754): up to 65504, with 11 bits of precision.
    #[cfg(feature = "half")]
    F16(&'a [f16]),
}

/// A writable slice of any element type; otherwise like [`Floats`].
#[non_exhaustive]
pub enum FloatsMut<'a> {
    /// Single precision.
    F32(&'a mut [f32]),
    /// The upper half of single precision.
    #[cfg(feature = "half")]
    Bf16(&'a mut [bf16]),
    /// Half precision.
    #[cfg(feature = "half")]
    F16(&'a mut [f16]),
}

impl<'a> Floats<'a> {
    /// The number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        each!(self, Floats, x => x.len())
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements of a range; `None` if it is out of bounds.
    #[inline]
    pub fn get(&self, range: Range<usize>) -> Option<Floats<'a>> {
        each!(self, Floats, x => x.get(range).map(Element::floats))
    }
}

impl<'a> FloatsMut<'a> {
    /// The number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.as_floats().len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A read-only view of the slice.
    #[inline]
    pub fn as_floats(&self) -> Floats<'_> {
        each!(self, FloatsMut, x => Element::floats(x))
    }

    /// Reborrows the slice, as `&mut *x` does a reference.
    #[inline]
    pub fn reborrow(&mut self) -> FloatsMut<'_> {
        each!(self, FloatsMut, x => Element::floats_mut(x))
    }

    /// The elements of a range; `None` if it is out of bounds.
    #[inline]
    pub fn get(&mut self, range: Range<usize>) -> Option<FloatsMut<'_>> {
        each!(self, FloatsMut, x => x.get_mut(range).map(Element::floats_mut))
    }

    /// Splits at an index; `None` if it is out of bounds.
    #[inline]
    pub fn split_at(self, at: usize) -> Option<(FloatsMut<'a>, FloatsMut<'a>)> {
        each!(self, FloatsMut, x => {
            let (left, right) = x.split_at_mut_checked(at)?;
            Some((Element::floats_mut(left), Element::floats_mut(right)))
        })
    }
}

// One conversion for [E], [E; N], Vec<E> and the like. It does not name `Vec`, so it needs no `alloc`.
impl<'a, E: Element, T: ?Sized + Index<RangeFull, Output = [E]>> From<&'a T> for Floats<'a> {
    #[inline]
    fn from(x: &'a T) -> Self {
        E::floats(&x[..])
    }
}

impl<'a, E: Element, T: ?Sized + Index<RangeFull, Output = [E]>> From<&'a mut T> for Floats<'a> {
    #[inline]
    fn from(x: &'a mut T) -> Self {
        E::floats(&x[..])
    }
}

impl<'a, E: Element, T: ?Sized + IndexMut<RangeFull, Output = [E]>> From<&'a mut T> for FloatsMut<'a> {
    #[inline]
    fn from(x: &'a mut T) -> Self {
        E::floats_mut(&mut x[..])
    }
}

// Prints only type and length: nobody wants a million numbers in a message.
impl fmt::Debug for Floats<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Floats::F32(_) => "f32",
            #[cfg(feature = "half")]
            Floats::Bf16(_) => "bf16",
            #[cfg(feature = "half")]
            Floats::F16(_) => "f16",
        };
        write!(f, "{} {kind}", self.len())
    }
}

impl fmt::Debug for FloatsMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_floats().fmt(f)
    }
}
