//! Rate policies: recorded runs of OpenSeq2Seq.

use crate::compare::{assert_within, worst};
use crate::files::File;
use crate::inputs::Inputs;
use crate::keys::{Keys, number, numbers};
use crate::reference::tolerances;
use layerwise::schedule::{
    CosineDecay, ExpDecay, FixedLr, InvPolyDecay, PiecewiseConstant, PolyDecay, RatePolicy, Schedule, TransformerPolicy,
};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Trace {
    peer: String,
    cases: Vec<Case>,
}

/// Rates of one policy.
#[derive(Deserialize)]
struct Case {
    policy: String,
    params: Value,
    steps: Vec<u64>,
    lr_f32: Value,
    /// Only stored traces have them.
    #[serde(default)]
    lr_exact: Option<Value>,
}

pub fn is(value: &Value) -> bool {
    value.get("cases").is_some()
}

pub fn replay(file: &File, _: &Inputs) -> String {
    let trace: Trace = file.parse();
    assert!(trace.peer == "OpenSeq2Seq lr_policies", "the peer {} is not known", trace.peer);
    let (mut of_f32, mut of_exact, mut count) = (0.0_f64, None, 0);
    for case in &trace.cases {
        let schedule = Schedule::try_from(rate_policy(&case.policy, &case.params)).unwrap();
        let rates: Vec<f64> = case.steps.iter().map(|step| schedule.rate(*step)).collect();
        let recorded = numbers(&case.lr_f32).expect("a list of rates");
        let scale = recorded.iter().fold(number(&case.params["learning_rate"]).unwrap(), |a, b| a.max(*b));
        let what = format!("{} with {}", case.policy, case.params);
        let deviation = worst(&rates, &recorded, scale);
        assert_within(&what, deviation, tolerances::RATE_IN_F32);
        of_f32 = of_f32.max(deviation);
        count += rates.len();
        if let Some(exact) = &case.lr_exact {
            let deviation = worst(&rates, &numbers(exact).expect("a list of rates"), scale);
            assert_within(&what, deviation, tolerances::SCHEDULE);
            of_exact = Some(deviation.max(of_exact.unwrap_or(0.0)));
        }
    }
    assert!(count > 0, "there are no rates");
    let cases = trace.cases.len();
    let of_exact = of_exact.map_or(String::new(), |exact| format!("; of exact rates {exact:.1e}"));
    format!("{}, {cases} cases, {count} rates, within {of_f32:.1e}{of_exact}", trace.peer)
}

/// A policy of OpenSeq2Seq with its parameters.
pub fn rate_policy(name: &str, params: &Value) -> RatePolicy<Vec<f64>> {
    let mut keys = Keys::new(name, params);
    let k = &mut keys;
    let learning_rate = k.number("learning_rate", 0.0);
    let policy = match name {
        "fixed_lr" => RatePolicy::FixedLr(FixedLr { learning_rate }),
        "piecewise_constant" => RatePolicy::PiecewiseConstant(PiecewiseConstant {
            learning_rate,
            boundaries: k.read("boundaries", numbers).unwrap_or_default(),
            decay_rates: k.read("decay_rates", numbers).unwrap_or_default(),
            steps_per_epoch: k.count("steps_per_epoch"),
        }),
        "exp_decay" => RatePolicy::ExpDecay(ExpDecay {
            learning_rate,
            decay_steps: k.count("decay_steps"),
            decay_rate: k.number("decay_rate", 0.0),
            use_staircase_decay: k.flag("use_staircase_decay", false),
            begin_decay_at: k.count("begin_decay_at"),
            min_lr: k.number("min_lr", 0.0),
        }),
        "transformer_policy" => {
            k.no_matter(&["dtype"]);
            RatePolicy::TransformerPolicy(TransformerPolicy {
                learning_rate,
                d_model: k.count("d_model"),
                warmup_steps: k.count("warmup_steps"),
                max_lr: k.read("max_lr", number),
                coefficient: k.number("coefficient", 1.0),
            })
        }
        "poly_decay" | "cosine_decay" | "inv_poly_decay" => to_a_floor(name, learning_rate, k),
        _ => panic!("the policy {name} is not known"),
    };
    keys.finish();
    #[cfg(feature = "serde")]
    assert_reads_as(params, name, &policy);
    policy
}

/// The policies that fall from the learning rate to a floor.
fn to_a_floor(name: &str, learning_rate: f64, k: &mut Keys) -> RatePolicy<Vec<f64>> {
    let (min_lr, power) = (k.number("min_lr", 0.0), k.number("power", 1.0));
    let decay_steps = k.count("decay_steps");
    let (begin_decay_at, warmup_steps) = (k.count("begin_decay_at"), k.count("warmup_steps"));
    match name {
        "poly_decay" => {
            RatePolicy::PolyDecay(PolyDecay { learning_rate, decay_steps, power, begin_decay_at, min_lr, warmup_steps })
        }
        "cosine_decay" => RatePolicy::CosineDecay(CosineDecay {
            learning_rate,
            decay_steps,
            power,
            begin_decay_at,
            min_lr,
            warmup_steps,
        }),
        _ => RatePolicy::InvPolyDecay(InvPolyDecay {
            learning_rate,
            decay_steps,
            min_lr,
            power,
            begin_decay_at,
            warmup_steps,
        }),
    }
}

/// Parameters that the crate can read itself give the same policy. (It does not read nulls, or counts with a decimal
/// point.)
#[cfg(feature = "serde")]
fn assert_reads_as(params: &Value, name: &str, policy: &RatePolicy<Vec<f64>>) {
    let as_it_stands = serde_json::json!({ name: params });
    if let Ok(read) = serde_json::from_value::<RatePolicy<Vec<f64>>>(as_it_stands) {
        assert_eq!(read, *policy);
    }
}
