//! Recipes in a build without the features that they need.

use crate::files::{self, File};
use crate::inputs::Inputs;
use serde_json::Value;
use std::process::Command;

pub fn is(value: &Value) -> bool {
    super::is_of_recipes(value)
}

/// Runs cargo to build this test with the features, and to replay the file there. It skips the stored file, because
/// `cargo test` with the features replays it.
pub fn replay(file: &File, _: &Inputs) -> String {
    if file.path.starts_with(files::data()) {
        return "recipes are read by a build with the features `serde` and `alloc`".into();
    }
    let output = Command::new(env!("CARGO"))
        .args(["test", "--quiet", "--features", "serde,alloc", "--test", "golden"])
        .args(["--", "--exact", "--nocapture", "replays_the_traces_of_the_environment"])
        .env("LAYERWISE_TRACES", file.path.canonicalize().unwrap())
        .env("RUST_BACKTRACE", "0")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo builds this test with the features `serde` and `alloc`");
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{}", text.concat());
    let line = text[0].lines().find_map(|line| line.strip_prefix(&format!("{}: ", file.name)));
    line.expect("the line of the file").to_string()
}
