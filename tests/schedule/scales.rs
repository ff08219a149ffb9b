//! Loss scalers at their edges.

use crate::rates::POLY;
use layerwise::schedule::{Backoff, LogMax, LossScaleState, LossScaler, LossScaling, PolyDecay, RatePolicy, Schedule};
use layerwise::{LayerMemory, NonFinite, Policy, Report, Sgd, SgdConfig, SgdState, Step};

fn scaler(scaling: LossScaling) -> LossScaler {
    LossScaler::new(scaling).unwrap()
}

/// The scales after each step, given whether the step was finite and its largest gradient.
fn scales<const N: usize>(scaler: &LossScaler, state: &mut LossScaleState, steps: [(bool, f64); N]) -> [f64; N] {
    steps.map(|(finite, max_norm)| {
        let update = scaler.update(state, finite, max_norm);
        assert_eq!(update.skip, !finite);
        assert!(update.scale.is_nan() && scaler.scale(state).is_nan() || scaler.scale(state) == update.scale);
        update.scale
    })
}

#[test]
fn a_scaler_out_of_range_is_a_typed_error() {
    let setting = |scaling| LossScaler::new(scaling).unwrap_err().setting;
    let backoff = |backoff| setting(LossScaling::Backoff(backoff));
    let log_max = |log_max| setting(LossScaling::LogMax(log_max));
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(setting(LossScaling::Static(bad)), "loss_scaling");
        assert_eq!(backoff(Backoff { scale_min: bad, ..Backoff::DEFAULT }), "scale_min");
        assert_eq!(backoff(Backoff { scale_max: bad, ..Backoff::DEFAULT }), "scale_max");
        assert_eq!(backoff(Backoff { step_factor: bad, ..Backoff::DEFAULT }), "step_factor");
        assert_eq!(log_max(LogMax { scale_min: bad, ..LogMax::DEFAULT }), "scale_min");
        assert_eq!(log_max(LogMax { scale_max: bad, ..LogMax::DEFAULT }), "scale_max");
    }
    assert_eq!(backoff(Backoff { step_factor: 1.0, ..Backoff::DEFAULT }), "step_factor");
    assert_eq!(backoff(Backoff { step_window: 0, ..Backoff::DEFAULT }), "step_window");
    for bad in [-0.1, 1.0, f64::NAN] {
        assert_eq!(log_max(LogMax { beta1: bad, ..LogMax::DEFAULT }), "beta1");
        assert_eq!(log_max(LogMax { beta2: bad, ..LogMax::DEFAULT }), "beta2");
    }
    for bad in [-0.1, f64::INFINITY, f64::NAN] {
        assert_eq!(log_max(LogMax { overflow_std_dev: bad, ..LogMax::DEFAULT }), "overflow_std_dev");
        assert_eq!(log_max(LogMax { log_max: bad, ..LogMax::DEFAULT }), "log_max");
    }
    let error = LossScaler::new(LossScaling::Backoff(Backoff { scale_max: 0.5, ..Backoff::DEFAULT })).unwrap_err();
    assert_eq!(error.to_string(), "scale_max is 0.5, but must be finite and >= scale_min");
}

#[test]
fn a_static_scale_skips_and_stays() {
    let (scaler, mut state) = (scaler(LossScaling::Static(512.0)), LossScaleState::START);
    assert_eq!(scales(&scaler, &mut state, [(true, 1.0), (false, f64::NAN), (true, 0.0)]), [512.0; 3]);
    assert_eq!(state, LossScaleState::default());
    assert_eq!(scaler.restore([0.0; 4]), Some(state));
    assert_eq!(scaler.restore([1.0, 0.0, 0.0, 0.0]), None);
}

#[test]
fn a_run_of_overflows_backs_off_to_the_least_scale() {
    let backoff = Backoff { scale_min: 4.0, scale_max: 64.0, step_window: 2, ..Backoff::DEFAULT };
    let (scaler, mut state) = (scaler(LossScaling::Backoff(backoff)), LossScaleState::START);
    assert_eq!(scaler.scale(&state), 64.0);
    let (good, bad) = ((true, 1.0), (false, f64::INFINITY));
    assert_eq!(scales(&scaler, &mut state, [bad; 6]), [32.0, 16.0, 8.0, 4.0, 4.0, 4.0]);
    assert_eq!(scales(&scaler, &mut state, [good; 10]), [4.0, 8.0, 8.0, 16.0, 16.0, 32.0, 32.0, 64.0, 64.0, 64.0]);
    // At the largest scale, too, each window restarts the count.
    assert_eq!(state.to_numbers(), [64.0, 0.0, 0.0, 0.0]);
    // A bad step restarts the count.
    assert_eq!(scales(&scaler, &mut state, [good, bad, good, good]), [64.0, 32.0, 32.0, 64.0]);
}

#[test]
fn windows_of_one_step_and_of_the_most() {
    let backoff = Backoff { step_window: 1, step_factor: 4.0, ..Backoff::DEFAULT };
    let (first, mut state) = (scaler(LossScaling::Backoff(backoff)), LossScaleState::START);
    let steps = [(false, 0.0), (false, 0.0), (true, 0.0), (true, 0.0), (true, 0.0)];
    assert_eq!(scales(&first, &mut state, steps), [4096.0, 1024.0, 4096.0, 16384.0, 16384.0]);

    let longest = scaler(LossScaling::Backoff(Backoff { step_window: u32::MAX, ..Backoff::DEFAULT }));
    let mut state = longest.restore([2.0, f64::from(u32::MAX - 2), 0.0, 0.0]).unwrap();
    assert_eq!(scales(&longest, &mut state, [(true, 0.0); 3]), [2.0, 4.0, 4.0]);
}

#[test]
fn a_stored_state_is_checked_and_brought_within_new_limits() {
    let backoff = scaler(LossScaling::Backoff(Backoff { scale_max: 64.0, ..Backoff::DEFAULT }));
    let mut state = backoff.restore([16384.0, 7.0, 0.0, 0.0]).unwrap();
    assert_eq!(backoff.scale(&state), 64.0);
    assert_eq!(scales(&backoff, &mut state, [(false, 0.0)]), [32.0]);
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(backoff.restore([bad, 0.0, 0.0, 0.0]), None);
        assert_eq!(backoff.restore([1.0, bad, 0.0, 0.0]), None);
        assert_eq!(backoff.restore([1.0, 0.0, bad, 0.0]), None);
    }
    assert_eq!(backoff.restore([1.0, 0.5, 0.0, 0.0]), None);
    assert_eq!(backoff.restore([0.0, 1.0, 0.0, 0.0]), None);

    let log_max = scaler(LossScaling::LogMax(LogMax::DEFAULT));
    assert!(log_max.restore([-0.1, -0.01, 0.2, 3.0]).is_some());
    for numbers in
        [[f64::NAN, 0.0, 0.0, 1.0], [0.0, f64::INFINITY, 0.0, 1.0], [0.0, 0.0, -0.1, 1.0], [0.1, 0.0, 0.0, 0.0]]
    {
        assert_eq!(log_max.restore(numbers), None, "{numbers:?}");
    }
    for steps in [-1.0, 0.5, f64::NAN, f64::INFINITY] {
        assert_eq!(log_max.restore([0.0, 0.0, 0.0, steps]), None);
    }
}

/// The scale that LogMax's formulas give after these logarithms.
fn log_max_scale(config: &LogMax, logarithms: &[f64]) -> f64 {
    // An average as a sum over all steps: the older a step, the less it weighs.
    let average = |beta: f64, f: &dyn Fn(f64) -> f64| {
        let weights = || (0..logarithms.len() as i32).map(|age| beta.powi(age));
        let sum: f64 = weights().zip(logarithms.iter().rev()).map(|(weight, x)| weight * f(*x)).sum();
        sum / weights().sum::<f64>()
    };
    let mean = average(config.beta2, &|x| x);
    let deviation = average(config.beta2, &|x| (x - mean) * (x - mean)).sqrt();
    let cutoff = average(config.beta1, &|x| x) + config.overflow_std_dev * deviation;
    (config.log_max - cutoff).exp2().clamp(config.scale_min, config.scale_max)
}

#[test]
fn log_max_follows_its_formulas() {
    let config = LogMax { scale_min: 1e-6, scale_max: 1e6, log_max: 10.0, beta1: 0.8, beta2: 0.9, ..LogMax::DEFAULT };
    let (scaler, mut state) = (scaler(LossScaling::LogMax(config)), LossScaleState::START);
    assert_eq!(scaler.scale(&state), 1.0);
    let mut logarithms = vec![];
    for step in 1..200 {
        // Every seventh step overflows, which counts as a largest gradient of 2^log_max.
        let (finite, x) = if step % 7 == 0 { (false, 10.0) } else { (true, f64::from(step * 37 % 11) / 4.0 - 3.0) };
        logarithms.push(x);
        let [ours] = scales(&scaler, &mut state, [(finite, if finite { x.exp2() } else { f64::INFINITY })]);
        let theirs = log_max_scale(&config, &logarithms);
        assert!((ours - theirs).abs() <= 1e-11 * theirs, "step {step}: {ours} instead of {theirs}");
    }
}

#[test]
fn log_max_of_gradients_that_are_all_alike() {
    // The deviation is 0; with rounding it could be the root of a negative number.
    for max_norm in [0.3_f64, 0.7, 3.0, 1e-20, 1e20] {
        let config = LogMax { scale_min: 1e-30, scale_max: 1e30, ..LogMax::DEFAULT };
        let (scaler, mut state) = (scaler(LossScaling::LogMax(config)), LossScaleState::START);
        for _ in 0..1000 {
            let scale = scaler.update(&mut state, true, max_norm).scale;
            assert!((scale * max_norm / 65536.0 - 1.0).abs() < 1e-4, "{max_norm}: {scale}");
        }
    }
}

#[test]
fn a_gradient_of_zeros_says_nothing_to_log_max() {
    let (scaler, mut state) = (scaler(LossScaling::LogMax(LogMax::DEFAULT)), LossScaleState::START);
    assert_eq!(scales(&scaler, &mut state, [(true, 0.0), (true, -0.0)]), [1.0; 2]);
    assert_eq!(state, LossScaleState::START);
    let [before] = scales(&scaler, &mut state, [(true, 64.0)]);
    assert!((before - 1024.0).abs() < 1e-9);
    let there = state;
    assert_eq!(scales(&scaler, &mut state, [(true, 0.0); 3]), [before; 3]);
    assert_eq!(state, there);
}

#[test]
fn log_max_skips_what_is_no_largest_gradient() {
    for bad in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -1.0] {
        let (scaler, mut state) = (scaler(LossScaling::LogMax(LogMax::DEFAULT)), LossScaleState::START);
        let update = scaler.update(&mut state, true, bad);
        assert!(update.skip && (update.scale - 1.0).abs() < 1e-9, "{bad}: {update:?}");
        // The next steps bring the scale back, as they push the overflow out of the averages.
        for _ in 0..20_000 {
            assert!(!scaler.update(&mut state, true, 1.0).skip);
        }
        assert_eq!(scaler.scale(&state), 16384.0);
    }
}

#[test]
fn log_max_keeps_within_its_limits() {
    let limits = LogMax { scale_min: 8.0, scale_max: 1024.0, ..LogMax::DEFAULT };
    let (scaler, mut state) = (scaler(LossScaling::LogMax(limits)), LossScaleState::START);
    assert_eq!(scaler.scale(&state), 8.0);
    assert_eq!(scales(&scaler, &mut state, [(true, 5e-324)]), [1024.0]);
    assert_eq!(scales(&scaler, &mut state, [(true, f64::MAX), (false, f64::NAN)]), [8.0; 2]);
    // A count at its maximum.
    let [mean, slow_mean, mean_square, _] = state.to_numbers();
    let mut late = scaler.restore([mean, slow_mean, mean_square, 2f64.powi(53)]).unwrap();
    assert!(scaler.update(&mut late, true, 1.0).scale >= 8.0);
    assert_eq!(late.to_numbers()[3], 2f64.powi(53));
}

#[test]
fn log_max_as_it_is_executed() {
    let executed = scaler(LossScaling::LogMax(LogMax::OPENSEQ2SEQ));
    let mut state = LossScaleState::START;
    scales(&executed, &mut state, [(true, 1.0); 1000]);
    assert_eq!(executed.scale(&state), 16384.0);
    // One overflow counts as 2¹⁶ where 16 is intended: this gives the smallest scale for thousands of steps.
    assert_eq!(scales(&executed, &mut state, [(false, f64::INFINITY)]), [1.0]);
    for _ in 0..4000 {
        assert_eq!(executed.update(&mut state, true, 1.0).scale, 1.0);
    }
    // A gradient of zeros makes all later scales NaN.
    let mut state = LossScaleState::START;
    for scale in scales(&executed, &mut state, [(true, 0.0), (true, 1.0), (false, f64::INFINITY), (true, 1.0)]) {
        assert!(scale.is_nan());
    }
    // The scale does not depend on `log_max`, and the first scale is 1 whatever the limits are.
    let other = scaler(LossScaling::LogMax(LogMax { log_max: 10.0, scale_min: 2.0, ..LogMax::OPENSEQ2SEQ }));
    assert_eq!(other.scale(&LossScaleState::START), 1.0);
    let [scale] = scales(&other, &mut LossScaleState::default(), [(true, 256.0)]);
    assert!((scale - 256.0).abs() < 1e-9);
}

#[test]
fn a_skipped_step_counts_nowhere() {
    let policy = Policy { non_finite: NonFinite::SkipStep, ..Policy::DEFAULT };
    let sgd = Sgd::new(SgdConfig::DEFAULT).unwrap().with_policy(policy).unwrap();
    let schedule = Schedule::new(RatePolicy::PolyDecay(PolyDecay { decay_steps: 4, ..POLY })).unwrap();
    let scaler = scaler(LossScaling::Backoff(Backoff { scale_max: 4.0, ..Backoff::DEFAULT }));
    let (mut first, mut second, mut states) = ([0.0_f32], [0.0_f32], [SgdState::default(); 2]);
    let (mut step, mut state) = (0, LossScaleState::START);
    for gradient in [1.0, f32::NAN, 1.0] {
        let scale = scaler.scale(&state);
        let gradients = [[scale as f32], [gradient * scale as f32]];
        let [first_state, second_state] = &mut states;
        let mut model = [
            LayerMemory::new(&mut first, &gradients[0], first_state),
            LayerMemory::new(&mut second, &gradients[1], second_state),
        ];
        let this = Step::new(schedule.rate(step)).gradient_scale(1.0 / scale);
        let summary = sgd.step(this, &mut model, &mut [Report::ABSENT; 2]).unwrap();
        if !scaler.update(&mut state, summary.skipped == 0, 0.0).skip {
            step += 1;
        }
    }
    assert_eq!((step, states.map(|state| state.steps), scaler.scale(&state)), (2, [2; 2], 2.0));
    assert_eq!((first, second), ([-0.875], [-0.875])); // rates 0.5 and 0.375
}
