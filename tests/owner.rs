//! The owner of what an optimizer remembers: it gives the same results as slices. Loading is all or nothing.

#![cfg(feature = "alloc")]

mod harness;
mod reference;

use harness::optimizers::{adam, keeps_second_moment, lamb, plain, skipping};
use layerwise::rule::{Moments, Rule, RuleState};
use layerwise::{
    Adam, AdamConfig, AdamState, Argument, Error, Floats, LarcConfig, LayerConfig, LayerMemory, LoadError, Luc, Memory,
    Model, NovoGrad, NovoGradConfig, NovoGradState, Optimizer, Outcome, Report, Sgd, SgdConfig, SgdState,
};

/// An empty layer, a scalar, a partial vector, more than a leaf, a leaf.
const LENGTHS: [usize; 5] = [0, 1, 17, 1500, 1024];

type Tensors = Vec<Vec<f32>>;

fn numbers(seed: usize, scale: f32) -> Tensors {
    let number = |len: usize, i: usize| scale * (((i + len) * 7 + seed * 13) % 19) as f32 - 8.0 * scale;
    LENGTHS.iter().map(|&len| (0..len).map(|i| number(len, i)).collect()).collect()
}

fn weights() -> Tensors {
    numbers(0, 0.125)
}

fn gradients(step: usize) -> Tensors {
    numbers(step + 1, 0.25)
}

fn sgd() -> Sgd {
    let larc = Some(LarcConfig::DEFAULT);
    Sgd::new(SgdConfig { momentum: 0.9, dampening: 0.1, weight_decay: 0.01, larc, ..SgdConfig::DEFAULT }).unwrap()
}

fn novograd() -> NovoGrad {
    let luc = Some(Luc { trust: 0.01, ..Luc::DEFAULT });
    NovoGrad::new(NovoGradConfig { luc, weight_decay: 0.01, amsgrad: true, ..NovoGradConfig::DEFAULT }).unwrap()
}

fn bits(tensors: &Tensors) -> Vec<Vec<u32>> {
    tensors.iter().map(|x| harness::bits(x)).collect()
}

fn numbers_of(floats: Floats<'_>) -> Vec<f32> {
    match floats {
        Floats::F32(x) => x.to_vec(),
        _ => unreachable!(),
    }
}

/// The momentum of all layers.
fn momentum<S: RuleState>(memory: &Memory<S>) -> Tensors {
    (0..memory.len()).map(|layer| numbers_of(memory.momentum(layer).unwrap())).collect()
}

/// The second moment of all layers.
fn second_moment<S: RuleState>(memory: &Memory<S>) -> Tensors {
    (0..memory.len()).map(|layer| numbers_of(memory.second_moment(layer).unwrap())).collect()
}

/// The configuration of each layer.
fn configs() -> [LayerConfig; 5] {
    let slow = LayerConfig { rate: 0.5, decay: 2.0, ..LayerConfig::DEFAULT };
    [LayerConfig::DEFAULT, LayerConfig::PLAIN, LayerConfig::FROZEN, slow, LayerConfig::DEFAULT]
}

fn memory<R: Rule>(optimizer: &Optimizer<R>) -> Memory<R::State> {
    let mut memory = optimizer.memory(LENGTHS);
    for (layer, config) in configs().into_iter().enumerate() {
        *memory.config_mut(layer).unwrap() = config;
    }
    memory
}

/// Ways to step a memory.
#[derive(Clone, Copy, Debug)]
enum Way {
    Step,
    Layers,
    OneByOne,
    Pieces,
    #[cfg(feature = "rayon")]
    StepParallel,
    #[cfg(feature = "rayon")]
    LayersParallel,
}

const WAYS: &[Way] = &[
    Way::Step,
    Way::Layers,
    Way::OneByOne,
    Way::Pieces,
    #[cfg(feature = "rayon")]
    Way::StepParallel,
    #[cfg(feature = "rayon")]
    Way::LayersParallel,
];

const LR: f64 = 0.05;

fn step<R: Rule + Sync>(
    way: Way,
    optimizer: &Optimizer<R>,
    memory: &mut Memory<R::State>,
    weights: &mut Tensors,
    gradients: &Tensors,
) -> Vec<Report> {
    let mut reports = vec![Report::ABSENT; LENGTHS.len()];
    match way {
        Way::Step => {
            memory.step(optimizer, LR, weights.iter_mut().zip(gradients)).unwrap();
            reports = memory.reports().to_vec();
        }
        Way::Layers => {
            let mut layers = memory.layers(weights.iter_mut().zip(gradients)).unwrap();
            optimizer.step(LR, &mut layers, &mut reports).unwrap();
        }
        Way::OneByOne => {
            for (layer, (w, g)) in weights.iter_mut().zip(gradients).enumerate() {
                reports[layer] = optimizer.step_layer(LR, memory.layer(layer, w, g).unwrap()).unwrap();
            }
        }
        Way::Pieces => {
            let mut pass = optimizer.pass(LR).unwrap();
            let views = weights.iter().zip(gradients).enumerate();
            let measured: Vec<_> =
                views.map(|(i, (w, g))| pass.measure(memory.view(i, w, g).unwrap()).unwrap()).collect();
            let decided = pass.decide();
            for (layer, (w, g)) in weights.iter_mut().zip(gradients).enumerate() {
                reports[layer] = decided.apply(measured[layer], memory.layer(layer, w, g).unwrap()).unwrap();
            }
        }
        #[cfg(feature = "rayon")]
        Way::StepParallel => {
            memory.step_parallel(optimizer, LR, weights.iter_mut().zip(gradients)).unwrap();
            reports = memory.reports().to_vec();
        }
        #[cfg(feature = "rayon")]
        Way::LayersParallel => {
            let mut layers = memory.layers(weights.iter_mut().zip(gradients)).unwrap();
            optimizer.step_parallel(LR, &mut layers, &mut reports).unwrap();
        }
    }
    reports
}

/// Three steps of a memory and of slices, which must have the same bits.
fn gives_what_slices_give<R: Rule + Sync>(optimizer: &Optimizer<R>) {
    for &way in WAYS {
        for carries in [false, true] {
            let mut memory = memory(optimizer);
            memory.carry_norms(carries);
            let mut ours = weights();
            let mut theirs = weights();
            let has_momentum = optimizer.moments() != Moments::None;
            let mut moments: Tensors =
                LENGTHS.iter().map(|&len| vec![0.0; if has_momentum { len } else { 0 }]).collect();
            let has_second = keeps_second_moment(optimizer);
            let mut seconds: Tensors = LENGTHS.iter().map(|&len| vec![0.0; if has_second { len } else { 0 }]).collect();
            let mut states = [R::State::default(); LENGTHS.len()];
            for round in 0..3 {
                let gradients = gradients(round);
                let reports = step(way, optimizer, &mut memory, &mut ours, &gradients);
                for (i, config) in configs().into_iter().enumerate() {
                    let layer = LayerMemory::new(&mut theirs[i], &gradients[i], &mut states[i]);
                    let layer = layer.momentum(&mut moments[i]).second_moment(&mut seconds[i]);
                    let report = optimizer.step_layer(LR, layer.config(config)).unwrap();
                    assert_eq!(format!("{:?}", reports[i]), format!("{report:?}"), "{way:?}, layer {i}");
                    assert_eq!(memory.state(i), Some(states[i]));
                }
                assert_eq!(bits(&ours), bits(&theirs), "{way:?}");
                assert_eq!(bits(&momentum(&memory)), bits(&moments), "{way:?}");
                assert_eq!(bits(&second_moment(&memory)), bits(&seconds), "{way:?}");
            }
        }
    }
}

#[test]
fn a_step_is_that_of_slices() {
    gives_what_slices_give(&sgd());
    gives_what_slices_give(&novograd());
    gives_what_slices_give(&plain());
    gives_what_slices_give(&skipping(sgd()));
    gives_what_slices_give(&skipping(novograd()));
    gives_what_slices_give(&adam());
    gives_what_slices_give(&skipping(lamb()));
    gives_what_slices_give(&novograd().any());
    gives_what_slices_give(&skipping(lamb().any()));
}

#[test]
fn it_tells_what_it_owns() {
    let mut memory = novograd().memory(LENGTHS);
    assert_eq!((memory.len(), memory.is_empty()), (5, false));
    assert_eq!(memory.bytes(), 4 * LENGTHS.iter().sum::<usize>() + 5 * size_of::<NovoGradState>());
    assert_eq!(memory.momentum(3).unwrap().len(), 1500);
    assert!(memory.momentum(5).is_none() && memory.state(5).is_none() && memory.config_mut(5).is_none());
    assert!(plain().memory(LENGTHS).momentum(3).unwrap().is_empty());
    assert!(memory.second_moment(3).unwrap().is_empty() && memory.second_moment(5).is_none());
    let of_adam = adam().memory(LENGTHS);
    assert_eq!(of_adam.bytes(), 2 * 4 * LENGTHS.iter().sum::<usize>() + 5 * size_of::<AdamState>());
    assert_eq!((of_adam.momentum(3).unwrap().len(), of_adam.second_moment(3).unwrap().len()), (1500, 1500));
    // A rule chosen at run time has only the moments that it keeps, and three numbers of state.
    let any = plain().any().memory(LENGTHS);
    assert_eq!(any.bytes(), 5 * size_of::<[f64; 3]>());

    let mut empty = sgd().memory([]);
    assert!(empty.is_empty() && empty.bytes() == 0);
    let none: [(&mut [f32], &[f32]); 0] = [];
    assert_eq!(empty.step(&sgd(), LR, none).unwrap().applied, 0);
    assert_eq!(Memory::from_bytes(&empty.to_bytes()).unwrap(), empty);
}

#[test]
fn reports_are_those_of_the_last_step() {
    let (mut memory, mut weights) = (memory(&novograd()), weights());
    let outcomes = |memory: &Memory<_>| memory.reports().iter().map(|report| report.outcome).collect::<Vec<_>>();
    assert_eq!(outcomes(&memory), [Outcome::Absent; 5]);
    let mut gradients = gradients(0);
    gradients[3][1499] = f32::NAN;
    let summary = memory.step(&novograd(), LR, weights.iter_mut().zip(&gradients)).unwrap();
    assert_eq!((summary.applied, summary.skipped), (3, 1));
    let expected = [Outcome::Applied, Outcome::Applied, Outcome::Frozen, Outcome::NonFinite, Outcome::Applied];
    assert_eq!(outcomes(&memory), expected);
    // A refused step does not change them; a loaded memory has none.
    memory.step(&novograd(), -1.0, weights.iter_mut().zip(&gradients)).unwrap_err();
    assert_eq!(outcomes(&memory), expected);
    memory.load(&memory.to_bytes()).unwrap();
    assert_eq!(outcomes(&memory), [Outcome::Absent; 5]);
}

/// Refused calls, with the tensors they get.
#[test]
fn wrong_tensors_are_refused_before_the_first_write() {
    let optimizer = novograd();
    let refused = |change: fn(&mut Tensors, &mut Tensors)| {
        let (mut memory, mut weights, mut gradients) = (memory(&optimizer), weights(), gradients(0));
        step(Way::Step, &optimizer, &mut memory, &mut weights, &gradients);
        change(&mut weights, &mut gradients);
        let before = (memory.clone(), bits(&weights), format!("{:?}", memory.reports()));
        let error = memory.step(&optimizer, LR, weights.iter_mut().zip(&gradients)).unwrap_err();
        #[cfg(feature = "rayon")]
        assert_eq!(memory.step_parallel(&optimizer, LR, weights.iter_mut().zip(&gradients)), Err(error));
        assert_eq!((memory.clone(), bits(&weights), format!("{:?}", memory.reports())), before);
        error
    };
    let fewer = refused(|weights, _| weights.truncate(3));
    assert_eq!(fewer, Error::Layers { expected: 5, found: 3 });
    let more = refused(|weights, gradients| {
        weights.extend([vec![], vec![]]);
        gradients.extend([vec![], vec![]]);
    });
    assert_eq!(more, Error::Layers { expected: 5, found: 7 });
    let length = |what, expected, found| Error::Length { layer: Some(4), what, expected, found };
    assert_eq!(refused(|weights, _| weights[4].truncate(1000)), length(Argument::Weights, 1024, 1000));
    assert_eq!(refused(|_, gradients| gradients[4].push(0.0)), length(Argument::Gradients, 1024, 1025));
    let both = refused(|weights, gradients| [weights, gradients].into_iter().for_each(|x| x[4].push(0.0)));
    assert_eq!(both, length(Argument::Weights, 1024, 1025));
}

#[test]
fn a_layer_that_is_not_there_is_refused() {
    let (mut memory, mut w) = (sgd().memory(LENGTHS), [1.0; 17]);
    let none = Error::Layers { expected: 5, found: 6 };
    assert_eq!(memory.layer(5, &mut w, &[0.0; 17]).unwrap_err(), none);
    assert_eq!(memory.view(5, &w, &[0.0; 17]).unwrap_err(), none);
    assert!(matches!(memory.view(usize::MAX, &w, &w), Err(Error::Layers { .. })));
    let length = |found| Error::Length { layer: Some(2), what: Argument::Weights, expected: 17, found };
    assert_eq!(memory.layer(2, &mut w[..16], &[0.0; 17]).unwrap_err(), length(16));
    assert_eq!(memory.view(2, &w[..16], &[0.0; 17]).unwrap_err(), length(16));
    // Gradients are checked by the step.
    let layer = memory.layer(2, &mut w, &[0.0; 3]).unwrap();
    let error = sgd().step_layer(LR, layer).unwrap_err();
    assert_eq!(error, Error::Length { layer: None, what: Argument::Gradients, expected: 17, found: 3 });
}

/// A host that lends the layers of a memory one at a time, and only those that have a gradient.
struct Host<'a> {
    memory: &'a mut Memory<SgdState>,
    weights: &'a mut Tensors,
    gradients: Vec<Option<Vec<f32>>>,
}

impl Model<SgdState> for Host<'_> {
    fn count(&self) -> usize {
        self.weights.len()
    }

    fn layer(&mut self, index: usize, visit: impl FnOnce(LayerMemory<'_, SgdState>)) {
        let Some(gradients) = &self.gradients[index] else { return };
        visit(self.memory.layer(index, &mut self.weights[index], gradients).unwrap());
    }
}

#[test]
fn a_layer_without_a_gradient_takes_no_part() {
    let optimizer = skipping(sgd());
    let (mut memory, mut weights) = (memory(&optimizer), weights());
    let mut gradients: Vec<_> = gradients(0).into_iter().map(Some).collect();
    gradients[3] = None;
    let (before, momentum_before) = (weights.clone(), momentum(&memory));
    let mut host = Host { memory: &mut memory, weights: &mut weights, gradients };
    let mut reports = [Report::FROZEN; 5];
    let summary = optimizer.step(LR, &mut host, &mut reports).unwrap();
    assert_eq!((summary.applied, summary.skipped, summary.overflowed), (3, 0, 0));
    assert_eq!(reports[3].outcome, Outcome::Absent);
    assert_eq!((&weights[3], &momentum(&memory)[3]), (&before[3], &momentum_before[3]));
    assert_eq!(memory.state(3), Some(SgdState::default()));
    assert_ne!(weights[4], before[4]);
}

/// A memory after two steps, and the weights that belong to it.
fn trained<R: Rule + Sync>(optimizer: &Optimizer<R>) -> (Memory<R::State>, Tensors) {
    let (mut memory, mut weights) = (memory(optimizer), weights());
    for round in 0..2 {
        step(Way::Step, optimizer, &mut memory, &mut weights, &gradients(round));
    }
    (memory, weights)
}

fn resumes<R: Rule + Sync>(optimizer: &Optimizer<R>) {
    let (mut memory, weights) = trained(optimizer);
    let saved = memory.to_bytes();
    let mut loaded = self::memory(optimizer);
    loaded.load(&saved).unwrap();
    assert_eq!(loaded, memory);
    let mut taken_over = self::memory(optimizer);
    taken_over.take_over(Memory::from_bytes(&saved).unwrap()).unwrap();
    assert_eq!(taken_over, memory);
    let finish = |memory: &mut Memory<R::State>| {
        let mut weights = weights.clone();
        for round in 2..5 {
            step(Way::Step, optimizer, memory, &mut weights, &gradients(round));
        }
        (bits(&weights), memory.to_bytes())
    };
    let expected = finish(&mut memory);
    assert_eq!(finish(&mut loaded), expected);
    assert_eq!(finish(&mut taken_over), expected);
}

#[test]
fn training_that_is_loaded_goes_on_with_the_same_bits() {
    resumes(&sgd());
    resumes(&novograd());
    resumes(&plain());
    resumes(&adam());
    resumes(&lamb());
    resumes(&lamb().any());
}

#[test]
fn the_saved_form_is_fixed() {
    let momentum = SgdConfig { momentum: 0.5, ..SgdConfig::DEFAULT };
    let mut memory = Sgd::new(momentum).unwrap().memory([2]);
    memory.step(&Sgd::new(momentum).unwrap(), 0.5, [(&mut [1.0, 1.0], &[1.0, -2.0])]).unwrap();
    let mut expected = b"layerwise\x01".to_vec();
    for count in [1_u64, 2, 2, 0] {
        expected.extend(count.to_le_bytes());
    }
    for number in [1.0_f64, 0.0, 0.0] {
        expected.extend(number.to_le_bytes());
    }
    for momentum in [1.0_f32, -2.0] {
        expected.extend(momentum.to_le_bytes());
    }
    assert_eq!(memory.to_bytes(), expected);

    // The second moment follows the momentum.
    let config = AdamConfig { beta1: 0.5, beta2: 0.5, ..AdamConfig::DEFAULT };
    let mut memory = Adam::new(config).unwrap().memory([2]);
    memory.step(&Adam::new(config).unwrap(), 0.5, [(&mut [1.0, 1.0], &[1.0, -2.0])]).unwrap();
    let mut expected = b"layerwise\x01".to_vec();
    for count in [1_u64, 2, 2, 2] {
        expected.extend(count.to_le_bytes());
    }
    for number in [1.0_f64, 0.0, 0.0] {
        expected.extend(number.to_le_bytes());
    }
    for moment in [0.5_f32, -1.0, 0.5, 2.0] {
        expected.extend(moment.to_le_bytes());
    }
    assert_eq!(memory.to_bytes(), expected);
}

/// Fails unless a memory does not load some bytes, and is as it was.
fn does_not_load(memory: &mut Memory<NovoGradState>, bytes: &[u8]) -> LoadError {
    let before = (memory.clone(), format!("{:?}", memory.reports()));
    let error = memory.load(bytes).unwrap_err();
    assert_eq!((memory.clone(), format!("{:?}", memory.reports())), before);
    error
}

#[test]
fn a_saved_memory_that_is_cut_off_does_not_load() {
    let (mut memory, _) = trained(&novograd());
    let saved = memory.to_bytes();
    for len in 0..saved.len() {
        let error = does_not_load(&mut memory, &saved[..len]);
        assert_eq!(error, if len < 10 { LoadError::Format } else { LoadError::Length }, "{len} bytes");
    }
    let longer = [saved.as_slice(), &[0]].concat();
    assert_eq!(does_not_load(&mut memory, &longer), LoadError::Length);
}

#[test]
fn a_saved_memory_with_a_wrong_bit_does_not_load_by_halves() {
    let optimizer = novograd();
    let (mut memory, _) = trained(&optimizer);
    let saved = memory.to_bytes();
    // Where the numbers of each layer begin.
    let mut heads = vec![18];
    heads.extend(LENGTHS.iter().scan(18, |at, len| {
        *at += 48 + 4 * len;
        Some(*at)
    }));
    assert_eq!(heads.pop(), Some(saved.len()));
    let flipped = |at: usize, bit: u32| {
        let mut bytes = saved.clone();
        bytes[at] ^= 1 << bit;
        bytes
    };
    let fixed = heads.iter().flat_map(|head| *head..head + 24).chain(0..18);
    for (at, bit) in fixed.flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let error = does_not_load(&mut memory, &flipped(at, bit));
        assert_eq!(error == LoadError::Format, at < 10, "bit {bit} of byte {at}: {error}");
        // There is no memory to compare it with, but what was read can be saved again.
        if let Ok(read) = Memory::<NovoGradState>::from_bytes(&flipped(at, bit)) {
            assert!(read.to_bytes() == flipped(at, bit), "bit {bit} of byte {at}");
        }
    }
    let states = heads.iter().enumerate().flat_map(|(layer, head)| (head + 24..head + 48).map(move |at| (layer, at)));
    for ((layer, at), bit) in states.flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let bytes = flipped(at, bit);
        let mut other = memory.clone();
        match other.load(&bytes) {
            // Another state that a step may have produced. (A count of -0 is 0.)
            Ok(()) => assert!(other.to_bytes().len() == bytes.len() && momentum(&other) == momentum(&memory)),
            Err(error) => {
                assert_eq!(error, LoadError::State { layer }, "bit {bit} of byte {at}");
                assert_eq!(other, memory);
            }
        }
    }
}

#[test]
fn a_memory_of_another_model_is_not_taken_over() {
    let optimizer = novograd();
    let (mut memory, _) = trained(&optimizer);
    let mut refused = |from: Memory<_>| {
        let before = memory.clone();
        let error = memory.load(&from.to_bytes()).unwrap_err();
        assert_eq!(memory.take_over(from), Err(error));
        assert_eq!(memory, before);
        error
    };
    assert_eq!(refused(optimizer.memory([0, 1, 17, 1500])), LoadError::Layers { expected: 5, found: 4 });
    assert_eq!(refused(optimizer.memory([0, 1, 17, 1500, 1024, 0])), LoadError::Layers { expected: 5, found: 6 });
    assert_eq!(refused(optimizer.memory([0, 1, 17, 1501, 1023])), LoadError::Layer { layer: 3 });
    let without_momentum = NovoGrad::new(NovoGradConfig { beta1: 0.0, ..NovoGradConfig::DEFAULT }).unwrap();
    assert_eq!(refused(without_momentum.memory(LENGTHS)), LoadError::Layer { layer: 1 });
    // The numbers of SGD's state are valid for NovoGrad, but not the other way round.
    let mut of_sgd = sgd().memory(LENGTHS);
    assert_eq!(of_sgd.load(&trained(&optimizer).0.to_bytes()), Err(LoadError::State { layer: 0 }));
    assert_eq!(of_sgd, sgd().memory(LENGTHS));
}

#[test]
fn memories_of_rules_with_other_moments_are_not_taken_over() {
    let mut of_adam = adam().memory(LENGTHS);
    let before = of_adam.clone();
    assert_eq!(of_adam.load(&sgd().memory(LENGTHS).to_bytes()), Err(LoadError::Layer { layer: 1 }));
    assert_eq!(of_adam, before);
    // The states of both are counts of steps, so only the moments differ.
    let mut of_sgd = sgd().memory(LENGTHS);
    assert_eq!(of_sgd.load(&before.to_bytes()), Err(LoadError::Layer { layer: 1 }));
    // A rule chosen at run time has the same memory as the named rule.
    let (memory, _) = trained(&adam());
    let mut any = adam().any().memory(LENGTHS);
    any.load(&memory.to_bytes()).unwrap();
    assert_eq!(any.to_bytes(), memory.to_bytes());
    of_adam.load(&any.to_bytes()).unwrap();
    assert_eq!(of_adam.to_bytes(), memory.to_bytes());
}

#[test]
fn momentum_of_a_length_of_its_own_is_no_memory() {
    let mut bytes = sgd().memory([3]).to_bytes();
    bytes[18] = 4; // the length of the layer
    assert_eq!(Memory::<SgdState>::from_bytes(&bytes).unwrap_err(), LoadError::Layer { layer: 0 });
}

#[test]
#[cfg(not(feature = "half"))]
fn numbers_of_16_bits_need_their_feature() {
    let mut bytes = sgd().memory([]).to_bytes();
    assert!(Memory::<SgdState>::from_bytes(&bytes).is_ok());
    bytes[9] = 2; // the version
    assert_eq!(Memory::<SgdState>::from_bytes(&bytes).unwrap_err(), LoadError::Format);
}

#[test]
fn memories_are_equal_if_all_that_they_remember_is() {
    let (mut memory, _) = trained(&sgd());
    let same = memory.clone();
    memory.carry_norms(true);
    assert_eq!(memory, same, "norms are measured again");
    memory.config_mut(3).unwrap().rate = 0.25;
    assert_ne!(memory, same);
    let mut other = same.clone();
    other.step(&sgd(), 0.0, weights().iter_mut().zip(&gradients(9))).unwrap();
    assert_ne!(other, same);
}

#[test]
fn carried_norms_of_weights_that_have_changed() {
    let optimizer = sgd();
    let forget: [fn(&mut Memory<SgdState>); 4] = [
        Memory::forget_norms,
        |memory| memory.carry_norms(true),
        |memory| memory.load(&memory.to_bytes()).unwrap(),
        |memory| memory.take_over(memory.clone()).unwrap(),
    ];
    for forget in forget {
        let (mut memory, mut weights) = (memory(&optimizer), weights());
        let mut plain = memory.clone();
        memory.carry_norms(true);
        for round in 0..3 {
            let (gradients, mut expected) = (gradients(round), weights.clone());
            step(Way::Step, &optimizer, &mut plain, &mut expected, &gradients);
            step(Way::Step, &optimizer, &mut memory, &mut weights, &gradients);
            assert_eq!(bits(&weights), bits(&expected));
            weights.iter_mut().flatten().for_each(|w| *w *= 0.5);
            if cfg!(debug_assertions) {
                // The first layer has no norm that could be wrong; the next two are not adapted and take no part.
                let before = memory.clone();
                let error = memory.step(&optimizer, LR, weights.iter_mut().zip(&gradients)).unwrap_err();
                assert_eq!(error, Error::StaleNorm { layer: Some(3) });
                assert_eq!(memory, before);
            }
            forget(&mut memory);
        }
    }
}
