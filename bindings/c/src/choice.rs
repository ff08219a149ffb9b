//! The meaning of C's numbers: flags, enumeration values, optional settings.

use crate::refusal::Refusal;

/// The value for a number of a C enumeration.
#[inline(always)]
pub(crate) fn choice<T: Copy>(setting: &'static str, number: u8, values: &[T]) -> Result<T, Refusal<'static>> {
    match values.get(usize::from(number)) {
        Some(value) => Ok(*value),
        None => Err(Refusal::setting(setting, number.into(), "one of its names")),
    }
}

/// The number of a value in a C enumeration.
pub(crate) fn number<T: PartialEq>(value: &T, values: &[T]) -> u8 {
    values.iter().position(|other| other == value).unwrap_or(0) as u8
}

#[inline(always)]
pub(crate) fn flag(setting: &'static str, number: u8) -> Result<bool, Refusal<'static>> {
    match number {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Refusal::setting(setting, number.into(), "0 or 1")),
    }
}

#[inline(always)]
pub(crate) fn reserved<const N: usize>(bytes: [u8; N]) -> Result<(), Refusal<'static>> {
    if bytes == [0; N] { Ok(()) } else { Err(Refusal::setting("reserved", f64::NAN, "0")) }
}

/// Whether the first `flags` of eight bytes are 0 or 1, and the others 0, in a single comparison.
#[inline(always)]
pub(crate) fn are_flags(bytes: [u8; 8], flags: u32) -> bool {
    u64::from_le_bytes(bytes) & !(u64::from_le_bytes([1; 8]) >> (64 - 8 * flags)) == 0
}

/// The first invalid flag; if all are valid, a reserved byte is not 0.
#[cold]
pub(crate) fn first_refusal<const N: usize>(flags: [Result<bool, Refusal<'static>>; N]) -> Refusal<'static> {
    let refused = flags.into_iter().find_map(Result::err);
    refused.unwrap_or_else(|| Refusal::setting("reserved", f64::NAN, "0"))
}

/// The number, or `None` if it is 0.
#[inline]
pub(crate) fn unless_zero(number: f64) -> Option<f64> {
    if number == 0.0 { None } else { Some(number) }
}
