//! Rate policies at their edges.

use layerwise::ConfigError;
use layerwise::schedule::{
    CosineDecay, ExpDecay, FixedLr, InvPolyDecay, PiecewiseConstant, PolyDecay, RatePolicy, Schedule, TransformerPolicy,
};

pub const EXP: ExpDecay = ExpDecay { learning_rate: 0.5, decay_steps: 10, decay_rate: 0.5, ..ExpDecay::DEFAULT };
pub const POLY: PolyDecay = PolyDecay { learning_rate: 0.5, decay_steps: 100, ..PolyDecay::DEFAULT };
pub const COSINE: CosineDecay = CosineDecay { learning_rate: 0.5, decay_steps: 100, ..CosineDecay::DEFAULT };
pub const TRANSFORMER: TransformerPolicy =
    TransformerPolicy { learning_rate: 2.0, d_model: 64, warmup_steps: 16, ..TransformerPolicy::DEFAULT };
pub const INVERSE: InvPolyDecay =
    InvPolyDecay { learning_rate: 0.5, decay_steps: 100, min_lr: 0.01, ..InvPolyDecay::DEFAULT };
pub const DROPS: PiecewiseConstant = PiecewiseConstant {
    learning_rate: 0.5,
    boundaries: &[3.0, 7.0],
    decay_rates: &[0.5, 0.0],
    ..PiecewiseConstant::DEFAULT
};

/// Settings are constants where they can be.
const SCHEDULE: Schedule = match Schedule::new(RatePolicy::PiecewiseConstant(DROPS)) {
    Ok(schedule) => schedule,
    Err(_) => panic!("bad settings"),
};

pub fn all_policies() -> [RatePolicy; 7] {
    [
        RatePolicy::FixedLr(FixedLr { learning_rate: 0.5 }),
        RatePolicy::PiecewiseConstant(DROPS),
        RatePolicy::ExpDecay(EXP),
        RatePolicy::PolyDecay(POLY),
        RatePolicy::CosineDecay(COSINE),
        RatePolicy::TransformerPolicy(TRANSFORMER),
        RatePolicy::InvPolyDecay(INVERSE),
    ]
}

fn rates<const N: usize>(policy: RatePolicy<&[f64]>, steps: [u64; N]) -> [f64; N] {
    let schedule = Schedule::new(policy).unwrap();
    steps.map(|step| schedule.rate(step))
}

#[test]
fn a_policy_out_of_range_is_a_typed_error() {
    let bad = |policy: RatePolicy<&[f64]>| Schedule::new(policy).unwrap_err();
    let setting = |policy: RatePolicy<&[f64]>| bad(policy).setting;
    for rate in [0.0, -0.1, f64::NAN, f64::INFINITY] {
        assert_eq!(setting(RatePolicy::FixedLr(FixedLr { learning_rate: rate })), "learning_rate");
        assert_eq!(setting(RatePolicy::PolyDecay(PolyDecay { learning_rate: rate, ..POLY })), "learning_rate");
        assert_eq!(setting(RatePolicy::PolyDecay(PolyDecay { power: rate, ..POLY })), "power");
        assert_eq!(setting(RatePolicy::ExpDecay(ExpDecay { decay_rate: rate, ..EXP })), "decay_rate");
        assert_eq!(setting(RatePolicy::InvPolyDecay(InvPolyDecay { power: rate, ..INVERSE })), "power");
        let policy = TransformerPolicy { coefficient: rate, ..TRANSFORMER };
        assert_eq!(setting(RatePolicy::TransformerPolicy(policy)), "coefficient");
        let policy = TransformerPolicy { max_lr: Some(rate), ..TRANSFORMER };
        assert_eq!(setting(RatePolicy::TransformerPolicy(policy)), "max_lr");
    }
    for min_lr in [-1e-9, f64::NAN, f64::INFINITY] {
        assert_eq!(setting(RatePolicy::ExpDecay(ExpDecay { min_lr, ..EXP })), "min_lr");
        assert_eq!(setting(RatePolicy::PolyDecay(PolyDecay { min_lr, ..POLY })), "min_lr");
        assert_eq!(setting(RatePolicy::CosineDecay(CosineDecay { min_lr, ..COSINE })), "min_lr");
        assert_eq!(setting(RatePolicy::InvPolyDecay(InvPolyDecay { min_lr, ..INVERSE })), "min_lr");
    }
    assert_eq!(setting(RatePolicy::TransformerPolicy(TransformerPolicy { d_model: 0, ..TRANSFORMER })), "d_model");
    let error = bad(RatePolicy::PolyDecay(PolyDecay { decay_steps: 0, ..POLY }));
    assert_eq!(error.to_string(), "decay_steps is 0, but must be >= 1; `for_training` can fill it in");
    assert_eq!(setting(RatePolicy::ExpDecay(ExpDecay { decay_steps: 0, ..EXP })), "decay_steps");
    let owned: RatePolicy<Vec<f64>> = RatePolicy::ExpDecay(ExpDecay { decay_steps: 0, ..EXP });
    assert_eq!(Schedule::try_from(owned).unwrap_err().setting, "decay_steps");
    assert_eq!(setting(RatePolicy::CosineDecay(CosineDecay { decay_steps: 0, ..COSINE })), "decay_steps");
    assert_eq!(setting(RatePolicy::InvPolyDecay(InvPolyDecay { decay_steps: 0, ..INVERSE })), "decay_steps");
}

#[test]
fn lists_that_do_not_fit_are_typed_errors() {
    let error = |boundaries: &[f64], decay_rates: &[f64]| -> Option<ConfigError> {
        let slices = PiecewiseConstant { learning_rate: 0.5, boundaries, decay_rates, steps_per_epoch: 0 };
        let (boundaries, decay_rates) = (boundaries.to_vec(), decay_rates.to_vec());
        let vectors = PiecewiseConstant { learning_rate: 0.5, boundaries, decay_rates, steps_per_epoch: 0 };
        let of_slices = Schedule::new(RatePolicy::PiecewiseConstant(slices)).err();
        let of_vectors = Schedule::try_from(RatePolicy::PiecewiseConstant(vectors)).err();
        assert_eq!(of_slices.map(|e| e.to_string()), of_vectors.map(|e| e.to_string()));
        of_slices
    };
    assert_eq!(error(&[], &[]), None);
    assert_eq!(error(&[0.0, 3.0, 3.0], &[1.0, 0.5, 0.0]), None);
    let short = error(&[3.0], &[]).unwrap().to_string();
    assert_eq!(short, "decay_rates.len is 0, but must be the number of boundaries");
    assert_eq!(error(&[], &[0.5]).unwrap().setting, "decay_rates.len");
    for boundaries in [[3.0, 2.0], [-1.0, 2.0], [1.0, f64::NAN], [f64::NAN, 1.0], [1.0, f64::INFINITY]] {
        assert_eq!(error(&boundaries, &[0.5, 0.25]).unwrap().setting, "boundaries", "{boundaries:?}");
    }
    for rate in [-0.5, f64::NAN, f64::INFINITY] {
        assert_eq!(error(&[1.0, 2.0], &[0.5, rate]).unwrap().setting, "decay_rates", "{rate}");
    }
}

#[test]
fn boundaries_keep_the_old_rate() {
    assert_eq!([0, 3, 4, 7, 8, u64::MAX].map(|step| SCHEDULE.rate(step)), [0.5, 0.5, 0.25, 0.25, 0.0, 0.0]);
    let epochs = PiecewiseConstant { steps_per_epoch: 5, ..DROPS };
    assert_eq!(rates(RatePolicy::PiecewiseConstant(epochs), [15, 16, 35, 36]), [0.5, 0.25, 0.25, 0.0]);
    let twice: PiecewiseConstant = PiecewiseConstant { boundaries: &[3.0, 3.0], ..DROPS };
    assert_eq!(rates(RatePolicy::PiecewiseConstant(twice), [3, 4]), [0.5, 0.0]);
    let none: PiecewiseConstant = PiecewiseConstant { boundaries: &[], decay_rates: &[], ..DROPS };
    assert_eq!(rates(RatePolicy::PiecewiseConstant(none), [0, u64::MAX]), [0.5; 2]);
}

#[test]
fn a_decay_begins_after_the_warm_up() {
    let steps = [0, 1, 7, 8, 9, 10, 11];
    let warm = [0.0, 0.0625, 0.4375, 0.5];
    for begin_decay_at in [0, 5, 8] {
        let poly = RatePolicy::PolyDecay(PolyDecay { warmup_steps: 8, begin_decay_at, decay_steps: 2, ..POLY });
        let [a, b, c, d, half, end, after] = rates(poly, steps);
        assert_eq!(([a, b, c, d], half, end, after), (warm, 0.25, 0.0, 0.0));
        let cosine = RatePolicy::CosineDecay(CosineDecay { warmup_steps: 8, begin_decay_at, decay_steps: 2, ..COSINE });
        let [a, b, c, d, half, end, after] = rates(cosine, steps);
        assert_eq!(([a, b, c, d], end, after), (warm, 0.0, 0.0));
        assert!((half - 0.25).abs() < 1e-15);
    }
    // A pause between the two.
    let poly = PolyDecay { warmup_steps: 2, begin_decay_at: 5, decay_steps: 2, ..POLY };
    assert_eq!(rates(RatePolicy::PolyDecay(poly), [1, 2, 4, 5, 6, 7]), [0.25, 0.5, 0.5, 0.5, 0.25, 0.0]);
    let exp = RatePolicy::ExpDecay(ExpDecay { begin_decay_at: 5, ..EXP });
    assert_eq!(rates(exp, [0, 5, 15, 25]), [0.5, 0.5, 0.25, 0.125]);
}

#[test]
fn floors_and_powers() {
    let root = RatePolicy::PolyDecay(PolyDecay { power: 0.5, ..POLY });
    assert_eq!(rates(root, [0, 75, 100]), [0.5, 0.25, 0.0]);
    // The floor of a polynomial is a rate, that of a cosine a fraction. Both may be above the first rate.
    let poly = RatePolicy::PolyDecay(PolyDecay { min_lr: 1.0, ..POLY });
    assert_eq!(rates(poly, [0, 50, 100]), [0.5, 0.75, 1.0]);
    let cosine = RatePolicy::CosineDecay(CosineDecay { min_lr: 2.0, power: 7.0, ..COSINE });
    assert_eq!(rates(cosine, [0, 100]), [0.5, 1.0]);
    let exp = RatePolicy::ExpDecay(ExpDecay { min_lr: 0.75, ..EXP });
    assert_eq!(rates(exp, [0, 100]), [0.75; 2]);
    let rising = RatePolicy::ExpDecay(ExpDecay { decay_rate: 2.0, ..EXP });
    assert_eq!(rates(rising, [0, 10, 20]), [0.5, 1.0, 2.0]);

    let inverse = |min_lr| rates(RatePolicy::InvPolyDecay(InvPolyDecay { min_lr, power: 2.0, ..INVERSE }), [0, 100]);
    assert_eq!(inverse(0.0), inverse(1e-8));
    assert!((inverse(0.0)[1] - 1e-8).abs() < 1e-20);
    assert_eq!(inverse(3.0), [0.5; 2]);
}

#[test]
fn the_transformer_s_policy_without_warm_up_and_with_a_ceiling() {
    let cold = TransformerPolicy { warmup_steps: 0, ..TRANSFORMER };
    assert_eq!(rates(RatePolicy::TransformerPolicy(cold), [0, 3, 15]), [0.25, 0.125, 0.0625]);
    let low = TransformerPolicy { max_lr: Some(0.03125), ..TRANSFORMER };
    assert_eq!(
        rates(RatePolicy::TransformerPolicy(low), [0, 7, 15, 63, 255]),
        [0.00390625, 0.03125, 0.03125, 0.03125, 0.015625]
    );
}

#[test]
fn steps_beyond_every_end_have_rates() {
    for policy in all_policies() {
        let schedule = Schedule::new(policy).unwrap();
        let late = [u64::from(u32::MAX) - 1, u32::MAX.into(), 1 << 32, 1 << 53, u64::MAX - 1, u64::MAX];
        let late = late.map(|step| schedule.rate(step));
        assert!(late.iter().all(|rate| (0.0..=0.5).contains(rate)), "{policy:?}: {late:?}");
        assert!(late.is_sorted_by(|earlier, later| earlier >= later), "{policy:?}: {late:?}");
    }
    // Lengths as large as they can be.
    let poly = PolyDecay { warmup_steps: u64::MAX, begin_decay_at: u64::MAX, decay_steps: u64::MAX, ..POLY };
    assert_eq!(rates(RatePolicy::PolyDecay(poly), [0, 1 << 63, u64::MAX]), [0.0, 0.25, 0.5]);
    let exp = ExpDecay { begin_decay_at: u64::MAX, decay_steps: u64::MAX, use_staircase_decay: true, ..EXP };
    assert_eq!(rates(RatePolicy::ExpDecay(exp), [0, u64::MAX]), [0.5; 2]);
    let epochs = PiecewiseConstant { steps_per_epoch: u64::MAX, ..DROPS };
    assert_eq!(rates(RatePolicy::PiecewiseConstant(epochs), [0, u64::MAX]), [0.5; 2]);
}

#[test]
fn the_length_of_the_training_fills_in_what_is_not_named() {
    let filled = |policy: RatePolicy| policy.for_training(1000, 50);
    let poly = PolyDecay { decay_steps: 0, warmup_steps: 100, begin_decay_at: 200, ..POLY };
    assert_eq!(filled(RatePolicy::PolyDecay(poly)), RatePolicy::PolyDecay(PolyDecay { decay_steps: 800, ..poly }));
    let cosine = CosineDecay { decay_steps: 0, warmup_steps: 300, ..COSINE };
    assert_eq!(
        filled(RatePolicy::CosineDecay(cosine)),
        RatePolicy::CosineDecay(CosineDecay { decay_steps: 700, ..cosine })
    );
    let exp = ExpDecay { decay_steps: 0, begin_decay_at: 10, ..EXP };
    assert_eq!(filled(RatePolicy::ExpDecay(exp)), RatePolicy::ExpDecay(ExpDecay { decay_steps: 990, ..exp }));
    let inverse = InvPolyDecay { decay_steps: 0, warmup_steps: 20, ..INVERSE };
    let full = InvPolyDecay { decay_steps: 980, ..inverse };
    assert_eq!(filled(RatePolicy::InvPolyDecay(inverse)), RatePolicy::InvPolyDecay(full));
    let epochs = PiecewiseConstant { steps_per_epoch: 50, ..DROPS };
    assert_eq!(filled(RatePolicy::PiecewiseConstant(DROPS)), RatePolicy::PiecewiseConstant(epochs));
    // Settings with values stay, and so do those that do not depend on the length.
    for policy in all_policies().into_iter().filter(|policy| !matches!(policy, RatePolicy::PiecewiseConstant(_))) {
        assert_eq!(filled(policy), policy);
    }
    assert_eq!(RatePolicy::PiecewiseConstant(epochs).for_training(1000, 7), RatePolicy::PiecewiseConstant(epochs));
    // A training run that ends during the warm-up.
    let policy: RatePolicy = RatePolicy::PolyDecay(poly);
    assert_eq!(rates(policy.for_training(50, 0), [0, 50, 200, 201]), [0.0, 0.25, 0.5, 0.0]);
}
