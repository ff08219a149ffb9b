//! Puts the memory map of a machine, which the environment names, where the linker finds it.

use std::{env, fs, path::PathBuf};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let machine = env::var("MACHINE").unwrap_or_else(|_| "mps2".into());
    fs::copy(format!("memory/{machine}.x"), out.join("memory.x")).expect("a memory map of that name");
    println!("cargo:rustc-link-search={}", out.display());
    if env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("riscv32") {
        println!("cargo:rustc-link-arg=-Tmemory.x");
    }
    println!("cargo:rustc-link-arg=-Tlink.x");
    println!("cargo:rerun-if-env-changed=MACHINE");
    println!("cargo:rerun-if-changed=memory");
}
