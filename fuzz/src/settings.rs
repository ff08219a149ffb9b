//! Any text instead of stored settings and state.

use crate::harness::compare::non_negative;
use crate::input;
use arbitrary::{Result, Unstructured};
use layerwise::recipe::Recipe;
use layerwise::rule::RuleState;
use layerwise::schedule::{LossScaler, LossScaling, RatePolicy, Schedule};
use layerwise::{
    Adam, AdamConfig, AdamState, Larc, LarcConfig, LayerConfig, LayerSpan, Memory, NovoGrad, NovoGradConfig,
    NovoGradState, Policy, Sgd, SgdConfig, SgdState,
};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

pub fn settings(u: &mut Unstructured) -> Result<()> {
    let Ok(text) = std::str::from_utf8(u.peek_bytes(u.len()).unwrap_or_default()) else { return Ok(()) };
    // What can be read is in range.
    read::<LarcConfig>(text).map(|config| Larc::new(config).unwrap());
    read::<SgdConfig>(text).map(|config| Sgd::new(config).unwrap());
    read::<NovoGradConfig>(text).map(|config| NovoGrad::new(config).unwrap());
    read::<AdamConfig>(text).map(|config| Adam::new(config).unwrap());
    read::<Policy>(text).map(|policy| Sgd::new(SgdConfig::DEFAULT).unwrap().with_policy(policy).unwrap());
    read::<LayerConfig>(text).inspect(|config| assert!(input::is_in_range(config)));
    read::<LayerSpan>(text).inspect(|span| assert!(input::is_in_range(&span.config)));
    read::<SgdState>(text).map(|state| SgdState::from_numbers(state.to_numbers()).unwrap());
    read::<NovoGradState>(text).map(|state| NovoGradState::from_numbers(state.to_numbers()).unwrap());
    read::<AdamState>(text).map(|state| AdamState::from_numbers(state.to_numbers()).unwrap());
    read::<LossScaling>(text).map(|scaling| LossScaler::new(scaling).unwrap());
    // A length may still have to be filled in, so not every policy is a schedule.
    if let Some(Ok(schedule)) = read::<RatePolicy<Vec<f64>>>(text).map(Schedule::try_from) {
        rates(&schedule);
    }
    if let Some(training) = serde_json::from_str::<Recipe>(text).ok().and_then(|recipe| recipe.training(100).ok()) {
        rates(&training.schedule);
        let _ = training.optimizer();
    }
    read::<Memory<SgdState>>(text);
    read::<Memory<NovoGradState>>(text);
    Ok(())
}

/// All rates are finite and at least 0.
fn rates(schedule: &Schedule<Vec<f64>>) {
    for step in [0, 1, 1000, u64::MAX] {
        let rate = schedule.rate(step);
        assert!(non_negative(rate), "rate {rate} of step {step}");
    }
}

/// Reads a value, if the text has one, and checks that it survives writing and reading.
fn read<T: Serialize + DeserializeOwned + PartialEq + Debug>(text: &str) -> Option<T> {
    let value: T = serde_json::from_str(text).ok()?;
    let written = serde_json::to_string(&value).unwrap();
    assert_eq!(serde_json::from_str::<T>(&written).unwrap(), value, "{written}");
    Some(value)
}
