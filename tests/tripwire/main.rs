//! Fixed inputs have the bits that are stored in `tests/data/tripwire.txt`, on every machine. They change if anything is
//! fused, reassociated or flushed.
//!
//! `LAYERWISE_NEW_TRIPWIRE=1 cargo test --test tripwire` writes the file anew. That is a change of the numeric contract.

mod cases;
#[path = "../reference/settings.rs"]
mod settings;

use std::fmt::Write;

fn cases() -> String {
    let mut text = String::new();
    let mut arrays = Box::new(cases::Arrays::ZEROS);
    cases::run(&mut arrays, |name, what, bits| writeln!(text, "{bits:016x} {name}, {what}").unwrap());
    text
}

#[test]
fn bits_are_those_that_are_stored() {
    let found = cases();
    if std::env::var_os("LAYERWISE_NEW_TRIPWIRE").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tripwire.txt"), &found).unwrap();
    }
    for (found, stored) in found.lines().zip(include_str!("../data/tripwire.txt").lines()) {
        assert_eq!(found, stored);
    }
    assert_eq!(found.lines().count(), include_str!("../data/tripwire.txt").lines().count());
}
