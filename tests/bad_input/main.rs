//! Every kind of bad input, and what it gets: the rows of `docs/bad_input.md`.

mod calls;
mod data;
#[cfg(feature = "half")]
mod halves;
#[path = "../harness/mod.rs"]
mod harness;
#[path = "../reference/mod.rs"]
mod reference;

use harness::{Host, Net};
use layerwise::rule::RuleState;
use layerwise::{Argument, Error, LayerConfig};

/// The numbers that are not finite.
const NON_FINITE: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
/// Rates and decays out of range.
const OUT_OF_RANGE: [f64; 4] = [-1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

/// A layer of a few vectors and a part of one, with momentum. Its steps panic unless they follow the contract, and
/// write nothing if they are refused or not taken.
fn host<S: RuleState>(len: usize) -> Host<S> {
    let ramp = |scale: f32| (0..len).map(|i| scale * (i as f32 - 10.0)).collect::<Vec<f32>>();
    Host::new(&ramp(0.1), &ramp(-0.3), &ramp(0.01), [0; 3])
}

/// The same without momentum.
fn host_without_momentum<S: RuleState>(len: usize) -> Host<S> {
    let host = host::<S>(len);
    Host::new(host.weights.get(), host.gradients.get(), &[], [0; 3])
}

/// Two layers, with a gap of 5 after each.
fn net<S: RuleState>() -> Net<S> {
    Net::new(&[(40, LayerConfig::DEFAULT), (25, LayerConfig::DEFAULT)], 5, true, false, 1)
}

fn length(what: Argument, expected: usize, found: usize) -> Error {
    Error::Length { layer: None, what, expected, found }
}

/// Every row of the page names a test, and every test is in a row, in the same order.
#[test]
fn every_row_has_its_test() {
    let page = include_str!("../../docs/bad_input.md");
    let rows: Vec<&str> = page.lines().filter_map(|row| row.strip_suffix("` |")?.rsplit('`').next()).collect();
    let files = [include_str!("calls.rs"), include_str!("halves.rs"), include_str!("data.rs")];
    let tests: Vec<&str> = files
        .iter()
        .flat_map(|file| file.split("#[test]\n").skip(1))
        .filter_map(|test| test.split_once("fn ")?.1.split('(').next())
        .collect();
    assert_eq!(rows, tests);
}
