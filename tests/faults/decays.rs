//! Weight decay acts in several ways. All of them are a decay of the layer, and none of them is part of the step.

use layerwise::{
    Adam, AdamConfig, AdamDecay, AdamState, BiasCorrection, DecayMode, LarcConfig, LayerConfig, LayerMemory, NovoGrad,
    NovoGradConfig, NovoGradState, Report,
};

const WEIGHTS: [f32; 2] = [0.3, 0.4];
const GRADIENTS: [f32; 2] = [30.0, 40.0];

fn novograd(config: NovoGradConfig, layer: LayerConfig) -> ([f32; 2], Report) {
    let (mut weights, mut momentum, mut state) = (WEIGHTS, [0.0; 2], NovoGradState::default());
    let memory = LayerMemory::new(&mut weights, &GRADIENTS, &mut state).momentum(&mut momentum).config(layer);
    let report = NovoGrad::new(config).unwrap().step_layer(0.1, memory).unwrap();
    (weights, report)
}

fn adam(config: AdamConfig, layer: LayerConfig) -> Report {
    let (mut weights, mut momentum, mut second, mut state) = (WEIGHTS, [0.0; 2], [0.0; 2], AdamState::default());
    let memory = LayerMemory::new(&mut weights, &GRADIENTS, &mut state).momentum(&mut momentum);
    Adam::new(config).unwrap().step_layer(0.1, memory.second_moment(&mut second).config(layer)).unwrap()
}

/// LARC that is for layers with weight decay adapts them in front of any rule, and no others.
#[test]
fn layers_with_decay_are_adapted_in_whatever_way_it_acts() {
    let larc = Some(LarcConfig { only_with_decay: true, ..LarcConfig::DEFAULT });
    let without = LayerConfig { decay: 0.0, ..LayerConfig::DEFAULT };
    for decay_mode in [DecayMode::Coupled, DecayMode::Decoupled, DecayMode::Fixed] {
        let config = NovoGradConfig { larc, decay_mode, weight_decay: 0.1, ..NovoGradConfig::DEFAULT };
        assert!(novograd(config, LayerConfig::DEFAULT).1.clipped, "{decay_mode:?}");
        assert!(!novograd(config, without).1.clipped, "{decay_mode:?}");
    }
    for decay_mode in [AdamDecay::L2, AdamDecay::InUpdate, AdamDecay::Decoupled, AdamDecay::Fixed] {
        let config = AdamConfig { larc, decay_mode, weight_decay: 0.1, ..AdamConfig::DEFAULT };
        assert!(adam(config, LayerConfig::DEFAULT).clipped, "{decay_mode:?}");
        assert!(!adam(config, without).clipped, "{decay_mode:?}");
    }
}

/// A corrected rate is that of the step, not that of a decay beside it: `p.mul_(1 - lr·decay)` in pytorch_optimizer.
#[test]
fn a_decay_beside_the_step_goes_by_the_rate_as_it_is_given() {
    for bias_correction in [BiasCorrection::Off, BiasCorrection::StepSize, BiasCorrection::Rate] {
        for (decay_mode, shrink) in [
            (DecayMode::Decoupled, 0.1 * 0.5),
            (DecayMode::Corrected { max_rate: 0.4 }, 0.1 * 0.1 / 0.4 * 0.5),
            (DecayMode::Fixed, 0.5),
        ] {
            let plain = NovoGradConfig { bias_correction, decay_mode, ..NovoGradConfig::DEFAULT };
            let decaying = NovoGradConfig { weight_decay: 0.5, ..plain };
            let [(plain, _), (decayed, _)] = [plain, decaying].map(|config| novograd(config, LayerConfig::DEFAULT));
            for ((plain, decayed), weight) in plain.iter().zip(decayed).zip(WEIGHTS) {
                let found = (plain - decayed) / weight;
                assert!((found - shrink).abs() < 1e-6, "{bias_correction:?}, {decay_mode:?}: {found}");
            }
        }
    }
}
