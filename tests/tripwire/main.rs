//! Fixed inputs have the bits that are stored in `tests/data/tripwire.txt`, on every machine and every backend. They
//! change if anything is fused, reassociated or flushed.
//!
//! `LAYERWISE_NEW_TRIPWIRE=1 cargo test --features half --test tripwire` writes the file anew. A changed line is a
//! change of the numeric contract. A build without 16-bit floats skips their lines.

mod cases;
#[cfg(feature = "half")]
mod halves;
#[path = "../harness/settings.rs"]
mod settings;

use layerwise::Backend;
use std::fmt::Write;

fn cases(backend: Option<Backend>) -> String {
    let mut text = String::new();
    let mut arrays = Box::new(cases::Arrays::ZEROS);
    cases::run(&mut arrays, backend, |name, what, bits| writeln!(text, "{bits:016x} {name}, {what}").unwrap());
    text
}

#[test]
fn bits_are_those_that_are_stored() {
    if std::env::var_os("LAYERWISE_NEW_TRIPWIRE").is_some() {
        if !cfg!(feature = "half") {
            panic!("a build without 16 bits would leave out their lines");
        }
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tripwire.txt"), cases(None)).unwrap();
        return;
    }
    let is_checked = |line: &&str| cfg!(feature = "half") || line.get(17..24) != Some("16 bits");
    let stored: Vec<&str> = include_str!("../data/tripwire.txt").lines().filter(is_checked).collect();
    for backend in Backend::available().map(Some).chain([None]) {
        let name = backend.map_or("the crate's own choice", Backend::name);
        let found = cases(backend);
        for (found, stored) in found.lines().zip(&stored) {
            assert_eq!(found, *stored, "{name}");
        }
        assert_eq!(found.lines().count(), stored.len(), "{name}");
    }
}

/// A rule chosen at run time has the bits of the named rule.
#[test]
fn any_rule_has_the_bits_of_its_name() {
    let found = cases(None);
    let of = |name: &str| -> Vec<String> {
        let named = |line: &str| Some(line.split_once(' ')?.1.strip_prefix(name)?.starts_with(", "));
        found.lines().filter(|line| named(line) == Some(true)).map(|line| line.replace(name, "")).collect()
    };
    for name in ["larc", "novograd luc", "lamb"] {
        let any = of(&format!("any {name}"));
        assert!(any.len() >= 6 && any.iter().all(|line| of(name).contains(line)), "{name}: {any:?}");
    }
}
