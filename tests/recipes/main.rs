//! Training runs as OpenSeq2Seq configures them: all keys, all errors, and steps. (`tests/golden` reads the
//! configurations that OpenSeq2Seq ships.)

#![cfg(all(feature = "serde", feature = "alloc"))]

mod errors;
mod steps;
mod words;

use layerwise::recipe::{Recipe, Training};
use layerwise::{AdamConfig, AnyRule, NovoGradConfig, SgdConfig};
use serde_json::Value;

/// How many batches an epoch has in these tests.
const BATCHES: u64 = 1000;

fn training(configuration: &Value) -> Training {
    serde_json::from_value::<Recipe>(configuration.clone()).unwrap().training(BATCHES).unwrap()
}

fn sgd(training: &Training) -> SgdConfig {
    match training.optimizer().rule() {
        AnyRule::Sgd(rule) => *rule.config(),
        other => panic!("{other:?}"),
    }
}

fn novograd(training: &Training) -> NovoGradConfig {
    match training.optimizer().rule() {
        AnyRule::NovoGrad(rule) => *rule.config(),
        other => panic!("{other:?}"),
    }
}

fn adam(training: &Training) -> AdamConfig {
    match training.optimizer().rule() {
        AnyRule::Adam(rule) => *rule.config(),
        other => panic!("{other:?}"),
    }
}
