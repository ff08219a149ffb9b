//! Saved values have the same bits when they are read, even by a reader that is off by one unit in the last place of
//! long decimal numbers, such as `serde_json` without its feature `float_roundtrip`.

use crate::harness::bits;
use layerwise::{
    AdamConfig, AdamDecay, AdamState, DecayMode, LarcConfig, LayerConfig, LayerMemory, LayerSpan, Luc, NonFinite,
    NovoGrad, NovoGradConfig, NovoGradState, Policy, SgdConfig, SgdState, TrustRatio, lecun_rate,
};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

fn there_and_back<T: Serialize + DeserializeOwned + Debug>(value: &T) -> T {
    let text = serde_json::to_string(value).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Fails unless a value survives writing and reading. (In Rust, two numbers print as the same text only if their bits
/// are equal.)
fn survives<T: Serialize + DeserializeOwned + Debug>(value: &T) {
    assert_eq!(format!("{:?}", there_and_back(value)), format!("{value:?}"));
}

/// Non-negative numbers of every size and every number of digits.
fn numbers(count: usize) -> Vec<f64> {
    let mut rng = fastrand::Rng::with_seed(7);
    let number = |i: usize| match i % 5 {
        0 => rng.f64(),
        1 => f64::from_bits(rng.u64(..f64::INFINITY.to_bits())),
        2 => rng.u64(..1 << 60) as f64,
        3 => rng.u32(..1_000_000) as f64 * 1e-4,
        // Around the largest integers up to which every integer is an `f64`.
        _ => rng.u64(1 << 50..1 << 54) as f64 / f64::from(1 << rng.u32(..4)),
    };
    let edges = [0.0, f64::MIN_POSITIVE, f64::from_bits(1), f64::MAX, 4_000_000_000_000_002.0, 1e16, 0.1 + 0.2, 1e-8];
    edges.into_iter().chain((0..count).map(number)).collect()
}

#[test]
fn the_reader_of_this_test_is_off_for_some_numbers() {
    let off = |x: &f64| serde_json::from_str::<f64>(&serde_json::to_string(x).unwrap()).unwrap() != *x;
    assert!(numbers(2000).iter().any(off), "with `float_roundtrip` the tests below show nothing");
}

#[test]
fn states_have_the_same_bits() {
    let numbers = numbers(2000);
    for (x, y) in numbers.iter().zip(numbers.iter().rev()) {
        let state = NovoGradState { second_moment: *x, max_second_moment: *y, steps: x.to_bits() as u32 };
        let read = there_and_back(&state);
        let bits = |state: NovoGradState| [state.second_moment, state.max_second_moment].map(f64::to_bits);
        assert_eq!((bits(read), read.steps), (bits(state), state.steps), "{state:?}");
        survives(&SgdState { steps: x.to_bits() as u32 });
        survives(&AdamState { steps: x.to_bits() as u32 });
    }
}

#[test]
fn settings_have_the_same_bits() {
    for fan_in in 1..2000 {
        survives(&LayerConfig { rate: lecun_rate(fan_in), decay: 1.0 / fan_in as f64, ..LayerConfig::DEFAULT });
    }
    for x in numbers(500).into_iter().filter(|x| *x > 0.0) {
        let larc =
            LarcConfig { eta: x, eps: x, min_update: x, max_update: Some(x), min_norm: x, ..LarcConfig::DEFAULT };
        let luc = Some(Luc { trust: x, eps: x, freezes_zeros: true });
        survives(&AdamConfig {
            eps: x,
            eps_root: x,
            weight_decay: x,
            decay_mode: AdamDecay::Corrected { max_rate: x },
            trust_ratio: Some(TrustRatio { eps: x, max_weights: Some(x), max_ratio: Some(x), only_with_decay: true }),
            larc: Some(larc),
            luc,
            ..AdamConfig::DEFAULT
        });
        survives(&larc);
        survives(&SgdConfig { weight_decay: x, larc: Some(larc), luc, ..SgdConfig::DEFAULT });
        survives(&NovoGradConfig {
            eps: x,
            eps_root: x,
            weight_decay: x,
            decay_mode: DecayMode::Corrected { max_rate: x },
            larc: Some(larc),
            luc,
            ..NovoGradConfig::DEFAULT
        });
        survives(&LayerSpan::new(1, 2).config(LayerConfig { rate: x, ..LayerConfig::DEFAULT }));
        survives(&Policy { non_finite: NonFinite::SkipStep, clip_norm: Some(x) });
    }
    for x in numbers(500).into_iter().filter(|x| *x < 1.0) {
        survives(&SgdConfig { momentum: x, dampening: x, ..SgdConfig::DEFAULT });
        survives(&NovoGradConfig { beta1: x, beta2: x, ..NovoGradConfig::DEFAULT });
        survives(&AdamConfig { beta1: x, beta2: x, ..AdamConfig::DEFAULT });
    }
}

fn novograd() -> NovoGrad {
    NovoGrad::new(NovoGradConfig { amsgrad: true, weight_decay: 0.01, ..NovoGradConfig::DEFAULT }).unwrap()
}

/// Weights and momentum of a layer, and the state of a rule.
#[derive(Clone)]
struct Trained {
    weights: Vec<f32>,
    momentum: Vec<f32>,
    state: NovoGradState,
    rng: fastrand::Rng,
}

impl Trained {
    fn step(&mut self) {
        let Trained { weights, momentum, state, rng } = self;
        let gradients: Vec<f32> = weights.iter().map(|w| w + rng.f32() - 0.5).collect();
        let layer = LayerMemory::new(weights, &gradients, state).momentum(momentum);
        assert!(novograd().step_layer(0.05, layer).unwrap().applied());
    }
}

#[test]
fn resumed_training_has_the_bits_of_training_that_was_not_interrupted() {
    for seed in 0..2000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let weights: Vec<f32> = (0..9).map(|_| rng.f32() - 0.5).collect();
        let mut run = Trained { weights, momentum: vec![0.0; 9], state: NovoGradState::default(), rng };
        for _ in 0..3 {
            run.step();
        }
        let mut resumed = Trained { state: there_and_back(&run.state), ..run.clone() };
        for _ in 0..20 {
            run.step();
            resumed.step();
        }
        assert_eq!((bits(&resumed.weights), bits(&resumed.momentum)), (bits(&run.weights), bits(&run.momentum)));
    }
}

#[test]
#[cfg(feature = "alloc")]
fn a_memory_resumes_from_text_and_from_bytes() {
    let mut weights = vec![vec![0.5; 20], vec![], vec![-0.25; 1500]];
    let mut memory = novograd().memory(weights.iter().map(Vec::len));
    memory.carry_norms(true);
    let step = |memory: &mut layerwise::Memory<_>, weights: &mut Vec<Vec<f32>>| {
        let gradients: Vec<Vec<f32>> =
            weights.iter().map(|w| w.iter().enumerate().map(|(i, w)| w + i as f32 / 3.0).collect()).collect();
        assert_eq!(memory.step(&novograd(), 0.05, weights.iter_mut().zip(&gradients)).unwrap().applied, 3);
    };
    for _ in 0..3 {
        step(&mut memory, &mut weights);
    }
    let mut cbor = vec![];
    ciborium::into_writer(&memory, &mut cbor).unwrap();
    let read: [layerwise::Memory<NovoGradState>; 3] = [
        there_and_back(&memory),
        ciborium::from_reader(cbor.as_slice()).unwrap(),
        layerwise::Memory::from_bytes(&memory.to_bytes()).unwrap(),
    ];
    let saved_weights = weights.clone();
    for _ in 0..5 {
        step(&mut memory, &mut weights);
    }
    for read in read {
        let (mut resumed, mut resumed_weights) = (novograd().memory([20, 0, 1500]), saved_weights.clone());
        resumed.take_over(read).unwrap();
        for _ in 0..5 {
            step(&mut resumed, &mut resumed_weights);
        }
        assert!(resumed == memory && resumed_weights == weights);
    }
}

#[test]
#[cfg(feature = "alloc")]
fn text_that_is_no_memory_is_refused() {
    let text = serde_json::to_string(&novograd().memory([3])).unwrap();
    assert!(text.starts_with("\"6c6179657277697365"), "hexadecimal digits of `layerwise`: {text}");
    let read = |text: &str| serde_json::from_str::<layerwise::Memory<NovoGradState>>(text);
    assert!(read(&text).is_ok());
    for len in 2..text.len() - 2 {
        assert!(read(&format!("{}\"", &text[..len])).is_err(), "{len} digits");
    }
    let longer = format!("{}0\"", &text[..text.len() - 1]);
    for wrong in [&text.replace('6', "g"), &text.replace('6', "-6"), &longer, "[]", "[108]", "7", "null", "{}"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn numbers_out_of_range_are_refused_when_they_are_read() {
    /// The error message, empty if there is none.
    fn error<T: DeserializeOwned>(text: &str) -> String {
        let error = serde_json::from_str::<T>(text).err().map_or(String::new(), |error| error.to_string());
        error.split(" at line").next().unwrap().to_string()
    }
    let policy = |text: &str| error::<Policy>(text);
    assert_eq!(policy(r#"{"non_finite": "skip_step", "clip_norm": 0.5}"#), "");
    assert_eq!(policy(r#"{"clip_norm": null}"#), "");
    for bad in ["-1", "0", "-0.0", r#""NaN""#, r#""inf""#] {
        let error = policy(&format!(r#"{{"clip_norm": {bad}}}"#));
        assert!(error.contains("clip_norm is ") && error.contains("must be finite and > 0"), "{bad}: {error}");
    }
    let layer = |text: &str| {
        let span = error::<LayerSpan>(&format!(r#"{{"start": 0, "len": 3, "config": {text}}}"#));
        assert_eq!(span, error::<LayerConfig>(text));
        span
    };
    assert_eq!(layer(r#"{"rate": 0, "decay": 0.5, "frozen": true}"#), "");
    for setting in ["rate", "decay"] {
        for (bad, value) in [("-1", "-1"), (r#""NaN""#, "NaN"), (r#""-inf""#, "-inf"), (r#""inf""#, "inf")] {
            let expected = format!("{setting} is {value}, but must be finite and >= 0");
            assert_eq!(layer(&format!(r#"{{"{setting}": {bad}}}"#)), expected);
        }
    }
    assert!(layer(r#"{"rates": 1}"#).contains("unknown field `rates`"));
}
