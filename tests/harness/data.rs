//! Numbers of every kind, and lengths around every boundary.

/// Lengths around every boundary of a norm: vectors, groups of lanes, leaves, tiles.
pub const NORM_LENGTHS: [usize; 30] = [
    0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 1023, 1024, 1025, 1055, 2047, 2048, 2049, 3072, 4099,
    16383, 16384, 16385, 49153, 70001,
];

/// Lengths around every boundary of an update: vectors, groups, leaves and where they share a vector, the shortest
/// update that is aligned.
pub const UPDATE_LENGTHS: [usize; 29] = [
    0, 1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 49, 255, 256, 257, 300, 1008, 1009, 1023, 1024, 1025, 1036, 2044, 2049,
    2060, 5000, 16384, 16400, 40001,
];

/// Two lengths of more than one tile, where work is divided.
pub const LONG: [usize; 2] = [65_537, 200_003];

/// The kinds of [`fill`]: ordinary, huge, tiny, subnormal, all sizes mixed, and zeros of both signs among ordinary
/// ones.
pub const KINDS: [&str; 6] = ["ordinary", "huge", "tiny", "subnormal", "mixed", "signed zeros"];

/// Fills an array with random numbers of a kind.
pub fn fill(kind: &str, to: &mut [f32], rng: &mut fastrand::Rng) {
    for x in to {
        let ordinary = 2.0 * rng.f32() - 1.0;
        *x = match kind {
            "ordinary" => ordinary,
            "huge" => 3e38 * ordinary,
            "tiny" => 1e-30 * ordinary,
            "subnormal" => f32::from_bits(rng.u32(..1 << 23) | rng.u32(..2) << 31),
            "mixed" => f32::from_bits(rng.u32(..0xff << 23) & !(1 << 30) | rng.u32(..2) << 31),
            "signed zeros" => [0.0, -0.0, ordinary][rng.usize(..3)],
            _ => panic!("no kind of numbers is called {kind}"),
        };
    }
}

/// `len` random numbers of a kind.
pub fn numbers(kind: &str, len: usize, seed: u64) -> Vec<f32> {
    let mut x = vec![0.0; len];
    fill(kind, &mut x, &mut fastrand::Rng::with_seed(seed));
    x
}

/// `len` random numbers from `-scale` to `scale`.
pub fn uniform(len: usize, scale: f32, seed: u64) -> Vec<f32> {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..len).map(|_| scale * (2.0 * rng.f32() - 1.0)).collect()
}

/// Random places to cut an array into at most `pieces` pieces, both ends included.
pub fn cuts(len: usize, pieces: usize, rng: &mut fastrand::Rng) -> Vec<usize> {
    let mut cuts: Vec<usize> = (1..pieces).map(|_| rng.usize(..=len)).collect();
    cuts.extend([0, len]);
    cuts.sort_unstable();
    cuts
}

/// The same, with cuts at leaf boundaries only.
pub fn leaf_cuts(len: usize, pieces: usize, rng: &mut fastrand::Rng) -> Vec<usize> {
    let leaf = layerwise::pieces::LEAF;
    let mut cuts = cuts(len / leaf, pieces, rng);
    cuts.iter_mut().for_each(|cut| *cut *= leaf);
    cuts.extend([len]);
    cuts
}
