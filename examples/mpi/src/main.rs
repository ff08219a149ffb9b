//! Sharded data-parallel training over MPI: the weights are those of one process, bit for bit, on any number of ranks.
//!
//! Every rank computes gradients for its part of a batch and owns a shard of every layer: a range of leaves, for which it keeps
//! the momentum and does the optimizer's work. A step is
//!
//! 1. gradients of single examples, each on one rank;
//! 2. to the owner of each shard: the gradients of all examples, which it adds up in the order of the examples;
//! 3. to all: the sums of squares of the leaves, 16 bytes for 1024 weights. Every rank makes the same norms of them, and the
//!    rule makes the same decision on each;
//! 4. the update of the shard;
//! 5. to all: the new weights.
//!
//! `examples/mpi/run` builds it and runs it with 1 to 4 ranks.

use layerwise::{
    LEAF, Larc, LarcConfig, Layer, Norms, Rule, Sgd, SgdConfig, SgdState, accumulate, fold_leaf_sums, leaf_sums,
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
const STEPS: u64 = 50;
const LR: f64 = 0.05;

/// The gradients of `|W·x + b − t|²/2` for one example.
fn gradients(weights: &[Vec<f32>; 2], teacher: &[f32], example: u64) -> [Vec<f32>; 2] {
    let mut rng = fastrand::Rng::with_seed(example);
    let x: Vec<f32> = (0..INPUTS).map(|_| 2.0 * rng.f32() - 1.0).collect();
    let row = |w: &[f32]| w.iter().zip(&x).map(|(w, x)| w * x).sum::<f32>();
    let rows = weights[0].chunks(INPUTS).zip(teacher.chunks(INPUTS)).zip(&weights[1]);
    let errors: Vec<f32> = rows.map(|((w, t), b)| row(w) + b - row(t)).collect();
    [errors.iter().flat_map(|e| x.iter().map(move |x| e * x)).collect(), errors]
}

/// Part `part` of `parts` of `0..len`.
fn share(len: usize, part: usize, parts: usize) -> Range<usize> {
    len * part / parts..len * (part + 1) / parts
}

/// The elements of a layer that a rank owns: whole leaves.
fn shard(len: usize, rank: usize, ranks: usize) -> Range<usize> {
    let leaves = share(len.div_ceil(LEAF), rank, ranks);
    leaves.start * LEAF..(leaves.end * LEAF).min(len)
}

/// Counts and places of the parts of a buffer, one for each rank.
fn parts(lengths: impl Iterator<Item = usize>) -> (Vec<Count>, Vec<Count>) {
    let counts: Vec<Count> = lengths.map(|len| len as Count).collect();
    let places = counts.iter().scan(0, |place, count| Some(std::mem::replace(place, *place + count))).collect();
    (counts, places)
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

/// What a rank holds of a layer besides the weights.
struct Shard {
    layer: usize,
    range: Range<usize>,
    momentum: Vec<f32>,
    state: SgdState,
}

impl Shard {
    /// Steps 2 to 5 of one layer. `mine` are the gradients of this rank's examples.
    fn step(&mut self, world: &SimpleCommunicator, sgd: &Sgd, weights: &mut Vec<f32>, mine: &[[Vec<f32>; 2]]) {
        let ranks = world.size() as usize;
        let (layer, len) = (self.layer, LAYERS[self.layer]);
        let shards = || (0..ranks).map(|rank| shard(len, rank, ranks));

        let (counts, places) = parts(shards().map(|shard| mine.len() * shard.len()));
        let to_owners: Vec<f32> =
            shards().flat_map(|shard| mine.iter().flat_map(move |g| &g[layer][shard.clone()])).copied().collect();
        let sent = Partition::new(&to_owners[..], counts, places);
        let (counts, places) = parts((0..ranks).map(|rank| share(BATCH, rank, ranks).len() * self.range.len()));
        let mut examples = vec![0.0_f32; BATCH * self.range.len()];
        world.all_to_all_varcount_into(&sent, &mut PartitionMut::new(&mut examples[..], counts, places));
        let mut gradient = vec![0.0; self.range.len()];
        for example in examples.chunks(self.range.len().max(1)) {
            accumulate(&mut gradient, example, 1.0 / BATCH as f64).expect("slices of one length");
        }

        let owned = &mut weights[self.range.clone()];
        let [gradient_norm, weight_norm] = [&gradient[..], owned].map(|x| {
            let mut sums = vec![0.0; x.len().div_ceil(LEAF)];
            leaf_sums(x, &mut sums).expect("one sum for each leaf");
            fold_leaf_sums(&all_gather(world, &sums, shards().map(|shard| shard.len().div_ceil(LEAF)))).sqrt()
        });
        let norms = Norms { gradient: gradient_norm, weights: Some(weight_norm) };
        if norms.are_finite() {
            let plan = sgd.rule().plan(LR, &Layer::DEFAULT, &norms, &mut self.state);
            plan.update.apply_with_momentum(owned, &gradient, &mut self.momentum).expect("slices of one length");
        }
        let owned = weights[self.range.clone()].to_vec();
        *weights = all_gather(world, &owned, shards().map(|shard| shard.len()));
    }
}

/// The same training in one process, by one call for each layer.
fn train_alone(sgd: &Sgd, mut weights: [Vec<f32>; 2], teacher: &[f32]) -> [Vec<f32>; 2] {
    let mut momentum = LAYERS.map(|len| vec![0.0; len]);
    let mut states = [SgdState::default(); 2];
    for step in 0..STEPS {
        let examples: Vec<_> =
            (0..BATCH).map(|i| gradients(&weights, teacher, step * BATCH as u64 + i as u64)).collect();
        for layer in 0..2 {
            let mut gradient = vec![0.0; LAYERS[layer]];
            for example in &examples {
                accumulate(&mut gradient, &example[layer], 1.0 / BATCH as f64).expect("slices of one length");
            }
            sgd.step_layer(LR, &mut weights[layer], &gradient, &mut momentum[layer], &mut states[layer])
                .expect("slices of one length");
        }
    }
    weights
}

fn main() {
    let universe = mpi::initialize().expect("MPI is not yet initialised");
    let world = universe.world();
    let (rank, ranks) = (world.rank() as usize, world.size() as usize);
    let larc = Larc::new(LarcConfig { eta: 0.02, ..LarcConfig::DEFAULT }).expect("valid settings");
    let sgd = Sgd::new(SgdConfig { momentum: 0.9, larc: Some(larc), ..SgdConfig::DEFAULT }).expect("valid settings");

    let mut rng = fastrand::Rng::with_seed(0);
    let mut random = || (0..LAYERS[0]).map(|_| 0.1 * (2.0 * rng.f32() - 1.0)).collect::<Vec<_>>();
    let teacher = random();
    let start = [random(), vec![0.0; OUTPUTS]];

    let mut weights = start.clone();
    let mut shards = [0, 1].map(|layer| {
        let range = shard(LAYERS[layer], rank, ranks);
        Shard { layer, momentum: vec![0.0; range.len()], range, state: SgdState::default() }
    });
    for step in 0..STEPS {
        let examples = share(BATCH, rank, ranks);
        let mine: Vec<_> = examples.map(|i| gradients(&weights, &teacher, step * BATCH as u64 + i as u64)).collect();
        for shard in &mut shards {
            shard.step(&world, &sgd, &mut weights[shard.layer], &mine);
        }
    }

    let alone = train_alone(&sgd, start.clone(), &teacher);
    let differ = |a: &[Vec<f32>; 2], b: &[Vec<f32>; 2]| {
        a.iter().flatten().zip(b.iter().flatten()).filter(|(a, b)| a.to_bits() != b.to_bits()).count()
    };
    let total: usize = LAYERS.iter().sum();
    let momentum: usize = shards.iter().map(|shard| shard.momentum.len()).sum();
    assert!(differ(&alone, &start) > total / 2, "the training has moved the weights");
    let wrong = differ(&weights, &alone);
    println!(
        "rank {rank} of {ranks}: {momentum} of {total} momentum elements; after {STEPS} steps {wrong} weights differ from \
         those of one process"
    );
    if wrong > 0 {
        world.abort(1);
    }
}
