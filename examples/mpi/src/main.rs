//! Sharded data-parallel training over MPI: the weights are those of one process, bit for bit, on any number of ranks.
//!
//! Every rank computes gradients for its part of a batch and owns a shard of every layer: a range of leaves, for which
//! it keeps the momentum and does the optimizer's work. A step is
//!
//! 1. gradients of single examples, each on one rank;
//! 2. to the owner of each shard: the gradients of all examples, which it adds up in the order of the examples;
//! 3. to all: the sums of squares of the leaves, 24 bytes for 1024 weights. Every rank makes the same norms of them, and
//!    the same decision: how much to clip, and whether to skip the step. A rule that limits its step sends 8 bytes more;
//! 4. the update of the shard;
//! 5. to all: the new weights.
//!
//! `examples/mpi/run` builds it and runs it with 1 to 4 ranks.

use layerwise::pieces::{LEAF, LayerView, SUMS, chunk};
use layerwise::rule::Rule;
use layerwise::{
    Error, LayerConfig, LayerMemory, Luc, NonFinite, NovoGrad, NovoGradConfig, Optimizer, Policy, Step, accumulate,
};
use mpi::Count;
use mpi::datatype::{Partition, PartitionMut};
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;
use std::ops::Range;

const INPUTS: usize = 300;
const OUTPUTS: usize = 200;
/// Weights and biases of one affine layer, which is to learn another.
const LAYERS: [usize; 2] = [INPUTS * OUTPUTS, OUTPUTS];
const BATCH: usize = 12;
const STEPS: usize = 50;
/// The gradient of a step is the mean of those of the batch.
const STEP: Step = Step::new(0.05).gradient_scale(1.0 / BATCH as f64);
/// An example whose gradient overflows.
const BAD: usize = 100;

/// The gradients of `|W·x + b − t|²/2` for one example.
fn gradients(weights: &[Vec<f32>; 2], teacher: &[f32], example: usize) -> [Vec<f32>; 2] {
    let mut rng = fastrand::Rng::with_seed(example as u64);
    let x: Vec<f32> = (0..INPUTS).map(|_| 2.0 * rng.f32() - 1.0).collect();
    let row = |w: &[f32]| w.iter().zip(&x).map(|(w, x)| w * x).sum::<f32>();
    let rows = weights[0].chunks(INPUTS).zip(teacher.chunks(INPUTS)).zip(&weights[1]);
    let mut errors: Vec<f32> = rows.map(|((w, t), b)| row(w) + b - row(t)).collect();
    if example == BAD {
        errors[0] = f32::INFINITY;
    }
    [errors.iter().flat_map(|e| x.iter().map(move |x| e * x)).collect(), errors]
}

/// The examples of a batch whose gradients a rank computes.
fn examples(rank: usize, ranks: usize) -> Range<usize> {
    BATCH * rank / ranks..BATCH * (rank + 1) / ranks
}

/// Counts and places of the parts of a buffer, one for each rank.
fn parts(lengths: impl Iterator<Item = usize>) -> (Vec<Count>, Vec<Count>) {
    let counts: Vec<Count> = lengths.map(|len| len as Count).collect();
    let places = counts.iter().scan(0, |place, count| Some(std::mem::replace(place, *place + count))).collect();
    (counts, places)
}

/// What a rank holds of a layer besides the weights.
struct Shard<S> {
    layer: usize,
    range: Range<usize>,
    momentum: Vec<f32>,
    state: S,
}

impl<S: Default> Shard<S> {
    fn new(layer: usize, world: &SimpleCommunicator) -> Self {
        let range = chunk(LAYERS[layer], world.rank() as usize, world.size() as usize);
        Shard { layer, momentum: vec![0.0; range.len()], range, state: S::default() }
    }

    /// The lengths of the shards of all ranks.
    fn lengths(&self, world: &SimpleCommunicator) -> impl Iterator<Item = usize> {
        let (len, ranks) = (LAYERS[self.layer], world.size() as usize);
        (0..ranks).map(move |rank| chunk(len, rank, ranks).len())
    }

    /// The shard, to be read.
    fn view<'a>(&'a self, weights: &'a [Vec<f32>; 2], gradients: &'a [Vec<f32>; 2]) -> LayerView<'a> {
        LayerView::new(&weights[self.layer][self.range.clone()], &gradients[self.layer]).momentum(&self.momentum)
    }

    /// The sums of all leaves of the layer, of those of the shard, of which there are `N` for each leaf.
    fn all_sums<const N: usize>(
        &self,
        world: &SimpleCommunicator,
        of_shard: impl FnOnce(&mut [[f64; N]]) -> Result<(), Error>,
    ) -> Result<Vec<[f64; N]>, Error> {
        let mut own = vec![[0.0; N]; self.range.len().div_ceil(LEAF)];
        of_shard(&mut own)?;
        let all = all_gather(world, own.as_flattened(), self.lengths(world).map(|len| N * len.div_ceil(LEAF)));
        Ok(all.as_chunks().0.to_vec())
    }

    /// The sum of the gradients of all examples at the owner. `mine` are those of this rank's examples.
    fn gradient(&self, world: &SimpleCommunicator, mine: &[[Vec<f32>; 2]]) -> Result<Vec<f32>, Error> {
        let (len, ranks) = (LAYERS[self.layer], world.size() as usize);
        let shards = (0..ranks).map(|rank| chunk(len, rank, ranks));
        let to_owners: Vec<f32> =
            shards.flat_map(|shard| mine.iter().flat_map(move |g| &g[self.layer][shard.clone()])).copied().collect();
        let (counts, places) = parts(self.lengths(world).map(|len| mine.len() * len));
        let sent = Partition::new(&to_owners[..], counts, places);
        let (counts, places) = parts((0..ranks).map(|rank| examples(rank, ranks).len() * self.range.len()));
        let mut all = vec![0.0_f32; BATCH * self.range.len()];
        world.all_to_all_varcount_into(&sent, &mut PartitionMut::new(&mut all[..], counts, places));
        let mut sum = vec![0.0; self.range.len()];
        for example in all.chunks(self.range.len().max(1)) {
            accumulate(&mut sum, example, 1.0)?;
        }
        Ok(sum)
    }
}

/// Brings the pieces of all ranks together in their order.
fn all_gather<T: Equivalence + Clone + Default>(
    world: &SimpleCommunicator,
    piece: &[T],
    lengths: impl Iterator<Item = usize>,
) -> Vec<T> {
    let (counts, places) = parts(lengths);
    let mut all = vec![T::default(); counts.iter().sum::<Count>() as usize];
    world.all_gather_varcount_into(piece, &mut PartitionMut::new(&mut all[..], counts, places));
    all
}

/// Steps 2 to 5.
fn step<R: Rule>(
    world: &SimpleCommunicator,
    optimizer: &Optimizer<R>,
    shards: &mut [Shard<R::State>; 2],
    weights: &mut [Vec<f32>; 2],
    mine: &[[Vec<f32>; 2]],
) -> Result<(), Error> {
    let config = LayerConfig::DEFAULT;
    let gradients = [shards[0].gradient(world, mine)?, shards[1].gradient(world, mine)?];
    let mut pass = optimizer.pass(STEP)?;
    let mut measured = Vec::new();
    for (shard, weights_of) in shards.iter().zip(&*weights) {
        let sums = shard
            .all_sums::<SUMS>(world, |own| pass.leaf_sums(shard.view(weights, &gradients), shard.range.start, own))?;
        measured.push(pass.fold(&config, weights_of.len(), &sums)?);
    }
    let mut decided = pass.decide();
    let mut planned = Vec::new();
    for (shard, measured) in shards.iter().zip(measured) {
        let mut plan = decided.plan(measured, &config, shard.state)?;
        if plan.needs_step() {
            let sums = shard.all_sums::<1>(world, |own| {
                plan.step_leaf_sums(shard.view(weights, &gradients), shard.range.start, own.as_flattened_mut())
            })?;
            plan = decided.limit(plan, sums.as_flattened())?;
        }
        decided.confirm(&plan)?;
        planned.push(plan);
    }
    // All layers or none.
    if !decided.skips() {
        for (((shard, plan), w), g) in shards.iter_mut().zip(planned).zip(&mut *weights).zip(&gradients) {
            let owned = &mut w[shard.range.clone()];
            plan.apply(LayerMemory::new(&mut *owned, g, &mut ()).momentum(&mut shard.momentum))?;
            (_, shard.state) = plan.report();
            let owned = owned.to_vec();
            *w = all_gather(world, &owned, shard.lengths(world));
        }
    }
    Ok(())
}

/// The same training in one process.
fn train_alone<R: Rule>(
    optimizer: &Optimizer<R>,
    mut weights: [Vec<f32>; 2],
    teacher: &[f32],
) -> Result<[Vec<f32>; 2], Error> {
    let mut memory = optimizer.memory(LAYERS);
    for step in 0..STEPS {
        let mut sums = LAYERS.map(|len| vec![0.0; len]);
        for example in BATCH * step..BATCH * (step + 1) {
            for (sum, gradient) in sums.iter_mut().zip(&gradients(&weights, teacher, example)) {
                accumulate(sum, gradient, 1.0)?;
            }
        }
        memory.step(optimizer, STEP, weights.iter_mut().zip(&sums))?;
    }
    Ok(weights)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let universe = mpi::initialize().ok_or("MPI is initialised already")?;
    let world = universe.world();
    let (rank, ranks) = (world.rank() as usize, world.size() as usize);
    let novograd = NovoGrad::new(NovoGradConfig { luc: Some(Luc::DEFAULT), ..NovoGradConfig::DEFAULT })?;
    let novograd = novograd.with_policy(Policy { clip_norm: Some(1.0), non_finite: NonFinite::SkipStep })?;

    let mut rng = fastrand::Rng::with_seed(0);
    let mut random = || (0..LAYERS[0]).map(|_| 0.1 * (2.0 * rng.f32() - 1.0)).collect::<Vec<_>>();
    let teacher = random();
    let start = [random(), vec![0.0; OUTPUTS]];

    let mut weights = start.clone();
    let mut shards = [0, 1].map(|layer| Shard::new(layer, &world));
    for i in 0..STEPS {
        let mine: Vec<_> = examples(rank, ranks).map(|j| gradients(&weights, &teacher, BATCH * i + j)).collect();
        step(&world, &novograd, &mut shards, &mut weights, &mine)?;
    }

    let alone = train_alone(&novograd, start.clone(), &teacher)?;
    let differ = |a: &[Vec<f32>; 2], b: &[Vec<f32>; 2]| {
        a.iter().flatten().zip(b.iter().flatten()).filter(|(a, b)| a.to_bits() != b.to_bits()).count()
    };
    let total: usize = LAYERS.iter().sum();
    let momentum: usize = shards.iter().map(|shard| shard.momentum.len()).sum();
    assert!(differ(&alone, &start) > total / 2, "the training has moved the weights");
    assert!(alone.iter().flatten().all(|w| w.is_finite()), "the bad example has been skipped");
    let wrong = differ(&weights, &alone);
    println!(
        "rank {rank} of {ranks}: {momentum} of {total} momentum elements; after {STEPS} steps {wrong} weights differ \
         from those of one process"
    );
    if wrong > 0 {
        world.abort(1);
    }
    Ok(())
}
