//! Invalid arguments are refused with a clear message, before anything is written.

use super::*;
use layerwise::{LayerConfig, NonFinite, Policy};
use layerwise_burn::{Error, State};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The panic message of a call.
fn refusal<T>(call: impl FnOnce() -> T) -> String {
    let Err(panic) = catch_unwind(AssertUnwindSafe(call)) else { panic!("it was not refused") };
    *panic.downcast().expect("a message")
}

fn square(device: &Device) -> Tensor<2> {
    tensor(&numbers(0, 16), [4, 4], device)
}

#[test]
fn policies_of_whole_models_are_refused() {
    let clip = Policy { clip_norm: Some(1.0), ..Policy::DEFAULT };
    let skip = Policy { non_finite: NonFinite::SkipStep, ..Policy::DEFAULT };
    for policy in [clip, skip] {
        let optimizer = novograd().with_policy(policy).expect("a valid policy");
        let error = Layerwise::new(optimizer).err().expect("a refusal");
        assert_eq!(error, Error::Policy);
        assert!(error.to_string().contains("with_grad_clipping"));
    }
}

#[test]
fn gradient_scales_are_checked() {
    let handle = wrap(sgd()).handle();
    for scale in [0.0, -1.0, f64::INFINITY] {
        assert_eq!(handle.set_gradient_scale(scale), Err(Error::GradientScale(scale)));
    }
    assert!(handle.set_gradient_scale(f64::NAN).is_err());
    assert_eq!(handle.gradient_scale(), 1.0);
    assert_eq!((handle.set_gradient_scale(0.5), handle.gradient_scale()), (Ok(()), 0.5));
}

#[test]
fn rates_out_of_range_are_refused() {
    for device in devices() {
        for lr in [-0.1, f64::NAN, f64::INFINITY] {
            let message = refusal(|| first_step(&wrap(sgd()), lr, square(&device), square(&device)));
            assert!(message.contains("shape [4, 4]") && message.contains("rate"), "{message}");
        }
        let negative = LayerConfig { rate: -1.0, ..LayerConfig::DEFAULT };
        let optimizer = wrap(sgd()).with_config(negative);
        let message = refusal(|| first_step(&optimizer, 0.1, square(&device), square(&device)));
        assert!(message.contains("rate"), "{message}");
    }
}

#[test]
fn only_f32_is_trained() {
    let device = Device::flex();
    for dtype in [DType::F16, DType::BF16, DType::F64] {
        let other = || square(&device).cast(dtype);
        let message = refusal(|| first_step(&wrap(sgd()), 0.1, other(), other()));
        assert!(message.contains(&format!("{dtype:?}")) && message.contains("F32"), "{message}");
        let message = refusal(|| first_step(&wrap(sgd()), 0.1, square(&device), other()));
        assert!(message.contains("its gradient has numbers of type"), "{message}");

        // A frozen parameter is not read, and nothing is remembered about it.
        let frozen = wrap(lamb()).with_config(LayerConfig::FROZEN);
        let (weights, state) = frozen.step(0.1, other(), other(), None);
        assert_eq!((weights.dtype(), state.is_none()), (dtype, true));
    }
}

#[test]
fn shapes_must_be_equal() {
    for device in devices() {
        let other = tensor(&numbers(0, 16), [2, 8], &device);
        let message = refusal(|| first_step(&wrap(sgd()), 0.1, square(&device), other.clone()));
        assert!(message.contains("[4, 4]") && message.contains("[2, 8]"), "{message}");

        let (_, state) = wrap(larc()).step(0.1, other.clone(), other, None);
        let message = refusal(|| wrap(larc()).step(0.1, square(&device), square(&device), state));
        assert!(message.contains("its momentum has shape [2, 8]"), "{message}");
    }
}

#[test]
fn states_of_another_rule_are_refused() {
    let device = Device::flex();
    let state_of = |step: &dyn Fn() -> (Tensor<2>, Option<State<2>>)| step().1;
    let of_sgd = state_of(&|| wrap(sgd()).step(0.1, square(&device), square(&device), None));
    let of_lamb = state_of(&|| wrap(lamb()).step(0.1, square(&device), square(&device), None));
    let of_novograd = state_of(&|| wrap(novograd()).step(0.1, square(&device), square(&device), None));

    let message = refusal(|| wrap(larc()).step(0.1, square(&device), square(&device), of_sgd));
    assert!(message.contains("0 moments") && message.contains("keeps 1"), "{message}");
    let message = refusal(|| wrap(larc()).step(0.1, square(&device), square(&device), of_lamb));
    assert!(message.contains("2 moments"), "{message}");
    // The same number of moments, but the state is not a step count.
    let message = refusal(|| wrap(larc()).step(0.1, square(&device), square(&device), of_novograd));
    assert!(message.contains("not one of this rule"), "{message}");
}

#[test]
fn tracked_tensors_are_refused() {
    for device in devices() {
        let tracked = square(&device.autodiff()).require_grad();
        let message = refusal(|| first_step(&wrap(sgd()), 0.1, tracked, square(&devices()[0])));
        assert!(message.contains("inner()"), "{message}");
    }
}
