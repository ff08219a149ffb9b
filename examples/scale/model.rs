//! An alpha-beta model of a step: computation, bytes sent, and how often a rank waits for the latency of the network.
//! Nothing overlaps.

use layerwise::pieces::{LEAF, Tree};
use std::ops::Range;

/// An accelerator and its network, in round numbers.
const FLOPS: f64 = 400e12;
const MEMORY: f64 = 2e12;
const NETWORK: f64 = 50e9;
const LATENCY: f64 = 8e-6;

/// Bytes of memory that an update moves for each parameter, and an addition of two gradients.
const UPDATE: f64 = 28.0;
const ADDITION: f64 = 12.0;

/// Sums of a node: of gradient, weights and moments, in `f64`.
const NORMS: f64 = 24.0;

pub struct Model {
    pub name: &'static str,
    /// Elements of each tensor.
    tensors: Vec<usize>,
    /// Operations of a micro-batch, forward and backward.
    operations: f64,
    /// Micro-batches of a step: a constant of the training.
    pub leaves: usize,
    pub leaf: &'static str,
    /// Ranks that share one replica of the model. Each has a part of every tensor.
    pub parallel: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    /// Nodes of the tree, with the best cuts.
    Tree,
    /// A ring in `f32`, as libraries add long vectors: bits depend on the number of ranks.
    Ring,
    /// Every micro-batch to every owner of a shard, without the tree.
    Owners,
}

pub struct Step {
    pub cuts: String,
    pub busiest: usize,
    pub vectors: f64,
    pub seconds: f64,
    /// Bytes that a rank sends.
    pub sent: f64,
}

/// ResNet-50, and two models in the form of Llama.
pub fn models() -> [Model; 3] {
    let llama = |layers: usize, d: usize, ffn: usize, kv: usize, vocabulary: usize| {
        let block = [d * d, d * kv, d * kv, d * d, d * ffn, d * ffn, d * ffn, d, d];
        let ends = [vocabulary * d, d, vocabulary * d];
        ends.into_iter().chain(block.into_iter().cycle().take(layers * block.len())).collect()
    };
    [
        Model {
            name: "ResNet-50, 25.6 M parameters",
            tensors: resnet50(),
            operations: 8.0 * 3.0 * 8.2e9,
            leaves: 1024,
            leaf: "8 images",
            parallel: 1,
        },
        Model {
            name: "a language model of 6.7 G parameters",
            tensors: llama(32, 4096, 11008, 4096, 32_000),
            operations: 6.0 * 6.74e9 * 4096.0,
            leaves: 1024,
            leaf: "4096 tokens",
            parallel: 1,
        },
        Model {
            name: "a language model of 405 G parameters",
            tensors: llama(126, 16_384, 53_248, 1024, 128_256),
            operations: 6.0 * 405.8e9 * 8192.0,
            leaves: 2048,
            leaf: "8192 tokens",
            parallel: 128,
        },
    ]
}

fn resnet50() -> Vec<usize> {
    let (mut tensors, mut width) = (vec![64 * 3 * 49, 64, 64], 64);
    for (planes, blocks) in [(64, 3), (128, 4), (256, 6), (512, 3)] {
        for block in 0..blocks {
            let four = 4 * planes;
            tensors.extend([
                planes * width,
                planes,
                planes,
                planes * planes * 9,
                planes,
                planes,
                four * planes,
                four,
                four,
            ]);
            if block == 0 {
                tensors.extend([four * width, four, four]);
            }
            width = four;
        }
    }
    tensors.extend([1000 * 2048, 1000]);
    tensors
}

impl Model {
    /// Parameters that one rank has.
    fn parameters(&self) -> f64 {
        self.tensors.iter().sum::<usize>() as f64 / self.parallel as f64
    }

    /// The seconds per step if all ranks computed all the time.
    pub fn ideal(&self, ranks: usize) -> f64 {
        self.leaves as f64 * self.operations / FLOPS / ranks as f64
    }

    /// A step on this number of ranks; `None` if they are too few for a replica. Ranks without a micro-batch are idle.
    pub fn step(&self, way: Way, ranks: usize) -> Option<Step> {
        let replicas = (ranks / self.parallel).min(self.leaves);
        let average = self.leaves.div_ceil(replicas.max(1));
        match (replicas, way) {
            (0, _) => None,
            (_, Way::Ring) => Some(self.with(replicas, "equal".into(), average, 1.0, 1)),
            (_, Way::Owners) => Some(self.with(replicas, "equal".into(), average, average as f64, average)),
            (_, Way::Tree) => {
                let of = |(cuts, ranges): (String, Vec<Range<usize>>)| {
                    let vectors = ranges.iter().map(|range| Tree::new(self.leaves).cover(range.clone()).len());
                    let most = vectors.clone().max().unwrap_or(0);
                    let mean = vectors.sum::<usize>() as f64 / replicas as f64;
                    let busiest = ranges.iter().map(|range| range.len()).max().unwrap_or(0);
                    self.with(replicas, cuts, busiest, mean, most)
                };
                cuts(self.leaves, replicas).into_iter().map(of).min_by(|a, b| a.seconds.total_cmp(&b.seconds))
            }
        }
    }

    /// A step in which the busiest rank has `busiest` micro-batches, and ranks send `mean` vectors on average and
    /// `most` at most.
    fn with(&self, replicas: usize, cuts: String, busiest: usize, mean: f64, most: usize) -> Step {
        let (n, p) = (self.parameters(), replicas as f64);
        let others = 1.0 - 1.0 / p;
        let leaf = self.operations / self.parallel as f64 / FLOPS + ADDITION * n / MEMORY;
        // With one node each, ranks exchange halves in as many rounds as the tree is deep; other ways send to all.
        let tree = cuts == "one node each";
        let rounds = if tree { p.log2().ceil() } else { p - 1.0 };
        let reduce = rounds * LATENCY + most as f64 * others * 4.0 * n / NETWORK;
        let gather = p.log2().ceil() * LATENCY + others * 4.0 * n / NETWORK;
        let norms = 2.0 * p.log2() * LATENCY + others * self.norm_bytes(replicas * self.parallel) / NETWORK;
        let update = UPDATE * n / p / MEMORY;
        Step {
            cuts,
            busiest,
            vectors: mean,
            seconds: busiest as f64 * leaf + reduce + gather + norms + update,
            sent: (mean + 1.0) * others * 4.0 * n,
        }
    }

    /// Leaves of each tensor's part on one rank.
    fn tensor_leaves(&self) -> impl Iterator<Item = usize> {
        self.tensors.iter().map(|len| len.div_ceil(self.parallel).div_ceil(LEAF))
    }

    /// Bytes of the sums that every rank receives, with one group for each node that covers a part of a tensor, in
    /// shards as equal as possible.
    pub fn norm_bytes(&self, ranks: usize) -> f64 {
        let replicas = (ranks / self.parallel).clamp(1, self.leaves);
        let all: usize = self.tensor_leaves().sum();
        let (mut begin, mut nodes, mut rank) = (0, 0, 0);
        let end_of = |rank: usize| (all as u128 * (rank as u128 + 1) / replicas as u128) as usize;
        for leaves in self.tensor_leaves() {
            let (tree, end) = (Tree::new(leaves), begin + leaves);
            let mut at = begin;
            while at < end {
                while end_of(rank) <= at {
                    rank += 1;
                }
                let next = end_of(rank).min(end);
                nodes += tree.cover(at - begin..next - begin).len();
                at = next;
            }
            begin = end;
        }
        NORMS * nodes as f64
    }

    /// The same with one group for each leaf.
    pub fn leaf_sum_bytes(&self) -> f64 {
        NORMS * self.tensor_leaves().sum::<usize>() as f64
    }
}

/// Ways to cut the micro-batches: one node for each rank, and cuts at multiples of powers of two.
fn cuts(leaves: usize, ranks: usize) -> Vec<(String, Vec<Range<usize>>)> {
    let shares = (0..ranks).map(|rank| Tree::new(leaves).share(rank, ranks)).collect();
    let mut all = vec![("one node each".into(), shares)];
    for grid in (0..).map(|height| 1 << height).take_while(|grid| grid * ranks <= leaves) {
        let cut = |rank| if rank == ranks { leaves } else { (leaves * rank / ranks + grid / 2) / grid * grid };
        let ranges: Vec<_> = (0..ranks).map(|rank| cut(rank)..cut(rank + 1)).collect();
        if ranges.iter().all(|range| range.start < range.end) {
            all.push((if grid == 1 { "equal".into() } else { format!("multiples of {grid}") }, ranges));
        }
    }
    all
}
