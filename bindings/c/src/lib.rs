//! The C interface of layerwise. `include/layerwise.h` documents each item; this is the implementation.
//!
//! | file | what is in it |
//! |---|---|
//! | `refusal` | statuses, and why a call was refused |
//! | `pointer` | checks of C's pointers before they become references |
//! | `choice` | the meaning of C's numbers |
//! | `rules`, `settings` | conversions between C and Rust optimizers |
//! | `presets` | named settings |
//! | `layer` | layers and chunks |
//! | `step` | steps of a layer, of several, of flat buffers |
//! | `pieces` | the pieces of a step |
//! | `tree` | the tree of every sum, and sums of its nodes |
//! | `norms` | norms and sums of arrays |
//! | `schedule`, `loss_scale`, `recipe` | learning rates, loss scales, configurations |
//!
//! Structs have the names of the header. They are plain numbers and pointers, so any bytes are a valid value: a number
//! outside an enumeration is refused, and never becomes a Rust `enum`.
//!
//! "The C caller guarantees a pointer" means what the header asks of callers: the pointer points to as many elements as
//! the call says, and memory that the call writes does not overlap its other arguments.
#![cfg_attr(not(feature = "std"), no_std)]

mod choice;
mod layer;
mod loss_scale;
mod norms;
mod pieces;
mod pointer;
mod presets;
#[cfg(feature = "std")]
mod recipe;
mod refusal;
mod rules;
mod schedule;
mod settings;
mod step;
#[cfg(all(test, feature = "std"))]
mod tests;
mod tree;

pub use layer::{lw_array, lw_const_array, lw_layer, lw_layer_config, lw_norms, lw_state};
pub use loss_scale::{lw_loss_scale, lw_loss_scaler, lw_loss_state, lw_loss_update};
pub use norms::{lw_accumulate, lw_array_leaf_sums, lw_fold_leaf_sums, lw_l2_norm, lw_max_norm, lw_sum_of_squares};
pub use pieces::{
    LW_LEAF, LW_SUMS, lw_apply, lw_apply_chunk, lw_chunk, lw_confirm, lw_decide, lw_decision, lw_finish, lw_fold,
    lw_leaf_sums, lw_limit, lw_measure, lw_measured, lw_needs_step, lw_plan, lw_planned, lw_range, lw_step_leaf_sums,
};
pub use presets::lw_preset;
#[cfg(feature = "std")]
pub use recipe::{lw_recipe, lw_training};
pub use refusal::{lw_error, lw_status, lw_status_text, status};
pub use rules::{lw_adam, lw_novograd, lw_sgd};
pub use schedule::{LW_BOUNDARIES, lw_rate, lw_schedule, lw_schedule_default, lw_schedule_fill};
pub use settings::{lw_check, lw_larc, lw_luc, lw_moments, lw_optimizer, lw_rule};
pub use step::{lw_flat, lw_report, lw_span, lw_step, lw_step_flat, lw_step_layer, lw_summary};
pub use tree::{
    lw_add, lw_array_subtree_sums, lw_fold_subtrees, lw_limit_subtrees, lw_step_subtree_sums, lw_subtree_sums,
    lw_tree_cover, lw_tree_fold, lw_tree_merges, lw_tree_share,
};

use core::ffi::{CStr, c_char};

/// The same as `LW_ABI_VERSION`.
pub const ABI_VERSION: u32 = 1;

#[unsafe(no_mangle)]
pub extern "C" fn lw_abi_version() -> u32 {
    ABI_VERSION
}

#[unsafe(no_mangle)]
pub extern "C" fn lw_version() -> *const c_char {
    const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"",
    };
    VERSION.as_ptr()
}

/// A library without `std` needs a panic handler, although no panic is reachable.
#[cfg(all(not(feature = "std"), not(feature = "no-panic")))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// For an image that links only if no panic is reachable: it calls a function that does not exist.
#[cfg(feature = "no-panic")]
mod no_panic {
    unsafe extern "C" {
        fn a_panic_is_reachable() -> !;
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        // SAFETY: an image with this call does not link.
        unsafe { a_panic_is_reachable() }
    }

    /// A function that can panic, for an image that must not link.
    #[unsafe(no_mangle)]
    extern "C" fn lw_control(index: usize) -> u8 {
        b"control"[index]
    }
}
