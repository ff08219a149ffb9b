//! Settings and states of schedules that were accepted once, and gave a NaN.

use layerwise::schedule::{CosineDecay, LogMax, LossScaler, LossScaling, RatePolicy, Schedule};

/// The power of a cosine decay has no effect. But a NaN made the schedule unequal to itself.
#[test]
fn a_power_without_effect_is_a_number() {
    let cosine = CosineDecay { learning_rate: 0.1, decay_steps: 10, ..CosineDecay::DEFAULT };
    for power in [f64::NAN, f64::INFINITY, -1.0] {
        let policy = RatePolicy::CosineDecay(CosineDecay { power, ..cosine });
        assert_eq!(Schedule::new(policy).unwrap_err().setting, "power");
    }
    assert!(Schedule::new(RatePolicy::CosineDecay(CosineDecay { power: 0.0, ..cosine })).is_ok());
}

/// Averages whose squares overflow `f64` gave a scale of infinity minus infinity.
#[test]
fn a_stored_state_has_a_scale() {
    let scaler = LossScaler::new(LossScaling::LogMax(LogMax::DEFAULT)).unwrap();
    assert_eq!(scaler.restore([0.0, 1e200, 1e308, 1.0]), None);
    assert_eq!(scaler.restore([-1e308, 0.0, 1e308, 1.0]), None);
    for numbers in [[1e100, -1e100, 0.0, 1.0], [-1024.0, -1024.0, 1048576.0, 1e9]] {
        let state = scaler.restore(numbers).unwrap();
        assert!((1.0..=16384.0).contains(&scaler.scale(&state)), "{numbers:?}");
    }
}
