//! Prints the bits that `tests/tripwire` finds on this machine, to compare them with the stored ones.

#![no_std]
#![no_main]
#![allow(clippy::deref_addrof)] // A reference to a mutable static is made by way of a pointer.

#[path = "../../../../tests/tripwire/cases.rs"]
mod cases;
#[cfg(feature = "half")]
#[path = "../../../../tests/tripwire/halves.rs"]
mod halves;
#[path = "../../../../tests/harness/settings.rs"]
mod settings;

use cases::Arrays;
use semihosting::{println, process};

static mut ARRAYS: Arrays = Arrays::ZEROS;

#[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
#[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
fn main() -> ! {
    // SAFETY: this function runs once, and nothing else knows the arrays.
    let arrays = unsafe { &mut *&raw mut ARRAYS };
    cases::run(arrays, None, |name, what, bits| println!("{bits:016x} {name}, {what}"));
    process::exit(0)
}
