//! A training run over all ranks, and the same in one process.

use crate::model::{self, Layer, MICRO, elements, gradient};
use crate::net::Net;
use crate::plan::{Plan, Way};
use crate::state::{Gather, Shard, Whole, seen};
use crate::step::step;
use crate::{Result, checkpoint, integers, ways};
use layerwise::{AnyOptimizer, Backend, LayerMemory, Report, Step};
use std::ops::Range;
use std::path::PathBuf;

/// What to train, and how.
#[derive(Clone, Debug)]
pub struct Job {
    pub rule: &'static str,
    pub way: Way,
    pub gather: Gather,
    pub leaves: usize,
    /// The step before which it ends.
    pub end: usize,
    /// The interval of checkpoints in steps; there is one at the end too.
    pub every: usize,
    pub to: Option<PathBuf>,
    /// The rank to kill, and the step before which to do so.
    pub lose: Option<(usize, usize)>,
    /// Whether the ranks use different instruction sets.
    pub mixed: bool,
}

impl Job {
    pub fn new(rule: &'static str, way: Way, leaves: usize, end: usize) -> Job {
        Job { rule, way, gather: Gather::F32, leaves, end, every: usize::MAX, to: None, lose: None, mixed: false }
    }

    fn step(&self, lr: f64) -> Step {
        Step::new(lr).gradient_scale(1.0 / (self.leaves * MICRO) as f64)
    }

    pub fn start(&self) -> Result<Whole> {
        let (optimizer, _) = model::optimizer(self.rule)?;
        let [_, weights] = model::teacher_and_start();
        Ok(Whole::new(&optimizer, self.leaves, model::of_this_example().len(), weights))
    }
}

/// The instruction set of a rank: each of the processor's in turn, or the best one.
pub fn backend(rank: usize, mixed: bool) -> Backend {
    let all: Vec<Backend> = Backend::available().collect();
    if mixed { all[rank % all.len()] } else { Backend::best() }
}

/// Trains over all ranks. Every rank has the result.
pub fn train(net: &Net, job: &Job, start: &Whole) -> Result<Whole> {
    let (plan, [teacher, _]) =
        (Plan::new(job.way, job.leaves, net.ranks, &model::of_this_example())?, model::teacher_and_start());
    let backend = backend(net.rank, job.mixed);
    let (optimizer, lr) = model::optimizer(job.rule)?;
    let optimizer = optimizer.on(backend);
    let mut shard = Shard::of(start, net, &plan, job.gather);
    for i in start.step..job.end {
        if job.lose == Some((net.rank, i)) {
            die(i);
        }
        let mut leaf = |leaf: usize| gradient(&shard.model, &teacher, i * job.leaves + leaf);
        let sum = ways::reduce(net, &plan, backend, &mut leaf)?;
        step(net, &plan, &optimizer, job.step(lr), &mut shard, &sum)?;
        let done = i + 1;
        if let Some(path) = &job.to
            && (done.is_multiple_of(job.every) || done == job.end)
        {
            let whole = shard.whole(net, &plan, job.leaves, done);
            if net.rank == 0 {
                checkpoint::save(path, job.rule, &whole)?;
            }
        }
    }
    Ok(shard.whole(net, &plan, job.leaves, job.end))
}

/// Kills this process without notice, like a machine that fails.
fn die(step: usize) -> ! {
    eprintln!("process {} is killed before step {step}", std::process::id());
    let killed = std::process::Command::new("kill").args(["-KILL", &std::process::id().to_string()]).status();
    unreachable!("{killed:?}")
}

/// The same run in one process, with whole layers and the optimizer's own step.
pub fn alone(job: &Job, start: &Whole) -> Result<Whole> {
    let ((optimizer, lr), [teacher, _]) = (model::optimizer(job.rule)?, model::teacher_and_start());
    let mut whole = start.clone();
    for i in start.step..job.end {
        let model = seen(job.gather, &whole.weights);
        let mut leaf = |leaf: usize| gradient(&model, &teacher, i * job.leaves + leaf);
        let sum = if job.way == Way::Integers {
            integers::sum(&(0..job.leaves).map(leaf).collect::<Result<Vec<_>>>()?)
        } else {
            ways::sum_node(Backend::best(), 0..job.leaves, &mut leaf)?
        };
        step_alone(&optimizer, job.step(lr), &model::of_this_example(), &mut whole, &sum)?;
    }
    whole.step = job.end;
    Ok(whole)
}

/// The optimizer's own step over all layers.
fn step_alone(
    optimizer: &AnyOptimizer,
    step: Step,
    layers: &[Layer],
    whole: &mut Whole,
    gradient: &[f32],
) -> Result<()> {
    let [mut w, mut m, mut v] = [&mut whole.weights[..], &mut whole.momentum, &mut whole.second_moment];
    let mut model = Vec::new();
    for (layer, state) in layers.iter().zip(&mut whole.states) {
        let at = elements(&layer.units);
        let weights = next(&mut w, &at, layer.len);
        let layer = LayerMemory::new(weights, &gradient[at.start..at.start + layer.len], state)
            .momentum(next(&mut m, &at, layer.len))
            .second_moment(next(&mut v, &at, layer.len));
        model.push(layer);
    }
    let mut reports = vec![Report::ABSENT; layers.len()];
    optimizer.step(step, &mut model[..], &mut reports)?;
    Ok(())
}

/// Takes a layer off the rest of the flat buffer, without the zeros that pad its last leaf; empty for an array that the
/// rule does not keep.
fn next<'a>(rest: &mut &'a mut [f32], at: &Range<usize>, len: usize) -> &'a mut [f32] {
    let layer = rest.split_off_mut(..at.len()).unwrap_or_default();
    layer.split_at_mut_checked(len).map(|(layer, _)| layer).unwrap_or_default()
}
