//! A layer-wise rule that the crate does not have, run by its driver: Fromage.
//!
//! ```text
//! w = (w − lr·(|w|/|g|)·g) / √(1 + lr²)
//! ```
//!
//! Source: Bernstein, Vahdat, Yue and Liu, *On the distance between two neural networks and the stability of learning*
//! (arXiv 2002.03432), algorithm 1. The rule is a few scalars; norms, SIMD, checks and reports come from the crate.
//!
//! ```text
//! cargo run --release --example own_rule
//! ```

use layerwise::rule::{Moments, Needs, Norms, Plan, Rule, Update};
use layerwise::{Error, LayerConfig, LayerMemory, Optimizer, l2_norm};

struct Fromage;

impl Rule for Fromage {
    type State = ();
    const MOMENTS: Moments = Moments::None;

    fn needs(&self, _: &LayerConfig) -> Needs {
        Needs::GRADIENT.weights()
    }

    fn plan(&self, lr: f64, _: &LayerConfig, norms: &Norms, (): ()) -> (Plan, ()) {
        let &Norms { gradient, weights, .. } = norms;
        let factor = if gradient == 0.0 || weights == 0.0 { 1.0 } else { weights / gradient };
        let kept = 1.0 / (1.0 + lr * lr).sqrt();
        let update = Update { gradient: factor, direct: lr * kept, shrink: 1.0 - kept, ..Update::ZERO };
        (Plan::new(update, lr * factor).factor(factor), ())
    }
}

fn main() -> Result<(), Error> {
    // Two layers of a model w₁·x + w₂ whose inputs differ in size by a factor of a million: one rate suits both.
    let mut rng = fastrand::Rng::with_seed(1);
    let mut random = |scale: f32| -> Vec<f32> { (0..1000).map(|_| scale * (2.0 * rng.f32() - 1.0)).collect() };
    let targets = [random(1.0), random(1.0)];
    let mut layers = [random(1.0), random(1.0)];
    let curvatures = [1e3, 1e-3];
    let optimizer = Optimizer::from_rule(Fromage);

    println!("step   distance to the optimum, layer by layer");
    for step in 0..=1000 {
        let lr = 0.1 * (1.0 - f64::from(step) / 1000.0);
        let distances = [0, 1].map(|i| {
            let difference: Vec<f32> = layers[i].iter().zip(&targets[i]).map(|(w, t)| w - t).collect();
            l2_norm(&difference) / l2_norm(&targets[i])
        });
        if step % 200 == 0 {
            println!("{step:4}   {:.4}   {:.4}", distances[0], distances[1]);
        }
        for ((weights, target), curvature) in layers.iter_mut().zip(&targets).zip(curvatures) {
            let gradients: Vec<f32> = weights.iter().zip(target).map(|(w, t)| curvature * (w - t)).collect();
            optimizer.step_layer(lr, LayerMemory::new(weights, &gradients, &mut ()))?;
        }
    }
    Ok(())
}
