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
