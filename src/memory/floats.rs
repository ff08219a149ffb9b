//! Slices of numbers of any element type.

use core::fmt;
use core::ops::{Index, IndexMut, Range, RangeFull};

/// An element type that the kernels know. Sealed: a new one comes with a new version of this crate.
///
/// There will never be `f64`: a float literal is an `f32` here because no other element is a float to the compiler.
#[diagnostic::on_unimplemented(
    message = "layerwise has no kernels for elements of type `{Self}`",
    label = "elements are `f32`"
)]
pub trait Element: Copy + sealed::Sealed + 'static {
    #[doc(hidden)]
    fn floats(of: &[Self]) -> Floats<'_>;
    #[doc(hidden)]
    fn floats_mut(of: &mut [Self]) -> FloatsMut<'_>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
}

impl Element for f32 {
    #[inline]
    fn floats(of: &[Self]) -> Floats<'_> {
        Floats::F32(of)
    }

    #[inline]
    fn floats_mut(of: &mut [Self]) -> FloatsMut<'_> {
        FloatsMut::F32(of)
    }
}

/// A slice of numbers to be read, of any element type.
///
/// `From` takes references to slices, arrays, `Vec`s and whatever else gives a slice by `[..]`.
///
/// ```
/// use layerwise::Floats;
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
}

/// A slice of numbers to be written, of any element type; otherwise like [`Floats`].
#[non_exhaustive]
pub enum FloatsMut<'a> {
    /// Single precision.
    F32(&'a mut [f32]),
}

impl<'a> Floats<'a> {
    /// The number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        let Floats::F32(x) = self;
        x.len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements of a range, if there are as many.
    #[inline]
    pub fn get(&self, range: Range<usize>) -> Option<Floats<'a>> {
        let Floats::F32(x) = self;
        Some(Floats::F32(x.get(range)?))
    }

    #[inline]
    pub(crate) fn f32s(self) -> &'a [f32] {
        let Floats::F32(x) = self;
        x
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

    /// The same slice, to be read.
    #[inline]
    pub fn as_floats(&self) -> Floats<'_> {
        let FloatsMut::F32(x) = self;
        Floats::F32(x)
    }

    /// The same slice for a shorter time, as `&mut *x` is for a reference.
    #[inline]
    pub fn reborrow(&mut self) -> FloatsMut<'_> {
        let FloatsMut::F32(x) = self;
        FloatsMut::F32(x)
    }

    /// The elements of a range, if there are as many.
    #[inline]
    pub fn get(&mut self, range: Range<usize>) -> Option<FloatsMut<'_>> {
        let FloatsMut::F32(x) = self;
        Some(FloatsMut::F32(x.get_mut(range)?))
    }

    /// The elements before an index and the others, if there are as many.
    #[inline]
    pub fn split_at(self, at: usize) -> Option<(FloatsMut<'a>, FloatsMut<'a>)> {
        let FloatsMut::F32(x) = self;
        let (left, right) = x.split_at_mut_checked(at)?;
        Some((FloatsMut::F32(left), FloatsMut::F32(right)))
    }

    #[inline]
    pub(crate) fn f32s(self) -> &'a mut [f32] {
        let FloatsMut::F32(x) = self;
        x
    }
}

// One conversion for [E], [E; N], Vec<E> and the like, which needs no name of `alloc`.
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

// Lengths only: nobody wants a million numbers in a message.
impl fmt::Debug for Floats<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} f32", self.len())
    }
}

impl fmt::Debug for FloatsMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_floats().fmt(f)
    }
}
