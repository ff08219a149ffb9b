//! Configurations that OpenSeq2Seq ships: read as they are, compared with what each must give, and trained with.

use crate::compare::{assert_within, wide, worst};
use crate::files::File;
use crate::inputs::Inputs;
use crate::peers::Config;
use crate::policies::rate_policy;
use crate::reference::tolerances;
use crate::reference::{Memory, l2_norm, max_norm};
use crate::scalers::loss_scaling;
use layerwise::recipe::{Recipe, Training};
use layerwise::rule::Moments;
use layerwise::schedule::{Backoff, LogMax, LossScaleState, LossScaling, Schedule};
use layerwise::{
    AdamConfig, AdamCorrection, AdamDecay, AnyRule, DecayInRatio, LarcConfig, LayerConfig, LayerMemory, NonFinite,
    NovoGradConfig, Policy, Report, SgdConfig, Step,
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// How many batches an epoch has here.
const BATCHES: u64 = 1000;

/// What one of the stored recipes gives, with [`BATCHES`] batches in an epoch.
struct Expected {
    name: &'static str,
    rule: Config,
    clip: Option<f64>,
    /// The loss scale: none in `f32`.
    scaling: Option<LossScaling>,
    steps: u64,
    /// Learning rates of the first step, the thousandth, the one in the middle and the one after the last.
    rates: [f64; 4],
}

const fn momentum(momentum: f64, decay: f64) -> Config {
    Config::Sgd(SgdConfig { momentum, weight_decay: decay, ..SgdConfig::DEFAULT })
}

/// LARC in front of momentum. The gradient that LARC measures includes the decay.
const fn larc(momentum: f64, decay: f64) -> Config {
    let larc = Some(LarcConfig { decay_in_ratio: DecayInRatio::NormOfSum, ..LARC });
    Config::Sgd(SgdConfig { momentum, weight_decay: decay, larc, ..SgdConfig::DEFAULT })
}

const LARC: LarcConfig = LarcConfig { eta: 0.001, ..LarcConfig::OPENSEQ2SEQ };
const NOVOGRAD: NovoGradConfig = NovoGradConfig { weight_decay: 0.001, ..NovoGradConfig::DEFAULT };
const ADAM: AdamConfig =
    AdamConfig { bias_correction: AdamCorrection::TensorFlow, decay_mode: AdamDecay::L2, ..AdamConfig::DEFAULT };
/// The setting of the Transformers.
const LAZY_ADAM: AdamConfig = AdamConfig { beta2: 0.997, eps: 1e-9, ..ADAM };
const BACKOFF: Option<LossScaling> = Some(LossScaling::Backoff(Backoff::DEFAULT));

const fn adam_with_decay(weight_decay: f64) -> Config {
    Config::Adam(AdamConfig { weight_decay, ..ADAM })
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
        rule: Config::Adam(AdamConfig { weight_decay: 0.1, decay_mode: AdamDecay::Decoupled, ..ADAM }),
        clip: None,
        scaling: BACKOFF,
        steps: 100_000,
        rates: [0.002, 0.0019995075466705944, 0.001, 0.0],
    },
    Expected {
        name: "image2label/resnet-50v2-nvgrad.py",
        rule: Config::NovoGrad(NovoGradConfig { weight_decay: 0.004, ..NOVOGRAD }),
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
        rule: Config::NovoGrad(NovoGradConfig { larc: Some(LARC), ..NOVOGRAD }),
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
        rule: Config::NovoGrad(NovoGradConfig { beta2: 0.5, ..NOVOGRAD }),
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
        rule: Config::NovoGrad(NOVOGRAD),
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
        rule: Config::Adam(ADAM),
        clip: Some(0.1),
        scaling: None,
        steps: 310_000,
        rates: [1.57223529667954e-6, 0.001, 0.001, 0.0007143745621599651],
    },
    Expected {
        name: "text2text/en-de/en-de-nmt-small.py",
        rule: Config::Adam(AdamConfig { larc: Some(LARC), ..ADAM }),
        clip: None,
        scaling: None,
        steps: 160_082,
        rates: [0.001; 4],
    },
    Expected {
        name: "text2text/en-de/transformer-base.py",
        rule: Config::Adam(LAZY_ADAM),
        clip: None,
        scaling: None,
        steps: 300_000,
        rates: [1.2352647110032733e-7, 0.00012352647110032734, 0.00022821697157184853, 0.00016137403713547128],
    },
    Expected {
        name: "text2text/en-de/transformer-big.py",
        rule: Config::Adam(LAZY_ADAM),
        clip: None,
        scaling: BACKOFF,
        steps: 300_000,
        rates: [8.734640537108554e-8, 8.734640537108554e-5, 0.00016137376818031163, 0.00011410867596594148],
    },
    Expected {
        name: "text2text/toy-reversal/nmt-reversal-CC.py",
        rule: Config::Adam(AdamConfig { eps: 1e-9, ..ADAM }),
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

fn rule_config(training: &Training) -> Config {
    match training.optimizer().rule() {
        AnyRule::Sgd(rule) => Config::Sgd(*rule.config()),
        AnyRule::NovoGrad(rule) => Config::NovoGrad(*rule.config()),
        AnyRule::Adam(rule) => Config::Adam(*rule.config()),
        other => panic!("{other:?}"),
    }
}

/// Compares a training run with the table.
fn check_expected(training: &Training, expected: &Expected) {
    let Expected { rule, clip, scaling, steps, rates, .. } = expected;
    assert_eq!(rule_config(training), *rule);
    let non_finite = if scaling.is_some() { NonFinite::SkipStep } else { NonFinite::SkipLayer };
    assert_eq!(*training.optimizer().policy(), Policy { non_finite, clip_norm: *clip });
    assert_eq!(training.loss_scaler.map(|scaler| *scaler.scaling()), *scaling);
    assert_eq!((training.steps, training.iter_size), (*steps, 1));
    let tolerance = tolerances::SCHEDULE * rates.iter().fold(0.0, |largest: f64, rate| largest.max(*rate));
    for (step, rate) in [0, 999, steps / 2, *steps].into_iter().zip(rates) {
        let ours = training.schedule.rate(step);
        assert!((ours - rate).abs() <= tolerance, "step {step}: the rate is {ours}");
    }
}

/// Compares a training run with the configuration itself, key by key.
fn check_words(training: &Training, configuration: &Value) {
    let number = |word: &str| configuration[word].as_f64();
    let iter_size = number("iter_size").unwrap_or(1.0);
    let per_epoch = (BATCHES as f64 / iter_size).floor();
    let length = match number("num_epochs") {
        Some(epochs) => [epochs * per_epoch, per_epoch],
        None => [number("max_steps").expect("max_steps"), 0.0],
    };
    assert_eq!([training.steps as f64, training.steps_per_epoch as f64], length);
    assert_eq!(training.iter_size as f64, iter_size);
    let policy = configuration["lr_policy"].as_str().expect("lr_policy");
    let rates = rate_policy(policy, &configuration["lr_policy_params"]);
    let rates = rates.for_training(training.steps, training.steps_per_epoch);
    assert_eq!(training.schedule, Schedule::try_from(rates).unwrap());
    assert_eq!(training.is_mixed, configuration["dtype"] == "mixed");
    assert_eq!(training.optimizer().policy().clip_norm, number("max_grad_norm"));
    check_rule(rule_config(training), configuration);
    check_loss_scale(training, configuration);
}

/// Compares an optimizer, its numbers, LARC and the decay.
fn check_rule(rule: Config, configuration: &Value) {
    let params = &configuration["optimizer_params"];
    let (names, numbers, decay, larc) = match rule {
        Config::Sgd(config) => {
            (["Momentum", "SGD", ""], vec![("momentum", config.momentum)], config.weight_decay, config.larc)
        }
        Config::NovoGrad(config) => {
            let numbers = vec![("beta1", config.beta1), ("beta2", config.beta2), ("epsilon", config.eps)];
            (["NovoGrad", "", ""], numbers, config.weight_decay, config.larc)
        }
        Config::Adam(config) => {
            let numbers = vec![("beta1", config.beta1), ("beta2", config.beta2), ("epsilon", config.eps)];
            (["Adam", "LazyAdamOptimizer", "AdamW"], numbers, config.weight_decay, config.larc)
        }
    };
    let name = configuration["optimizer"].as_str().expect("optimizer");
    assert!(names.contains(&name), "{name} becomes {rule:?}");
    for (word, ours) in numbers {
        assert_eq!(ours, params[word].as_f64().unwrap_or(ours), "{word}");
    }
    let of_regularizer = configuration["regularizer_params"]["scale"].as_f64();
    assert_eq!(decay, params["weight_decay"].as_f64().or(of_regularizer).unwrap_or(0.0), "the decay");
    assert_eq!(larc.map(|larc| larc.eta), configuration["larc_params"]["larc_eta"].as_f64());
}

fn check_loss_scale(training: &Training, configuration: &Value) {
    let params = &configuration["loss_scaling_params"];
    let scaling = match &configuration["loss_scaling"] {
        _ if !training.is_mixed => None,
        Value::Null => None,
        Value::Number(number) => number.as_f64().map(LossScaling::Static),
        name => match loss_scaling(name.as_str().expect("loss_scaling"), params) {
            // A recipe follows OpenSeq2Seq's intent, not its code.
            LossScaling::LogMax(log_max) => Some(LossScaling::LogMax(LogMax { as_executed: false, ..log_max })),
            scaling => Some(scaling),
        },
    };
    assert_eq!(training.loss_scaler.map(|scaler| *scaler.scaling()), scaling);
}

/// A small problem: each weight is pulled to a target.
struct Problem {
    layers: [LayerConfig; 2],
    weights: [Vec<f32>; 2],
    targets: [Vec<f32>; 2],
}

impl Problem {
    /// A matrix of 64 weights, and a bias of 8 that is neither adapted nor decayed.
    fn new() -> Problem {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut numbers = |len| (0..len).map(|_| rng.f32() - 0.5).collect::<Vec<f32>>();
        let layers = [LayerConfig::DEFAULT, LayerConfig::PLAIN];
        Problem { layers, weights: [64, 8].map(&mut numbers), targets: [64, 8].map(numbers) }
    }

    fn differences(&self) -> [Vec<f64>; 2] {
        std::array::from_fn(|layer| {
            self.weights[layer].iter().zip(&self.targets[layer]).map(|(w, t)| f64::from(w - t)).collect()
        })
    }

    fn loss(&self) -> f64 {
        self.differences().iter().flatten().map(|x| x * x).sum()
    }

    /// A gradient that is flat enough for every rate in the recipes.
    fn gradients(&self, loss_scale: f64) -> [Vec<f32>; 2] {
        self.differences().map(|layer| layer.iter().map(|x| (0.1 * loss_scale * x) as f32).collect())
    }
}

/// The number of steps to train, and the number of those to compare with the reference.
const STEPS: u64 = 2000;
const COMPARED_STEPS: u64 = 10;

/// Trains by a recipe; returns how far the weights of the first steps are from the reference. Fails unless the loss
/// falls.
fn train(training: &Training) -> f64 {
    let (mut problem, optimizer, rule) = (Problem::new(), training.optimizer(), rule_config(training));
    let mut memories = [0, 1].map(|layer| Memory::new(&problem.weights[layer]));
    let zeros = |keeps: bool| problem.weights.each_ref().map(|w| vec![0.0_f32; if keeps { w.len() } else { 0 }]);
    let mut momentum = zeros(optimizer.moments() >= Moments::First);
    let mut second_moment = zeros(optimizer.moments() >= Moments::FirstAndSecond);
    let (mut states, mut loss_scale, mut deviation) = ([[0.0; 3]; 2], LossScaleState::START, 0.0_f64);
    let before = problem.loss();
    for step in 0..training.steps.min(STEPS) {
        let scale = training.loss_scaler.map_or(1.0, |scaler| scaler.scale(&loss_scale));
        let gradients = problem.gradients(scale);
        let at = Step::new(training.schedule.rate(step)).gradient_scale(1.0 / scale);
        let layers = problem.weights.iter_mut().zip(&gradients).zip(&mut states);
        let moments = momentum.iter_mut().zip(&mut second_moment).zip(problem.layers);
        let mut model: Vec<_> = layers
            .zip(moments)
            .map(|(((w, g), state), ((m, v), config))| {
                LayerMemory::new(w, g, state).momentum(m).second_moment(v).config(config)
            })
            .collect();
        let summary = optimizer.step(at, &mut model[..], &mut [Report::ABSENT; 2]).unwrap();
        assert_eq!(summary.applied, 2, "step {step}");
        if let Some(scaler) = &training.loss_scaler {
            let largest = gradients.iter().flatten().fold(0.0_f64, |largest, g| largest.max(f64::from(g.abs())));
            assert!(!scaler.update(&mut loss_scale, true, largest / scale).skip);
        }
        if step < COMPARED_STEPS {
            let clip = at.gradient_scale(clip(training, &gradients, scale) / scale);
            for (layer, memory) in memories.iter_mut().enumerate() {
                rule.by_reference(&problem.layers[layer], clip, &wide(&gradients[layer]), memory);
                let theirs = &memory.weights;
                deviation = deviation.max(worst(&wide(&problem.weights[layer]), theirs, max_norm(theirs)));
            }
        }
    }
    let after = problem.loss();
    assert!(after < before, "the loss does not fall: from {before} to {after}");
    assert_within("a weight", deviation, tolerances::RECORDED);
    deviation
}

/// What gradients are multiplied by.
fn clip(training: &Training, scaled: &[Vec<f32>; 2], scale: f64) -> f64 {
    let norm = l2_norm(&scaled.each_ref().map(|g| l2_norm(&wide(g)))) / scale;
    training.optimizer().policy().clip_norm.map_or(1.0, |limit| (limit / norm).min(1.0))
}

pub fn is(value: &Value) -> bool {
    super::is_of_recipes(value)
}

pub fn replay(file: &File, _: &Inputs) -> String {
    let recipes: Map<String, Value> = file.parse();
    let (mut deviation, mut in_table) = (0.0_f64, 0);
    for (name, configuration) in &recipes {
        let fail = |error: &dyn std::fmt::Display| -> ! { panic!("{name}: {error}") };
        let recipe = Recipe::deserialize(configuration).unwrap_or_else(|error| fail(&error));
        let training = recipe.training(BATCHES).unwrap_or_else(|error| fail(&error));
        let expected = EXPECTED.iter().find(|expected| expected.name == name);
        let checked = std::panic::catch_unwind(|| {
            check_words(&training, configuration);
            expected.into_iter().for_each(|expected| check_expected(&training, expected));
            train(&training)
        });
        deviation = deviation.max(checked.unwrap_or_else(|panic| fail(&super::message(&*panic))));
        in_table += usize::from(expected.is_some());
    }
    let count = recipes.len();
    format!("{count} recipes read, {in_table} as in the table; each trains, weights within {deviation:.1e}")
}
