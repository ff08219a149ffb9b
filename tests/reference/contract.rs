//! The numeric contract for norms, one scalar at a time: what every backend must give, bit for bit.

const LEAF: usize = 1024;
const LANES: usize = 32;

/// Leaves, then the tree.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    if x.len() <= LEAF {
        return leaf(x);
    }
    let leaves = x.len().div_ceil(LEAF);
    let left = leaves.next_power_of_two() / 2 * LEAF;
    sum_of_squares(&x[..left]) + sum_of_squares(&x[left..])
}

fn leaf(x: &[f32]) -> f64 {
    let two = |exponent: i32| 2f64.powi(exponent);
    let sum = lanes(x, 1.0);
    if !sum.is_finite() {
        return f64::from(lanes(x, two(-70) as f32)) * two(140);
    }
    if f64::from(sum) < two(-100) {
        return f64::from(lanes(x, two(96) as f32)) * two(-192);
    }
    f64::from(sum)
}

fn lanes(x: &[f32], scale: f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    for (i, x) in x.iter().enumerate() {
        let scaled = scale * x;
        let square = scaled * scaled;
        lanes[i % LANES] += square;
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
    }
    lanes[0]
}

/// One element of an update whose gradient needs no scaling: new weight and new momentum, in the written order.
pub fn update(update: &layerwise::Update, w: f32, g: f32, m: f32) -> (f32, f32) {
    let [gradient, decay, momentum, rate, direct, shrink] =
        [update.gradient, update.decay, update.momentum, update.rate, update.direct, update.shrink].map(|x| x as f32);
    let mut h = gradient * g;
    if decay != 0.0 {
        h += decay * w;
    }
    let kept = momentum * m;
    let m = kept + h;
    let mut u = rate * m;
    if direct != 0.0 || shrink != 0.0 {
        u += direct * h;
        u += shrink * w;
    }
    (w - u, m)
}

/// The same without momentum.
pub fn plain_update(update: &layerwise::Update, w: f32, g: f32) -> f32 {
    let rate = update.rate + update.direct;
    let gradient = (rate * update.gradient) as f32;
    let decay = (rate * update.decay + update.shrink) as f32;
    let mut u = gradient * g;
    if decay != 0.0 {
        u += decay * w;
    }
    w - u
}
