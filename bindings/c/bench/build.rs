//! Builds the C library and the calls in C.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    for path in ["src/calls.c", "../src", "../include", "../../../src"] {
        println!("cargo:rerun-if-changed={path}");
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    // Without `std`: this program links its own, and there cannot be two.
    let mut build = Command::new(std::env::var_os("CARGO").expect("cargo sets it"));
    build.args(["rustc", "--quiet", "--release", "--no-default-features", "--crate-type", "staticlib"]);
    build.args(["--manifest-path", "../Cargo.toml", "--target-dir"]).arg(out.join("c"));
    assert!(build.status().expect("cargo runs").success(), "the C library does not build");
    cc::Build::new().file("src/calls.c").include("../include").opt_level(2).compile("calls");
    println!("cargo:rustc-link-search={}", out.join("c/release").display());
    println!("cargo:rustc-link-lib=static:+verbatim=liblayerwise.a");
}
