//! Settings of rate policies and loss scalers as text.

use crate::rates::{TRANSFORMER, all_policies};
use crate::text::{error, there_and_back};
use layerwise::schedule::{
    Backoff, CosineDecay, ExpDecay, FixedLr, InvPolyDecay, LogMax, LossScaling, PiecewiseConstant, PolyDecay,
    RatePolicy, Schedule, TransformerPolicy,
};

type Lists = RatePolicy<Vec<f64>>;

#[test]
fn parameters_of_openseq2seq_parse_as_they_stand() {
    let read = |text| serde_json::from_str::<Lists>(text).unwrap();
    let jasper = read(r#"{"poly_decay": {"learning_rate": 0.02, "min_lr": 1e-05, "power": 2.0}}"#);
    let poly = PolyDecay { learning_rate: 0.02, min_lr: 1e-5, power: 2.0, ..PolyDecay::DEFAULT };
    assert_eq!(jasper, RatePolicy::PolyDecay(poly));
    let resnet = read(
        r#"{"piecewise_constant": {"boundaries": [30, 60, 80, 90], "decay_rates": [0.1, 0.01, 0.001, 0.0001],
            "learning_rate": 0.1}}"#,
    );
    let drops = PiecewiseConstant {
        learning_rate: 0.1,
        boundaries: vec![30.0, 60.0, 80.0, 90.0],
        decay_rates: vec![0.1, 0.01, 0.001, 0.0001],
        steps_per_epoch: 0,
    };
    assert_eq!(resnet, RatePolicy::PiecewiseConstant(drops));
    let schedule = Schedule::try_from(resnet.for_training(900, 10)).unwrap();
    assert_eq!([300, 301, 900, 901].map(|step| schedule.rate(step)), [0.1, 0.1 * 0.1, 0.1 * 0.001, 0.1 * 0.0001]);
    let conv =
        read(r#"{"transformer_policy": {"d_model": 512, "learning_rate": 9, "max_lr": 0.001, "warmup_steps": 4000}}"#);
    let transformer = TransformerPolicy {
        d_model: 512,
        learning_rate: 9.0,
        max_lr: Some(0.001),
        warmup_steps: 4000,
        ..TransformerPolicy::DEFAULT
    };
    assert_eq!(conv, RatePolicy::TransformerPolicy(transformer));
    assert_eq!(
        read(r#"{"fixed_lr": {"learning_rate": 0.0009}}"#),
        RatePolicy::FixedLr(FixedLr { learning_rate: 0.0009 })
    );

    let read = |text| serde_json::from_str::<LossScaling>(text).unwrap();
    let backoff = Backoff { scale_min: 2.0, scale_max: 32768.0, step_factor: 4.0, step_window: 200 };
    let text = r#"{"Backoff": {"scale_min": 2.0, "scale_max": 32768.0, "step_factor": 4.0, "step_window": 200}}"#;
    assert_eq!(read(text), LossScaling::Backoff(backoff));
    assert_eq!(read(r#"{"backoff": {}}"#), LossScaling::Backoff(Backoff::DEFAULT));
    let log_max = LogMax { log_max: 15.0, beta1: 0.9, beta2: 0.99, overflow_std_dev: 3.0, ..LogMax::DEFAULT };
    let text = r#"{"LogMax": {"log_max": 15.0, "beta1": 0.9, "beta2": 0.99, "overflow_std_dev": 3.0}}"#;
    assert_eq!(read(text), LossScaling::LogMax(log_max));
    assert_eq!(read(r#"{"static": 512}"#), LossScaling::Static(512.0));
}

#[test]
fn what_is_unknown_missing_or_out_of_range_is_an_error() {
    assert!(error::<PolyDecay>(r#"{"learning_rate": 0.1, "warmup": 5}"#).contains("`warmup`"));
    assert!(error::<Lists>(r#"{"poly_decays": {"learning_rate": 0.1}}"#).contains("poly_decays"));
    assert!(error::<PolyDecay>("{}").contains("learning_rate is 0, but must be finite and > 0"));
    assert!(error::<FixedLr>("{}").contains("learning_rate"));
    assert!(error::<ExpDecay>(r#"{"learning_rate": 0.1}"#).contains("decay_rate is 0"));
    assert!(error::<CosineDecay>(r#"{"learning_rate": 0.1, "min_lr": -1}"#).contains("min_lr is -1"));
    assert!(error::<TransformerPolicy>(r#"{"learning_rate": 2, "warmup_steps": 9}"#).contains("d_model is 0"));
    assert!(error::<InvPolyDecay>(r#"{"learning_rate": 2, "power": 0}"#).contains("power is 0"));
    assert!(error::<PolyDecay>(r#"{"learning_rate": 2, "decay_steps": -1}"#).contains("-1"));
    for (boundaries, decay_rates, setting) in [
        ("[3]", "[]", "decay_rates.len is 0"),
        ("[3, 2]", "[1, 1]", "boundaries is 2"),
        ("[3]", "[-1]", "decay_rates is -1"),
    ] {
        let text = format!(r#"{{"learning_rate": 1, "boundaries": {boundaries}, "decay_rates": {decay_rates}}}"#);
        assert!(error::<PiecewiseConstant<Vec<f64>>>(&text).contains(setting), "{text}");
    }
    let text = r#"{"learning_rate": 1, "boundaries": 3}"#;
    assert!(error::<PiecewiseConstant<Vec<f64>>>(text).contains("a list of numbers"));

    assert!(error::<LossScaling>(r#"{"Backoff": {"window": 5}}"#).contains("`window`"));
    assert!(error::<LossScaling>(r#"{"Static": 0}"#).contains("loss_scaling is 0"));
    assert!(error::<Backoff>(r#"{"step_factor": 1}"#).contains("step_factor is 1"));
    assert!(error::<LogMax>(r#"{"beta1": 1}"#).contains("beta1 is 1"));
    assert!(error::<LogMax>(r#"{"scale_max": 0.5}"#).contains("scale_max is 0.5"));
}

#[test]
fn everything_survives_saving() {
    let third = 1.0 / 3.0;
    let lists = PiecewiseConstant {
        learning_rate: third,
        boundaries: vec![third, 7.0],
        decay_rates: vec![0.1 + 0.2, third * third],
        steps_per_epoch: u64::MAX,
    };
    there_and_back(RatePolicy::PiecewiseConstant(lists));
    let owned = |policy: RatePolicy| match policy {
        RatePolicy::PiecewiseConstant(_) => None,
        RatePolicy::FixedLr(policy) => Some(Lists::FixedLr(policy)),
        RatePolicy::ExpDecay(policy) => Some(Lists::ExpDecay(policy)),
        RatePolicy::PolyDecay(policy) => Some(Lists::PolyDecay(policy)),
        RatePolicy::CosineDecay(policy) => Some(Lists::CosineDecay(policy)),
        RatePolicy::TransformerPolicy(policy) => Some(Lists::TransformerPolicy(policy)),
        RatePolicy::InvPolyDecay(policy) => Some(Lists::InvPolyDecay(policy)),
        _ => None,
    };
    all_policies().into_iter().filter_map(owned).for_each(there_and_back);
    there_and_back(TransformerPolicy { max_lr: Some(third), coefficient: 0.1 + 0.2, ..TRANSFORMER });
    there_and_back(LossScaling::Static(0.1 + 0.2));
    there_and_back(LossScaling::Backoff(Backoff { step_factor: 1.0 + third, ..Backoff::DEFAULT }));
    there_and_back(LossScaling::LogMax(LogMax { beta1: third, ..LogMax::OPENSEQ2SEQ }));
}
