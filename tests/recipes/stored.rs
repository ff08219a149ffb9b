//! Configurations that OpenSeq2Seq ships, read as they are, and what each must give.

use super::{BATCHES, adam, inputs, novograd, sgd, training};
use layerwise::recipe::Training;
use layerwise::schedule::{Backoff, LossScaling, RatePolicy, Schedule};
use layerwise::{
    AdamConfig, AdamCorrection, AdamDecay, AnyRule, DecayInRatio, LarcConfig, NonFinite, NovoGradConfig, Policy,
    SgdConfig,
};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// The optimizer of a recipe.
enum Rule {
    Sgd(SgdConfig),
    NovoGrad(NovoGradConfig),
    Adam(AdamConfig),
}

/// What one of the stored recipes gives, with [`BATCHES`] batches in an epoch.
struct Expected {
    name: &'static str,
    rule: Rule,
    clip: Option<f64>,
    /// The loss scale: none in `f32`.
    scaling: Option<LossScaling>,
    steps: u64,
    /// Learning rates of the first step, the thousandth, the one in the middle and the one after the last.
    rates: [f64; 4],
}

const fn momentum(momentum: f64, decay: f64) -> Rule {
    Rule::Sgd(SgdConfig { momentum, weight_decay: decay, ..SgdConfig::DEFAULT })
}

/// LARC in front of momentum. The decay is in the gradient that LARC measures.
const fn larc(momentum: f64, decay: f64) -> Rule {
    let larc = Some(LarcConfig { decay_in_ratio: DecayInRatio::NormOfSum, ..LARC });
    Rule::Sgd(SgdConfig { momentum, weight_decay: decay, larc, ..SgdConfig::DEFAULT })
}

const LARC: LarcConfig = LarcConfig { eta: 0.001, ..LarcConfig::OPENSEQ2SEQ };
const NOVOGRAD: NovoGradConfig = NovoGradConfig { weight_decay: 0.001, ..NovoGradConfig::DEFAULT };
const ADAM: AdamConfig =
    AdamConfig { bias_correction: AdamCorrection::TensorFlow, decay_mode: AdamDecay::L2, ..AdamConfig::DEFAULT };
/// Of the Transformers.
const LAZY_ADAM: AdamConfig = AdamConfig { beta2: 0.997, eps: 1e-9, ..ADAM };
const BACKOFF: Option<LossScaling> = Some(LossScaling::Backoff(Backoff::DEFAULT));

const fn adam_with_decay(weight_decay: f64) -> Rule {
    Rule::Adam(AdamConfig { weight_decay, ..ADAM })
}

const EXPECTED: [Expected; 22] = [
    Expected {
        name: "image2label/alexnet_owt.py",
        rule: momentum(0.9, 0.0005),
        clip: None,
        scaling: None,
        steps: 120_000,
        rates: [0.04, 0.039667, 0.02, 0.0],
    },
    Expected {
        name: "image2label/resnet-50-v2.py",
        rule: momentum(0.9, 0.0001),
        clip: None,
        scaling: None,
        steps: 100_000,
        rates: [0.1, 0.1, 0.01, 0.00001],
    },
    Expected {
        name: "image2label/resnet-50v2-adamw.py",
        rule: Rule::Adam(AdamConfig { weight_decay: 0.1, decay_mode: AdamDecay::Decoupled, ..ADAM }),
        clip: None,
        scaling: BACKOFF,
        steps: 100_000,
        rates: [0.002, 0.0019995075466705944, 0.001, 0.0],
    },
    Expected {
        name: "image2label/resnet-50v2-nvgrad.py",
        rule: Rule::NovoGrad(NovoGradConfig { weight_decay: 0.004, ..NOVOGRAD }),
        clip: None,
        scaling: BACKOFF,
        steps: 100_000,
        rates: [0.03, 0.029403594003, 0.0075, 0.0],
    },
    Expected {
        name: "image2label/resnet_commands.py",
        rule: momentum(0.95, 0.0001),
        clip: None,
        scaling: Some(LossScaling::Static(512.0)),
        steps: 20_000,
        rates: [0.2, 0.1805190005, 0.05, 0.0],
    },
    Expected {
        name: "lm/lstm-test-small-mixed.py",
        rule: adam_with_decay(2e-6),
        clip: None,
        scaling: BACKOFF,
        steps: 1_500_000,
        rates: [0.0009; 4],
    },
    Expected {
        name: "lm/lstm-wkt2-fp32.py",
        rule: adam_with_decay(2e-6),
        clip: None,
        scaling: None,
        steps: 1_500_000,
        rates: [0.0004; 4],
    },
    Expected {
        name: "speech2text/ds2_large_8gpus.py",
        rule: larc(0.9, 0.0005),
        clip: None,
        scaling: None,
        steps: 50_000,
        rates: [0.001, 0.0009899595951350741, 0.0007071067811865476, 0.0],
    },
    Expected {
        name: "speech2text/ds2_small_1gpu.py",
        rule: adam_with_decay(0.0005),
        clip: None,
        scaling: None,
        steps: 12_000,
        rates: [0.0001, 0.0001, 0.00009, 0.000081],
    },
    Expected {
        name: "speech2text/jasper10x5_LibriSpeech_nvgrad.py",
        rule: Rule::NovoGrad(NovoGradConfig { larc: Some(LARC), ..NOVOGRAD }),
        clip: None,
        scaling: BACKOFF,
        steps: 400_000,
        rates: [0.02, 0.01990027463774995, 0.0050075, 0.00001],
    },
    Expected {
        name: "speech2text/jasper_commands.py",
        rule: larc(0.95, 0.001),
        clip: None,
        scaling: BACKOFF,
        steps: 20_000,
        rates: [0.05, 0.045130724174975, 0.0125075, 0.00001],
    },
    Expected {
        name: "speech2text/quartznet15x5_LibriSpeech.py",
        rule: Rule::NovoGrad(NovoGradConfig { beta2: 0.5, ..NOVOGRAD }),
        clip: None,
        scaling: None,
        steps: 400_000,
        rates: [0.0, 0.00999, 0.005019684113649877, 0.0],
    },
    Expected {
        name: "speech2text/w2l_large_8gpus_mp.py",
        rule: larc(0.9, 0.001),
        clip: None,
        scaling: BACKOFF,
        steps: 200_000,
        rates: [0.05, 0.04950174750125, 0.0125, 0.0],
    },
    Expected {
        name: "text2speech/centaur_float.py",
        rule: Rule::NovoGrad(NOVOGRAD),
        clip: Some(1.0),
        scaling: None,
        steps: 1_000_000,
        rates: [0.02, 0.01996005996002, 0.005, 0.0],
    },
    Expected {
        name: "text2speech/tacotron_float_8gpu.py",
        rule: adam_with_decay(1e-6),
        clip: Some(1.0),
        scaling: None,
        steps: 40_000,
        rates: [0.001, 0.001, 0.001, 0.00001],
    },
    Expected {
        name: "text2speech/tacotron_mixed.py",
        rule: adam_with_decay(1e-6),
        clip: Some(1.0),
        scaling: BACKOFF,
        steps: 100_000,
        rates: [0.001, 0.001, 0.0005623413251903491, 0.00001],
    },
    Expected {
        name: "text2text/en-de/en-de-convs2s-8-gpu.py",
        rule: Rule::Adam(ADAM),
        clip: Some(0.1),
        scaling: None,
        steps: 310_000,
        rates: [1.57223529667954e-6, 0.001, 0.001, 0.0007143745621599651],
    },
    Expected {
        name: "text2text/en-de/en-de-nmt-small.py",
        rule: Rule::Adam(AdamConfig { larc: Some(LARC), ..ADAM }),
        clip: None,
        scaling: None,
        steps: 160_082,
        rates: [0.001; 4],
    },
    Expected {
        name: "text2text/en-de/transformer-base.py",
        rule: Rule::Adam(LAZY_ADAM),
        clip: None,
        scaling: None,
        steps: 300_000,
        rates: [1.2352647110032733e-7, 0.00012352647110032734, 0.00022821697157184853, 0.00016137403713547128],
    },
    Expected {
        name: "text2text/en-de/transformer-big.py",
        rule: Rule::Adam(LAZY_ADAM),
        clip: None,
        scaling: BACKOFF,
        steps: 300_000,
        rates: [8.734640537108554e-8, 8.734640537108554e-5, 0.00016137376818031163, 0.00011410867596594148],
    },
    Expected {
        name: "text2text/toy-reversal/nmt-reversal-CC.py",
        rule: Rule::Adam(AdamConfig { eps: 1e-9, ..ADAM }),
        clip: Some(3.0),
        scaling: None,
        steps: 1000,
        rates: [0.001; 4],
    },
    Expected {
        name: "transfer/imdb-wkt103.py",
        rule: adam_with_decay(2e-6),
        clip: None,
        scaling: None,
        steps: 100_000,
        rates: [0.0001; 4],
    },
];

/// Compares a training with the table.
fn check_expected(training: &Training, expected: &Expected) {
    let Expected { name, rule, clip, scaling, steps, rates } = expected;
    match rule {
        Rule::Sgd(config) => assert_eq!(sgd(training), *config, "{name}"),
        Rule::NovoGrad(config) => assert_eq!(novograd(training), *config, "{name}"),
        Rule::Adam(config) => assert_eq!(adam(training), *config, "{name}"),
    }
    let non_finite = if scaling.is_some() { NonFinite::SkipStep } else { NonFinite::SkipLayer };
    assert_eq!(*training.optimizer().policy(), Policy { non_finite, clip_norm: *clip }, "{name}");
    assert_eq!(training.loss_scaler.map(|scaler| *scaler.scaling()), *scaling, "{name}");
    assert_eq!((training.steps, training.iter_size), (*steps, 1), "{name}");
    let tolerance = 1e-12 * rates.iter().fold(0.0, |largest: f64, rate| largest.max(*rate));
    for (step, rate) in [0, 999, steps / 2, *steps].into_iter().zip(rates) {
        let ours = training.schedule.rate(step);
        assert!((ours - rate).abs() <= tolerance, "{name}, step {step}: {ours}");
    }
}

/// Compares a training with the configuration itself, by the words that every recipe has.
fn check_words(training: &Training, configuration: &Value) {
    let (policy, params) = (configuration["lr_policy"].as_str().unwrap(), &configuration["lr_policy_params"]);
    let rates: RatePolicy<Vec<f64>> = serde_json::from_value(json!({ policy: params })).unwrap();
    let rates = rates.for_training(training.steps, training.steps_per_epoch);
    assert_eq!(training.schedule, Schedule::try_from(rates).unwrap());
    let length = match configuration["num_epochs"].as_u64() {
        Some(epochs) => (epochs * BATCHES, BATCHES),
        None => (configuration["max_steps"].as_u64().unwrap(), 0),
    };
    assert_eq!((training.steps, training.steps_per_epoch), length);
    assert_eq!(training.is_mixed, configuration["dtype"] == "mixed");
    let optimizer = training.optimizer();
    assert_eq!(optimizer.policy().clip_norm, configuration["max_grad_norm"].as_f64());
    let (optimizer_is, larc) = match optimizer.rule() {
        AnyRule::Sgd(rule) => (["Momentum", "SGD", ""], rule.config().larc),
        AnyRule::NovoGrad(rule) => (["NovoGrad", "", ""], rule.config().larc),
        AnyRule::Adam(rule) => (["Adam", "LazyAdamOptimizer", "AdamW"], rule.config().larc),
        other => panic!("{other:?}"),
    };
    assert!(optimizer_is.contains(&configuration["optimizer"].as_str().unwrap()));
    assert_eq!(larc.map(|larc| larc.eta), configuration["larc_params"]["larc_eta"].as_f64());
}

/// Replays a file of recipes; returns how many it has, 0 if it is of another kind.
fn replay(name: &str, file: &Map<String, Value>) -> usize {
    if file.is_empty() || file.values().any(|recipe| recipe.get("lr_policy").is_none()) {
        return 0;
    }
    for (recipe, configuration) in file {
        let training = training(configuration);
        check_words(&training, configuration);
        let expected = EXPECTED.iter().find(|expected| expected.name == recipe);
        if let Some(expected) = expected {
            check_expected(&training, expected);
        }
        println!("{name}, {recipe}: read{}", if expected.is_some() { ", and as in the table" } else { "" });
    }
    file.len()
}

/// The same for all files of a directory.
fn replay_all(directory: &Path) -> usize {
    let files = inputs::traces::<Value>(directory);
    files.map(|(name, file)| file.as_object().map_or(0, |file| replay(&name, file))).sum()
}

#[test]
fn every_stored_recipe_gives_what_the_table_says() {
    assert_eq!(replay_all(&inputs::data().join("traces")), EXPECTED.len());
}

#[test]
fn recipes_of_the_environment_are_read() {
    if let Some(directory) = std::env::var_os("LAYERWISE_TRACES") {
        replay_all(&PathBuf::from(directory));
    }
}
