//! A layer of tiny weights, and a single weight that has to cross zero, hardly move if the step is proportional to the
//! weights. `min_norm` fixes this.

use layerwise::{LarcConfig, LayerMemory, Luc, Sgd, SgdConfig, SgdState};

/// The weights after `steps` steps towards a target, down the gradient of half the squared distance.
fn learn(sgd: &Sgd, start: f32, target: f32, steps: usize) -> [f32; 4] {
    let (mut weights, mut state) = ([start; 4], SgdState::default());
    for _ in 0..steps {
        let gradients = weights.map(|w| w - target);
        let layer = LayerMemory::new(&mut weights, &gradients, &mut state);
        assert!(sgd.step_layer(0.1, layer).unwrap().applied());
    }
    weights
}

fn larc(min_norm: f64) -> Sgd {
    let larc = Some(LarcConfig { eta: 0.02, min_norm, ..LarcConfig::DEFAULT });
    Sgd::new(SgdConfig { larc, ..SgdConfig::DEFAULT }).unwrap()
}

#[test]
fn tiny_weights_learn_with_a_smallest_norm() {
    for start in [1e-30, -1e-30, 1e-12] {
        assert!(learn(&larc(0.0), start, 1.0, 500)[0].abs() < 0.01, "of {start}");
        assert!((learn(&larc(1e-3), start, 1.0, 2000)[0] - 1.0).abs() < 0.1, "of {start}");
    }
    // A layer of zeros learns either way: at 0 it takes the plain step, else its norm counts as the smallest.
    for min_norm in [0.0, 1e-3] {
        assert!(learn(&larc(min_norm), 0.0, 1.0, 2)[0] > 1e-6);
    }
}

#[test]
fn a_weight_crosses_zero_with_a_smallest_norm() {
    assert!(learn(&larc(0.0), 0.5, -0.5, 3000)[0] > 0.0);
    let there = learn(&larc(1e-3), 0.5, -0.5, 6000)[0];
    assert!((there + 0.5).abs() < 0.1, "{there}");
}

/// A limit of the step has the same problem and no such fix: do not limit a layer that has to leave zero.
#[test]
fn a_limit_of_the_step_holds_tiny_weights() {
    let luc = Some(Luc { trust: 0.02, ..Luc::DEFAULT });
    let sgd = Sgd::new(SgdConfig { luc, ..SgdConfig::DEFAULT }).unwrap();
    assert!(learn(&sgd, 1e-30, 1.0, 500)[0] < 0.01);
    assert!(learn(&sgd, 0.0, 1.0, 2)[0] > 0.05);
}
