//! Norms and sums of arrays.

use crate::layer::{lw_array, lw_const_array, overlap};
use crate::pointer::{self, Extent};
use crate::refusal::{Refusal, end, lw_error, lw_status, status};
use lw::pieces::{LEAF, fold_leaf_sums, leaf_sums};
use lw::{Floats, accumulate, accumulate_finite, l2_norm, max_norm, sum_of_squares};

/// # Safety
///
/// The C caller must guarantee each pointer.
unsafe fn norm(
    x: lw_const_array,
    len: usize,
    result: *mut f64,
    error: *mut lw_error,
    norm: impl FnOnce(Floats<'_>) -> f64,
) -> lw_status {
    let done = pointer::place("result", result).and_then(|place| {
        // SAFETY: guaranteed by the caller.
        unsafe { place.set(norm(x.floats("x", len)?)) };
        Ok(status::APPLIED)
    });
    end(done, error)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_sum_of_squares(
    x: lw_const_array,
    len: usize,
    result: *mut f64,
    error: *mut lw_error,
) -> lw_status {
    // SAFETY: the C caller guarantees the pointers.
    unsafe { norm(x, len, result, error, |x| sum_of_squares(x)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_l2_norm(
    x: lw_const_array,
    len: usize,
    result: *mut f64,
    error: *mut lw_error,
) -> lw_status {
    // SAFETY: the C caller guarantees the pointers.
    unsafe { norm(x, len, result, error, |x| l2_norm(x)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_max_norm(
    x: lw_const_array,
    len: usize,
    result: *mut f64,
    error: *mut lw_error,
) -> lw_status {
    // SAFETY: the C caller guarantees the pointers.
    unsafe { norm(x, len, result, error, |x| max_norm(x).into()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_accumulate(
    sum: lw_array,
    gradients: lw_const_array,
    len: usize,
    scale: f64,
    finite_only: i32,
    sum_of_squares: *mut f64,
    error: *mut lw_error,
) -> lw_status {
    // SAFETY: the C caller guarantees the pointers.
    end(unsafe { add(sum, gradients, len, scale, finite_only != 0, sum_of_squares) }, error)
}

/// # Safety
///
/// The C caller must guarantee each pointer.
pub(crate) unsafe fn add(
    sum: lw_array,
    gradients: lw_const_array,
    len: usize,
    scale: f64,
    finite_only: bool,
    sum_of_squares: *mut f64,
) -> Result<lw_status, Refusal<'static>> {
    let place = pointer::optional_place("sum_of_squares", sum_of_squares)?;
    let others = [gradients.extent(len), Extent::of(sum_of_squares, 1)];
    if others.into_iter().any(|other| sum.as_const().extent(len).overlaps(other)) {
        return Err(overlap("sum"));
    }
    // SAFETY: the C caller guarantees the pointers, and the two do not overlap.
    unsafe {
        let (sum, gradients) = (sum.floats("sum", len)?, gradients.floats("gradients", len)?);
        let squares = if finite_only {
            let Some(squares) = accumulate_finite(sum, gradients, scale)? else { return Ok(status::NON_FINITE) };
            squares
        } else {
            accumulate(sum, gradients, scale)?
        };
        place.set(squares);
        Ok(status::APPLIED)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_array_leaf_sums(
    x: lw_const_array,
    len: usize,
    start: usize,
    sums: *mut f64,
    error: *mut lw_error,
) -> lw_status {
    // SAFETY: the C caller guarantees the pointers.
    end(unsafe { sums_of(x, len, start, sums) }, error)
}

unsafe fn sums_of(x: lw_const_array, len: usize, start: usize, sums: *mut f64) -> Result<lw_status, Refusal<'static>> {
    let leaves = len.div_ceil(LEAF);
    if Extent::of(sums, leaves).overlaps(x.extent(len)) {
        return Err(overlap("sums"));
    }
    // SAFETY: the C caller guarantees the pointers, and the two do not overlap.
    unsafe { leaf_sums(x.floats("x", len)?, start, pointer::elements_mut("sums", sums, leaves)?) }?;
    Ok(status::APPLIED)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_fold_leaf_sums(
    sums: *const f64,
    leaves: usize,
    result: *mut f64,
    error: *mut lw_error,
) -> lw_status {
    let done = pointer::place("result", result).and_then(|place| {
        // SAFETY: the C caller guarantees each pointer.
        unsafe { place.set(fold_leaf_sums(pointer::elements("sums", sums, leaves)?)) };
        Ok(status::APPLIED)
    });
    end(done, error)
}
