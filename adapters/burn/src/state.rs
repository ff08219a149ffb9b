//! What is remembered of a parameter, and its form in burn's records.

use burn::optim::{RecordState, StateSink, StateSource};
use burn::tensor::{DType, Device, Tensor};
use layerwise::rule::Moments;

/// What is remembered of a parameter: the moments that the rule keeps, and three numbers of the rule.
#[derive(Clone, Debug)]
pub struct State<const D: usize> {
    pub(crate) moments: [Option<Tensor<D>>; 2],
    pub(crate) rule: [f64; 3],
}

/// The names in a record.
const MOMENTS: [&str; 2] = ["momentum", "second_moment"];
const RULE: [&str; 3] = ["rule_0", "rule_1", "rule_2"];
/// How many moments there are, so that one that is lost is noticed.
const COUNT: &str = "moments";

impl<const D: usize> State<D> {
    /// The state before the first step of this parameter.
    pub(crate) fn zeros(parameter: &Tensor<D>, moments: Moments) -> Self {
        let zeros = |at_least| (moments >= at_least).then(|| parameter.zeros_like());
        State { moments: [Moments::First, Moments::FirstAndSecond].map(zeros), rule: [0.0; 3] }
    }
}

// By hand, for the code that `derive(RecordState)` of burn 0.22.1 makes compiles in burn-optim only.
impl<const D: usize> RecordState for State<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        for (name, moment) in MOMENTS.iter().zip(&self.moments) {
            if let Some(moment) = moment {
                out.push_tensor(prefix, name, moment.to_data());
            }
        }
        for (name, number) in RULE.iter().zip(self.rule) {
            out.push_scalar(prefix, name, number.into());
        }
        out.push_scalar(prefix, COUNT, self.moments.iter().flatten().count().into());
    }

    fn state_unflatten(prefix: &str, src: &mut StateSource, device: &Device) -> Option<Self> {
        let mut rule = [0.0; 3];
        for (number, name) in rule.iter_mut().zip(RULE) {
            *number = src.take_scalar(prefix, name)?.try_into().ok()?;
        }
        // Not of the type that floats have by default on this device, which would round.
        let moments =
            MOMENTS.map(|name| src.take_tensor(prefix, name).map(|data| Tensor::from_data(data, (device, DType::F32))));
        let count = usize::try_from(src.take_scalar(prefix, COUNT)?).ok()?;
        (moments.iter().flatten().count() == count).then_some(State { moments, rule })
    }
}
