//! Checks of C's pointers before they become references: they must not be null, must be aligned, and within the address
//! space. The C caller guarantees that they point to what the header says.

use crate::refusal::{Refusal, status};
use core::ptr::NonNull;
use core::slice;

/// Checks a pointer to `len` elements. If `len` is 0, any pointer passes.
#[inline(always)]
pub(crate) fn check<T>(what: &'static str, pointer: *const T, len: usize) -> Result<(), Refusal<'static>> {
    if len == 0 {
        return Ok(());
    }
    if pointer.is_null() {
        return Err(Refusal::new(status::NULL, what, "must not be null"));
    }
    if !pointer.is_aligned() {
        return Err(Refusal::new(status::MISALIGNED, what, "must be aligned to its elements"));
    }
    if len > isize::MAX as usize / size_of::<T>() || pointer.addr().checked_add(len * size_of::<T>()).is_none() {
        return Err(Refusal::new(status::TOO_LONG, what, "must not be longer than the address space"));
    }
    Ok(())
}

/// # Safety
///
/// If the pointer is neither null nor misaligned, it can be read for `'a`, and is not written meanwhile.
#[inline]
pub(crate) unsafe fn read<'a, T>(what: &'static str, pointer: *const T) -> Result<&'a T, Refusal<'static>> {
    check(what, pointer, 1)?;
    // SAFETY: not null and aligned, and guaranteed by the caller.
    Ok(unsafe { &*pointer })
}

/// # Safety
///
/// If the pointer is neither null nor misaligned, only the caller reads or writes what it points to during `'a`, and it
/// is a `T`.
#[inline]
pub(crate) unsafe fn change<'a, T>(what: &'static str, pointer: *mut T) -> Result<&'a mut T, Refusal<'static>> {
    check(what, pointer, 1)?;
    // SAFETY: not null and aligned, and guaranteed by the caller.
    Ok(unsafe { &mut *pointer })
}

/// Checks that a result can be written. This must be done before the work.
#[inline]
pub(crate) fn place<T>(what: &'static str, pointer: *mut T) -> Result<Place<T>, Refusal<'static>> {
    check(what, pointer, 1)?;
    Ok(Place(pointer))
}

/// Like [`place`], for an optional result.
#[inline]
pub(crate) fn optional_place<T>(what: &'static str, pointer: *mut T) -> Result<Place<T>, Refusal<'static>> {
    if pointer.is_null() { Ok(Place(pointer)) } else { place(what, pointer) }
}

/// Where a result is written: null, or neither null nor misaligned.
pub(crate) struct Place<T>(*mut T);

impl<T> Place<T> {
    /// # Safety
    ///
    /// What the pointer points to, if it is not null, may be written.
    #[inline]
    pub(crate) unsafe fn set(self, value: T) {
        if !self.0.is_null() {
            // SAFETY: not null and aligned, and guaranteed by the caller.
            unsafe { self.0.write(value) };
        }
    }
}

/// The elements that a pointer points to, if the pointer passes [`check`].
///
/// # Safety
///
/// Such a pointer can be read for `'a`, and its elements are not written meanwhile.
#[inline(always)]
pub(crate) unsafe fn elements<'a, T>(
    what: &'static str,
    pointer: *const T,
    len: usize,
) -> Result<&'a [T], Refusal<'static>> {
    check(what, pointer, len)?;
    let pointer = if len == 0 { NonNull::dangling().as_ptr() } else { pointer };
    // SAFETY: if there are elements, the pointer is not null, aligned and within the address space; the C caller
    // guarantees that the elements exist.
    Ok(unsafe { slice::from_raw_parts(pointer, len) })
}

/// The same, for writing.
///
/// # Safety
///
/// Only the caller reads or writes during `'a` what a pointer that passes [`check`] points to.
#[inline(always)]
pub(crate) unsafe fn elements_mut<'a, T>(
    what: &'static str,
    pointer: *mut T,
    len: usize,
) -> Result<&'a mut [T], Refusal<'static>> {
    check(what, pointer, len)?;
    let pointer = if len == 0 { NonNull::dangling().as_ptr() } else { pointer };
    // SAFETY: as above.
    Ok(unsafe { slice::from_raw_parts_mut(pointer, len) })
}

/// The address range of a buffer, empty if there is none.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    start: usize,
    end: usize,
}

impl Extent {
    #[inline]
    pub(crate) fn of<T>(pointer: *const T, len: usize) -> Self {
        let start = pointer.addr();
        // A buffer that is too long may wrap around; `check` refuses it. A null buffer is empty.
        let bytes = len.wrapping_mul(size_of::<T>());
        Extent { start, end: if pointer.is_null() { 0 } else { start.wrapping_add(bytes) } }
    }

    #[inline]
    pub(crate) fn overlaps(self, other: Extent) -> bool {
        self.start < other.end && other.start < self.end
    }
}
