//! Replays recorded runs of other systems: ten steps of sixteen layers each, against the crate and the reference.
//!
//! The traces of `tests/data/traces` are replayed always. Those of another directory (files `*.json` or `*.json.gz` in
//! the same format, see `tests/data/README.md`) are replayed by
//!
//!     LAYERWISE_TRACES=<directory> cargo test --test golden

mod reference;

use flate2::read::GzDecoder;
use layerwise::rule::{Moments, Rule};
use layerwise::{
    BiasCorrection, DecayMode, GradientAveraging, LarcConfig, LarcMode, LayerConfig, LayerMemory, Luc, MomentNorm,
    NovoGrad, NovoGradConfig, NovoGradState, Optimizer, Sgd, SgdConfig, VInit,
};
use reference::Memory;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// A trajectory may differ by this much of the largest weight of its layer.
const TOLERANCE: f64 = 2e-6;
/// The reference computes as the peers do; what differs is the digits stored.
const REFERENCE_TOLERANCE: f64 = 2e-9;

#[derive(Deserialize)]
struct Trace {
    peer: String,
    config: Map<String, Value>,
    lr: Vec<f64>,
    layers: Vec<TraceLayer>,
}

#[derive(Deserialize)]
struct TraceLayer {
    name: String,
    n: usize,
    record_steps: Vec<usize>,
    w: Vec<Vec<f64>>,
    #[serde(default)]
    m: Vec<Vec<f64>>,
    #[serde(default)]
    v: Vec<f64>,
    #[serde(default)]
    larc_update: Vec<f64>,
}

#[derive(Deserialize)]
struct Inputs {
    layers: Vec<InputLayer>,
}

#[derive(Deserialize)]
struct InputLayer {
    index: u64,
    name: String,
    n: usize,
    log2_w_scale: Option<i32>,
    log2_g_scale: Option<i32>,
    zero_grad_steps: Vec<u64>,
    sample_w0: Vec<f64>,
    sample_g1: Vec<f64>,
}

impl InputLayer {
    /// Number `i` of the layer at a step, uniform in [-1, 1): the recipe of `tests/data/README.md`.
    fn uniform(&self, step: u64, i: u64) -> f64 {
        let mut z = (self.index << 48 | step << 40 | i).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        ((z >> 40) as f64 - f64::from(1 << 23)) / f64::from(1 << 23)
    }

    fn weights(&self) -> Vec<f32> {
        let scale = self.log2_w_scale.map_or(0.0, |s| 2f64.powi(s));
        (0..self.n as u64).map(|i| (self.uniform(0, i) * scale) as f32).collect()
    }

    fn gradients(&self, step: u64) -> Vec<f32> {
        let scale = match self.log2_g_scale {
            Some(s) if !self.zero_grad_steps.contains(&step) => 2f64.powi(s + ((step - 1) % 4) as i32 - 2),
            _ => 0.0,
        };
        (0..self.n as u64).map(|i| (self.uniform(step, i) * scale) as f32).collect()
    }
}

/// A peer's settings in the words of this crate.
enum Settings {
    Sgd(SgdConfig, LayerConfig),
    NovoGrad(NovoGradConfig, LayerConfig),
}

/// A trace's `config`, of which every key must be understood.
struct Keys<'a>(&'a Map<String, Value>, Vec<&'static str>);

impl Keys<'_> {
    fn get(&mut self, key: &'static str) -> Option<&Value> {
        self.1.push(key);
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn number(&mut self, key: &'static str, default: f64) -> f64 {
        self.get(key).map_or(default, |value| value.as_f64().unwrap())
    }

    fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.get(key).map_or(default, |value| value.as_bool().unwrap_or_else(|| value.as_f64().unwrap() != 0.0))
    }

    /// The settings of a part of the peer.
    fn object(&mut self, key: &'static str) -> Map<String, Value> {
        self.get(key).and_then(Value::as_object).cloned().unwrap_or_default()
    }

    fn betas(&mut self, default: [f64; 2]) -> [f64; 2] {
        self.get("betas").map_or(default, |value| [value[0].as_f64().unwrap(), value[1].as_f64().unwrap()])
    }

    fn finish(self, peer: &str) {
        for key in self.0.keys() {
            assert!(self.1.contains(&key.as_str()), "{peer}: the setting {key} is not understood");
        }
    }
}

fn settings(peer: &str, config: &Map<String, Value>) -> Settings {
    let mut keys = Keys(config, vec!["lr"]);
    let k = &mut keys;
    let settings = match peer {
        "apex.parallel.LARC" => sgd(apex_larc(k, peer)),
        "OpenSeq2Seq LARC + tf MomentumOptimizer/SGD" => sgd(openseq2seq_larc(k, peer)),
        "timm.optim.Lars" => sgd(timm_lars(k)),
        "lightning-bolts LARS" => sgd(bolts_lars(k)),
        "pytorch_optimizer.LARS" => pytorch_optimizer_lars(k),
        "optax.lars" => optax_lars(k),
        "optax.chain(scale_by_trust_ratio, scale_by_learning_rate)" => sgd(optax_trust_ratio(k)),
        "OpenSeq2Seq NovoGrad" => novograd(openseq2seq_novograd(k)),
        "NeMo Novograd" | "DeepLearningExamples Jasper/QuartzNet Novograd" => novograd(nemo_novograd(k)),
        "timm.optim.NvNovoGrad" => novograd(timm_novograd(k)),
        "optax.novograd" => novograd(optax_novograd(k)),
        "tensorflow_addons NovoGrad" => novograd(tfa_novograd(k)),
        "pytorch_optimizer.NovoGrad" => novograd(pytorch_optimizer_novograd(k)),
        "apex.optimizers.FusedNovoGrad" => novograd(apex_novograd(k)),
        _ => panic!("unknown peer {peer}"),
    };
    keys.finish(peer);
    settings
}

fn sgd(config: SgdConfig) -> Settings {
    Settings::Sgd(config, LayerConfig::DEFAULT)
}

fn novograd(config: NovoGradConfig) -> Settings {
    Settings::NovoGrad(config, LayerConfig::DEFAULT)
}

fn with_larc(larc: LarcConfig) -> SgdConfig {
    SgdConfig { larc: Some(larc), ..SgdConfig::DEFAULT }
}

fn clip_or_scale(clip: bool) -> LarcMode {
    if clip { LarcMode::Clip } else { LarcMode::Scale }
}

fn apex_larc(k: &mut Keys, peer: &str) -> SgdConfig {
    let larc = k.object("larc");
    let mut larc = Keys(&larc, vec![]);
    let config = LarcConfig {
        eta: larc.number("trust_coefficient", LarcConfig::APEX.eta),
        mode: clip_or_scale(larc.flag("clip", true)),
        eps: larc.number("eps", LarcConfig::APEX.eps),
        ..LarcConfig::APEX
    };
    larc.finish(peer);
    let inner = k.object("inner");
    let mut inner = Keys(&inner, vec!["cls"]);
    assert_eq!(inner.0["cls"], "SGD");
    let sgd = torch_sgd(&mut inner, with_larc(config));
    inner.finish(peer);
    sgd
}

fn openseq2seq_larc(k: &mut Keys, peer: &str) -> SgdConfig {
    let larc = k.object("larc");
    let mut larc = Keys(&larc, vec![]);
    let config = LarcConfig {
        eta: larc.number("eta", LarcConfig::OPENSEQ2SEQ.eta),
        mode: clip_or_scale(larc.get("mode").is_none_or(|mode| mode != "scale")),
        min_update: larc.number("min_update", LarcConfig::OPENSEQ2SEQ.min_update),
        eps: larc.number("epsilon", LarcConfig::OPENSEQ2SEQ.eps),
        ..LarcConfig::OPENSEQ2SEQ
    };
    larc.finish(peer);
    torch_sgd(k, with_larc(config))
}

fn timm_lars(k: &mut Keys) -> SgdConfig {
    let larc = LarcConfig {
        eta: k.number("trust_coeff", LarcConfig::TIMM.eta),
        eps: k.number("eps", LarcConfig::TIMM.eps),
        mode: clip_or_scale(k.flag("trust_clip", false)),
        only_with_decay: !k.flag("always_adapt", false),
        ..LarcConfig::TIMM
    };
    torch_sgd(k, SgdConfig { larc: Some(larc), ..SgdConfig::TIMM_LARS })
}

fn bolts_lars(k: &mut Keys) -> SgdConfig {
    let larc = LarcConfig {
        eta: k.number("trust_coefficient", LarcConfig::BOLTS.eta),
        eps: k.number("eps", LarcConfig::BOLTS.eps),
        ..LarcConfig::BOLTS
    };
    torch_sgd(k, SgdConfig { larc: Some(larc), ..SgdConfig::BOLTS_LARS })
}

fn pytorch_optimizer_lars(k: &mut Keys) -> Settings {
    let larc = LarcConfig {
        eta: k.number("trust_coefficient", LarcConfig::PYTORCH_OPTIMIZER.eta),
        ..LarcConfig::PYTORCH_OPTIMIZER
    };
    let layer = if k.number("param_ndim", 2.0) > 1.0 { LayerConfig::DEFAULT } else { LayerConfig::PLAIN };
    let maximize = k.flag("maximize", false);
    let base = SgdConfig { maximize, larc: Some(larc), ..SgdConfig::PYTORCH_OPTIMIZER_LARS };
    Settings::Sgd(torch_sgd(k, base), layer)
}

fn optax_lars(k: &mut Keys) -> Settings {
    let larc = LarcConfig {
        eta: k.number("trust_coefficient", LarcConfig::OPTAX.eta),
        eps: k.number("eps", LarcConfig::OPTAX.eps),
        ..LarcConfig::OPTAX
    };
    let layer = LayerConfig {
        decay: if k.flag("weight_decay_mask", true) { 1.0 } else { 0.0 },
        adapt: k.flag("trust_ratio_mask", true),
        ..LayerConfig::DEFAULT
    };
    Settings::Sgd(torch_sgd(k, SgdConfig { larc: Some(larc), ..SgdConfig::OPTAX_LARS }), layer)
}

fn optax_trust_ratio(k: &mut Keys) -> SgdConfig {
    with_larc(LarcConfig {
        eta: k.number("trust_coefficient", 1.0),
        eps: k.number("eps", 0.0),
        min_norm: k.number("min_norm", 0.0),
        ..LarcConfig::OPTAX
    })
}

fn openseq2seq_novograd(k: &mut Keys) -> NovoGradConfig {
    let epsilon = k.number("epsilon", 1e-8);
    let (eps, eps_root) = if k.flag("eps_inside_sqrt", true) { (0.0, epsilon) } else { (epsilon, 0.0) };
    let beta2 = k.number("beta2", 0.98);
    NovoGradConfig {
        beta1: k.number("beta1", 0.95),
        beta2: if k.flag("ema_persisted", true) { beta2 } else { 0.0 },
        eps,
        eps_root,
        weight_decay: k.number("weight_decay", 0.0),
        gradient_averaging: averaging(k, GradientAveraging::On, false),
        ..NovoGradConfig::OPENSEQ2SEQ
    }
}

fn nemo_novograd(k: &mut Keys) -> NovoGradConfig {
    let luc =
        Luc { trust: k.number("luc_trust", Luc::NEMO.trust), eps: k.number("luc_eps", Luc::NEMO.eps), ..Luc::NEMO };
    let luc = k.flag("luc", false).then_some(luc);
    torch_novograd(k, NovoGradConfig { luc, ..NovoGradConfig::NEMO })
}

fn timm_novograd(k: &mut Keys) -> NovoGradConfig {
    let corrected = k.flag("corrected_weight_decay", false);
    let max_rate = k.number("max_lr_snapshot", 0.03125);
    let decay_mode = match (k.flag("decoupled_decay", false), corrected) {
        (false, _) => DecayMode::Coupled,
        (true, false) => DecayMode::Decoupled,
        (true, true) => DecayMode::Corrected { max_rate },
    };
    torch_novograd(k, NovoGradConfig { decay_mode, ..NovoGradConfig::TIMM })
}

fn optax_novograd(k: &mut Keys) -> NovoGradConfig {
    NovoGradConfig {
        beta1: k.number("b1", 0.9),
        beta2: k.number("b2", 0.25),
        eps: k.number("eps", 1e-6),
        eps_root: k.number("eps_root", 0.0),
        weight_decay: k.number("weight_decay", 0.0),
        ..NovoGradConfig::OPTAX
    }
}

fn tfa_novograd(k: &mut Keys) -> NovoGradConfig {
    let f32_rounded = |x: f64| f64::from(x as f32);
    NovoGradConfig {
        beta1: f32_rounded(k.number("beta_1", 0.9)),
        beta2: f32_rounded(k.number("beta_2", 0.999)),
        eps: k.number("epsilon", 1e-7),
        weight_decay: f32_rounded(k.number("weight_decay", 0.0)),
        gradient_averaging: averaging(k, GradientAveraging::AfterFirstStep, false),
        amsgrad: k.flag("amsgrad", false),
        ..NovoGradConfig::TFA
    }
}

fn pytorch_optimizer_novograd(k: &mut Keys) -> NovoGradConfig {
    let [beta1, beta2] = k.betas([0.95, 0.98]);
    let debias = k.flag("adam_debias", false);
    NovoGradConfig {
        beta1,
        beta2,
        eps: k.number("eps", 1e-8),
        weight_decay: k.number("weight_decay", 0.0),
        decay_mode: match (k.flag("weight_decouple", false), k.flag("fixed_decay", false)) {
            (false, _) => DecayMode::Coupled,
            (true, false) => DecayMode::Decoupled,
            (true, true) => DecayMode::Fixed,
        },
        gradient_averaging: averaging(k, GradientAveraging::AfterFirstStep, false),
        bias_correction: if debias { BiasCorrection::StepSize } else { BiasCorrection::Off },
        maximize: k.flag("maximize", false),
        ..NovoGradConfig::PYTORCH_OPTIMIZER
    }
}

fn apex_novograd(k: &mut Keys) -> NovoGradConfig {
    let [beta1, beta2] = k.betas([0.9, 0.999]);
    let corrects = k.flag("bias_correction", true);
    NovoGradConfig {
        beta1,
        beta2,
        eps: k.number("eps", 1e-8),
        weight_decay: k.number("weight_decay", 0.0),
        v_init: if k.flag("init_zero", false) { VInit::Zero } else { VInit::FirstStep },
        gradient_averaging: averaging(k, GradientAveraging::On, true),
        bias_correction: if corrects { BiasCorrection::Moments } else { BiasCorrection::Off },
        norm: if k.number("norm_type", 2.0) == 0.0 { MomentNorm::Max } else { MomentNorm::L2 },
        raw_momentum: !k.flag("reg_inside_moment", false),
        ..NovoGradConfig::APEX
    }
}

/// The keys that torch's SGD and all its relatives share.
fn torch_sgd(k: &mut Keys, base: SgdConfig) -> SgdConfig {
    SgdConfig {
        momentum: k.number("momentum", if k.0.contains_key("momentum") { 0.0 } else { base.momentum }),
        dampening: k.number("dampening", base.dampening),
        weight_decay: k.number("weight_decay", base.weight_decay),
        nesterov: k.flag("nesterov", base.nesterov),
        ..base
    }
}

/// The keys that NeMo's and timm's NovoGrad share.
fn torch_novograd(k: &mut Keys, base: NovoGradConfig) -> NovoGradConfig {
    let [beta1, beta2] = k.betas([base.beta1, base.beta2]);
    NovoGradConfig {
        beta1,
        beta2,
        eps: k.number("eps", base.eps),
        weight_decay: k.number("weight_decay", base.weight_decay),
        gradient_averaging: averaging(k, GradientAveraging::On, false),
        amsgrad: k.flag("amsgrad", base.amsgrad),
        ..base
    }
}

fn averaging(k: &mut Keys, on: GradientAveraging, default: bool) -> GradientAveraging {
    if k.flag("grad_averaging", default) { on } else { GradientAveraging::Off }
}

/// The numbers after one step, of the crate or of the reference.
struct Snapshot {
    weights: Vec<f64>,
    momentum: Vec<f64>,
    second_moment: f64,
    factor: f64,
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// The steps of one layer by the crate.
fn run_crate(settings: &Settings, input: &InputLayer, lr: &[f64]) -> Vec<Snapshot> {
    match settings {
        Settings::Sgd(config, layer) => run_optimizer(&Sgd::new(*config).unwrap(), layer, input, lr, |_| 0.0),
        Settings::NovoGrad(config, layer) => {
            let second_moment = |state: &NovoGradState| state.second_moment;
            run_optimizer(&NovoGrad::new(*config).unwrap(), layer, input, lr, second_moment)
        }
    }
}

fn run_optimizer<R: Rule>(
    optimizer: &Optimizer<R>,
    config: &LayerConfig,
    input: &InputLayer,
    lr: &[f64],
    second_moment: impl Fn(&R::State) -> f64,
) -> Vec<Snapshot> {
    let (mut weights, mut state) = (input.weights(), R::State::default());
    let mut momentum = vec![0.0; if optimizer.moments() == Moments::None { 0 } else { input.n }];
    let step = |(step, &lr)| {
        let gradients = input.gradients(step);
        let layer = LayerMemory::new(&mut weights, &gradients, &mut state).momentum(&mut momentum);
        let report = optimizer.step_layer(lr, layer.config(*config)).unwrap();
        assert!(report.applied());
        Snapshot {
            weights: wide(&weights),
            momentum: wide(&momentum),
            second_moment: second_moment(&state),
            factor: report.factor,
        }
    };
    (1..).zip(lr).map(step).collect()
}

/// The steps of one layer by the reference.
fn run_reference(settings: &Settings, input: &InputLayer, lr: &[f64]) -> Vec<Snapshot> {
    let mut memory = Memory::new(&input.weights());
    (1..)
        .zip(lr)
        .map(|(step, &lr)| {
            let gradients = wide(&input.gradients(step));
            let factor = match settings {
                Settings::Sgd(config, layer) => reference::sgd(config, layer, lr, &gradients, &mut memory),
                Settings::NovoGrad(config, layer) => {
                    reference::novograd(config, layer, lr, &gradients, &mut memory);
                    f64::NAN
                }
            };
            Snapshot {
                weights: memory.weights.clone(),
                momentum: memory.momentum.clone(),
                second_moment: memory.second_moment,
                factor,
            }
        })
        .collect()
}

/// The largest difference, in units of `scale`.
fn worst(ours: &[f64], theirs: &[f64], scale: f64) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let difference = ours.iter().zip(theirs).fold(0.0, |worst, (a, b)| (a - b).abs().max(worst));
    if difference == 0.0 { 0.0 } else { difference / scale }
}

/// Compares one layer of a trace with a run; returns the largest difference.
fn compare(trace: &Trace, layer: &TraceLayer, run: &[Snapshot], w0: &[f32]) -> f64 {
    let largest = |x: &[f64]| reference::max_norm(x);
    let momentum_sign = match trace.peer.as_str() {
        "tensorflow_addons NovoGrad" | "optax.lars" => -1.0,
        _ => 1.0,
    };
    // A momentum may pass through zero, so its scale is the largest of all steps.
    let momentum_scale = layer.m.iter().map(|m| largest(m)).fold(0.0, f64::max);
    let mut error: f64 = 0.0;
    for (i, &step) in layer.record_steps.iter().enumerate() {
        let snapshot = &run[step - 1];
        error = error.max(worst(&snapshot.weights, &layer.w[i], largest(&layer.w[i]).max(largest(&wide(w0)))));
        if let Some(m) = layer.m.get(i).filter(|_| !snapshot.momentum.is_empty()) {
            let m: Vec<f64> = m.iter().map(|m| m * momentum_sign).collect();
            error = error.max(worst(&snapshot.momentum, &m, momentum_scale));
        }
    }
    for (snapshot, &v) in run.iter().zip(&layer.v) {
        let v = match (trace.peer.as_str(), trace.config.get("norm_type").and_then(Value::as_f64)) {
            ("apex.optimizers.FusedNovoGrad", norm_type) if norm_type != Some(0.0) => v * v,
            _ => v,
        };
        error = error.max(worst(&[snapshot.second_moment], &[v], v));
    }
    for (snapshot, &factor) in run.iter().zip(&layer.larc_update) {
        error = error.max(worst(&[snapshot.factor], &[factor], factor));
    }
    error
}

fn parse<T: for<'de> Deserialize<'de>>(path: &Path) -> T {
    let file = BufReader::new(File::open(path).unwrap());
    let reader: Box<dyn Read> =
        if path.extension().is_some_and(|e| e == "gz") { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
    serde_json::from_reader(BufReader::new(reader)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// Replays every trace of a directory; returns how many there were.
fn replay(directory: &Path) -> usize {
    let inputs: Inputs = parse(&data().join("inputs_layers.json"));
    let mut count = 0;
    let mut paths: Vec<PathBuf> = directory.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| [".json", ".json.gz"].iter().any(|end| path.to_string_lossy().ends_with(end)));
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let value: Value = parse(&path);
        if value.get("layers").is_none_or(|layers| layers[0].get("w").is_none()) {
            println!("{name}: not the trace of an optimizer, passed over");
            continue;
        }
        let trace: Trace = serde_json::from_value(value).unwrap();
        let settings = settings(&trace.peer, &trace.config);
        let (mut of_crate, mut of_reference) = (0.0_f64, 0.0_f64);
        for layer in &trace.layers {
            let input = inputs.layers.iter().find(|input| input.name == layer.name).expect("a layer of the inputs");
            assert_eq!(input.n, layer.n);
            let w0 = input.weights();
            let error = compare(&trace, layer, &run_crate(&settings, input, &trace.lr), &w0);
            assert!(error <= TOLERANCE, "{name}, layer {}: the crate is off by {error:e}", layer.name);
            of_crate = of_crate.max(error);
            let error = compare(&trace, layer, &run_reference(&settings, input, &trace.lr), &w0);
            assert!(error <= REFERENCE_TOLERANCE, "{name}, layer {}: the reference is off by {error:e}", layer.name);
            of_reference = of_reference.max(error);
        }
        println!("{name}: crate within {of_crate:.1e}, reference within {of_reference:.1e}");
        count += 1;
    }
    count
}

#[test]
fn replays_every_stored_trace() {
    assert_eq!(replay(&data().join("traces")), 24);
}

#[test]
fn replays_the_traces_of_the_environment() {
    if let Some(directory) = std::env::var_os("LAYERWISE_TRACES") {
        let directory = PathBuf::from(directory);
        assert!(replay(&directory) > 0, "no trace in {}", directory.display());
    }
}

#[test]
fn inputs_follow_the_recipe() {
    let inputs: Inputs = parse(&data().join("inputs_layers.json"));
    for input in &inputs.layers {
        let computed = [wide(&input.weights()), wide(&input.gradients(1))];
        for (computed, stored) in computed.iter().zip([&input.sample_w0, &input.sample_g1]) {
            // Some readers of JSON are off by one unit in the last place.
            let same = |(computed, stored): (&f64, &f64)| (computed - stored).abs() <= 1e-15 * stored.abs();
            assert!(computed.iter().zip(stored).all(same), "{}", input.name);
            assert!(computed.len() >= stored.len() && !stored.is_empty());
        }
    }
}
