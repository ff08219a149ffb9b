//! Constants of `layerwise.h` mean what their names say: C with the number of a name does the same as Rust with the
//! value of that name, bit for bit, and different names do different things.

use super::header;
use crate::*;
use lw::rule::Moments;
use lw::schedule::{
    Backoff, CosineDecay, ExpDecay, FixedLr, InvPolyDecay, LogMax, LossScaleState, LossScaler, LossScaling,
    PiecewiseConstant, PolyDecay, RatePolicy, Schedule, TransformerPolicy,
};
use lw::{
    Adam, AdamConfig, AdamCorrection, AdamDecay, AnyOptimizer, BiasCorrection, DecayInRatio, DecayMode,
    GradientAveraging, LarcConfig, LarcMode, LayerConfig, LayerMemory, MomentNorm, NonFinite, NovoGrad, NovoGradConfig,
    Sgd, SgdConfig, TrustRatio, VInit, ZeroNorm,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::mem::zeroed;
use std::ptr::{null, null_mut};

/// The values that a C compiler sees, and the names that have not been tested yet.
struct Constants {
    values: BTreeMap<String, i64>,
    left: RefCell<BTreeSet<String>>,
}

impl Constants {
    fn read() -> Self {
        let header = header::text();
        let printed = header::print(&header::values(&header::constants(&header)), "constants");
        let lines = printed.lines().map(|line| line.split_once(' ').expect("a name and a value"));
        let values: BTreeMap<_, _> =
            lines.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect();
        let left = RefCell::new(values.keys().cloned().collect());
        Constants { values, left }
    }

    fn get(&self, name: &str) -> i64 {
        self.left.borrow_mut().remove(name);
        self.values[name]
    }

    /// C and Rust must do the same with each name, and different things with different names.
    fn compare<N: Copy, T: PartialEq + Debug, const K: usize>(
        &self,
        names: [(&str, N); K],
        c: impl Fn(i64) -> T,
        rust: impl Fn(N) -> T,
    ) {
        let mut results: Vec<(&str, T)> = Vec::new();
        for (name, value) in names {
            let result = c(self.get(name));
            assert_eq!(result, rust(value), "{name}");
            for (other, same) in &results {
                assert_ne!(&result, same, "{name} and {other} do the same");
            }
            results.push((name, result));
        }
    }
}

const LEN: usize = 20;

/// A layer and the steps it takes.
struct Scene {
    weights: [f32; LEN],
    /// Those of each step.
    gradients: [[f32; LEN]; 3],
    lr: f64,
    decay: f64,
}

/// Layers with ordinary numbers, with weights of 0, and with gradients of 0 always or in the first step.
fn scenes() -> Vec<Scene> {
    let numbers = |seed: usize| std::array::from_fn(|i| ((i * 7919 + seed * 104_729) % 1000) as f32 / 500.0 - 1.0);
    let gradients = [numbers(1), numbers(2), numbers(3)];
    let layers = [
        (numbers(4), gradients),
        ([0.0; LEN], gradients),
        (numbers(5), [[0.0; LEN]; 3]),
        (numbers(6), [[0.0; LEN], gradients[0], gradients[1]]),
    ];
    let mut scenes = Vec::new();
    for (lr, decay) in [(0.01, 0.0), (0.01, 1.0), (1.0, 0.0), (1.0, 1.0)] {
        scenes.extend(layers.map(|(weights, gradients)| Scene { weights, gradients, lr, decay }));
    }
    scenes
}

/// The bits of all weights after three steps in each scene.
fn steps_in_c(optimizer: &lw_optimizer) -> Vec<u32> {
    let mut bits = Vec::new();
    // SAFETY: the pointer is good.
    let moments = unsafe { lw_moments(optimizer, null_mut()) };
    for Scene { weights: mut w, gradients, lr, decay } in scenes() {
        let (mut m, mut v) = ([0.0_f32; LEN], [0.0_f32; LEN]);
        let config = lw_layer_config { rate: 1.0, decay, adapt: 1, frozen: 0, reserved: [0; 6] };
        // SAFETY: zeros are a value of it.
        let mut layer: lw_layer = unsafe { zeroed() };
        layer.len = LEN;
        layer.weights.data = w.as_mut_ptr().cast();
        layer.momentum.data = if moments > 0 { m.as_mut_ptr().cast() } else { null_mut() };
        layer.second_moment.data = if moments > 1 { v.as_mut_ptr().cast() } else { null_mut() };
        layer.config = &config;
        for g in &gradients {
            layer.gradients.data = g.as_ptr().cast();
            // SAFETY: the pointers are to arrays of that length, which live.
            let status = unsafe { lw_step_layer(optimizer, lr, 1.0, &mut layer, null_mut(), null_mut()) };
            assert!(status >= 0, "{status}");
        }
        bits.extend(w.map(f32::to_bits));
    }
    bits
}

fn steps_in_rust(optimizer: &AnyOptimizer) -> Vec<u32> {
    let mut bits = Vec::new();
    let lens = match optimizer.moments() {
        Moments::None => [0, 0],
        Moments::First => [LEN, 0],
        _ => [LEN, LEN],
    };
    for Scene { weights: mut w, gradients, lr, decay } in scenes() {
        let (mut m, mut v, mut state) = ([0.0_f32; LEN], [0.0_f32; LEN], [0.0; 3]);
        for g in &gradients {
            let layer = LayerMemory::new(&mut w[..], &g[..], &mut state).momentum(&mut m[..lens[0]]);
            let layer = layer.second_moment(&mut v[..lens[1]]).config(LayerConfig { decay, ..LayerConfig::DEFAULT });
            optimizer.step_layer(lr, layer).expect("memory as it should be");
        }
        bits.extend(w.map(f32::to_bits));
    }
    bits
}

/// An optimizer by name.
fn preset(name: &std::ffi::CStr) -> lw_optimizer {
    // SAFETY: zeros are a value of it, and the pointers are good.
    unsafe {
        let mut optimizer = zeroed();
        assert_eq!(lw_preset(name.as_ptr(), &mut optimizer, null_mut()), status::APPLIED);
        optimizer
    }
}

/// Gradient descent with LARC, changed by a constant.
fn sgd(set: impl Fn(&mut lw_larc)) -> Vec<u32> {
    let mut optimizer = preset(c"sgd");
    optimizer.larc = preset_larc();
    set(&mut optimizer.larc);
    optimizer.of.sgd = lw_sgd { momentum: 0.9, weight_decay: 0.1, ..lw_sgd::default() };
    steps_in_c(&optimizer)
}

fn preset_larc() -> lw_larc {
    let mut optimizer = preset(c"sgd");
    // SAFETY: the pointers are good.
    assert_eq!(unsafe { lw_preset(c"larc".as_ptr(), &mut optimizer, null_mut()) }, status::APPLIED);
    optimizer.larc
}

fn rust_sgd(larc: Option<LarcConfig>) -> Vec<u32> {
    let config = SgdConfig { momentum: 0.9, weight_decay: 0.1, larc, ..SgdConfig::DEFAULT };
    steps_in_rust(&Sgd::new(config).expect("good settings").any())
}

fn novograd(set: impl Fn(&mut lw_novograd)) -> Vec<u32> {
    let mut optimizer = preset(c"novograd");
    // SAFETY: any bytes are valid for it.
    let settings = unsafe { &mut optimizer.of.novograd };
    (settings.eps, settings.weight_decay) = (0.1, 0.1);
    set(settings);
    steps_in_c(&optimizer)
}

const NOVOGRAD: NovoGradConfig = NovoGradConfig { eps: 0.1, weight_decay: 0.1, ..NovoGradConfig::DEFAULT };

fn rust_novograd(config: NovoGradConfig) -> Vec<u32> {
    steps_in_rust(&NovoGrad::new(config).expect("good settings").any())
}

fn adam(set: impl Fn(&mut lw_adam)) -> Vec<u32> {
    let mut optimizer = preset(c"adam");
    // SAFETY: any bytes are valid for it.
    let settings = unsafe { &mut optimizer.of.adam };
    (settings.eps, settings.weight_decay, settings.trust_ratio) = (0.1, 0.1, 1);
    set(settings);
    steps_in_c(&optimizer)
}

/// With a trust ratio, without which two of the decays are the same.
const ADAM: AdamConfig =
    AdamConfig { eps: 0.1, weight_decay: 0.1, trust_ratio: Some(TrustRatio::DEFAULT), ..AdamConfig::DEFAULT };

fn rust_adam(config: AdamConfig) -> Vec<u32> {
    steps_in_rust(&Adam::new(config).expect("good settings").any())
}

fn rules(c: &Constants) {
    let plain = [
        ("LW_SGD", Sgd::new(SgdConfig::DEFAULT).expect("good settings").any()),
        ("LW_NOVOGRAD", NovoGrad::new(NovoGradConfig::DEFAULT).expect("good settings").any()),
        ("LW_ADAM", Adam::new(AdamConfig::DEFAULT).expect("good settings").any()),
    ];
    let of_rule = |rule| {
        let named = [preset(c"sgd"), preset(c"novograd"), preset(c"adam")];
        steps_in_c(&named.into_iter().find(|o| i64::from(o.rule) == rule).expect("a rule of that number"))
    };
    c.compare(plain, of_rule, |optimizer| steps_in_rust(&optimizer));

    let modes =
        [("LW_LARC_CLIP", Some(LarcMode::Clip)), ("LW_LARC_SCALE", Some(LarcMode::Scale)), ("LW_LARC_OFF", None)];
    c.compare(
        modes,
        |n| sgd(|larc| larc.mode = n as u8),
        |mode| rust_sgd(mode.map(|mode| LarcConfig { mode, ..LarcConfig::DEFAULT })),
    );
    let zeros = [
        ("LW_ZERO_PLAIN_STEP", ZeroNorm::PlainStep),
        ("LW_ZERO_PLAIN_STEP_WITHOUT_DECAY", ZeroNorm::PlainStepWithoutDecay),
        ("LW_ZERO_PLAIN_STEP_UNLESS_DECAYING", ZeroNorm::PlainStepUnlessDecaying),
        ("LW_ZERO_FORMULA", ZeroNorm::Formula),
    ];
    c.compare(
        zeros,
        |n| sgd(|larc| larc.zero_norm = n as u8),
        |zero_norm| rust_sgd(Some(LarcConfig { zero_norm, ..LarcConfig::DEFAULT })),
    );
    let ratios = [
        ("LW_RATIO_NO_DECAY", DecayInRatio::No),
        ("LW_RATIO_SUM_OF_NORMS", DecayInRatio::SumOfNorms),
        ("LW_RATIO_NORM_OF_SUM", DecayInRatio::NormOfSum),
    ];
    c.compare(
        ratios,
        |n| sgd(|larc| larc.decay_in_ratio = n as u8),
        |decay_in_ratio| rust_sgd(Some(LarcConfig { decay_in_ratio, ..LarcConfig::DEFAULT })),
    );
}

fn novograds(c: &Constants) {
    const MAX_RATE: f64 = 2.0;
    let decays = [
        ("LW_DECAY_COUPLED", DecayMode::Coupled),
        ("LW_DECAY_DECOUPLED", DecayMode::Decoupled),
        ("LW_DECAY_CORRECTED", DecayMode::Corrected { max_rate: MAX_RATE }),
        ("LW_DECAY_FIXED", DecayMode::Fixed),
    ];
    let corrected = c.get("LW_DECAY_CORRECTED");
    let set_decay = |s: &mut lw_novograd, n: i64| {
        s.decay_mode = n as u8;
        s.max_rate = if n == corrected { MAX_RATE } else { 0.0 };
    };
    c.compare(
        decays,
        |n| novograd(|s| set_decay(s, n)),
        |decay_mode| rust_novograd(NovoGradConfig { decay_mode, ..NOVOGRAD }),
    );
    let inits = [
        ("LW_INIT_WHILE_ZERO", VInit::WhileZero),
        ("LW_INIT_FIRST_STEP", VInit::FirstStep),
        ("LW_INIT_ZERO", VInit::Zero),
    ];
    c.compare(
        inits,
        |n| novograd(|s| s.v_init = n as u8),
        |v_init| rust_novograd(NovoGradConfig { v_init, ..NOVOGRAD }),
    );
    let averagings = [
        ("LW_AVERAGING_OFF", GradientAveraging::Off),
        ("LW_AVERAGING_ON", GradientAveraging::On),
        ("LW_AVERAGING_AFTER_FIRST_STEP", GradientAveraging::AfterFirstStep),
    ];
    c.compare(
        averagings,
        |n| novograd(|s| s.gradient_averaging = n as u8),
        |gradient_averaging| rust_novograd(NovoGradConfig { gradient_averaging, ..NOVOGRAD }),
    );
    let corrections = [
        ("LW_BIAS_OFF", BiasCorrection::Off),
        ("LW_BIAS_MOMENTS", BiasCorrection::Moments),
        ("LW_BIAS_STEP_SIZE", BiasCorrection::StepSize),
        ("LW_BIAS_RATE", BiasCorrection::Rate),
    ];
    c.compare(
        corrections,
        |n| novograd(|s| s.bias_correction = n as u8),
        |bias_correction| rust_novograd(NovoGradConfig { bias_correction, ..NOVOGRAD }),
    );
    let norms = [("LW_NORM_L2", MomentNorm::L2), ("LW_NORM_MAX", MomentNorm::Max)];
    c.compare(norms, |n| novograd(|s| s.norm = n as u8), |norm| rust_novograd(NovoGradConfig { norm, ..NOVOGRAD }));
}

fn adams(c: &Constants) {
    const MAX_RATE: f64 = 2.0;
    let decays = [
        ("LW_ADAM_L2", AdamDecay::L2),
        ("LW_ADAM_IN_UPDATE", AdamDecay::InUpdate),
        ("LW_ADAM_DECOUPLED", AdamDecay::Decoupled),
        ("LW_ADAM_CORRECTED", AdamDecay::Corrected { max_rate: MAX_RATE }),
        ("LW_ADAM_FIXED", AdamDecay::Fixed),
    ];
    let corrected = c.get("LW_ADAM_CORRECTED");
    let set_decay = |s: &mut lw_adam, n: i64| {
        s.decay_mode = n as u8;
        s.max_rate = if n == corrected { MAX_RATE } else { 0.0 };
    };
    c.compare(decays, |n| adam(|s| set_decay(s, n)), |decay_mode| rust_adam(AdamConfig { decay_mode, ..ADAM }));
    let corrections = [
        ("LW_CORRECTION_OFF", AdamCorrection::Off),
        ("LW_CORRECTION_MOMENTS", AdamCorrection::Moments),
        ("LW_CORRECTION_RATE", AdamCorrection::Rate),
        ("LW_CORRECTION_TENSORFLOW", AdamCorrection::TensorFlow),
    ];
    c.compare(
        corrections,
        |n| adam(|s| s.bias_correction = n as u8),
        |bias_correction| rust_adam(AdamConfig { bias_correction, ..ADAM }),
    );
}

/// The outcomes of two layers if one of them has a NaN.
fn skips(c: &Constants) {
    let in_c = |non_finite: i64| {
        let mut optimizer = preset(c"sgd");
        optimizer.non_finite = non_finite as u8;
        let (mut w, g) = ([1.0_f32; 2], [f32::NAN, 1.0]);
        let mut layers = [0, 1].map(|i| {
            // SAFETY: zeros are a value of it.
            let mut layer: lw_layer = unsafe { zeroed() };
            layer.len = 1;
            layer.weights.data = (&raw mut w[i]).cast();
            layer.gradients.data = (&raw const g[i]).cast();
            layer
        });
        // SAFETY: the same; and the pointers are good.
        let mut reports: [lw_report; 2] = unsafe { zeroed() };
        let places = (layers.as_mut_ptr(), reports.as_mut_ptr());
        // SAFETY: the pointers are to two layers and two reports.
        unsafe { lw_step(&optimizer, 0.1, 1.0, places.0, 2, places.1, null_mut(), null_mut()) };
        reports.map(|report| i64::from(report.outcome))
    };
    let of_rust = |non_finite| match non_finite {
        NonFinite::SkipStep => [c.get("LW_NON_FINITE"), c.get("LW_STEP_SKIPPED")],
        _ => [c.get("LW_NON_FINITE"), c.get("LW_APPLIED")],
    };
    c.compare([("LW_SKIP_LAYER", NonFinite::SkipLayer), ("LW_SKIP_STEP", NonFinite::SkipStep)], in_c, of_rust);
}

/// The first number of these bits, which differs for every type.
fn types(c: &Constants) {
    let bits = [0x3c00_3f80_u32];
    let norm = |kind: i64| {
        let (mut norm, array) = (f64::NAN, lw_const_array { data: bits.as_ptr().cast(), r#type: kind as u32 });
        // SAFETY: one element of any type is there.
        assert_eq!(unsafe { lw_max_norm(array, 1, &mut norm, null_mut()) }, status::APPLIED);
        norm
    };
    let low = bits[0] as u16;
    let numbers = [
        ("LW_F32", f32::from_bits(bits[0]).into()),
        ("LW_BF16", half::bf16::from_bits(low).to_f64()),
        ("LW_F16", half::f16::from_bits(low).to_f64()),
    ];
    // (In a byte order in which the low half comes first.)
    #[cfg(target_endian = "little")]
    c.compare(numbers, norm, |number: f64| number);
}

fn rates(c: &Constants) {
    const BOUNDARIES: &[f64] = &[1.0, 3.0];
    const DECAY_RATES: &[f64] = &[0.5, 0.25];
    let (learning_rate, min_lr, power, decay_steps, begin_decay_at, warmup_steps) = (0.1, 0.01, 2.0, 60, 5, 5);
    let steps_per_epoch = 10;
    let policies: [(&str, RatePolicy); 7] = [
        ("LW_FIXED_LR", RatePolicy::FixedLr(FixedLr { learning_rate })),
        (
            "LW_PIECEWISE_CONSTANT",
            RatePolicy::PiecewiseConstant(PiecewiseConstant {
                learning_rate,
                boundaries: BOUNDARIES,
                decay_rates: DECAY_RATES,
                steps_per_epoch,
            }),
        ),
        (
            "LW_EXP_DECAY",
            RatePolicy::ExpDecay(ExpDecay {
                learning_rate,
                decay_steps,
                decay_rate: 0.5,
                begin_decay_at,
                min_lr,
                ..ExpDecay::DEFAULT
            }),
        ),
        (
            "LW_POLY_DECAY",
            RatePolicy::PolyDecay(PolyDecay {
                learning_rate,
                decay_steps,
                power,
                begin_decay_at,
                min_lr,
                warmup_steps,
            }),
        ),
        (
            "LW_COSINE_DECAY",
            RatePolicy::CosineDecay(CosineDecay {
                learning_rate,
                decay_steps,
                begin_decay_at,
                min_lr,
                warmup_steps,
                power,
            }),
        ),
        (
            "LW_TRANSFORMER_POLICY",
            RatePolicy::TransformerPolicy(TransformerPolicy {
                learning_rate,
                d_model: 64,
                warmup_steps,
                ..TransformerPolicy::DEFAULT
            }),
        ),
        (
            "LW_INV_POLY_DECAY",
            RatePolicy::InvPolyDecay(InvPolyDecay {
                learning_rate,
                decay_steps,
                min_lr,
                power,
                begin_decay_at,
                warmup_steps,
            }),
        ),
    ];
    let in_c = |policy: i64| {
        // SAFETY: zeros are a value of it.
        let mut schedule: lw_schedule = unsafe { zeroed() };
        // SAFETY: the pointer is good.
        let status = unsafe { lw_schedule_default(policy as u32, learning_rate, &mut schedule, null_mut()) };
        assert_eq!(status, status::APPLIED);
        schedule =
            lw_schedule { min_lr, power, decay_steps, begin_decay_at, warmup_steps, steps_per_epoch, ..schedule };
        (schedule.d_model, schedule.decay_rate, schedule.boundary_count) = (64, 0.5, 2);
        schedule.boundaries[..2].copy_from_slice(BOUNDARIES);
        schedule.decay_rates[..2].copy_from_slice(DECAY_RATES);
        let rate = |step| {
            let mut rate = f64::NAN;
            // SAFETY: the pointers are good.
            assert_eq!(unsafe { lw_rate(&schedule, step, &mut rate, null_mut()) }, status::APPLIED);
            rate
        };
        [0, 3, 11, 40, 70].map(rate)
    };
    let in_rust = |policy| {
        let schedule = Schedule::new(policy).expect("good settings");
        [0, 3, 11, 40, 70].map(|step| schedule.rate(step))
    };
    c.compare(policies, in_c, in_rust);
}

/// The first scale, and those after some steps, one of which overflowed.
fn loss_scales(c: &Constants) {
    let finite = [true, true, false, true];
    let kinds = [
        ("LW_STATIC", LossScaling::Static(128.0)),
        ("LW_BACKOFF", LossScaling::Backoff(Backoff { scale_max: 4096.0, step_window: 2, ..Backoff::DEFAULT })),
        ("LW_LOG_MAX", LossScaling::LogMax(LogMax { scale_max: 4096.0, log_max: 10.0, ..LogMax::DEFAULT })),
    ];
    let in_c = |kind: i64| {
        let backoff = c.get("LW_BACKOFF") == kind;
        let scaler = lw_loss_scaler {
            scale: if c.get("LW_STATIC") == kind { 128.0 } else { 0.0 },
            scale_min: 1.0,
            scale_max: 4096.0,
            step_factor: if backoff { 2.0 } else { 0.0 },
            log_max: 10.0,
            beta1: 0.99,
            beta2: 0.999,
            overflow_std_dev: 3.09,
            step_window: if backoff { 2 } else { 0 },
            kind: kind as u8,
            as_executed: 0,
            reserved: [0; 2],
        };
        // SAFETY: zeros are a value of it.
        let mut state: lw_loss_state = unsafe { zeroed() };
        finite.map(|finite| {
            let mut scale = f64::NAN;
            // SAFETY: the pointers are good.
            unsafe {
                assert!(lw_loss_update(&scaler, &mut state, finite.into(), 1.5, null_mut()) >= 0);
                assert_eq!(lw_loss_scale(&scaler, &state, &mut scale, null_mut()), status::APPLIED);
            }
            scale
        })
    };
    let in_rust = |scaling| {
        let scaler = LossScaler::new(scaling).expect("good settings");
        let mut state = LossScaleState::default();
        finite.map(|finite| {
            _ = scaler.update(&mut state, finite, 1.5);
            scaler.scale(&state)
        })
    };
    c.compare(kinds, in_c, in_rust);
    // SAFETY: zeros are a value of both.
    let (scaler, state): (lw_loss_scaler, lw_loss_state) = unsafe { zeroed() };
    assert_eq!(c.get("LW_NO_LOSS_SCALE"), i64::from(scaler.kind));
    // SAFETY: the pointers are good.
    assert!(unsafe { lw_loss_scale(&scaler, &state, &mut 0.0, null_mut()) } < 0);
}

/// Numbers that Rust has too.
fn numbers(c: &Constants) {
    macro_rules! statuses {
        ($($name:ident)*) => {[$((concat!("LW_", stringify!($name)), i64::from(status::$name))),*]};
    }
    let statuses = statuses! {
        APPLIED OVERFLOWED NON_FINITE OUT_OF_RANGE FROZEN ABSENT STEP_SKIPPED NULL MISALIGNED TOO_LONG OVERLAP BAD_TYPE
        BAD_LENGTH MISSING BAD_SETTING BAD_RATE BAD_SCALE BAD_DECAY BAD_STATE BAD_SPANS OFF_LEAF NOT_SEEN STALE_NORM
        BAD_RECIPE BAD_PIECES
    };
    for (name, value) in statuses {
        assert_eq!(c.get(name), value, "{name}");
    }
    assert_eq!(c.get("LW_ABI_VERSION"), i64::from(lw_abi_version()));
    assert_eq!(c.get("LW_LEAF"), lw::pieces::LEAF as i64);
    assert_eq!(c.get("LW_SUMS"), lw::pieces::SUMS as i64);
    assert_eq!(c.get("LW_COVER"), 2 * i64::from(u64::BITS));
    assert_eq!(c.get("LW_BOUNDARIES"), LW_BOUNDARIES as i64);
    // An error that is not about a layer. SAFETY: zeros are a value of it.
    let mut error: lw_error = unsafe { zeroed() };
    // SAFETY: a pointer that may not be null is refused.
    assert!(unsafe { lw_check(null(), &mut error) } < 0);
    assert_eq!(c.get("LW_NO_LAYER"), error.layer as i64);
}

#[test]
fn constants_mean_what_they_say() {
    let constants = Constants::read();
    numbers(&constants);
    types(&constants);
    rules(&constants);
    novograds(&constants);
    adams(&constants);
    skips(&constants);
    rates(&constants);
    loss_scales(&constants);
    assert!(constants.left.borrow().is_empty(), "not compared: {:?}", constants.left.borrow());
}
