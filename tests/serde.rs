//! Configurations and state as text.

#![cfg(feature = "serde")]

#[path = "harness/text.rs"]
mod text;

use layerwise::{
    AdamConfig, AdamDecay, AdamState, DecayMode, GradientAveraging, LarcConfig, LarcMode, LayerConfig, LayerSpan, Luc,
    NonFinite, NovoGradConfig, NovoGradState, Policy, SgdConfig, SgdState, TrustRatio, VInit,
};
use text::{error, there_and_back};

#[test]
fn the_fragments_of_the_openseq2seq_page_parse_as_they_stand() {
    let larc: LarcConfig = serde_json::from_str(r#"{"larc_eta": 0.002}"#).unwrap();
    assert_eq!(larc, LarcConfig::DEFAULT);

    let text = r#"{"beta1": 0.95, "beta2": 0.98, "epsilon": 1e-08, "weight_decay": 0.001}"#;
    let novograd: NovoGradConfig = serde_json::from_str(text).unwrap();
    assert_eq!(novograd, NovoGradConfig { weight_decay: 0.001, ..NovoGradConfig::DEFAULT });
}

#[test]
fn words_of_openseq2seq_s_own_configurations_parse() {
    let text = r#"{"beta1": 0.95, "beta2": 0.98, "epsilon": 1e-08, "weight_decay": 0.001, "grad_averaging": false}"#;
    let novograd: NovoGradConfig = serde_json::from_str(text).unwrap();
    assert_eq!(novograd, NovoGradConfig { weight_decay: 0.001, ..NovoGradConfig::DEFAULT });
    for (text, averaging) in [
        (r#"{"grad_averaging": true}"#, GradientAveraging::On),
        (r#"{"gradient_averaging": false}"#, GradientAveraging::Off),
        (r#"{"grad_averaging": "after_first_step"}"#, GradientAveraging::AfterFirstStep),
        (r#"{"gradient_averaging": "on"}"#, GradientAveraging::On),
    ] {
        let novograd: NovoGradConfig = serde_json::from_str(text).unwrap();
        assert_eq!(novograd.gradient_averaging, averaging, "{text}");
    }
    assert!(error::<NovoGradConfig>(r#"{"grad_averaging": "sometimes"}"#).contains("`sometimes`"));
    assert!(error::<NovoGradConfig>(r#"{"grad_averaging": 1}"#).contains("expected true, false, \"off\""));
    let momentum: SgdConfig = serde_json::from_str(r#"{"momentum": 0.9, "use_nesterov": true}"#).unwrap();
    assert_eq!(momentum, SgdConfig { momentum: 0.9, nesterov: true, ..SgdConfig::DEFAULT });
}

#[test]
fn all_of_openseq2seq_s_larc_params_parse() {
    let text = r#"{"larc_eta": 0.001, "larc_mode": "scale", "min_update": 1e-7, "epsilon": 1e-7}"#;
    let larc: LarcConfig = serde_json::from_str(text).unwrap();
    let expected = LarcConfig { mode: LarcMode::Scale, eta: 0.001, min_update: 1e-7, eps: 1e-7, ..LarcConfig::DEFAULT };
    assert_eq!(larc, expected);
}

/// The only function of this name is the trait's, which checks what it reads.
#[test]
fn the_function_that_reads_a_type_checks_it() {
    use layerwise::schedule::{Backoff, PolyDecay};
    use serde::Deserialize;
    use serde_json::json;

    assert!(SgdConfig::deserialize(json!({"momentum": 0.9})).is_ok());
    assert!(SgdConfig::deserialize(json!({"momentum": 1.5})).is_err());
    assert!(LarcConfig::deserialize(json!({"larc_eta": -1.0})).is_err());
    assert!(NovoGradConfig::deserialize(json!({"beta1": 1.5})).is_err());
    assert!(NovoGradState::deserialize(json!({"second_moment": -1, "max_second_moment": 0, "steps": 1})).is_err());
    assert!(AdamConfig::deserialize(json!({"beta2": 1.0})).is_err());
    assert!(LayerConfig::deserialize(json!({"rate": -1})).is_err());
    assert!(Policy::deserialize(json!({"clip_norm": -1})).is_err());
    assert!(Backoff::deserialize(json!({"step_factor": 1.0})).is_err());
    assert!(PolyDecay::deserialize(json!({"learning_rate": -1.0})).is_err());
}

#[test]
fn unknown_keys_are_errors() {
    assert!(error::<LarcConfig>(r#"{"larc_etta": 0.1}"#).contains("larc_etta"));
    assert!(error::<NovoGradConfig>(r#"{"beta3": 0.1}"#).contains("beta3"));
    assert!(error::<AdamConfig>(r#"{"amsgrad": true}"#).contains("amsgrad"));
    assert!(error::<AdamConfig>(r#"{"trust_ratio": {"clip": 1}}"#).contains("`clip`"));
    assert!(error::<AdamState>(r#"{"steps": 1, "v": 1}"#).contains("`v`"));
    assert!(error::<SgdConfig>(r#"{"lr": 0.1}"#).contains("lr"));
    assert!(error::<SgdConfig>(r#"{"larc": {"eta": 0.1, "clip": true}}"#).contains("clip"));
    assert!(error::<NovoGradConfig>(r#"{"luc": {"trust": 0.1, "e": 1}}"#).contains("`e`"));
    assert!(
        error::<NovoGradState>(r#"{"second_moment": 0, "max_second_moment": 0, "steps": 0, "v": 1}"#).contains("`v`")
    );
}

#[test]
fn values_outside_their_range_are_errors() {
    assert!(error::<LarcConfig>(r#"{"larc_eta": -1}"#).contains("larc.eta is -1, but must be finite and > 0"));
    assert!(error::<LarcConfig>(r#"{"larc_eta": 0}"#).contains("larc.eta"));
    assert!(error::<SgdConfig>(r#"{"momentum": 1}"#).contains("momentum is 1, but must be >= 0 and < 1"));
    assert!(error::<SgdConfig>(r#"{"larc": {"larc_eta": 0}}"#).contains("larc.eta"));
    assert!(error::<NovoGradConfig>(r#"{"beta2": 1.5}"#).contains("beta2"));
    assert!(error::<NovoGradConfig>(r#"{"luc": {"trust": 0}}"#).contains("luc.trust"));
    assert!(error::<NovoGradConfig>(r#"{"larc": {}, "norm": "max"}"#).contains("larc is 0.002"));
    assert!(error::<AdamConfig>(r#"{"beta1": 1}"#).contains("beta1 is 1"));
    assert!(error::<AdamConfig>(r#"{"trust_ratio": {"max_ratio": 0}}"#).contains("trust_ratio.max_ratio is 0"));
    assert!(error::<AdamConfig>(r#"{"larc": {"eta": 0}}"#).contains("larc.eta"));
    assert!(error::<SgdConfig>(r#"{"luc": {"trust": -1}}"#).contains("luc.trust is -1"));
}

/// So they are where a part of the settings is stored alone.
#[test]
fn values_of_parts_outside_their_range_are_errors() {
    assert!(error::<Luc>(r#"{"trust": -1}"#).contains("luc.trust is -1, but must be finite and > 0"));
    assert!(error::<Luc>(r#"{"eps": "inf"}"#).contains("luc.eps is inf"));
    assert!(error::<TrustRatio>(r#"{"max_ratio": 0}"#).contains("trust_ratio.max_ratio is 0"));
    assert!(error::<TrustRatio>(r#"{"eps": -1}"#).contains("trust_ratio.eps is -1"));
    for text in [r#"{"corrected": {"max_rate": 0}}"#, r#"{"corrected": {"max_rate": -0.0}}"#] {
        assert!(error::<DecayMode>(text).contains("but must be finite and > 0"));
        assert!(error::<AdamDecay>(text).contains("decay_mode.max_rate is "));
    }
    there_and_back(Luc::NEMO);
    there_and_back(TrustRatio { max_ratio: Some(0.1), ..TrustRatio::DEFAULT });
    there_and_back([DecayMode::Fixed, DecayMode::Corrected { max_rate: 0.1 }]);
    there_and_back([AdamDecay::InUpdate, AdamDecay::Corrected { max_rate: 0.1 }]);
}

#[test]
fn short_numbers_are_numbers_and_long_ones_are_text() {
    let json = |rate| serde_json::to_string(&LayerConfig { rate, ..LayerConfig::DEFAULT }).unwrap();
    assert_eq!(json(0.1), r#"{"adapt":true,"rate":0.1,"decay":1.0,"frozen":false}"#);
    assert_eq!(json(1.0 / 3.0), r#"{"adapt":true,"rate":"0.3333333333333333","decay":1.0,"frozen":false}"#);
    // Both forms can be read; only one is written.
    let read = |rate| serde_json::from_str::<LayerConfig>(&format!(r#"{{"rate": {rate}}}"#)).map(|config| config.rate);
    for (text, number) in [("2", 2.0), ("0.1", 0.1), (r#""0.1""#, 0.1), (r#""2e-3""#, 0.002), ("2E-3", 0.002)] {
        assert_eq!(read(text).unwrap(), number);
    }
    for wrong in [r#""fast""#, r#""""#, "true", "null", "[1]", "-1", r#""-1""#, r#""NaN""#, r#""inf""#] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn everything_survives_saving() {
    there_and_back(LarcConfig::OPENSEQ2SEQ);
    there_and_back(LarcConfig::OPTAX);
    there_and_back(LarcConfig::APEX);
    there_and_back(SgdConfig::TIMM_LARS);
    there_and_back(SgdConfig::DEFAULT);
    there_and_back(NovoGradConfig::APEX);
    there_and_back(NovoGradConfig {
        luc: Some(Luc::NEMO),
        decay_mode: DecayMode::Corrected { max_rate: 0.1 },
        v_init: VInit::Zero,
        ..NovoGradConfig::DEFAULT
    });
    there_and_back(NovoGradConfig::OPENSEQ2SEQ_LARC);
    there_and_back(SgdConfig { luc: Some(Luc::NEMO), starts_at_gradient: true, ..SgdConfig::DEFAULT });
    for config in [AdamConfig::DEFAULT, AdamConfig::TENSORFLOW, AdamConfig::PYTORCH_OPTIMIZER_LAMB] {
        there_and_back(config);
    }
    there_and_back(AdamConfig {
        decay_mode: AdamDecay::Corrected { max_rate: 0.1 },
        trust_ratio: Some(TrustRatio { max_ratio: Some(0.1), ..TrustRatio::DEFAULT }),
        larc: Some(LarcConfig::APEX),
        luc: Some(Luc::NEMO),
        ..AdamConfig::TIMM_LAMB
    });
    there_and_back(AdamState { steps: 7 });
    there_and_back(LayerConfig::PLAIN);
    there_and_back(LayerSpan::new(3, 5).config(LayerConfig::FROZEN));
    there_and_back(Policy { non_finite: NonFinite::SkipStep, clip_norm: Some(0.1) });
    there_and_back(Policy::DEFAULT);
    there_and_back(SgdState { steps: 7 });
    there_and_back(NovoGradState { second_moment: 0.1 + 0.2, max_second_moment: 1e300, steps: 3 });
}
