//! A decoupled decay larger than the weights flips their sign. The ratio of the step is a ratio of norms: it must not
//! flip the sign of the step too.

use layerwise::{Adam, AdamConfig, AdamDecay, AdamState, LayerMemory};

#[test]
fn a_decay_that_turns_the_weights_does_not_turn_the_step() {
    let config = AdamConfig { decay_mode: AdamDecay::Decoupled, weight_decay: 1.0, ..AdamConfig::TIMM_LAMB };
    let lamb = Adam::new(config).unwrap();
    let (mut weights, mut momentum, mut second, mut state) = ([1.0], [0.0], [0.0], AdamState::default());
    let layer = LayerMemory::new(&mut weights, &[1.0], &mut state).momentum(&mut momentum).second_moment(&mut second);
    let report = lamb.step_layer(3.0, layer).unwrap();
    // The weight after its decay is -2, and the ratio scales a step of norm 1 to norm 2: -2 - 3·2.
    assert!((report.effective_rate - 6.0).abs() < 1e-4, "{report:?}");
    assert!((weights[0] + 8.0).abs() < 1e-3, "{weights:?}");
}
