//! The optimizer's settings in a file, as JSON in its metadata. They are written once: everything that changes from
//! step to step is in tensors, because metadata cannot grow in place.

use crate::error::Error;
use layerwise::rule::{AdamRule, NovoGradRule, Rule, SgdRule};
use layerwise::{
    Adam, AdamConfig, AnyOptimizer, AnyRule, LayerConfig, NovoGrad, NovoGradConfig, Optimizer, Policy, Sgd, SgdConfig,
};
use serde::{Deserialize, Serialize};
use std::any::Any;

/// The format version of files.
const VERSION: u32 = 1;

/// The optimizer and its layers, in their order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The format version of the file.
    version: u32,
    /// `None` for a custom rule.
    rule: Option<RuleSettings>,
    policy: Policy,
    pub(crate) layers: Vec<LayerSettings>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RuleSettings {
    Sgd(SgdConfig),
    NovoGrad(NovoGradConfig),
    Adam(AdamConfig),
}

/// A layer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LayerSettings {
    pub(crate) name: String,
    pub(crate) config: LayerConfig,
}

impl Settings {
    pub(crate) fn new<R: Rule + 'static>(optimizer: &Optimizer<R>, layers: Vec<LayerSettings>) -> Self {
        Settings { version: VERSION, rule: RuleSettings::of(optimizer.rule()), policy: *optimizer.policy(), layers }
    }

    /// Reads the settings of a file of this version.
    pub(crate) fn read(json: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct OfVersion {
            version: u32,
        }
        // Another version may have other fields.
        let OfVersion { version } = serde_json::from_str(json).map_err(Error::Settings)?;
        if version == VERSION { serde_json::from_str(json).map_err(Error::Settings) } else { Err(Error::NoState) }
    }

    /// The optimizer that was saved.
    pub(crate) fn optimizer(&self) -> Result<AnyOptimizer, Error> {
        let optimizer = match self.rule.as_ref().ok_or(Error::NoRule)? {
            RuleSettings::Sgd(config) => Sgd::new(*config).map(Optimizer::any),
            RuleSettings::NovoGrad(config) => NovoGrad::new(*config).map(Optimizer::any),
            RuleSettings::Adam(config) => Adam::new(*config).map(Optimizer::any),
        };
        optimizer.and_then(|optimizer| optimizer.with_policy(self.policy)).map_err(Error::Config)
    }
}

impl RuleSettings {
    /// The settings of a rule of `layerwise`.
    fn of(rule: &dyn Any) -> Option<Self> {
        let rule = (rule.downcast_ref::<AnyRule>().copied())
            .or_else(|| rule.downcast_ref::<SgdRule>().map(|rule| (*rule).into()))
            .or_else(|| rule.downcast_ref::<NovoGradRule>().map(|rule| (*rule).into()))
            .or_else(|| rule.downcast_ref::<AdamRule>().map(|rule| (*rule).into()))?;
        match rule {
            AnyRule::Sgd(rule) => Some(RuleSettings::Sgd(*rule.config())),
            AnyRule::NovoGrad(rule) => Some(RuleSettings::NovoGrad(*rule.config())),
            AnyRule::Adam(rule) => Some(RuleSettings::Adam(*rule.config())),
            _ => None,
        }
    }
}
