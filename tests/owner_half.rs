//! An owner of 16-bit floats: it gives the same results as slices, split weights train with the bits of `f32`, and
//! everything can be saved and loaded.

#![cfg(all(feature = "half", feature = "alloc"))]

mod harness;
mod reference;

use half::{bf16, f16};
use harness::bits;
use harness::optimizers::{adam, lamb, larc, luc, plain, skipping};
use layerwise::rule::{Moments, Rule, RuleState};
use layerwise::{
    Argument, Error, Floats, FloatsMut, LayerMemory, LoadError, Memory, Optimizer, Report, Sgd, SgdConfig, SgdState,
};

/// An empty layer, a scalar, a partial vector, more than a leaf, a layer that stays in `f32`.
const LENGTHS: [usize; 5] = [0, 1, 17, 1500, 20];

/// The layer of `f32` weights.
const PLAIN: usize = 4;

const LR: f64 = 0.05;

type Tensors = Vec<Vec<f32>>;

fn numbers(seed: u64, scale: f32) -> Tensors {
    let mut random = fastrand::Rng::with_seed(seed);
    LENGTHS.iter().map(|&len| (0..len).map(|_| scale * (2.0 * random.f32() - 1.0)).collect()).collect()
}

fn rounded(tensors: &Tensors) -> Vec<Vec<bf16>> {
    tensors.iter().map(|x| x.iter().map(|x| bf16::from_f32(*x)).collect()).collect()
}

fn widened(x: &[bf16]) -> Vec<f32> {
    x.iter().map(|x| x.to_f32()).collect()
}

/// The weights of a layer, of either type.
#[derive(Clone, Debug, PartialEq)]
enum Weights {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
}

impl Weights {
    fn get(&self) -> Floats<'_> {
        match self {
            Weights::F32(x) => x.into(),
            Weights::Bf16(x) => x.into(),
        }
    }

    fn get_mut(&mut self) -> FloatsMut<'_> {
        match self {
            Weights::F32(x) => x.into(),
            Weights::Bf16(x) => x.into(),
        }
    }
}

/// A memory with the weights that belong to it.
#[derive(Clone, Debug, PartialEq)]
struct Host<S: RuleState> {
    memory: Memory<S>,
    weights: Vec<Weights>,
}

impl<S: RuleState> Host<S> {
    /// A model whose layers are split, except the plain one.
    fn new<R: Rule<State = S>>(optimizer: &Optimizer<R>, masters: &Tensors) -> Self {
        let mut memory = optimizer.memory(LENGTHS);
        let mut split = |(index, masters): (usize, &Vec<f32>)| {
            if index == PLAIN {
                return Weights::F32(masters.clone());
            }
            let mut upper = vec![bf16::ZERO; masters.len()];
            memory.split(index, masters, &mut upper).unwrap();
            Weights::Bf16(upper)
        };
        let weights = masters.iter().enumerate().map(&mut split).collect();
        Host { memory, weights }
    }

    fn masters(&self) -> Tensors {
        let joined = |(index, weights): (usize, &Weights)| match weights {
            Weights::F32(x) => x.clone(),
            Weights::Bf16(upper) => {
                let mut joined = vec![f32::NAN; upper.len()];
                self.memory.join(index, upper, &mut joined).unwrap();
                joined
            }
        };
        self.weights.iter().enumerate().map(joined).collect()
    }

    /// The momentum of all layers, in `f32`.
    fn momentum(&self) -> Tensors {
        let of_layer = |layer| match self.memory.momentum(layer).unwrap() {
            Floats::F32(x) => x.to_vec(),
            Floats::Bf16(x) => widened(x),
            _ => unreachable!(),
        };
        (0..self.memory.len()).map(of_layer).collect()
    }

    fn step<R: Rule<State = S> + Sync>(
        &mut self,
        way: Way,
        optimizer: &Optimizer<R>,
        gradients: &[Vec<bf16>],
    ) -> Vec<Report> {
        let Host { memory, weights } = self;
        let mut reports = vec![Report::ABSENT; LENGTHS.len()];
        match way {
            Way::Step => {
                memory.step(optimizer, LR, weights.iter_mut().map(Weights::get_mut).zip(gradients)).unwrap();
                reports = memory.reports().to_vec();
            }
            #[cfg(feature = "rayon")]
            Way::StepParallel => {
                memory.step_parallel(optimizer, LR, weights.iter_mut().map(Weights::get_mut).zip(gradients)).unwrap();
                reports = memory.reports().to_vec();
            }
            Way::OneByOne => {
                for (layer, (w, g)) in weights.iter_mut().zip(gradients).enumerate() {
                    reports[layer] = optimizer.step_layer(LR, memory.layer(layer, w.get_mut(), g).unwrap()).unwrap();
                }
            }
            Way::Pieces => {
                let mut pass = optimizer.pass(LR).unwrap();
                let views = weights.iter().zip(gradients).enumerate();
                let measured: Vec<_> =
                    views.map(|(i, (w, g))| pass.measure(memory.view(i, w.get(), g).unwrap()).unwrap()).collect();
                let decided = pass.decide();
                for (layer, (w, g)) in weights.iter_mut().zip(gradients).enumerate() {
                    let memory = memory.layer(layer, w.get_mut(), g).unwrap();
                    reports[layer] = decided.apply(measured[layer], memory).unwrap();
                }
            }
        }
        reports
    }
}

/// Ways to step a memory.
#[derive(Clone, Copy, Debug)]
enum Way {
    Step,
    OneByOne,
    Pieces,
    #[cfg(feature = "rayon")]
    StepParallel,
}

const WAYS: &[Way] = &[
    Way::Step,
    Way::OneByOne,
    Way::Pieces,
    #[cfg(feature = "rayon")]
    Way::StepParallel,
];

fn all_bits(tensors: &Tensors) -> Vec<Vec<u32>> {
    tensors.iter().map(|x| bits(x)).collect()
}

/// Three steps of a memory, compared with the same steps of slices in `f32`, whose momentum is rounded if the memory's
/// is.
fn trains_as_f32<R: Rule + Sync>(optimizer: &Optimizer<R>) {
    let masters = numbers(1, 1.0);
    for (&way, rounds, carries) in WAYS.iter().flat_map(|way| [(way, false, true), (way, true, false)]) {
        let mut host = Host::new(optimizer, &masters);
        assert_eq!(all_bits(&host.masters()), all_bits(&masters));
        if rounds {
            host.memory = host.memory.bf16_momentum();
        }
        host.memory.carry_norms(carries);
        let mut theirs = masters.clone();
        let lens = |keeps: bool| LENGTHS.map(|len| vec![0.0_f32; if keeps { len } else { 0 }]);
        let mut momentum = lens(optimizer.moments() >= Moments::First);
        let mut second = lens(optimizer.moments() >= Moments::FirstAndSecond);
        let mut states = [R::State::default(); LENGTHS.len()];
        for round in 0..3 {
            let gradients = rounded(&numbers(2 + round, 0.5));
            let reports = host.step(way, optimizer, &gradients);
            for (i, gradients) in gradients.iter().enumerate() {
                let layer = LayerMemory::new(&mut theirs[i], gradients, &mut states[i]);
                let layer = layer.momentum(&mut momentum[i]).second_moment(&mut second[i]);
                let report = optimizer.step_layer(LR, layer).unwrap();
                assert_eq!(format!("{:?}", reports[i]), format!("{report:?}"), "{way:?}, layer {i}");
                assert_eq!(host.memory.state(i), Some(states[i]));
            }
            if rounds {
                momentum.iter_mut().flatten().for_each(|x| *x = bf16::from_f32(*x).to_f32());
            }
            assert_eq!(all_bits(&host.masters()), all_bits(&theirs), "{way:?}");
            assert_eq!(all_bits(&host.momentum()), all_bits(&momentum.to_vec()), "{way:?}");
        }
    }
}

#[test]
fn split_weights_train_with_the_bits_of_f32() {
    trains_as_f32(&plain());
    trains_as_f32(&larc());
    trains_as_f32(&skipping(luc()));
    trains_as_f32(&adam());
    trains_as_f32(&skipping(lamb().any()));
}

#[test]
fn weights_that_were_bf16_from_the_beginning() {
    let (optimizer, masters) = (larc(), rounded(&numbers(1, 1.0)));
    let mut weights = masters.clone();
    let mut memory = optimizer.memory(LENGTHS).split_weights(|_| true);
    let mut theirs: Tensors = masters.iter().map(|x| widened(x)).collect();
    let mut plain = optimizer.memory(LENGTHS);
    for round in 0..5 {
        let gradients = numbers(2 + round, 0.5);
        memory.step(&optimizer, 1e-3, weights.iter_mut().zip(&gradients)).unwrap();
        plain.step(&optimizer, 1e-3, theirs.iter_mut().zip(&gradients)).unwrap();
    }
    for (layer, (upper, theirs)) in weights.iter().zip(&theirs).enumerate() {
        let mut joined = vec![0.0; upper.len()];
        memory.join(layer, upper, &mut joined).unwrap();
        assert_eq!(bits(&joined), bits(theirs));
    }
    // New lower halves are zeros; existing ones stay if requested again.
    let again = memory.clone().split_weights(|_| true);
    assert_eq!(again, memory);
    let dropped = memory.clone().split_weights(|_| false);
    assert_eq!(dropped, plain);
    let mut joined = vec![0.0; LENGTHS[3]];
    dropped.join(3, &weights[3], &mut joined).unwrap();
    assert_eq!(joined, widened(&weights[3]));
}

#[test]
fn it_tells_what_it_keeps() {
    let all: usize = LENGTHS.iter().sum();
    let states = LENGTHS.len() * size_of::<SgdState>();
    let memory = larc().memory(LENGTHS).bf16_momentum();
    assert_eq!(memory.bytes(), 2 * all + states);
    assert!(matches!(memory.momentum(3), Some(Floats::Bf16(x)) if x.len() == 1500));
    assert_eq!(memory.split_weights(|layer| layer != PLAIN).bytes(), 2 * all + 2 * (all - 20) + states);
    // A rule without momentum has no 16-bit momentum either.
    let none = plain().memory(LENGTHS).bf16_momentum();
    assert!(none.bytes() == states && none.momentum(3).unwrap().is_empty());
    // The second moment stays.
    let of_adam = adam().memory(LENGTHS).bf16_momentum();
    assert!(matches!(of_adam.second_moment(3), Some(Floats::F32(x)) if x.len() == 1500));
    // Existing momentum is rounded.
    let (mut host, gradients) = (Host::new(&larc(), &numbers(1, 1.0)), rounded(&numbers(2, 0.5)));
    host.step(Way::Step, &larc(), &gradients);
    let mut expected = host.momentum();
    expected.iter_mut().flatten().for_each(|x| *x = bf16::from_f32(*x).to_f32());
    host.memory = host.memory.bf16_momentum();
    assert_eq!(all_bits(&host.momentum()), all_bits(&expected));
}

#[test]
fn tensors_of_the_other_type_are_refused_before_the_first_write() {
    let (optimizer, gradients) = (larc(), rounded(&numbers(2, 0.5)));
    let host = Host::new(&optimizer, &numbers(1, 1.0));
    for (layer, what) in [(3, Argument::Lower), (PLAIN, Argument::Weights)] {
        let mut host = host.clone();
        let len = LENGTHS[layer];
        host.weights[layer] =
            if layer == PLAIN { Weights::Bf16(vec![bf16::ONE; len]) } else { Weights::F32(vec![1.0; len]) };
        let before = host.clone();
        let tensors = host.weights.iter_mut().map(Weights::get_mut).zip(&gradients);
        let error = host.memory.step(&optimizer, LR, tensors).unwrap_err();
        assert!(
            matches!(error, Error::Type { layer: Some(at), what: found, .. } if at == layer && found == what),
            "{error}"
        );
        assert_eq!(host, before);
    }
    let error = optimizer.memory([1]).step(&optimizer, LR, [(&mut [bf16::ONE], &[1.0])]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "layer 0: weights must be f32, or bf16 with `.lower(..)` (of a `Memory`: `split_weights`)"
    );
}

#[test]
fn halves_of_another_length_are_refused() {
    let mut memory = larc().memory([3, 2]).split_weights(|_| true);
    let before = memory.clone();
    let length = |found| Error::Length { layer: Some(1), what: Argument::Weights, expected: 2, found };
    let mut upper = [bf16::ONE; 3];
    assert_eq!(memory.split(1, &[0.1; 3], &mut upper[..2]), Err(length(3)));
    assert_eq!(memory.split(1, &[0.1; 2], &mut upper), Err(length(3)));
    assert_eq!(memory.split(2, &[0.1; 2], &mut upper[..2]), Err(Error::Layers { expected: 2, found: 3 }));
    assert_eq!((&memory, upper), (&before, [bf16::ONE; 3]));
    let mut joined = [7.0; 3];
    assert_eq!(memory.join(1, &upper[..1], &mut joined[..2]), Err(length(1)));
    assert_eq!(memory.join(1, &upper[..2], &mut joined), Err(length(3)));
    assert_eq!(memory.join(2, &upper, &mut joined), Err(Error::Layers { expected: 2, found: 3 }));
    assert_eq!(joined, [7.0; 3]);
}

#[test]
fn splitting_forgets_the_norm_of_other_weights() {
    let (optimizer, mut upper, gradients) = (larc(), [bf16::ONE; 20], [0.5; 20]);
    let mut memory = optimizer.memory([20]).split_weights(|_| true);
    memory.carry_norms(true);
    memory.step(&optimizer, LR, [(&mut upper, &gradients)]).unwrap();
    memory.split(0, &[0.3; 20], &mut upper).unwrap();
    memory.step(&optimizer, LR, [(&mut upper, &gradients)]).unwrap();
    assert!((memory.reports()[0].weight_norm - 0.3 * 20_f64.sqrt()).abs() < 1e-6);
    // What was known of whole weights does not hold for their upper halves.
    let (mut weights, mut memory) = ([0.3; 20], optimizer.memory([20]));
    memory.carry_norms(true);
    memory.step(&optimizer, LR, [(&mut weights, &gradients)]).unwrap();
    let (mut upper, mut memory) = ([bf16::ONE; 20], memory.split_weights(|_| true));
    memory.step(&optimizer, LR, [(&mut upper, &gradients)]).unwrap();
    assert_eq!(memory.reports()[0].weight_norm, 20_f64.sqrt());
}

#[test]
fn a_copy_of_the_weights_for_layers_that_a_memory_lends() {
    let (optimizer, gradients) = (larc(), numbers(2, 0.5));
    let (mut weights, mut memory) = (numbers(1, 1.0), optimizer.memory(LENGTHS));
    let mut copies = LENGTHS.map(|len| vec![f16::ZERO; len]);
    let layers = memory.layers(weights.iter_mut().zip(&gradients)).unwrap().into_iter();
    let mut layers: Vec<_> = layers.zip(&mut copies).map(|(layer, copy)| layer.copy(copy)).collect();
    optimizer.step(LR, &mut layers, &mut [Report::ABSENT; 5]).unwrap();
    for (copy, weights) in copies.iter().zip(&weights) {
        assert!(copy.iter().zip(weights).all(|(copy, weight)| *copy == f16::from_f32(*weight)));
    }
    // The copies of frozen and skipped layers are not written.
    copies.iter_mut().for_each(|copy| copy.fill(f16::ONE));
    memory.config_mut(3).unwrap().frozen = true;
    let gradients = LENGTHS.map(|len| vec![f32::NAN; len]);
    let layers = memory.layers(weights.iter_mut().zip(&gradients)).unwrap().into_iter();
    let mut layers: Vec<_> = layers.zip(&mut copies).map(|(layer, copy)| layer.copy(copy)).collect();
    optimizer.step(LR, &mut layers, &mut [Report::ABSENT; 5]).unwrap();
    assert!(copies.iter().flatten().all(|copy| *copy == f16::ONE));
}

/// A model after two steps, with 16-bit momentum.
fn trained<R: Rule + Sync>(optimizer: &Optimizer<R>) -> Host<R::State> {
    let mut host = Host::new(optimizer, &numbers(1, 1.0));
    host.memory = host.memory.bf16_momentum();
    for round in 0..2 {
        host.step(Way::Step, optimizer, &rounded(&numbers(2 + round, 0.5)));
    }
    host
}

/// An empty memory of the same form.
fn empty<R: Rule>(optimizer: &Optimizer<R>) -> Memory<R::State> {
    optimizer.memory(LENGTHS).bf16_momentum().split_weights(|layer| layer != PLAIN)
}

fn resumes<R: Rule + Sync>(optimizer: &Optimizer<R>) {
    let mut host = trained(optimizer);
    let mut loaded = Host { memory: empty(optimizer), weights: host.weights.clone() };
    loaded.memory.load(&host.memory.to_bytes()).unwrap();
    assert_eq!(loaded, host);
    for round in 4..7 {
        let gradients = rounded(&numbers(round, 0.5));
        host.step(Way::Step, optimizer, &gradients);
        loaded.step(Way::Step, optimizer, &gradients);
    }
    assert_eq!(loaded, host);
}

#[test]
fn training_that_is_loaded_goes_on_with_the_same_bits() {
    resumes(&plain());
    resumes(&larc());
    resumes(&luc());
    resumes(&adam());
    resumes(&lamb().any());
}

#[test]
#[cfg(feature = "serde")]
fn any_format_saves_it() {
    let memory = trained(&adam()).memory;
    let text = serde_json::to_string(&memory).unwrap();
    assert_eq!(serde_json::from_str::<Memory<layerwise::AdamState>>(&text).unwrap(), memory);
    let mut cbor = vec![];
    ciborium::into_writer(&memory, &mut cbor).unwrap();
    let read: Memory<layerwise::AdamState> = ciborium::from_reader(cbor.as_slice()).unwrap();
    assert_eq!(read, memory);
}

/// The counts, state and numbers of a memory of one layer, saved in a version.
fn saved(version: u8, counts: &[u64], steps: f64, numbers: &[&[u8]]) -> Vec<u8> {
    let mut bytes = b"layerwise".to_vec();
    bytes.push(version);
    bytes.extend([1].iter().chain(counts).flat_map(|count: &u64| count.to_le_bytes()));
    bytes.extend([steps, 0.0, 0.0].iter().flat_map(|x| x.to_le_bytes()));
    bytes.extend(numbers.concat());
    bytes
}

fn momentum() -> Sgd {
    Sgd::new(SgdConfig { momentum: 0.5, ..SgdConfig::DEFAULT }).unwrap()
}

#[test]
fn the_saved_form_is_fixed() {
    let (sgd, mut weights) = (momentum(), [bf16::ONE; 2]);
    let mut memory = sgd.memory([2]).bf16_momentum().split_weights(|_| true);
    memory.step(&sgd, 2.0_f64.powi(-10), [(&mut weights, &[1.0, -2.0])]).unwrap();
    // 1 - 1/1024 is 0x3f7f_c000, 1 + 2/1024 is 0x3f80_4000.
    let (momentum, lower) = ([0x80, 0x3f, 0x00, 0xc0], [0x00, 0xc0, 0x00, 0x40]);
    let expected = saved(2, &[2, 2, 0, 2, 1], 1.0, &[&momentum, &lower]);
    assert_eq!(memory.to_bytes(), expected);
    assert_eq!(weights.map(bf16::to_bits), [0x3f7f, 0x3f80]);

    // Only one of both.
    let rounded = memory.clone().split_weights(|_| false);
    assert_eq!(rounded.to_bytes(), saved(2, &[2, 2, 0, 2, 0], 1.0, &[&momentum]));
    let split = sgd.memory([2]).split_weights(|_| true);
    assert_eq!(split.to_bytes(), saved(2, &[2, 2, 0, 4, 1], 0.0, &[&[0; 12]]));
    for memory in [memory, rounded, split] {
        assert_eq!(Memory::<SgdState>::from_bytes(&memory.to_bytes()).unwrap(), memory);
    }
}

#[test]
fn memories_of_f32_have_the_old_form_and_are_loaded() {
    let old = saved(1, &[2, 2, 0], 1.0, &[&1.1_f32.to_le_bytes(), &(-2.0_f32).to_le_bytes()]);
    let mut memory = momentum().memory([2]);
    memory.load(&old).unwrap();
    assert_eq!(memory.to_bytes(), old);
    // The usual methods convert it to 16 bits.
    let mut mixed = momentum().memory([2]).bf16_momentum().split_weights(|_| true);
    assert_eq!(mixed.load(&old), Err(LoadError::Layer { layer: 0 }));
    mixed.take_over(memory.bf16_momentum().split_weights(|_| true)).unwrap();
    let rounded = [bf16::from_f32(1.1).to_le_bytes(), bf16::from_f32(-2.0).to_le_bytes()];
    assert_eq!(mixed.to_bytes(), saved(2, &[2, 2, 0, 2, 1], 1.0, &[&rounded.concat(), &[0; 4]]));
}

#[test]
fn a_memory_of_other_types_is_not_taken_over() {
    let forms = [
        larc().memory(LENGTHS),
        larc().memory(LENGTHS).bf16_momentum(),
        larc().memory(LENGTHS).split_weights(|_| true),
        larc().memory(LENGTHS).bf16_momentum().split_weights(|_| true),
    ];
    for (i, to) in forms.iter().enumerate() {
        for (j, from) in forms.iter().enumerate().filter(|(j, _)| *j != i) {
            let mut to = to.clone();
            assert_eq!(to.load(&from.to_bytes()), Err(LoadError::Layer { layer: 0 }), "{i} {j}");
            assert_eq!(to.take_over(from.clone()), Err(LoadError::Layer { layer: 0 }), "{i} {j}");
            assert_eq!(to, forms[i]);
        }
    }
}

#[test]
fn a_saved_memory_that_is_damaged_does_not_load_by_halves() {
    let optimizer = luc();
    let host = trained(&optimizer);
    let saved = host.memory.to_bytes();
    let mut other = empty(&optimizer);
    let before = other.clone();
    for len in 0..saved.len() {
        let expected = if len < 10 { LoadError::Format } else { LoadError::Length };
        assert_eq!(other.load(&saved[..len]), Err(expected), "{len} bytes");
    }
    assert_eq!(other.load(&[saved.as_slice(), &[0]].concat()), Err(LoadError::Length));
    // Any bit of the name, the version, the number of layers and the counts of each layer.
    let mut heads = vec![];
    let mut at = 18;
    for (layer, len) in LENGTHS.iter().enumerate() {
        heads.push(at);
        at += 64 + 2 * len + if layer == PLAIN { 0 } else { 2 * len };
    }
    assert_eq!(at, saved.len());
    for at in (0..18).chain(heads.iter().flat_map(|head| *head..head + 40)) {
        for bit in 0..8 {
            let mut bytes = saved.clone();
            bytes[at] ^= 1 << bit;
            let error = other.load(&bytes).unwrap_err();
            assert_eq!(error == LoadError::Format, at < 10, "bit {bit} of byte {at}: {error}");
            if let Ok(read) = Memory::from_bytes(&bytes) {
                assert_eq!(Memory::from_bytes(&read.to_bytes()).unwrap(), read, "bit {bit} of byte {at}");
                assert_ne!(read, host.memory);
            }
        }
    }
    assert_eq!(other, before);
    // Invalid counts.
    let from = |counts: &[u64]| Memory::<SgdState>::from_bytes(&self::saved(2, counts, 0.0, &[&[0; 12]]));
    assert!(from(&[2, 2, 0, 4, 1]).is_ok());
    for counts in [[2, 2, 0, 3, 1], [2, 2, 0, 8, 1], [2, 2, 0, 4, 2], [2, 2, 0, 0, 1], [2, 2, 0, 1 << 32, 1]] {
        assert_eq!(from(&counts).unwrap_err(), LoadError::Layer { layer: 0 }, "{counts:?}");
    }
    for counts in [[u64::MAX, 0, 0, 4, 1], [1 << 63, 0, 0, 2, 1], [1 << 63, 1 << 63, 0, 2, 0]] {
        assert_eq!(from(&counts).unwrap_err(), LoadError::Length, "{counts:?}");
    }
}
