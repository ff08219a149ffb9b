//! Settings that reproduce other systems. `tests/golden` compares each with a recorded run of that system or, if there
//! is none, with a transcription of its source.

use super::adam::{AdamConfig, AdamCorrection, AdamDecay, TrustRatio};
use super::larc::{DecayInRatio, LarcConfig, LarcMode, ZeroNorm};
use super::limit::Luc;
use super::novograd::{BiasCorrection, GradientAveraging, NovoGradConfig, VInit};
use super::sgd::SgdConfig;

impl LarcConfig {
    /// NVIDIA OpenSeq2Seq, `larc_params` with its defaults: a floor of 1e-7 under the factor, and no plain step for
    /// layers of zeros. The trust coefficient has no default there; this one is from its page "Optimizers".
    ///
    /// ```
    /// use layerwise::settings::{DecayInRatio, ZeroNorm};
    /// use layerwise::LarcConfig;
    ///
    /// let settings = LarcConfig {
    ///     eps: 1e-7,
    ///     min_update: 1e-7,
    ///     zero_norm: ZeroNorm::Formula,
    ///     decay_in_ratio: DecayInRatio::No,
    ///     ..LarcConfig::DEFAULT
    /// };
    /// assert_eq!(LarcConfig::OPENSEQ2SEQ, settings);
    /// ```
    pub const OPENSEQ2SEQ: LarcConfig = LarcConfig {
        eps: 1e-7,
        min_update: 1e-7,
        zero_norm: ZeroNorm::Formula,
        decay_in_ratio: DecayInRatio::No,
        ..LarcConfig::DEFAULT
    };

    /// NVIDIA apex, `apex.parallel.LARC`.
    ///
    /// ```
    /// use layerwise::settings::ZeroNorm;
    /// use layerwise::LarcConfig;
    ///
    /// let settings = LarcConfig {
    ///     eta: 0.02,
    ///     zero_norm: ZeroNorm::PlainStepWithoutDecay,
    ///     ..LarcConfig::DEFAULT
    /// };
    /// assert_eq!(LarcConfig::APEX, settings);
    /// ```
    pub const APEX: LarcConfig =
        LarcConfig { eta: 0.02, zero_norm: ZeroNorm::PlainStepWithoutDecay, ..LarcConfig::DEFAULT };

    /// timm, `Lars`; with `trust_clip` set [`mode`](LarcConfig::mode) to [`LarcMode::Clip`], with `always_adapt` set
    /// [`only_with_decay`](LarcConfig::only_with_decay) to `false`. Without `always_adapt` it adapts no layer whose
    /// weight decay is 0, here as in timm: set [`weight_decay`](SgdConfig::weight_decay), whose default is 0.
    ///
    /// ```
    /// use layerwise::settings::LarcMode;
    /// use layerwise::LarcConfig;
    ///
    /// let settings = LarcConfig {
    ///     mode: LarcMode::Scale,
    ///     eta: 0.001,
    ///     only_with_decay: true,
    ///     ..LarcConfig::DEFAULT
    /// };
    /// assert_eq!(LarcConfig::TIMM, settings);
    /// ```
    pub const TIMM: LarcConfig =
        LarcConfig { mode: LarcMode::Scale, eta: 0.001, only_with_decay: true, ..LarcConfig::DEFAULT };

    /// Lightning Bolts, `LARS`.
    ///
    /// ```
    /// use layerwise::settings::ZeroNorm;
    /// use layerwise::LarcConfig;
    ///
    /// let settings = LarcConfig { zero_norm: ZeroNorm::PlainStepWithoutDecay, ..LarcConfig::TIMM };
    /// assert_eq!(LarcConfig::BOLTS, settings);
    /// ```
    pub const BOLTS: LarcConfig = LarcConfig { zero_norm: ZeroNorm::PlainStepWithoutDecay, ..LarcConfig::TIMM };

    /// pytorch_optimizer 4, `LARS`, for parameters of two and more dimensions; it leaves vectors alone
    /// ([`LayerConfig::PLAIN`](crate::LayerConfig::PLAIN)).
    ///
    /// ```
    /// use layerwise::settings::{LarcMode, ZeroNorm};
    /// use layerwise::LarcConfig;
    ///
    /// let settings = LarcConfig {
    ///     mode: LarcMode::Scale,
    ///     eta: 0.001,
    ///     eps: 0.0,
    ///     zero_norm: ZeroNorm::PlainStepUnlessDecaying,
    ///     ..LarcConfig::DEFAULT
    /// };
    /// assert_eq!(LarcConfig::PYTORCH_OPTIMIZER, settings);
    /// ```
    pub const PYTORCH_OPTIMIZER: LarcConfig = LarcConfig {
        mode: LarcMode::Scale,
        eta: 0.001,
        eps: 0.0,
        zero_norm: ZeroNorm::PlainStepUnlessDecaying,
        ..LarcConfig::DEFAULT
    };

    /// pytorch_optimizer 3, `LARS`, for parameters of two and more dimensions.
    ///
    /// ```
    /// use layerwise::settings::{DecayInRatio, LarcMode};
    /// use layerwise::LarcConfig;
    ///
    /// let settings = LarcConfig {
    ///     mode: LarcMode::Scale,
    ///     eta: 0.001,
    ///     eps: 0.0,
    ///     decay_in_ratio: DecayInRatio::No,
    ///     ..LarcConfig::DEFAULT
    /// };
    /// assert_eq!(LarcConfig::PYTORCH_OPTIMIZER_3, settings);
    /// ```
    pub const PYTORCH_OPTIMIZER_3: LarcConfig = LarcConfig {
        mode: LarcMode::Scale,
        eta: 0.001,
        eps: 0.0,
        decay_in_ratio: DecayInRatio::No,
        ..LarcConfig::DEFAULT
    };

    /// optax, `lars` and `scale_by_trust_ratio` (whose trust coefficient is 1 by default).
    ///
    /// ```
    /// use layerwise::settings::{DecayInRatio, LarcMode};
    /// use layerwise::LarcConfig;
    ///
    /// let settings = LarcConfig {
    ///     mode: LarcMode::Scale,
    ///     eta: 0.001,
    ///     eps: 0.0,
    ///     decay_in_ratio: DecayInRatio::NormOfSum,
    ///     ..LarcConfig::DEFAULT
    /// };
    /// assert_eq!(LarcConfig::OPTAX, settings);
    /// ```
    pub const OPTAX: LarcConfig = LarcConfig {
        mode: LarcMode::Scale,
        eta: 0.001,
        eps: 0.0,
        decay_in_ratio: DecayInRatio::NormOfSum,
        ..LarcConfig::DEFAULT
    };

    /// The LARS paper, equation 6.
    ///
    /// ```
    /// use layerwise::settings::LarcMode;
    /// use layerwise::LarcConfig;
    ///
    /// let settings = LarcConfig { mode: LarcMode::Scale, eta: 0.001, eps: 0.0, ..LarcConfig::DEFAULT };
    /// assert_eq!(LarcConfig::LARS_PAPER, settings);
    /// ```
    pub const LARS_PAPER: LarcConfig =
        LarcConfig { mode: LarcMode::Scale, eta: 0.001, eps: 0.0, ..LarcConfig::DEFAULT };
}

impl SgdConfig {
    /// timm, `Lars`: momentum 0.9, as timm's training script has it (its class has 0), with [`LarcConfig::TIMM`]. Set
    /// [`weight_decay`](SgdConfig::weight_decay) too, or no layer is adapted.
    ///
    /// ```
    /// use layerwise::{LarcConfig, SgdConfig};
    ///
    /// let settings = SgdConfig { momentum: 0.9, larc: Some(LarcConfig::TIMM), ..SgdConfig::DEFAULT };
    /// assert_eq!(SgdConfig::TIMM_LARS, settings);
    /// ```
    pub const TIMM_LARS: SgdConfig = SgdConfig { momentum: 0.9, larc: Some(LarcConfig::TIMM), ..SgdConfig::DEFAULT };

    /// Lightning Bolts, `LARS`: no momentum, as its class has it, with [`LarcConfig::BOLTS`]. Set
    /// [`weight_decay`](SgdConfig::weight_decay) too, or no layer is adapted.
    ///
    /// ```
    /// use layerwise::{LarcConfig, SgdConfig};
    ///
    /// let settings = SgdConfig { larc: Some(LarcConfig::BOLTS), ..SgdConfig::DEFAULT };
    /// assert_eq!(SgdConfig::BOLTS_LARS, settings);
    /// ```
    pub const BOLTS_LARS: SgdConfig = SgdConfig { larc: Some(LarcConfig::BOLTS), ..SgdConfig::DEFAULT };

    /// pytorch_optimizer 4, `LARS`: momentum 0.9 that starts at zero, with [`LarcConfig::PYTORCH_OPTIMIZER`].
    ///
    /// ```
    /// use layerwise::{LarcConfig, SgdConfig};
    ///
    /// let settings = SgdConfig {
    ///     momentum: 0.9,
    ///     dampen_first_step: true,
    ///     larc: Some(LarcConfig::PYTORCH_OPTIMIZER),
    ///     ..SgdConfig::DEFAULT
    /// };
    /// assert_eq!(SgdConfig::PYTORCH_OPTIMIZER_LARS, settings);
    /// ```
    pub const PYTORCH_OPTIMIZER_LARS: SgdConfig = SgdConfig {
        momentum: 0.9,
        dampen_first_step: true,
        larc: Some(LarcConfig::PYTORCH_OPTIMIZER),
        ..SgdConfig::DEFAULT
    };

    /// pytorch_optimizer 3, `LARS`: momentum 0.9 that starts at the first gradient, with
    /// [`LarcConfig::PYTORCH_OPTIMIZER_3`].
    ///
    /// ```
    /// use layerwise::{LarcConfig, SgdConfig};
    ///
    /// let settings = SgdConfig {
    ///     larc: Some(LarcConfig::PYTORCH_OPTIMIZER_3),
    ///     starts_at_gradient: true,
    ///     ..SgdConfig::PYTORCH_OPTIMIZER_LARS
    /// };
    /// assert_eq!(SgdConfig::PYTORCH_OPTIMIZER_3_LARS, settings);
    /// ```
    pub const PYTORCH_OPTIMIZER_3_LARS: SgdConfig = SgdConfig {
        larc: Some(LarcConfig::PYTORCH_OPTIMIZER_3),
        starts_at_gradient: true,
        ..SgdConfig::PYTORCH_OPTIMIZER_LARS
    };

    /// optax, `lars`: momentum 0.9 with the learning rate inside, and [`LarcConfig::OPTAX`].
    ///
    /// ```
    /// use layerwise::{LarcConfig, SgdConfig};
    ///
    /// let settings = SgdConfig {
    ///     momentum: 0.9,
    ///     rate_in_momentum: true,
    ///     larc: Some(LarcConfig::OPTAX),
    ///     ..SgdConfig::DEFAULT
    /// };
    /// assert_eq!(SgdConfig::OPTAX_LARS, settings);
    /// ```
    pub const OPTAX_LARS: SgdConfig =
        SgdConfig { momentum: 0.9, rate_in_momentum: true, larc: Some(LarcConfig::OPTAX), ..SgdConfig::DEFAULT };

    /// The LARS paper, algorithm 1: momentum 0.9 with the learning rate inside, weight decay 0.0005.
    ///
    /// ```
    /// use layerwise::{LarcConfig, SgdConfig};
    ///
    /// let settings = SgdConfig {
    ///     momentum: 0.9,
    ///     weight_decay: 0.0005,
    ///     rate_in_momentum: true,
    ///     larc: Some(LarcConfig::LARS_PAPER),
    ///     ..SgdConfig::DEFAULT
    /// };
    /// assert_eq!(SgdConfig::LARS_PAPER, settings);
    /// ```
    pub const LARS_PAPER: SgdConfig = SgdConfig {
        momentum: 0.9,
        weight_decay: 0.0005,
        rate_in_momentum: true,
        larc: Some(LarcConfig::LARS_PAPER),
        ..SgdConfig::DEFAULT
    };
}

impl Luc {
    /// NeMo's settings: a layer of zeros always stays zero.
    ///
    /// ```
    /// use layerwise::settings::Luc;
    ///
    /// let settings = Luc { freezes_zeros: true, ..Luc::DEFAULT };
    /// assert_eq!(Luc::NEMO, settings);
    /// ```
    pub const NEMO: Luc = Luc { freezes_zeros: true, ..Luc::DEFAULT };
}

impl NovoGradConfig {
    /// NVIDIA OpenSeq2Seq, `NovoGrad` as its code intends: epsilon under the root. (As executed, it never stores the
    /// second moment: set [`beta2`](NovoGradConfig::beta2) to 0 for that.)
    ///
    /// ```
    /// use layerwise::NovoGradConfig;
    ///
    /// let settings = NovoGradConfig { eps: 0.0, eps_root: 1e-8, ..NovoGradConfig::DEFAULT };
    /// assert_eq!(NovoGradConfig::OPENSEQ2SEQ, settings);
    /// ```
    pub const OPENSEQ2SEQ: NovoGradConfig = NovoGradConfig { eps: 0.0, eps_root: 1e-8, ..NovoGradConfig::DEFAULT };

    /// The same with `larc_params`: [`LarcConfig::OPENSEQ2SEQ`] in front. Its Jasper configurations set
    /// [`eta`](LarcConfig::eta) to 0.001.
    ///
    /// ```
    /// use layerwise::{LarcConfig, NovoGradConfig};
    ///
    /// let settings = NovoGradConfig { larc: Some(LarcConfig::OPENSEQ2SEQ), ..NovoGradConfig::OPENSEQ2SEQ };
    /// assert_eq!(NovoGradConfig::OPENSEQ2SEQ_LARC, settings);
    /// ```
    pub const OPENSEQ2SEQ_LARC: NovoGradConfig =
        NovoGradConfig { larc: Some(LarcConfig::OPENSEQ2SEQ), ..NovoGradConfig::OPENSEQ2SEQ };

    /// NVIDIA NeMo, `Novograd`, and DeepLearningExamples; with `luc` set [`luc`](NovoGradConfig::luc) to
    /// [`Luc::NEMO`].
    ///
    /// ```
    /// use layerwise::NovoGradConfig;
    ///
    /// assert_eq!(NovoGradConfig::NEMO, NovoGradConfig::DEFAULT);
    /// ```
    pub const NEMO: NovoGradConfig = NovoGradConfig::DEFAULT;

    /// timm, `NvNovoGrad`.
    ///
    /// ```
    /// use layerwise::NovoGradConfig;
    ///
    /// assert_eq!(NovoGradConfig::TIMM, NovoGradConfig::DEFAULT);
    /// ```
    pub const TIMM: NovoGradConfig = NovoGradConfig::DEFAULT;

    /// optax, `novograd`.
    ///
    /// ```
    /// use layerwise::settings::VInit;
    /// use layerwise::NovoGradConfig;
    ///
    /// let settings = NovoGradConfig {
    ///     beta1: 0.9,
    ///     beta2: 0.25,
    ///     eps: 1e-6,
    ///     v_init: VInit::FirstStep,
    ///     ..NovoGradConfig::DEFAULT
    /// };
    /// assert_eq!(NovoGradConfig::OPTAX, settings);
    /// ```
    pub const OPTAX: NovoGradConfig =
        NovoGradConfig { beta1: 0.9, beta2: 0.25, eps: 1e-6, v_init: VInit::FirstStep, ..NovoGradConfig::DEFAULT };

    /// TensorFlow Addons, `NovoGrad`. It rounds betas and decay to `f32`: do the same to match it to the last digits.
    /// With `grad_averaging` set [`gradient_averaging`](NovoGradConfig::gradient_averaging) to
    /// [`GradientAveraging::AfterFirstStep`].
    ///
    /// ```
    /// use layerwise::settings::VInit;
    /// use layerwise::NovoGradConfig;
    ///
    /// let settings = NovoGradConfig {
    ///     beta1: 0.9,
    ///     beta2: 0.999,
    ///     eps: 1e-7,
    ///     v_init: VInit::FirstStep,
    ///     rate_in_momentum: true,
    ///     ..NovoGradConfig::DEFAULT
    /// };
    /// assert_eq!(NovoGradConfig::TFA, settings);
    /// ```
    pub const TFA: NovoGradConfig = NovoGradConfig {
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-7,
        v_init: VInit::FirstStep,
        rate_in_momentum: true,
        ..NovoGradConfig::DEFAULT
    };

    /// pytorch_optimizer 4, `NovoGrad`. With `grad_averaging` set
    /// [`gradient_averaging`](NovoGradConfig::gradient_averaging) to [`GradientAveraging::AfterFirstStep`], with
    /// `adam_debias` [`bias_correction`](NovoGradConfig::bias_correction) to [`BiasCorrection::StepSize`].
    ///
    /// ```
    /// use layerwise::settings::VInit;
    /// use layerwise::NovoGradConfig;
    ///
    /// let settings = NovoGradConfig { v_init: VInit::FirstStep, ..NovoGradConfig::DEFAULT };
    /// assert_eq!(NovoGradConfig::PYTORCH_OPTIMIZER, settings);
    /// ```
    pub const PYTORCH_OPTIMIZER: NovoGradConfig =
        NovoGradConfig { v_init: VInit::FirstStep, ..NovoGradConfig::DEFAULT };

    /// pytorch_optimizer 3, `NovoGrad`: the first step is longer, and the rate is corrected at every step. With
    /// `grad_averaging` set [`gradient_averaging`](NovoGradConfig::gradient_averaging) to [`GradientAveraging::On`],
    /// with `adam_debias` [`bias_correction`](NovoGradConfig::bias_correction) to [`BiasCorrection::StepSize`].
    ///
    /// ```
    /// use layerwise::settings::{BiasCorrection, VInit};
    /// use layerwise::NovoGradConfig;
    ///
    /// let settings = NovoGradConfig {
    ///     v_init: VInit::FirstStep,
    ///     starts_at_gradient: true,
    ///     bias_correction: BiasCorrection::Rate,
    ///     ..NovoGradConfig::DEFAULT
    /// };
    /// assert_eq!(NovoGradConfig::PYTORCH_OPTIMIZER_3, settings);
    /// ```
    pub const PYTORCH_OPTIMIZER_3: NovoGradConfig = NovoGradConfig {
        v_init: VInit::FirstStep,
        starts_at_gradient: true,
        bias_correction: BiasCorrection::Rate,
        ..NovoGradConfig::DEFAULT
    };

    /// NVIDIA apex, `FusedNovoGrad`. With `reg_inside_moment` set [`raw_momentum`](NovoGradConfig::raw_momentum) to
    /// `false`, with `init_zero` [`v_init`](NovoGradConfig::v_init) to [`VInit::Zero`], with `norm_type` 0
    /// [`norm`](NovoGradConfig::norm) to [`MomentNorm::Max`](crate::MomentNorm::Max). Its second moment is stored as a
    /// root.
    ///
    /// ```
    /// use layerwise::settings::{BiasCorrection, GradientAveraging, VInit};
    /// use layerwise::NovoGradConfig;
    ///
    /// let settings = NovoGradConfig {
    ///     beta1: 0.9,
    ///     beta2: 0.999,
    ///     v_init: VInit::FirstStep,
    ///     gradient_averaging: GradientAveraging::On,
    ///     bias_correction: BiasCorrection::Moments,
    ///     raw_momentum: true,
    ///     ..NovoGradConfig::DEFAULT
    /// };
    /// assert_eq!(NovoGradConfig::APEX, settings);
    /// ```
    pub const APEX: NovoGradConfig = NovoGradConfig {
        beta1: 0.9,
        beta2: 0.999,
        v_init: VInit::FirstStep,
        gradient_averaging: GradientAveraging::On,
        bias_correction: BiasCorrection::Moments,
        raw_momentum: true,
        ..NovoGradConfig::DEFAULT
    };
}

impl AdamConfig {
    /// torch, `Adam`: its weight decay is L2.
    ///
    /// ```
    /// use layerwise::settings::AdamDecay;
    /// use layerwise::AdamConfig;
    ///
    /// let settings = AdamConfig { decay_mode: AdamDecay::L2, ..AdamConfig::DEFAULT };
    /// assert_eq!(AdamConfig::TORCH_ADAM, settings);
    /// ```
    pub const TORCH_ADAM: AdamConfig = AdamConfig { decay_mode: AdamDecay::L2, ..AdamConfig::DEFAULT };

    /// torch, `AdamW`: decoupled decay of 0.01.
    ///
    /// ```
    /// use layerwise::AdamConfig;
    ///
    /// let settings = AdamConfig { weight_decay: 0.01, ..AdamConfig::DEFAULT };
    /// assert_eq!(AdamConfig::TORCH_ADAMW, settings);
    /// ```
    pub const TORCH_ADAMW: AdamConfig = AdamConfig { weight_decay: 0.01, ..AdamConfig::DEFAULT };

    /// TensorFlow, `tf.train.AdamOptimizer`, which adds eps before the correction. (Keras' eps is 1e-7.)
    ///
    /// ```
    /// use layerwise::settings::AdamCorrection;
    /// use layerwise::AdamConfig;
    ///
    /// let settings = AdamConfig { bias_correction: AdamCorrection::TensorFlow, ..AdamConfig::DEFAULT };
    /// assert_eq!(AdamConfig::TENSORFLOW, settings);
    /// ```
    pub const TENSORFLOW: AdamConfig =
        AdamConfig { bias_correction: AdamCorrection::TensorFlow, ..AdamConfig::DEFAULT };

    /// optax, `adam`.
    ///
    /// ```
    /// use layerwise::AdamConfig;
    ///
    /// assert_eq!(AdamConfig::OPTAX_ADAM, AdamConfig::DEFAULT);
    /// ```
    pub const OPTAX_ADAM: AdamConfig = AdamConfig::DEFAULT;

    /// optax, `adamw`: a decay of 0.0001 that is part of the step.
    ///
    /// ```
    /// use layerwise::settings::AdamDecay;
    /// use layerwise::AdamConfig;
    ///
    /// let settings = AdamConfig {
    ///     weight_decay: 1e-4,
    ///     decay_mode: AdamDecay::InUpdate,
    ///     ..AdamConfig::DEFAULT
    /// };
    /// assert_eq!(AdamConfig::OPTAX_ADAMW, settings);
    /// ```
    pub const OPTAX_ADAMW: AdamConfig =
        AdamConfig { weight_decay: 1e-4, decay_mode: AdamDecay::InUpdate, ..AdamConfig::DEFAULT };

    /// optax, `lamb`.
    ///
    /// ```
    /// use layerwise::settings::{AdamDecay, TrustRatio};
    /// use layerwise::AdamConfig;
    ///
    /// let settings = AdamConfig {
    ///     eps: 1e-6,
    ///     decay_mode: AdamDecay::InUpdate,
    ///     trust_ratio: Some(TrustRatio::DEFAULT),
    ///     ..AdamConfig::DEFAULT
    /// };
    /// assert_eq!(AdamConfig::OPTAX_LAMB, settings);
    /// ```
    pub const OPTAX_LAMB: AdamConfig = AdamConfig {
        eps: 1e-6,
        decay_mode: AdamDecay::InUpdate,
        trust_ratio: Some(TrustRatio::DEFAULT),
        ..AdamConfig::DEFAULT
    };

    /// timm, `Lamb`. Its `max_grad_norm` of 1 is [`clip_norm`](crate::Policy::clip_norm). With `trust_clip` set
    /// [`max_ratio`](TrustRatio::max_ratio) to 1, with `always_adapt` [`only_with_decay`](TrustRatio::only_with_decay)
    /// to `false`, with `decoupled_decay` [`decay_mode`](AdamConfig::decay_mode) to [`AdamDecay::Decoupled`].
    ///
    /// ```
    /// use layerwise::settings::TrustRatio;
    /// use layerwise::AdamConfig;
    ///
    /// let settings = AdamConfig {
    ///     weight_decay: 0.01,
    ///     trust_ratio: Some(TrustRatio { only_with_decay: true, ..TrustRatio::DEFAULT }),
    ///     ..AdamConfig::OPTAX_LAMB
    /// };
    /// assert_eq!(AdamConfig::TIMM_LAMB, settings);
    /// ```
    pub const TIMM_LAMB: AdamConfig = AdamConfig {
        weight_decay: 0.01,
        trust_ratio: Some(TrustRatio { only_with_decay: true, ..TrustRatio::DEFAULT }),
        ..AdamConfig::OPTAX_LAMB
    };

    /// NVIDIA apex, `FusedLAMB`. Its `max_grad_norm` of 1 is [`clip_norm`](crate::Policy::clip_norm). With `use_nvlamb`
    /// set [`only_with_decay`](TrustRatio::only_with_decay) to `false`, without `adam_w_mode`
    /// [`decay_mode`](AdamConfig::decay_mode) to [`AdamDecay::L2`].
    ///
    /// ```
    /// use layerwise::AdamConfig;
    ///
    /// assert_eq!(AdamConfig::APEX_LAMB, AdamConfig::TIMM_LAMB);
    /// ```
    pub const APEX_LAMB: AdamConfig = AdamConfig::TIMM_LAMB;

    /// pytorch_optimizer 4, `Lamb`. With `adam` set [`trust_ratio`](AdamConfig::trust_ratio) to `None`, with
    /// `adam_debias` [`bias_correction`](AdamConfig::bias_correction) to [`AdamCorrection::Off`], without
    /// `weight_decouple` [`decay_mode`](AdamConfig::decay_mode) to [`AdamDecay::InUpdate`], with `fixed_decay` to
    /// [`AdamDecay::Fixed`].
    ///
    /// ```
    /// use layerwise::settings::{AdamCorrection, TrustRatio};
    /// use layerwise::AdamConfig;
    ///
    /// let settings = AdamConfig {
    ///     eps: 1e-6,
    ///     bias_correction: AdamCorrection::Rate,
    ///     trust_ratio: Some(TrustRatio { eps: 1e-6, max_weights: Some(10.0), ..TrustRatio::DEFAULT }),
    ///     ..AdamConfig::DEFAULT
    /// };
    /// assert_eq!(AdamConfig::PYTORCH_OPTIMIZER_LAMB, settings);
    /// ```
    pub const PYTORCH_OPTIMIZER_LAMB: AdamConfig = AdamConfig {
        eps: 1e-6,
        bias_correction: AdamCorrection::Rate,
        trust_ratio: Some(TrustRatio { eps: 1e-6, max_weights: Some(10.0), ..TrustRatio::DEFAULT }),
        ..AdamConfig::DEFAULT
    };
}
