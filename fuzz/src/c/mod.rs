//! The C interface: calls that its header allows, and calls that the header says are refused. They must do the same as
//! calls from Rust, and a refused call must not write.
//!
//! | file | what is in it |
//! |---|---|
//! | `settings` | Rust optimizers as C structs |
//! | `model` | a model in flat buffers, as C and as Rust see it |
//! | `step` | whole steps |
//! | `pieces` | the same in pieces |
//! | `others` | norms, sums, schedules, loss scales, recipes, presets |

mod model;
mod others;
mod pieces;
mod settings;
mod step;

use arbitrary::{Result, Unstructured};
use layerwise_c::{lw_error, lw_status};
use std::ffi::CStr;

pub fn c(u: &mut Unstructured) -> Result<()> {
    if u.ratio(1, 4)? { others::others(u) } else { step::step(u) }
}

/// A status that no call writes to an error.
const UNTOUCHED: lw_status = 77;

/// An untouched error.
fn told() -> lw_error {
    lw_error { layer: 0, value: 0.0, status: UNTOUCHED, what: [1; 32], text: [1; 220] }
}

/// Fails unless a refused call has filled in the error, and any other call has not touched it.
fn check_told(status: lw_status, error: &lw_error) {
    if status >= 0 {
        assert_eq!((error.status, error.what, error.text), (UNTOUCHED, [1; 32], [1; 220]));
        return;
    }
    assert_eq!(error.status, status);
    for text in [&error.what[..], &error.text[..]] {
        let bytes: Vec<u8> = text.iter().map(|byte| *byte as u8).collect();
        let text = CStr::from_bytes_until_nul(&bytes).unwrap();
        assert!(text.to_bytes().len() < 220);
    }
    assert!(error.text[0] != 0, "nothing is said of {status}");
    // SAFETY: a status has a text that ends with 0.
    let text = unsafe { CStr::from_ptr(layerwise_c::lw_status_text(status)) };
    assert!(text.to_bytes().starts_with(b"refused"), "{status} is {text:?}");
}
