//! Updates and steps have the bits of the contract, whatever the alignment, the pieces, and the backend that this build
//! uses.

mod reference;

use layerwise::{
    CarriedNorms, LEAF, Layer, NovoGrad, Optimizer, Rule, Sgd, Update, fold_leaf_sums, leaf_sums, sum_of_squares,
};
use reference::oracle::{Array, Host};
use reference::{contract, settings};

/// Lengths around every boundary: vectors, groups, leaves and where they share a vector, tiles, the shortest update that is aligned.
const LENGTHS: [usize; 29] = [
    0, 1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 49, 255, 256, 257, 300, 1008, 1009, 1023, 1024, 1025, 1036, 2044, 2049,
    2060, 5000, 16384, 16400, 40001,
];

/// Every form that an update can take.
const UPDATES: [Update; 6] = [
    Update { gradient: 0.3, momentum: 0.9, rate: 0.1, ..Update::NONE },
    Update { gradient: 0.3, decay: 0.01, momentum: 0.9, rate: 0.1, ..Update::NONE },
    Update { gradient: 0.3, momentum: 0.9, rate: 0.1, direct: 0.7, ..Update::NONE },
    Update { gradient: -0.3, decay: 0.01, momentum: 0.5, rate: 0.1, direct: 0.7, shrink: 0.001 },
    Update { gradient: 1.0, momentum: 0.9, rate: 0.1, shrink: 0.01, ..Update::NONE },
    Update { gradient: 1.0, direct: 0.1, ..Update::NONE },
];

/// Where three arrays begin, in elements behind a cache line: every alignment, alike and unlike. Long arrays get a few.
fn offsets(len: usize) -> impl Iterator<Item = [usize; 3]> {
    (0..16).flat_map(|i| [[i; 3], [i, 5 * i % 16, 11 * i % 16]]).step_by(if len > 3000 { 7 } else { 1 })
}

/// An array of random numbers that begins `offset` elements behind a cache line.
fn random(len: usize, offset: usize, scale: f32, seed: u64) -> Array {
    let mut rng = fastrand::Rng::with_seed(seed);
    Array::new(&(0..len).map(|_| scale * (2.0 * rng.f32() - 1.0)).collect::<Vec<_>>(), offset)
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn updates_have_the_bits_of_the_contract_at_any_alignment() {
    for (seed, len) in (0..).zip(LENGTHS) {
        for (i, offsets) in offsets(len).enumerate() {
            for (j, update) in UPDATES.into_iter().enumerate() {
                let scale = [1.0, 1e30, 1e-30, 1e-41][(i + j) % 4];
                let [mut w, g, mut m] = [0, 1, 2].map(|i| random(len, offsets[i], scale, 3 * seed + i as u64));
                let (w, g, m) = (w.get_mut(), g.get(), m.get_mut());
                let expected: (Vec<f32>, Vec<f32>) =
                    w.iter().zip(g).zip(&*m).map(|((w, g), m)| contract::update(&update, *w, *g, *m)).unzip();
                let plain: Vec<f32> = w.iter().zip(g).map(|(w, g)| contract::plain_update(&update, *w, *g)).collect();
                let what = format!("{len} elements at {offsets:?}, scale {scale}, {update:?}");

                let mut whole = w.to_vec();
                update.apply(&mut whole, g).unwrap();
                assert_eq!(bits(&whole), bits(&plain), "plain, {what}");

                let before = (w.to_vec(), m.to_vec());
                update.apply_with_momentum(w, g, m).unwrap();
                assert_eq!(bits(w), bits(&expected.0), "weights, {what}");
                assert_eq!(bits(m), bits(&expected.1), "momentum, {what}");

                w.copy_from_slice(&before.0);
                m.copy_from_slice(&before.1);
                let sum = update.apply_and_sum(w, g, m).unwrap();
                let (new, momentum) = if len == 0 { (&plain, &expected.1) } else { (&expected.0, &expected.1) };
                assert_eq!(bits(w), bits(new), "weights summed, {what}");
                assert_eq!(bits(m), bits(momentum), "momentum summed, {what}");
                assert_eq!(sum.to_bits(), contract::sum_of_squares(new).to_bits(), "sum, {what}");

                w.copy_from_slice(&before.0);
                let sum = update.apply_and_sum(w, g, &mut []).unwrap();
                assert_eq!(bits(w), bits(&plain), "plain summed, {what}");
                assert_eq!(sum.to_bits(), sum_of_squares(&plain).to_bits(), "plain sum, {what}");
            }
        }
    }
}

/// The data of a layer: ordinary, huge, tiny, subnormal, all sizes mixed, and zeros of both signs among ordinary numbers.
const KINDS: [&str; 6] = ["ordinary", "huge", "tiny", "subnormal", "mixed", "signed zeros"];

fn fill(kind: &str, to: &mut [f32], rng: &mut fastrand::Rng) {
    for x in to {
        let ordinary = 2.0 * rng.f32() - 1.0;
        *x = match kind {
            "huge" => 3e38 * ordinary,
            "tiny" => 1e-30 * ordinary,
            "subnormal" => f32::from_bits(rng.u32(..1 << 23) | rng.u32(..2) << 31),
            "mixed" => f32::from_bits(rng.u32(..0xff << 23) & !(1 << 30) | rng.u32(..2) << 31),
            "signed zeros" => [0.0, -0.0, ordinary][rng.usize(..3)],
            _ => ordinary,
        };
    }
}

/// Two steps of a layer at every length, size and alignment.
fn steps_are_those_of_the_contract<R: Rule>(name: &str, optimizer: &Optimizer<R>)
where
    R::State: PartialEq + std::fmt::Debug,
{
    for (seed, len) in (0..).zip(LENGTHS) {
        for (kind, offsets) in KINDS.iter().flat_map(|kind| offsets(len).step_by(5).map(move |offsets| (kind, offsets)))
        {
            println!("{name}, {len} {kind} elements at {offsets:?}");
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut weights, gradients) = (vec![0.0; len], vec![0.0; len]);
            fill(kind, &mut weights, &mut rng);
            let mut host = Host::new(&weights, &gradients, &vec![0.0; optimizer.momentum_len(len)], offsets);
            host.norms = (seed % 2 == 0).then(CarriedNorms::default);
            for _ in 0..2 {
                fill(kind, host.gradients.get_mut(), &mut rng);
                host.step(optimizer, 0.01, Layer::DEFAULT).unwrap();
            }
        }
    }
}

#[test]
fn sgd_steps_are_those_of_the_contract() {
    for (name, config) in settings::SGD {
        steps_are_those_of_the_contract(name, &Sgd::new(config).unwrap());
    }
}

#[test]
fn novograd_steps_are_those_of_the_contract() {
    for (name, config) in settings::NOVOGRAD {
        steps_are_those_of_the_contract(name, &NovoGrad::new(config).unwrap());
    }
}

/// Where chunks of a layer begin that end at leaves, drawn at random.
fn leaf_aligned_cuts(len: usize, chunks: usize, rng: &mut fastrand::Rng) -> Vec<usize> {
    let mut cuts: Vec<usize> = (1..chunks).map(|_| rng.usize(..=len / LEAF) * LEAF).collect();
    cuts.extend([0, len]);
    cuts.sort_unstable();
    cuts
}

#[test]
fn norms_of_leaf_aligned_chunks_make_the_norm() {
    let mut rng = fastrand::Rng::with_seed(1);
    for len in [0, 1, LEAF - 1, LEAF, LEAF + 1, 3 * LEAF, 5 * LEAF + 7, 17 * LEAF + 1, 100_003, 163_841] {
        for kind in KINDS {
            let mut x = vec![0.0; len];
            fill(kind, &mut x, &mut rng);
            let expected = contract::sum_of_squares(&x).to_bits();
            for chunks in 1..10 {
                let cuts = leaf_aligned_cuts(len, chunks, &mut rng);
                let mut sums = vec![f64::NAN; len.div_ceil(LEAF)];
                for cut in cuts.windows(2) {
                    let sums = &mut sums[cut[0] / LEAF..cut[1].div_ceil(LEAF)];
                    leaf_sums(&x[cut[0]..cut[1]], sums).unwrap();
                }
                assert_eq!(fold_leaf_sums(&sums).to_bits(), expected, "{len} {kind} elements cut at {cuts:?}");
            }
        }
    }
}

#[test]
fn pieces_make_the_whole() {
    let len = 3000;
    let [w, g, m] = [1, 2, 3].map(|seed| random(len, 4, 1.0, seed));
    for update in UPDATES {
        let (mut whole, mut whole_momentum) = (w.get().to_vec(), m.get().to_vec());
        update.apply_with_momentum(&mut whole, g.get(), &mut whole_momentum).unwrap();
        for piece in [1, 7, 16, 100, 1024, 2999] {
            let (mut weights, mut momentum) = (w.get().to_vec(), m.get().to_vec());
            let pieces = weights.chunks_mut(piece).zip(momentum.chunks_mut(piece)).zip(g.get().chunks(piece));
            for ((weights, momentum), gradients) in pieces {
                update.apply_with_momentum(weights, gradients, momentum).unwrap();
            }
            assert_eq!(bits(&weights), bits(&whole), "pieces of {piece}, {update:?}");
            assert_eq!(bits(&momentum), bits(&whole_momentum), "pieces of {piece}, {update:?}");
        }
    }
}
