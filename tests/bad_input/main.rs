//! Every kind of bad input, and what it gets: the rows of `docs/bad_input.md`.

use layerwise::{
    BytesError, CarriedNorms, ConfigError, DecayMode, Error, Larc, LarcConfig, Layer, LayerBytes, LayerSpan, LayerView,
    Layers, LayersError, Luc, ModelState, MomentNorm, Needs, NonFinite, Norms, NovoGrad, NovoGradConfig, NovoGradState,
    Optimizer, Outcome, Plan, Policy, Report, Rule, Sgd, SgdConfig, SgdState, Slice, Update, ZeroNorm, accumulate,
    l2_norm, l2_norms, leaf_sums,
};

/// Every number that is no number to train with.
const NON_FINITE: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
/// Rates and decays out of range.
const OUT_OF_RANGE: [f64; 4] = [-1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

fn plain() -> Sgd {
    Sgd::new(SgdConfig::DEFAULT).unwrap()
}

fn larc() -> Sgd {
    let larc = Some(Larc::new(LarcConfig::DEFAULT).unwrap());
    Sgd::new(SgdConfig { momentum: 0.9, larc, ..SgdConfig::DEFAULT }).unwrap()
}

fn novograd() -> NovoGrad {
    NovoGrad::new(NovoGradConfig::DEFAULT).unwrap()
}

/// A layer of a few vectors and a part of one, with all that a host keeps of it.
#[derive(Clone, Debug)]
struct Host<S> {
    weights: Vec<f32>,
    gradients: Vec<f32>,
    momentum: Vec<f32>,
    state: S,
}

impl<S: Copy + Default + std::fmt::Debug> Host<S> {
    fn new(len: usize) -> Self {
        let ramp = |scale: f32| (0..len).map(|i| scale * (i as f32 - 10.0)).collect();
        Host { weights: ramp(0.1), gradients: ramp(-0.3), momentum: ramp(0.01), state: S::default() }
    }

    fn step<R: Rule<State = S>>(&mut self, optimizer: &Optimizer<R>, lr: f64, layer: Layer) -> Result<Report, Error> {
        let Host { weights, gradients, momentum, state } = self;
        optimizer.step_view(lr, LayerView { layer, weights, gradients, momentum, state, norms: None })
    }

    /// A step that is refused.
    fn refused<R: Rule<State = S>>(&mut self, optimizer: &Optimizer<R>, lr: f64, layer: Layer) -> Error {
        let before = self.written();
        let error = self.step(optimizer, lr, layer).unwrap_err();
        assert_eq!(self.written(), before);
        error
    }

    /// A step that is not taken.
    fn skipped<R: Rule<State = S>>(&mut self, optimizer: &Optimizer<R>) -> Outcome {
        let before = self.written();
        let report = self.step(optimizer, 0.1, Layer::DEFAULT).unwrap();
        assert!(!report.applied());
        assert_eq!(self.written(), before);
        report.outcome
    }
}

impl<S: std::fmt::Debug> Host<S> {
    /// Everything that a step may write, as text that tells all bits apart but those of NaN.
    fn written(&self) -> String {
        format!("{:?} {:?} {:?}", self.weights, self.momentum, self.state)
    }
}

fn length(slice: Slice, expected: usize, found: usize) -> Error {
    Error::Length { slice, expected, found }
}

/// Two layers in a buffer of 70 with a gap of 5 in the middle.
fn spans() -> [LayerSpan; 2] {
    [(0, 40), (45, 25)].map(|(start, len)| LayerSpan { start, len, layer: Layer::DEFAULT })
}

fn step_model<R: Rule>(
    optimizer: &Optimizer<R>,
    spans: &[LayerSpan],
    lr: f64,
    host: &mut Host<Vec<R::State>>,
    reports: &mut [Report],
) -> Result<layerwise::Summary, Error> {
    let layers = Layers::with_gaps(spans, 70).unwrap();
    let Host { weights, gradients, momentum, state } = host;
    let state = ModelState { momentum, states: state, norms: &mut [] };
    optimizer.step(lr, &layers, weights, gradients, state, reports)
}

fn model<S: Copy + Default + std::fmt::Debug>() -> Host<Vec<S>> {
    let Host { weights, gradients, momentum, state } = Host::<S>::new(70);
    Host { weights, gradients, momentum, state: vec![state; 2] }
}

#[test]
fn slices_of_different_lengths() {
    for len in [0, 3, 40] {
        let mut host = Host::new(len);
        host.gradients.push(1.0);
        assert_eq!(host.refused(&larc(), 0.1, Layer::DEFAULT), length(Slice::Gradients, len, len + 1));
        let mut host = Host::new(len);
        host.momentum.push(1.0);
        assert_eq!(host.refused(&novograd(), 0.1, Layer::DEFAULT), length(Slice::Momentum, len, len + 1));
    }
    let (mut two, mut one) = ([5.0; 2], [5.0; 1]);
    let update = Update { gradient: 1.0, rate: 1.0, ..Update::NONE };
    let gradients = length(Slice::Gradients, 2, 1);
    assert_eq!(update.apply(&mut two, &[1.0]), Err(gradients));
    assert_eq!(update.apply_with_momentum(&mut two, &[1.0], &mut [0.0; 2]), Err(gradients));
    assert_eq!(update.apply_with_momentum(&mut two, &[1.0; 2], &mut one), Err(length(Slice::Momentum, 2, 1)));
    assert_eq!(update.apply_and_sum(&mut two, &[1.0], &mut []), Err(gradients));
    assert_eq!(update.apply_and_sum(&mut two, &[1.0; 2], &mut one), Err(length(Slice::Momentum, 2, 1)));
    assert_eq!(update.new_momentum_norm(&two, &[1.0], &[]), Err(gradients));
    assert_eq!(update.new_momentum_norm(&two, &[1.0; 2], &one), Err(length(Slice::Momentum, 2, 1)));
    assert_eq!(accumulate(&mut two, &[1.0], 1.0), Err(gradients));
    assert_eq!(l2_norms(&two, &one), Err(gradients));
    assert_eq!(plain().rule().needs(&Layer::DEFAULT).measure(&two, &one), Err(gradients));
    let larc = Larc::new(LarcConfig::DEFAULT).unwrap();
    assert_eq!(larc.scale_gradients(0.1, 0.0, &two, &mut one).unwrap_err(), gradients);
    let mut sums = [7.0; 2];
    assert_eq!(leaf_sums(&[1.0; 1000], &mut sums), Err(length(Slice::Sums, 1, 2)));
    assert_eq!((two, one, sums), ([5.0; 2], [5.0], [7.0; 2]));
}

#[test]
fn momentum_where_there_is_none() {
    let mut host = Host::new(20);
    assert_eq!(host.refused(&plain(), 0.1, Layer::DEFAULT), length(Slice::Momentum, 0, 20));
    host.momentum.clear();
    assert_eq!(host.refused(&larc(), 0.1, Layer::DEFAULT), length(Slice::Momentum, 20, 0));
}

#[test]
fn one_layer_with_a_wrong_length() {
    let (mut a, mut b) = (Host::<NovoGradState>::new(20), Host::<NovoGradState>::new(20));
    b.gradients.pop();
    let before = [a.written(), b.written()];
    let mut views = [&mut a, &mut b].map(|host| {
        let Host { weights, gradients, momentum, state } = host;
        LayerView { layer: Layer::DEFAULT, weights, gradients, momentum, state, norms: None }
    });
    let error = novograd().step_views(0.1, &mut views, &mut [Report::default(); 2]).unwrap_err();
    assert_eq!(error, Error::LengthInLayer { layer: 1, slice: Slice::Gradients, expected: 20, found: 19 });
    let error = novograd().step_views(0.1, &mut views, &mut [Report::default(); 3]).unwrap_err();
    assert_eq!(error, length(Slice::Reports, 2, 3));
    assert_eq!([a.written(), b.written()], before);
}

#[test]
fn memory_that_does_not_fit_the_table() {
    let refused = |fault: fn(&mut Host<Vec<NovoGradState>>), reports: usize| {
        let mut host = model();
        fault(&mut host);
        let before = host.written();
        let error = step_model(&novograd(), &spans(), 0.1, &mut host, &mut vec![Report::default(); reports]);
        assert_eq!(host.written(), before);
        error.unwrap_err()
    };
    assert_eq!(refused(|host| host.weights.truncate(69), 2), length(Slice::Weights, 70, 69));
    assert_eq!(refused(|host| host.gradients.push(0.0), 2), length(Slice::Gradients, 70, 71));
    assert_eq!(refused(|host| host.momentum.clear(), 2), length(Slice::Momentum, 70, 0));
    assert_eq!(refused(|host| host.state.truncate(1), 2), length(Slice::States, 2, 1));
    assert_eq!(refused(|_| {}, 1), length(Slice::Reports, 2, 1));

    let Host { mut weights, gradients, mut momentum, mut state } = model();
    let spans = spans();
    let layers = Layers::with_gaps(&spans, 70).unwrap();
    let mut norms = [CarriedNorms::default(); 3];
    let state = ModelState { momentum: &mut momentum, states: &mut state, norms: &mut norms };
    let error = novograd().step(0.1, &layers, &mut weights, &gradients, state, &mut [Report::default(); 2]);
    assert_eq!(error.unwrap_err(), length(Slice::Norms, 2, 3));
}

#[test]
fn rates_out_of_range() {
    let is_rate = |error| matches!(error, Error::LearningRate(_));
    for rate in OUT_OF_RANGE {
        assert!(is_rate(Host::new(20).refused(&larc(), rate, Layer::DEFAULT)));
        assert!(is_rate(Host::new(20).refused(&larc(), 0.1, Layer { rate, ..Layer::DEFAULT })));
        let mut host = model();
        let before = host.written();
        let error = step_model(&novograd(), &spans(), rate, &mut host, &mut [Report::default(); 2]).unwrap_err();
        assert!(is_rate(error) && host.written() == before);
        let larc = Larc::new(LarcConfig::DEFAULT).unwrap();
        assert!(is_rate(larc.scale_gradients(rate, 0.0, &[1.0], &mut [1.0]).unwrap_err()));
    }
    let fast = Layer { rate: 1e300, ..Layer::DEFAULT };
    assert_eq!(Host::new(20).refused(&larc(), 1e300, fast), Error::LearningRate(f64::INFINITY));
}

#[test]
fn decay_out_of_range() {
    let larc = Larc::new(LarcConfig::DEFAULT).unwrap();
    for decay in OUT_OF_RANGE {
        let mut gradients = [1.0; 20];
        let error = larc.scale_gradients(0.1, decay, &[1.0; 20], &mut gradients).unwrap_err();
        assert!(matches!(error, Error::WeightDecay(_)), "{error}");
        assert_eq!(gradients, [1.0; 20]);
    }
}

#[test]
fn settings_out_of_range() {
    let error = Sgd::new(SgdConfig { momentum: 1.0, ..SgdConfig::DEFAULT }).unwrap_err();
    assert_eq!((error.setting, error.value, error.allowed), ("momentum", 1.0, ">= 0 and < 1"));
    let name = |result: Result<(), ConfigError>| result.map_err(|error| error.setting);
    let larc = |config: LarcConfig| name(Larc::new(config).map(|_| ()));
    let base = LarcConfig::DEFAULT;
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(larc(LarcConfig { eta: bad, ..base }), Err("eta"));
        assert_eq!(larc(LarcConfig { eps: bad, ..base }), Err("eps"));
        assert_eq!(larc(LarcConfig { min_update: bad, ..base }), Err("min_update"));
        assert_eq!(larc(LarcConfig { min_norm: bad, ..base }), Err("min_norm"));
    }
    assert_eq!(larc(LarcConfig { eta: 0.0, ..base }), Err("eta"));
    assert_eq!(larc(LarcConfig { eps: 0.0, zero_norm: ZeroNorm::Formula, ..base }), Err("eps"));

    let sgd = |config: SgdConfig| name(Sgd::new(config).map(|_| ()));
    let base = SgdConfig::DEFAULT;
    for bad in [-0.1, 1.0, f64::NAN] {
        assert_eq!(sgd(SgdConfig { momentum: bad, ..base }), Err("momentum"));
        assert_eq!(sgd(SgdConfig { dampening: bad, ..base }), Err("dampening"));
    }
    assert_eq!(sgd(SgdConfig { weight_decay: -1.0, ..base }), Err("weight_decay"));

    let novograd = |config: NovoGradConfig| name(NovoGrad::new(config).map(|_| ()));
    let base = NovoGradConfig::DEFAULT;
    for bad in [-0.1, 1.0, f64::NAN] {
        assert_eq!(novograd(NovoGradConfig { beta1: bad, ..base }), Err("beta1"));
        assert_eq!(novograd(NovoGradConfig { beta2: bad, ..base }), Err("beta2"));
    }
    assert_eq!(novograd(NovoGradConfig { eps: -1.0, ..base }), Err("eps"));
    assert_eq!(novograd(NovoGradConfig { eps_root: f64::INFINITY, ..base }), Err("eps_root"));
    assert_eq!(novograd(NovoGradConfig { weight_decay: f64::NAN, ..base }), Err("weight_decay"));
    let corrected = DecayMode::Corrected { max_rate: 0.0 };
    assert_eq!(novograd(NovoGradConfig { decay_mode: corrected, ..base }), Err("max_rate"));
    let luc = |luc| novograd(NovoGradConfig { luc: Some(luc), ..base });
    assert_eq!(luc(Luc { trust: 0.0, ..Luc::DEFAULT }), Err("trust"));
    assert_eq!(luc(Luc { eps: -1.0, ..Luc::DEFAULT }), Err("eps"));
}

#[test]
fn a_clip_that_a_rule_does_not_allow() {
    let clip = Policy { clip_norm: Some(1.0), ..Policy::DEFAULT };
    assert!(plain().with_policy(clip).is_ok() && larc().with_policy(clip).is_err());
    let maximum = NovoGrad::new(NovoGradConfig { norm: MomentNorm::Max, ..NovoGradConfig::DEFAULT }).unwrap();
    assert_eq!(maximum.with_policy(clip).unwrap_err().setting, "clip_norm");
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(plain().with_policy(Policy { clip_norm: Some(bad), ..clip }).is_err());
    }
}

#[test]
#[cfg(feature = "serde")]
fn stored_settings_out_of_range() {
    let read = |text| serde_json::from_str::<NovoGradConfig>(text).map_err(|error| error.to_string());
    assert!(read(r#"{"beta1": 0.9}"#).is_ok());
    assert!(read(r#"{"beta1": 1.5}"#).unwrap_err().contains("beta1 is 1.5, but must be >= 0 and < 1"));
    assert!(read(r#"{"beta3": 0.9}"#).unwrap_err().contains("unknown field `beta3`"));
}

#[test]
fn tables_that_do_not_fit() {
    let span = |start, len| LayerSpan { start, len, layer: Layer::DEFAULT };
    let check = |spans: &[LayerSpan], len| (Layers::new(spans, len).err(), Layers::with_gaps(spans, len).err());
    let both = |error| (Some(error), Some(error));
    assert_eq!(check(&[], 0), both(LayersError::NoLayers));
    assert_eq!(check(&[span(0, 3), span(3, 0)], 3), both(LayersError::EmptyLayer { layer: 1 }));
    assert_eq!(check(&[span(0, 3), span(2, 2)], 4), both(LayersError::Overlap { layer: 1 }));
    assert_eq!(check(&[span(0, 2), span(2, 2), span(1, 2)], 4), both(LayersError::Overlap { layer: 2 }));
    assert_eq!(check(&[span(0, 3), span(3, 2)], 4), both(LayersError::OutOfBounds { layer: 1 }));
    assert_eq!(
        check(&[span(0, usize::MAX), span(usize::MAX, 2)], usize::MAX),
        both(LayersError::OutOfBounds { layer: 1 })
    );
    assert_eq!(check(&[span(1, 3)], 4), (Some(LayersError::Gap { layer: 0 }), None));
    assert_eq!(check(&[span(0, 2), span(3, 1)], 4), (Some(LayersError::Gap { layer: 1 }), None));
    assert_eq!(check(&[span(0, 3)], 4), (Some(LayersError::Gap { layer: 1 }), None));
    for rate in OUT_OF_RANGE {
        let layer = Layer { rate, ..Layer::DEFAULT };
        assert_eq!(check(&[LayerSpan { layer, ..span(0, 1) }], 1), both(LayersError::Rate { layer: 0 }));
    }
    assert_eq!(LayerSpan::contiguous([usize::MAX, 2])[1].start, usize::MAX);
    assert_eq!(LayersError::Gap { layer: 1 }.to_string(), "there is a gap before layer 1");
}

/// A buffer of somebody else's, at a multiple of 4.
#[repr(align(4))]
struct Buffer([u8; 83]);

/// A step of layers of 20 whose slices begin and end at these bytes of a buffer.
fn step_bytes(weights: [usize; 2], gradients: [usize; 2], momentum: [usize; 2]) -> Result<Report, Error> {
    let [mut w, g, mut m] = [1, 2, 3].map(|x| Buffer([x; 83]));
    let layer = LayerBytes {
        layer: Layer::DEFAULT,
        weights: &mut w.0[weights[0]..weights[1]],
        gradients: &g.0[gradients[0]..gradients[1]],
        momentum: &mut m.0[momentum[0]..momentum[1]],
        state: &mut SgdState::default(),
        norms: None,
    };
    let result = larc().step_bytes(0.1, layer);
    assert_eq!(result.is_err(), w.0 == [1; 83] && m.0 == [3; 83]);
    result
}

#[test]
fn misaligned_bytes() {
    assert!(step_bytes([0, 80], [0, 80], [0, 80]).unwrap().applied());
    let misaligned = |slice| Error::Bytes { slice, error: BytesError::Misaligned };
    for offset in 1..4 {
        let wrong = [offset, 80 + offset];
        assert_eq!(step_bytes(wrong, [0, 80], [0, 80]).unwrap_err(), misaligned(Slice::Weights));
        assert_eq!(step_bytes([0, 80], wrong, [0, 80]).unwrap_err(), misaligned(Slice::Gradients));
        assert_eq!(step_bytes([0, 80], [0, 80], wrong).unwrap_err(), misaligned(Slice::Momentum));
    }
}

#[test]
fn parts_of_a_float() {
    for len in [1, 3, 79, 81] {
        let error = |slice| Error::Bytes { slice, error: BytesError::PartialFloat { len } };
        assert_eq!(step_bytes([0, len], [0, 80], [0, 80]).unwrap_err(), error(Slice::Weights));
        assert_eq!(step_bytes([0, 80], [0, len], [0, 80]).unwrap_err(), error(Slice::Gradients));
        assert_eq!(step_bytes([0, 80], [0, 80], [0, len]).unwrap_err(), error(Slice::Momentum));
    }
    assert_eq!(step_bytes([0, 80], [0, 76], [0, 80]).unwrap_err(), length(Slice::Gradients, 20, 19));
}

#[test]
fn scalars_beyond_f32() {
    for bad in [f64::NAN, f64::INFINITY, 1e300] {
        for update in [
            Update { gradient: bad, rate: 1.0, ..Update::NONE },
            Update { decay: bad, rate: 1.0, ..Update::NONE },
            Update { rate: bad, gradient: 1.0, decay: 1.0, ..Update::NONE },
        ] {
            let (mut weights, mut momentum) = ([1.0; 20], [1.0; 20]);
            assert_eq!(update.apply(&mut weights, &[1.0; 20]), Err(Error::Update));
            let result = update.apply_with_momentum(&mut weights, &[1.0; 20], &mut momentum);
            assert_eq!(result, Err(Error::Update));
            assert_eq!(update.apply_and_sum(&mut weights, &[1.0; 20], &mut momentum), Err(Error::Update));
            assert_eq!(update.new_momentum_norm(&weights, &[1.0; 20], &momentum), Err(Error::Update));
            assert_eq!((weights, momentum), ([1.0; 20], [1.0; 20]));
        }
        assert_eq!(accumulate(&mut [1.0], &[1.0], bad), Err(Error::Update));
    }
}

#[test]
fn non_finite_gradients() {
    for bad in NON_FINITE {
        for at in [0, 20, 36] {
            let mut host = Host::new(37);
            host.gradients[at] = bad;
            assert_eq!(host.skipped(&larc()), Outcome::NonFinite);
            let mut host = Host::new(37);
            host.gradients[at] = bad;
            assert_eq!(host.skipped(&novograd()), Outcome::NonFinite);
        }
        let mut gradients = [1.0, bad];
        let larc = Larc::new(LarcConfig::DEFAULT).unwrap();
        let report = larc.scale_gradients(0.1, 0.0, &[1.0; 2], &mut gradients).unwrap();
        assert!(report.outcome == Outcome::NonFinite && gradients[0] == 1.0);
    }
}

#[test]
fn non_finite_weights() {
    let luc = NovoGrad::new(NovoGradConfig { luc: Some(Luc::DEFAULT), ..NovoGradConfig::DEFAULT }).unwrap();
    for bad in NON_FINITE {
        let mut host = Host::new(37);
        host.weights[36] = bad;
        assert_eq!(host.skipped(&larc()), Outcome::NonFinite);
        let mut host = Host::new(37);
        host.weights[36] = bad;
        assert_eq!(host.skipped(&luc), Outcome::NonFinite);
        let mut host = Host::new(37);
        host.momentum[0] = bad; // LUC looks at the new momentum
        assert_eq!(host.skipped(&luc), Outcome::NonFinite);
    }
}

#[test]
fn non_finite_numbers_that_nobody_looks_at() {
    for bad in NON_FINITE {
        let (mut host, mut healthy) = (Host::new(37), Host::new(37));
        (host.weights[3], host.momentum[30]) = (bad, bad);
        assert!(host.step(&novograd(), 0.1, Layer::DEFAULT).unwrap().applied());
        healthy.step(&novograd(), 0.1, Layer::DEFAULT).unwrap();
        for i in 0..37 {
            assert_eq!(host.weights[i].is_finite(), i != 3 && i != 30);
            assert_eq!(host.momentum[i].is_finite(), i != 30);
            assert!(host.weights[i] == healthy.weights[i] || i == 3 || i == 30);
        }
    }
}

#[test]
fn one_non_finite_layer_of_several() {
    for (non_finite, expected) in [
        (NonFinite::SkipLayer, [Outcome::Applied, Outcome::NonFinite]),
        (NonFinite::SkipStep, [Outcome::StepSkipped, Outcome::NonFinite]),
    ] {
        let optimizer = novograd().with_policy(Policy { non_finite, ..Policy::DEFAULT }).unwrap();
        let mut host = model();
        host.gradients[60] = f32::NAN;
        let before = host.clone();
        let mut reports = [Report::default(); 2];
        step_model(&optimizer, &spans(), 0.1, &mut host, &mut reports).unwrap();
        assert_eq!(reports.map(|report| report.outcome), expected);
        assert_eq!(host.weights[..40] == before.weights[..40], non_finite == NonFinite::SkipStep);
        assert_eq!(host.weights[40..], before.weights[40..]);
        assert_eq!(host.momentum[40..], before.momentum[40..]);
    }
}

#[test]
fn numbers_that_are_not_trained() {
    let mut spans = spans();
    spans[1].layer = Layer::FROZEN;
    let mut host = model();
    for i in [40, 44, 45, 69] {
        (host.weights[i], host.gradients[i], host.momentum[i]) = (f32::NAN, f32::NAN, f32::INFINITY);
    }
    let before = host.clone();
    let mut reports = [Report::default(); 2];
    let summary = step_model(&novograd(), &spans, 0.1, &mut host, &mut reports).unwrap();
    assert_eq!((summary.applied, summary.skipped, reports[1].outcome), (1, 0, Outcome::Frozen));
    let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&host.weights[40..]), bits(&before.weights[40..]));
    assert_eq!(bits(&host.momentum[40..]), bits(&before.momentum[40..]));
    assert_ne!(host.weights[..40], before.weights[..40]);
}

#[test]
fn numbers_of_any_size() {
    for size in [3e38, 1e20, 1e-20, 1e-42] {
        let mut host = Host::<NovoGradState>::new(37);
        host.gradients.iter_mut().for_each(|g| *g *= size / 10.0);
        host.momentum.fill(0.0);
        let config = NovoGradConfig { eps: 0.0, ..NovoGradConfig::DEFAULT };
        let report = host.step(&NovoGrad::new(config).unwrap(), 0.1, Layer::DEFAULT).unwrap();
        // What a first step moves is the learning rate in all.
        assert!(report.applied() && (l2_norm(&host.momentum) - 1.0).abs() < 1e-6, "{size}: {report:?}");
    }
}

#[test]
fn steps_beyond_f32() {
    let mut host = Host::<SgdState>::new(37);
    host.momentum.clear();
    let before = host.written();
    let report = host.step(&plain(), 1e300, Layer::DEFAULT).unwrap();
    assert_eq!((report.outcome, host.written()), (Outcome::OutOfRange, before));
}

/// A rule that is wrong.
struct Wrong(f64);

impl Rule for Wrong {
    type State = u32;

    fn keeps_momentum(&self) -> bool {
        true
    }

    fn needs(&self, _: &Layer) -> Needs {
        Needs { gradient: layerwise::GradientNorm::L2, weights: true, new_momentum: true }
    }

    fn plan(&self, _: f64, _: &Layer, _: &Norms, state: &mut u32) -> Plan {
        *state += 1;
        let update = Update { gradient: self.0, rate: 1.0, ..Update::NONE };
        Plan { update, factor: 1.0, effective_rate: 1.0, clipped: false }
    }
}

#[test]
fn plans_beyond_f32() {
    for bad in [f64::NAN, f64::INFINITY, -1e300] {
        assert_eq!(Host::new(37).skipped(&Optimizer::from_rule(Wrong(bad))), Outcome::OutOfRange);
    }
}

#[test]
fn a_state_no_step_has_left() {
    for second_moment in OUT_OF_RANGE {
        for norm in [MomentNorm::L2, MomentNorm::Max] {
            let novograd = NovoGrad::new(NovoGradConfig { norm, ..NovoGradConfig::DEFAULT }).unwrap();
            let mut host = Host::new(37);
            host.state = NovoGradState { second_moment, max_second_moment: 0.0, steps: 3 };
            assert_eq!(host.skipped(&novograd), Outcome::OutOfRange);
        }
    }
}

#[test]
fn carried_norms_that_are_not_finite() {
    for sum in [f64::NAN, f64::INFINITY, -1.0] {
        let Host { mut weights, gradients, mut momentum, mut state } = Host::new(37);
        let mut norms = CarriedNorms::default();
        norms.set_gradient(sum);
        for expected in [Outcome::NonFinite, Outcome::Applied] {
            let (weights, momentum, state) = (&mut weights, &mut momentum, &mut state);
            let (layer, norms) = (Layer::DEFAULT, Some(&mut norms));
            let view = LayerView { layer, weights, gradients: &gradients, momentum, state, norms };
            assert_eq!(larc().step_view(0.1, view).unwrap().outcome, expected);
        }
    }
}

#[test]
fn layers_of_no_elements() {
    let report = Host::new(0).step(&larc(), 0.1, Layer::DEFAULT).unwrap();
    assert_eq!((report.outcome, report.gradient_norm, report.weight_norm), (Outcome::Applied, 0.0, 0.0));
    assert!(Host::new(0).step(&novograd(), 0.1, Layer::DEFAULT).unwrap().applied());
    assert_eq!(novograd().step_views(0.1, &mut [], &mut []).unwrap().applied, 0);
}

#[test]
fn zeros() {
    for (weights, gradient, lr) in [(0.0, 1.0, 0.1), (1.0, 0.0, 0.1), (0.0, 0.0, 0.1), (1.0, 1.0, 0.0)] {
        let mut host = Host { weights: vec![weights; 37], gradients: vec![gradient; 37], ..Host::new(0) };
        host.momentum = vec![0.0; 37];
        let report = host.step(&larc(), lr, Layer::DEFAULT).unwrap();
        assert!(report.applied() && report.factor == 1.0);
        assert_eq!(host.weights, vec![weights - lr as f32 * gradient; 37]);
        let mut host = Host { weights: host.weights, gradients: host.gradients, ..Host::new(0) };
        host.momentum = vec![0.0; 37];
        assert!(host.step(&novograd(), lr, Layer::DEFAULT).unwrap().applied());
        assert!(host.weights.iter().all(|w| w.is_finite()));
    }
}

#[test]
fn more_steps_than_can_be_counted() {
    let mut host = Host::new(37);
    host.state = SgdState { steps: u32::MAX };
    assert!(host.step(&larc(), 0.1, Layer::DEFAULT).unwrap().applied());
    assert_eq!(host.state.steps, u32::MAX);
    let bias_correction = layerwise::BiasCorrection::Moments;
    let novograd = NovoGrad::new(NovoGradConfig { bias_correction, ..NovoGradConfig::DEFAULT }).unwrap();
    let mut host = Host::new(37);
    host.state = NovoGradState { steps: u32::MAX, second_moment: 1.0, max_second_moment: 0.0 };
    assert!(host.step(&novograd, 0.1, Layer::DEFAULT).unwrap().applied());
    assert_eq!(host.state.steps, u32::MAX);
}

/// Every row of the page names a test of this file, and every test stands in a row.
#[test]
fn every_row_has_its_test() {
    let page = include_str!("../docs/bad_input.md");
    let rows: Vec<&str> = page.lines().filter_map(|row| row.strip_suffix("` |")?.rsplit('`').next()).collect();
    let tests: Vec<&str> = include_str!("bad_input.rs")
        .split("#[test]\n")
        .skip(1)
        .filter_map(|test| test.split_once("fn ")?.1.split('(').next())
        .filter(|name| *name != "every_row_has_its_test")
        .collect();
    assert_eq!(rows, tests);
}
