//! The owner of an optimizer's memory: its steps, and loading.

use crate::harness::net::{Net, Walk, range};
use crate::harness::optimizers::{keeps_momentum, keeps_second_moment};
use crate::harness::{assert_same, assert_same_report, on};
use crate::input::{self, AnyOptimizer};
use arbitrary::{Result, Unstructured};
use half::{bf16, f16};
use layerwise::rule::{Rule, RuleState};
use layerwise::{Floats, FloatsMut, LayerConfig, Memory, Optimizer, Report, Step, Summary};

pub fn owner(u: &mut Unstructured) -> Result<()> {
    match input::optimizer(u)? {
        Some(AnyOptimizer::Sgd(sgd)) => of_any_type(u, sgd),
        Some(AnyOptimizer::NovoGrad(novograd)) => of_any_type(u, novograd),
        Some(AnyOptimizer::Adam(adam)) => of_any_type(u, adam),
        None => Ok(()),
    }
}

fn of_any_type<R: Rule<State = S> + Copy + Sync, S: RuleState + Sync>(
    u: &mut Unstructured,
    optimizer: Optimizer<R>,
) -> Result<()> {
    if u.arbitrary()? { owned(u, optimizer) } else { mixed(u, optimizer) }
}

fn owned<R: Rule<State = S> + Copy + Sync, S: RuleState + Sync>(
    u: &mut Unstructured,
    optimizer: Optimizer<R>,
) -> Result<()> {
    let optimizer = on(optimizer, input::backend(u)?);
    let layers: Vec<(usize, LayerConfig)> =
        (0..u.int_in_range(0..=4)?).map(|_| Ok((u.int_in_range(0..=50)?, input::layer(u)?))).collect::<Result<_>>()?;
    let mut net = Net::<S>::new(&layers, 0, keeps_momentum(&optimizer), u.arbitrary()?, u.arbitrary()?);
    net.momentum.fill(0.0);
    net.second_moment.resize(if keeps_second_moment(&optimizer) { net.len } else { 0 }, 0.0);
    let mut memory = memory(&optimizer, &layers);
    memory.carry_norms(!net.norms.is_empty());
    for _ in 0..u.int_in_range(1..=3)? {
        wrong_tensors(u, &optimizer, &mut memory, &net)?;
        net.gradients = input::numbers(u, net.len)?;
        let step = input::step(u)?;
        if !both(u, &optimizer, step, &mut memory, &mut net)? {
            return Ok(());
        }
    }

    // A saved memory can be loaded, and training continues with the same bits.
    let saved = memory.to_bytes();
    let mut resumed = self::memory(&optimizer, &layers);
    resumed.load(&saved).unwrap();
    assert_eq!(resumed, memory);
    assert!(resumed.reports().iter().all(|report| report.outcome == Report::ABSENT.outcome));
    as_text(&memory);
    corrupted(u, &memory)?;
    let step = input::step(u)?;
    both(u, &optimizer, step, &mut resumed, &mut net)?;
    Ok(())
}

/// The memory of a model of these layers.
fn memory<R: Rule>(optimizer: &Optimizer<R>, layers: &[(usize, LayerConfig)]) -> Memory<R::State> {
    let mut memory = optimizer.memory(layers.iter().map(|(len, _)| *len));
    for (index, (_, config)) in layers.iter().enumerate() {
        *memory.config_mut(index).unwrap() = *config;
    }
    memory
}

/// A step of a memory, which must do the same as the step on slices. Returns whether it was accepted.
fn both<R: Rule<State = S> + Sync, S: RuleState + Sync>(
    u: &mut Unstructured,
    optimizer: &Optimizer<R>,
    step: Step,
    memory: &mut Memory<S>,
    net: &mut Net<S>,
) -> Result<bool> {
    let (before, mut weights) = (memory.clone(), net.weights.clone());
    let parallel = u.ratio(1, 8)?;
    let result = of_memory(optimizer, step, memory, &mut weights, net, parallel);
    let expected = net.try_step(optimizer, step, Walk::Slice);
    assert_eq!(format!("{result:?}"), format!("{expected:?}"));
    let Ok(summary) = result else {
        assert_unchanged(memory, &before);
        return Ok(false);
    };
    assert_eq!(summary.applied, memory.reports().iter().filter(|report| report.applied()).count());
    assert_same("weight", &weights, &net.weights);
    for (index, span) in net.spans.iter().enumerate() {
        assert_same_report(&memory.reports()[index], &net.reports[index]);
        assert_eq!(format!("{:?}", memory.state(index).unwrap()), format!("{:?}", net.states[index]));
        for (ours, theirs) in [
            (memory.momentum(index).unwrap(), &net.momentum),
            (memory.second_moment(index).unwrap(), &net.second_moment),
        ] {
            let Floats::F32(ours) = ours else { panic!("moments are f32") };
            assert_same("moment", ours, theirs.get(range(span)).unwrap_or_default());
        }
    }
    Ok(true)
}

/// A step of a memory with the gradients of a model, on one thread or on two.
fn of_memory<R: Rule<State = S> + Sync, S: RuleState + Sync>(
    optimizer: &Optimizer<R>,
    step: Step,
    memory: &mut Memory<S>,
    weights: &mut [f32],
    net: &Net<S>,
    parallel: bool,
) -> std::result::Result<Summary, layerwise::Error> {
    let mut rest = weights;
    let mut tensors = vec![];
    for span in &net.spans {
        let (layer, others) = rest.split_at_mut(span.len);
        tensors.push((layer, &net.gradients[range(span)]));
        rest = others;
    }
    if parallel {
        crate::harness::net::on_threads(2, || memory.step_parallel(optimizer, step, tensors))
    } else {
        memory.step(optimizer, step, tensors)
    }
}

/// Tensors of a wrong number or length are refused, and nothing is written.
fn wrong_tensors<R: Rule<State = S>, S: RuleState>(
    u: &mut Unstructured,
    optimizer: &Optimizer<R>,
    memory: &mut Memory<S>,
    net: &Net<S>,
) -> Result<()> {
    let mut lens: Vec<usize> = net.spans.iter().map(|span| span.len).collect();
    match u.int_in_range(0..=7)? {
        0 => lens.push(u.int_in_range(0..=3)?),
        1 if !lens.is_empty() => drop(lens.remove(u.choose_index(lens.len())?)),
        2 if !lens.is_empty() => lens[u.choose_index(net.spans.len())?] += 1,
        _ => return Ok(()),
    }
    let before = memory.clone();
    let mut weights: Vec<Vec<f32>> = lens.iter().map(|&len| vec![1.0; len]).collect();
    let gradients = weights.clone();
    memory.step(optimizer, 0.1, weights.iter_mut().zip(&gradients)).unwrap_err();
    assert_eq!(weights, gradients);
    assert_unchanged(memory, &before);
    Ok(())
}

/// Corrupted bytes: loading is all or nothing.
fn corrupted<S: RuleState>(u: &mut Unstructured, memory: &Memory<S>) -> Result<()> {
    let mut bytes = memory.to_bytes();
    for _ in 0..u.int_in_range(1..=3)? {
        let at = u.int_in_range(0..=bytes.len())?;
        match u.int_in_range(0..=5)? {
            0 => bytes.truncate(at),
            1 => bytes.extend_from_slice(&u.arbitrary::<[u8; 7]>()?),
            2 => drop(bytes.splice(at..at, u.arbitrary::<[u8; 4]>()?)),
            3 if at + 8 <= bytes.len() => bytes[at..at + 8].copy_from_slice(&u.arbitrary::<[u8; 8]>()?),
            _ if at < bytes.len() => bytes[at] ^= 1 << u.int_in_range(0..=7)?,
            _ => {}
        }
    }
    let read = Memory::<S>::from_bytes(&bytes);
    if let Ok(read) = &read {
        // It can be saved again. (Not always as the same bytes: a count of -0 is 0.)
        assert_eq!(&Memory::<S>::from_bytes(&read.to_bytes()).unwrap(), read);
        as_text(read);
    }
    let mut loaded = memory.clone();
    match loaded.load(&bytes) {
        Ok(()) => {
            assert_eq!(loaded.to_bytes(), read.unwrap().to_bytes());
            assert!(loaded.len() == memory.len() && loaded.bytes() == memory.bytes());
        }
        Err(_) => assert_unchanged(&loaded, memory),
    }
    Ok(())
}

/// A memory is read back as it was written.
fn as_text<S: RuleState>(memory: &Memory<S>) {
    let text = serde_json::to_string(memory).unwrap();
    let read: Memory<S> = serde_json::from_str(&text).unwrap();
    assert_eq!(read.to_bytes(), memory.to_bytes());
}

/// Fails unless a memory is unchanged, including norms and reports.
fn assert_unchanged<S: RuleState>(memory: &Memory<S>, before: &Memory<S>) {
    assert!(memory.to_bytes() == before.to_bytes(), "refused, and changed");
    assert_eq!(format!("{memory:?}"), format!("{before:?}"));
}

/// A memory of 16-bit floats, whose split weights must equal those in `f32`.
fn mixed<R: Rule<State = S> + Copy, S: RuleState>(u: &mut Unstructured, optimizer: Optimizer<R>) -> Result<()> {
    let optimizer = on(optimizer, input::backend(u)?);
    let layers: Vec<(usize, LayerConfig)> =
        (0..u.int_in_range(0..=3)?).map(|_| Ok((u.int_in_range(0..=50)?, input::layer(u)?))).collect::<Result<_>>()?;
    let (of_momentum, split) = (u.arbitrary()?, u.arbitrary::<u8>()?);
    let is_split = |layer: usize| split >> layer & 1 == 1;
    let whole = || match (memory(&optimizer, &layers), of_momentum) {
        (memory, true) => memory.bf16_momentum(),
        (memory, false) => memory,
    };
    let (mut plain, mut halves) = (whole(), whole().split_weights(is_split));
    let mut masters = vec![];
    for (len, _) in &layers {
        masters.push(input::numbers(u, *len)?);
    }
    let mut weights: Vec<Weights> = vec![];
    for (layer, masters) in masters.iter().enumerate() {
        weights.push(Weights::new(&mut halves, layer, masters, is_split(layer)));
    }
    for _ in 0..u.int_in_range(1..=3)? {
        let mut gradients = vec![];
        for (len, _) in &layers {
            gradients.push(Gradients::new(u, *len)?);
        }
        let step = input::step(u)?;
        let tensors = weights.iter_mut().map(Weights::get_mut).zip(gradients.iter().map(Gradients::get));
        let result = halves.step(&optimizer, step, tensors);
        let tensors = masters.iter_mut().zip(gradients.iter().map(Gradients::get));
        assert_eq!(format!("{result:?}"), format!("{:?}", plain.step(&optimizer, step, tensors)));
        for (layer, (weights, masters)) in weights.iter().zip(&masters).enumerate() {
            assert_same("weight", &weights.joined(&halves, layer), masters);
            let (ours, theirs) = (halves.state(layer), plain.state(layer));
            assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
        }
    }
    saved(u, &halves, whole().split_weights(is_split))?;
    // A memory of other types is not loaded.
    let mut other = whole();
    let loaded = other.load(&halves.to_bytes());
    assert_eq!(loaded.is_ok(), (0..layers.len()).all(|layer| !is_split(layer)), "{loaded:?}");
    Ok(())
}

/// Saved bytes can be loaded, and loading altered bytes is all or nothing.
fn saved<S: RuleState>(u: &mut Unstructured, memory: &Memory<S>, mut fresh: Memory<S>) -> Result<()> {
    fresh.load(&memory.to_bytes()).unwrap();
    assert!(fresh.to_bytes() == memory.to_bytes());
    as_text(memory);
    corrupted(u, memory)
}

/// The weights of a layer: in `f32`, or their upper halves.
enum Weights {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
}

impl Weights {
    fn new<S: RuleState>(memory: &mut Memory<S>, layer: usize, masters: &[f32], is_split: bool) -> Self {
        if !is_split {
            return Weights::F32(masters.to_vec());
        }
        let mut upper = vec![bf16::ZERO; masters.len()];
        memory.split(layer, masters, &mut upper).unwrap();
        Weights::Bf16(upper)
    }

    fn get_mut(&mut self) -> FloatsMut<'_> {
        match self {
            Weights::F32(x) => x.into(),
            Weights::Bf16(x) => x.into(),
        }
    }

    fn joined<S: RuleState>(&self, memory: &Memory<S>, layer: usize) -> Vec<f32> {
        match self {
            Weights::F32(x) => x.clone(),
            Weights::Bf16(upper) => {
                let mut joined = vec![f32::NAN; upper.len()];
                memory.join(layer, upper, &mut joined).unwrap();
                joined
            }
        }
    }
}

/// Gradients of any type.
enum Gradients {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

impl Gradients {
    fn new(u: &mut Unstructured, len: usize) -> Result<Self> {
        let numbers = input::numbers(u, len)?;
        Ok(match u.int_in_range(0..=2)? {
            0 => Gradients::Bf16(numbers.into_iter().map(bf16::from_f32).collect()),
            1 => Gradients::F16(numbers.into_iter().map(f16::from_f32).collect()),
            _ => Gradients::F32(numbers),
        })
    }

    fn get(&self) -> Floats<'_> {
        match self {
            Gradients::F32(x) => x.into(),
            Gradients::Bf16(x) => x.into(),
            Gradients::F16(x) => x.into(),
        }
    }
}
