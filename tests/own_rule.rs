//! A host's own rule with only the required items: no state, no limit, and its gradients may be clipped.

use layerwise::rule::{Moments, Needs, Norms, Plan, Rule, StepNorm, Update};
use layerwise::{LayerConfig, LayerMemory, Optimizer, Policy};

/// Gradient descent.
struct Descent {
    needs: Needs,
}

impl Rule for Descent {
    type State = ();
    const MOMENTS: Moments = Moments::None;

    fn needs(&self, _: &LayerConfig) -> Needs {
        self.needs
    }

    fn plan(&self, lr: f64, _: &LayerConfig, _: &Norms, (): ()) -> (Plan, ()) {
        (Plan::new(Update { gradient: 1.0, direct: lr, ..Update::ZERO }, lr), ())
    }
}

/// The weights of 3 after a step with gradients of 4 and 3.
fn stepped(optimizer: &Optimizer<Descent>) -> [f32; 2] {
    let mut weights = [3.0; 2];
    optimizer.step_layer(0.5, LayerMemory::new(&mut weights, &[4.0, 3.0], &mut ())).unwrap();
    weights
}

#[test]
fn a_rule_without_more_is_one() {
    let optimizer = Optimizer::from_rule(Descent { needs: Needs::GRADIENT });
    assert_eq!(stepped(&optimizer), [1.0, 1.5]);
    // The rule needs the norm of the step, but does not limit it.
    let looks = Optimizer::from_rule(Descent { needs: Needs::GRADIENT.step(StepNorm::Step) });
    assert_eq!(stepped(&looks), [1.0, 1.5]);
    // A gradient of norm 5 is clipped to 2.5.
    let clips = optimizer.with_policy(Policy { clip_norm: Some(2.5), ..Policy::DEFAULT }).unwrap();
    assert_eq!(stepped(&clips), [2.0, 2.25]);
}

/// An empty state can be saved and loaded, and other states are refused.
#[test]
#[cfg(feature = "alloc")]
fn a_rule_without_state_is_saved() {
    use layerwise::{LoadError, Memory, Sgd, SgdConfig};
    let saved = Optimizer::from_rule(Descent { needs: Needs::GRADIENT }).memory([3, 0]).to_bytes();
    assert_eq!(Memory::<()>::from_bytes(&saved).unwrap().len(), 2);
    let sgd = Sgd::new(SgdConfig::DEFAULT).unwrap();
    let mut memory = sgd.memory([2]);
    memory.step(&sgd, 0.1, [(&mut [1.0_f32; 2], &[1.0_f32; 2])]).unwrap();
    assert_eq!(Memory::<()>::from_bytes(&memory.to_bytes()).unwrap_err(), LoadError::State { layer: 0 });
}
