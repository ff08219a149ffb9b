//! The messages of errors and outcomes.

use layerwise::{Argument, Error, Larc, LarcConfig, LayerSpan, Layers, LayersError, Outcome};

/// An error says which argument of which layer is wrong, and how.
#[test]
fn errors_say_what_is_wrong() {
    let (layer, what) = (Some(3), Argument::Gradients);
    for (error, text) in [
        (Error::Length { layer, what, expected: 5, found: 4 }, "layer 3: gradients: 5 elements expected, 4 found"),
        (Error::LearningRate { layer, rate: -1.0 }, "layer 3: learning rate -1 is not a finite number >= 0"),
        (Error::LearningRate { layer: None, rate: f64::NAN }, "learning rate NaN is not a finite number >= 0"),
        (Error::GradientScale(0.0), "gradient scale 0 is out of range"),
        (Error::Decay { layer, decay: -2.0 }, "layer 3: weight decay -2 is not a finite number >= 0"),
        (Error::State { layer: None }, "the state cannot come from a step of this rule"),
        (Error::Layers { expected: 2, found: 1 }, "2 layers expected, 1 found"),
        (Error::OffLeaf { start: 7 }, "a chunk begins at element 7, which is not the beginning of a leaf of 1024"),
        (Error::StepNotSeen, "the rule needs the norm of the planned step: call `limit` first"),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn arguments_have_the_names_of_the_methods_that_take_them() {
    use Argument::{Copy, Gradients, Lower, Momentum, Norms, Reports, SecondMoment, States, Sum, Sums, Weights};
    let all = [Weights, Gradients, Momentum, SecondMoment, Lower, Copy, Sum, States, Norms, Reports, Sums];
    let names = all.map(|argument| argument.to_string()).join(" ");
    assert_eq!(names, "weights gradients momentum second_moment lower copy sum states norms reports sums of leaves");
}

#[test]
fn tables_of_layers_say_which_layer_does_not_fit() {
    let refusal = |spans: &[LayerSpan], len| Layers::new(spans, len).unwrap_err().to_string();
    let span = LayerSpan::new;
    assert_eq!(refusal(&[span(0, 3), span(2, 1)], 3), "layer 1 begins before the end of the one before it");
    assert_eq!(refusal(&[span(0, 3), span(4, 1)], 5), "there is a gap before layer 1");
    assert_eq!(refusal(&[span(0, 3)], 2), "layer 0 ends past the end of the buffer");
    assert_eq!(LayersError::Rate { layer: 2 }.to_string(), "the rate of layer 2 is not a finite number >= 0");
    assert_eq!(LayersError::Decay { layer: 2 }.to_string(), "the decay of layer 2 is not a finite number >= 0");
}

/// Each has its own message, which says whether the layer was changed.
#[test]
fn outcomes_say_what_happened() {
    let done = [Outcome::Applied, Outcome::Overflowed].map(|outcome| outcome.to_string());
    assert!(done.iter().all(|text| text.starts_with("applied")) && done[0] != done[1]);
    let skipped = [Outcome::NonFinite, Outcome::OutOfRange, Outcome::StepSkipped].map(|outcome| outcome.to_string());
    assert!(skipped.iter().all(|text| text.starts_with("skipped")));
    assert!(skipped[0] != skipped[1] && skipped[1] != skipped[2] && skipped[0] != skipped[2]);
    assert_eq!([Outcome::Frozen, Outcome::Absent].map(|outcome| outcome.to_string()), ["frozen", "took no part"]);
}

#[test]
fn settings_can_be_asked_for() {
    let larc = Larc::new(LarcConfig::APEX).unwrap();
    assert_eq!(*larc.config(), LarcConfig::APEX);
    let adam = layerwise::Adam::new(layerwise::AdamConfig::TORCH_ADAMW).unwrap();
    assert_eq!(*adam.config(), layerwise::AdamConfig::TORCH_ADAMW);
    let plain = layerwise::Sgd::new(layerwise::SgdConfig::DEFAULT).unwrap();
    assert_eq!((adam.momentum_len(7), plain.momentum_len(7)), (7, 0));
    let adapts = [0, 1, 2, 4].map(|rank| layerwise::LayerConfig::of_rank(rank).adapt);
    assert_eq!(adapts, [false, false, true, true]);
}

/// Arrays print their lengths, not their numbers.
#[test]
fn arrays_say_how_long_they_are() {
    let mut numbers = [1.0_f32; 1000];
    assert_eq!(format!("{:?}", layerwise::Floats::from(&numbers)), "1000 f32");
    assert_eq!(format!("{:?}", layerwise::FloatsMut::from(&mut numbers)), "1000 f32");
    #[cfg(feature = "half")]
    {
        assert_eq!(format!("{:?}", layerwise::Floats::from(&[half::bf16::ONE; 3])), "3 bf16");
        assert_eq!(format!("{:?}", layerwise::Floats::from(&[half::f16::ONE; 3])), "3 f16");
    }
}

#[test]
#[cfg(feature = "alloc")]
fn what_cannot_be_loaded_says_why() {
    use layerwise::LoadError;
    let sgd = layerwise::Sgd::new(layerwise::SgdConfig { momentum: 0.9, ..layerwise::SgdConfig::DEFAULT }).unwrap();
    let saved = sgd.memory([3]).to_bytes();
    let refusal = |lens: &[usize], bytes: &[u8]| sgd.memory(lens.iter().copied()).load(bytes).unwrap_err();
    assert_eq!(refusal(&[3, 1], &saved).to_string(), "2 layers expected, 1 were saved");
    let other = refusal(&[4], &saved);
    assert_eq!(other, LoadError::Layer { layer: 0 });
    assert!(other.to_string().starts_with("layer 0 was saved with another length"));
    assert_eq!(LoadError::State { layer: 1 }.to_string(), "the saved state of layer 1 is not one of this rule");
}
