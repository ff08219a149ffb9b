//! The optimizer of a recipe.

use super::optimizer::{AnyOptimizer, Optimizer};
use crate::rules::recipe::Training;

impl Training {
    /// The optimizer, with its policy for whole steps: the global clip, and [`SkipStep`](crate::NonFinite::SkipStep) if
    /// there is a loss scale.
    pub fn optimizer(&self) -> AnyOptimizer {
        let mut optimizer = Optimizer::from_rule(self.rule);
        optimizer.policy = self.policy;
        optimizer
    }
}
