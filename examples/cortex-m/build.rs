//! Puts the memory map of the machine named by the environment where the linker finds it, and digits where the program
//! does.

use flate2::read::GzDecoder;
use std::{env, fs, fs::File, path::PathBuf};

/// Digits to learn from and to test.
const DIGITS: usize = 700;

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let data = GzDecoder::new(File::open("../data/digits.csv.gz").expect("the data set"));
    let rows = csv::ReaderBuilder::new().has_headers(false).from_reader(data).into_deserialize::<Vec<u8>>();
    let rows: Vec<Vec<u8>> = rows.collect::<Result<_, _>>().expect("64 pixels and a label in each row");
    // The rows are sorted by writer; a prime stride mixes them.
    let digits: Vec<u8> = (0..DIGITS).flat_map(|i| rows[i * 1013 % rows.len()].iter().copied()).collect();
    fs::write(out.join("digits"), digits).expect("a place for it");
    println!("cargo:rerun-if-changed=../data/digits.csv.gz");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let machine = env::var("MACHINE").unwrap_or_else(|_| "mps2".into());
    fs::copy(format!("memory/{machine}.x"), out.join("memory.x")).expect("a memory map of that name");
    println!("cargo:rustc-link-search={}", out.display());
    if env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("riscv32") {
        println!("cargo:rustc-link-arg=-Tmemory.x");
    }
    println!("cargo:rustc-link-arg=-Tlink.x");
    println!("cargo:rerun-if-env-changed=MACHINE");
    println!("cargo:rerun-if-changed=memory");
    println!("cargo:rerun-if-changed=sgd.c");
    if env::var_os("CARGO_FEATURE_C").is_some() {
        cc::Build::new().compiler("clang").file("sgd.c").compile("sgd");
    }
}
