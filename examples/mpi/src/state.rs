//! The state of a training run: as a whole, and the shard of one rank.

use crate::net::Net;
use crate::plan::Plan;
use crate::step::scatter;
use crate::ways::take;
use half::bf16;
use layerwise::AnyOptimizer;
use layerwise::pieces::LEAF;
use layerwise::rule::Moments;

/// The format in which the new weights go to all ranks. Master weights in `f32` stay in the shards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gather {
    F32,
    Bf16,
}

/// A training run between two steps. It does not depend on the number of ranks.
#[derive(Clone, Debug, PartialEq)]
pub struct Whole {
    /// The next step.
    pub step: usize,
    /// The number of micro-batches per step: bits depend on it, so it is part of the state.
    pub leaves: usize,
    pub weights: Vec<f32>,
    pub momentum: Vec<f32>,
    pub second_moment: Vec<f32>,
    /// Of each layer.
    pub states: Vec<[f64; 3]>,
}

impl Whole {
    pub fn new(optimizer: &AnyOptimizer, leaves: usize, layers: usize, weights: Vec<f32>) -> Whole {
        let second = if optimizer.moments() == Moments::FirstAndSecond { weights.len() } else { 0 };
        Whole {
            step: 0,
            leaves,
            momentum: vec![0.0; optimizer.momentum_len(weights.len())],
            second_moment: vec![0.0; second],
            states: vec![Default::default(); layers],
            weights,
        }
    }

    /// How many numbers have different bits.
    pub fn differ(&self, other: &Whole) -> usize {
        let differ = |a: &[f32], b: &[f32]| {
            a.len().abs_diff(b.len()) + a.iter().zip(b).filter(|(a, b)| a.to_bits() != b.to_bits()).count()
        };
        differ(&self.weights, &other.weights)
            + differ(&self.momentum, &other.momentum)
            + differ(&self.second_moment, &other.second_moment)
            + usize::from((self.step, self.leaves, &self.states) != (other.step, other.leaves, &other.states))
    }

    /// FNV-1a over the bits of all arrays.
    pub fn hash(&self) -> u64 {
        let arrays = [&self.weights, &self.momentum, &self.second_moment];
        let words = arrays.into_iter().flatten().map(|x| u64::from(x.to_bits()));
        words.chain(self.states.iter().flatten().map(|x| x.to_bits())).fold(0xcbf2_9ce4_8422_2325, fnv)
    }
}

pub fn fnv(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(0x100_0000_01b3)
}

pub fn widen(x: &[bf16]) -> Vec<f32> {
    x.iter().map(|x| x.to_f32()).collect()
}

/// The weights that gradients are computed with.
pub fn seen(gather: Gather, weights: &[f32]) -> Vec<f32> {
    match gather {
        Gather::F32 => weights.to_vec(),
        Gather::Bf16 => weights.iter().map(|x| bf16::from_f32(*x).to_f32()).collect(),
    }
}

/// The memory of a rank: the weights of the model, which all ranks have, and the arrays of its shard.
pub struct Shard {
    pub gather: Gather,
    pub model: Vec<f32>,
    pub weights: Vec<f32>,
    pub copy: Vec<bf16>,
    pub momentum: Vec<f32>,
    pub second_moment: Vec<f32>,
    /// Of each layer: every rank has the same.
    pub states: Vec<[f64; 3]>,
    /// The state that a chunk has.
    pub nothing: (),
}

impl Shard {
    pub fn of(whole: &Whole, net: &Net, plan: &Plan, gather: Gather) -> Shard {
        let own = |x: &[f32]| if x.is_empty() { Vec::new() } else { take(x, &plan.shards[net.rank]) };
        let weights = own(&whole.weights);
        Shard {
            gather,
            model: seen(gather, &whole.weights),
            copy: weights.iter().map(|x| bf16::from_f32(*x)).collect(),
            momentum: own(&whole.momentum),
            second_moment: own(&whole.second_moment),
            states: whole.states.clone(),
            nothing: (),
            weights,
        }
    }

    /// Gathers the shards of all ranks.
    pub fn whole(&self, net: &Net, plan: &Plan, leaves: usize, step: usize) -> Whole {
        let all = |own: &[f32], len: usize| {
            if len == 0 {
                return Vec::new();
            }
            let shards = net.all_gather(own, (0..net.ranks).map(|rank| plan.shard_units(rank) * LEAF));
            let mut flat = vec![0.0; len];
            scatter(plan, &shards, &mut flat);
            flat
        };
        let len = plan.units * LEAF;
        let kept = |x: &Vec<f32>| if self.weights.len() == x.len() { len } else { 0 };
        Whole {
            step,
            leaves,
            weights: all(&self.weights, len),
            momentum: all(&self.momentum, kept(&self.momentum)),
            second_moment: all(&self.second_moment, kept(&self.second_moment)),
            states: self.states.clone(),
        }
    }
}
