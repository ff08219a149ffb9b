//! Why a call is refused, and how this is reported to C.

use core::ffi::{CStr, c_char};
use lw::{Argument, ConfigError, Error, Outcome};

pub type lw_status = i32;

/// The numbers of the header. [`of_outcome`] gives those of outcomes.
pub mod status {
    use super::lw_status;

    pub const APPLIED: lw_status = 0;
    pub const OVERFLOWED: lw_status = 1;
    pub const NON_FINITE: lw_status = 2;
    pub const OUT_OF_RANGE: lw_status = 3;
    pub const FROZEN: lw_status = 4;
    pub const ABSENT: lw_status = 5;
    pub const STEP_SKIPPED: lw_status = 6;
    pub const NULL: lw_status = -1;
    pub const MISALIGNED: lw_status = -2;
    pub const TOO_LONG: lw_status = -3;
    pub const OVERLAP: lw_status = -4;
    pub const BAD_TYPE: lw_status = -5;
    pub const BAD_LENGTH: lw_status = -6;
    pub const MISSING: lw_status = -7;
    pub const BAD_SETTING: lw_status = -8;
    pub const BAD_RATE: lw_status = -9;
    pub const BAD_SCALE: lw_status = -10;
    pub const BAD_DECAY: lw_status = -11;
    pub const BAD_STATE: lw_status = -12;
    pub const BAD_SPANS: lw_status = -13;
    pub const OFF_LEAF: lw_status = -14;
    pub const NOT_SEEN: lw_status = -15;
    pub const STALE_NORM: lw_status = -16;
    pub const BAD_RECIPE: lw_status = -17;
    pub const BAD_PIECES: lw_status = -18;
}

/// `LW_NO_LAYER`.
const NO_LAYER: usize = usize::MAX;

#[repr(C)]
pub struct lw_error {
    pub layer: usize,
    pub value: f64,
    pub status: lw_status,
    pub what: [c_char; 32],
    pub text: [c_char; 220],
}

/// A refusal on its way to C. The message is `what` and `why`; for a setting, "`what` must be `why`".
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal<'a> {
    pub(crate) status: lw_status,
    pub(crate) layer: usize,
    pub(crate) value: f64,
    pub(crate) what: &'a str,
    pub(crate) why: &'a str,
}

impl<'a> Refusal<'a> {
    #[cold]
    pub(crate) fn new(status: lw_status, what: &'a str, why: &'a str) -> Self {
        Refusal { status, layer: NO_LAYER, value: f64::NAN, what, why }
    }

    /// A setting that is out of range.
    #[cold]
    pub(crate) fn setting(what: &'a str, value: f64, why: &'a str) -> Self {
        Refusal { value, ..Refusal::new(status::BAD_SETTING, what, why) }
    }

    #[cold]
    pub(crate) fn in_layer(self, layer: usize) -> Self {
        Refusal { layer, ..self }
    }

    /// Writes the refusal to `error` unless it is null, and returns its status.
    #[cold]
    pub(crate) fn report(self, error: *mut lw_error) -> lw_status {
        if !error.is_null() && error.is_aligned() {
            let mut written =
                lw_error { layer: self.layer, value: self.value, status: self.status, what: [0; 32], text: [0; 220] };
            Text::new(&mut written.what).push(self.what);
            let mut text = Text::new(&mut written.text);
            if self.layer != NO_LAYER {
                text.push("layer ").push_number(self.layer).push(": ");
            }
            let verb = match self.status {
                _ if self.what.is_empty() => "",
                status::BAD_SETTING => " must be ",
                _ => " ",
            };
            text.push(self.what).push(verb).push(self.why);
            // SAFETY: neither null nor misaligned; the C caller guarantees that it may be written.
            unsafe { error.write(written) };
        }
        self.status
    }
}

/// A string that grows as far as there is room. Its last byte stays 0.
struct Text<'t> {
    bytes: &'t mut [c_char],
    len: usize,
}

impl<'t> Text<'t> {
    fn new(bytes: &'t mut [c_char]) -> Self {
        Text { bytes, len: 0 }
    }

    fn push(&mut self, words: &str) -> &mut Self {
        let room = self.bytes.len().saturating_sub(self.len + 1);
        let free = self.bytes.iter_mut().skip(self.len).take(room);
        for (place, byte) in free.zip(words.bytes()) {
            *place = byte as c_char;
            self.len += 1;
        }
        self
    }

    fn push_number(&mut self, number: usize) -> &mut Self {
        // From the last digit on, without leading zeros.
        let (mut digits, mut rest) = ([b'0'; 20], number);
        for digit in digits.iter_mut().rev() {
            *digit += (rest % 10) as u8;
            rest /= 10;
        }
        let zeros = digits.iter().take(19).take_while(|digit| **digit == b'0').count();
        self.push(digits.get(zeros..).and_then(|digits| core::str::from_utf8(digits).ok()).unwrap_or_default())
    }
}

/// Ends a call: its status, or the refusal reported to C.
#[inline]
pub(crate) fn end(result: Result<lw_status, Refusal<'_>>, error: *mut lw_error) -> lw_status {
    match result {
        Ok(status) => status,
        Err(refusal) => refusal.report(error),
    }
}

#[inline]
pub(crate) fn of_outcome(outcome: Outcome) -> lw_status {
    match outcome {
        Outcome::Applied => status::APPLIED,
        Outcome::Overflowed => status::OVERFLOWED,
        Outcome::NonFinite => status::NON_FINITE,
        Outcome::OutOfRange => status::OUT_OF_RANGE,
        Outcome::Frozen => status::FROZEN,
        Outcome::Absent => status::ABSENT,
        Outcome::StepSkipped => status::STEP_SKIPPED,
        // An outcome unknown to this interface cannot be that of an update.
        _ => status::OUT_OF_RANGE,
    }
}

impl From<ConfigError> for Refusal<'static> {
    #[cold]
    fn from(error: ConfigError) -> Self {
        Refusal::setting(error.setting, error.value, error.allowed)
    }
}

impl From<Error> for Refusal<'static> {
    #[cold]
    fn from(error: Error) -> Self {
        let (refusal, layer) = match error {
            Error::Length { layer, what, .. } => {
                (Refusal::new(status::BAD_LENGTH, name(what), "has another length than it must have"), layer)
            }
            Error::Missing { layer, what } => {
                (Refusal::new(status::MISSING, name(what), "is kept by the rule, and was not given"), layer)
            }
            Error::Type { layer, what, .. } => (Refusal::new(status::BAD_TYPE, name(what), type_of(what)), layer),
            Error::LearningRate { layer, rate } => {
                (valued(status::BAD_RATE, "lr", rate, "(times the rate of the layer) must be finite and >= 0"), layer)
            }
            Error::GradientScale(scale) => (valued(status::BAD_SCALE, "scale", scale, "is out of range"), None),
            Error::Decay { layer, decay } => {
                (valued(status::BAD_DECAY, "decay", decay, "must be finite and >= 0"), layer)
            }
            Error::State { layer } => {
                (Refusal::new(status::BAD_STATE, "state", "cannot come from a step of this rule"), layer)
            }
            Error::Layers { .. } => (Refusal::new(status::BAD_LENGTH, "count", "differs"), None),
            Error::OffLeaf { .. } => {
                (Refusal::new(status::OFF_LEAF, "start", "and the end of a chunk must be multiples of LW_LEAF"), None)
            }
            Error::Pieces { .. } => {
                (Refusal::new(status::BAD_PIECES, "nodes", "must be nodes of the tree, and together all leaves"), None)
            }
            Error::StepNotSeen => {
                (Refusal::new(status::NOT_SEEN, "planned", "needs the norm of its step: call lw_limit first"), None)
            }
            Error::StaleNorm { layer } => {
                (Refusal::new(status::STALE_NORM, "norms", "are not those of these weights: set weights to 0"), layer)
            }
            _ => (Refusal::new(status::BAD_SETTING, "", "the call was refused"), None),
        };
        layer.map_or(refusal, |layer| refusal.in_layer(layer))
    }
}

fn valued(status: lw_status, what: &'static str, value: f64, why: &'static str) -> Refusal<'static> {
    Refusal { value, ..Refusal::new(status, what, why) }
}

/// The required element type of an argument, in the terms of the header.
fn type_of(what: Argument) -> &'static str {
    match what {
        Argument::Weights => "must be of LW_F32, or of LW_BF16 with `lower`",
        Argument::Lower => "goes with weights of LW_BF16",
        Argument::Momentum => "must be of LW_F32 or LW_BF16",
        Argument::Copy => "must be of LW_BF16 or LW_F16, with weights of LW_F32",
        _ => "must be of LW_F32",
    }
}

/// An argument as the header names it.
fn name(what: Argument) -> &'static str {
    match what {
        Argument::Weights => "weights",
        Argument::Gradients => "gradients",
        Argument::Momentum => "momentum",
        Argument::SecondMoment => "second_moment",
        Argument::Lower => "lower",
        Argument::Copy => "copy",
        Argument::Sum => "sum",
        Argument::States => "states",
        Argument::Norms => "norms",
        Argument::Reports => "reports",
        Argument::Sums => "sums",
        Argument::Chunk => "chunk",
        _ => "",
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn lw_status_text(status: lw_status) -> *const c_char {
    text(status).as_ptr()
}

fn text(status: lw_status) -> &'static CStr {
    match status {
        status::APPLIED => c"applied",
        status::OVERFLOWED => c"applied, but a new weight is not finite",
        status::NON_FINITE => c"skipped: a NaN or an infinity",
        status::OUT_OF_RANGE => c"skipped: the step is beyond the range of float",
        status::FROZEN => c"frozen",
        status::ABSENT => c"took no part",
        status::STEP_SKIPPED => c"skipped, because another layer could not be updated",
        status::NULL => c"refused: a pointer is null",
        status::MISALIGNED => c"refused: a pointer is not aligned to its elements",
        status::TOO_LONG => c"refused: a length is beyond the address space",
        status::OVERLAP => c"refused: two buffers overlap",
        status::BAD_TYPE => c"refused: an array has elements of a type that it cannot have",
        status::BAD_LENGTH => c"refused: an array has another length than it must have",
        status::MISSING => c"refused: the rule keeps an array that was not given",
        status::BAD_SETTING => c"refused: a setting is out of range",
        status::BAD_RATE => c"refused: a learning rate is not finite and >= 0",
        status::BAD_SCALE => c"refused: a scale of gradients is out of range",
        status::BAD_DECAY => c"refused: a weight decay is not finite and >= 0",
        status::BAD_STATE => c"refused: a state cannot come from a step of the rule",
        status::BAD_SPANS => c"refused: spans overlap, leave gaps or end past the buffers",
        status::OFF_LEAF => c"refused: a chunk does not begin at a multiple of LW_LEAF",
        status::NOT_SEEN => c"refused: a plan needs the norm of its step",
        status::STALE_NORM => c"refused: weights have changed since their norm was carried",
        status::BAD_RECIPE => c"refused: a recipe cannot be read",
        status::BAD_PIECES => c"refused: the pieces of a sum do not add up to the whole",
        _ => c"no status of this library",
    }
}
