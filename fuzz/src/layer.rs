//! Steps of one layer, with any settings and any memory.

use crate::harness::optimizers::{keeps_momentum, keeps_second_moment};
use crate::harness::{Host, compare::non_negative, on};
use crate::input;
use arbitrary::{Result, Unstructured};
use core::fmt::Debug;
use layerwise::rule::{Rule, RuleState};
use layerwise::{
    Adam, AdamConfig, AdamDecay, AdamState, CarriedNorms, ConfigError, DecayMode, Error, Larc, LarcConfig, Luc,
    MomentNorm, NovoGrad, NovoGradConfig, NovoGradState, Optimizer, Policy, Report, Sgd, SgdConfig, SgdState, Step,
    ZeroNorm, l2_norm, sum_of_squares,
};

pub fn sgd(u: &mut Unstructured) -> Result<()> {
    let config = input::larc(u)?;
    assert_eq!(Larc::new(config).is_ok(), larc_is_valid(&config), "{config:?}");

    let (config, policy) = (input::sgd(u)?, input::policy(u)?);
    let valid = [sgd_is_valid(&config), policy_is_valid(&policy, config.larc.is_none())];
    let Some(sgd) = optimizer(Sgd::new(config), policy, valid) else { return Ok(()) };
    let mut host = host(u, &sgd, |u| Ok(SgdState { steps: u.arbitrary()? }))?;
    if config.starts_at_gradient {
        // If the first step replaces the momentum, it must be 0 before.
        host.momentum.get_mut().fill(0.0);
    }
    steps(u, sgd, host, |host, step| host.step_sgd(&config, policy, step))
}

pub fn novograd(u: &mut Unstructured) -> Result<()> {
    let (config, policy) = (input::novograd(u)?, input::policy(u)?);
    let may_clip = config.norm == MomentNorm::L2 && config.larc.is_none();
    let valid = [novograd_is_valid(&config), policy_is_valid(&policy, may_clip)];
    let Some(novograd) = optimizer(NovoGrad::new(config), policy, valid) else { return Ok(()) };
    let mut host = host(u, &novograd, |u| {
        let [second_moment, max_second_moment] = [u.arbitrary()?, u.arbitrary()?];
        Ok(NovoGradState { second_moment, max_second_moment, steps: u.arbitrary()? })
    })?;
    if config.starts_at_gradient {
        host.momentum.get_mut().fill(0.0);
    }
    steps(u, novograd, host, |host, step| host.step_novograd(&config, policy, step))
}

pub fn adam(u: &mut Unstructured) -> Result<()> {
    let (config, policy) = (input::adam(u)?, input::policy(u)?);
    let valid = [adam_is_valid(&config), policy_is_valid(&policy, config.larc.is_none())];
    let Some(adam) = optimizer(Adam::new(config), policy, valid) else { return Ok(()) };
    let host = host(u, &adam, |u| Ok(AdamState { steps: u.arbitrary()? }))?;
    steps(u, adam, host, |host, step| host.step_adam(&config, policy, step))
}

/// An optimizer, if its settings and its policy are valid; otherwise they must be refused.
fn optimizer<R: Rule + Debug>(
    made: core::result::Result<Optimizer<R>, ConfigError>,
    policy: Policy,
    [settings, allowed]: [bool; 2],
) -> Option<Optimizer<R>> {
    assert_eq!(made.is_ok(), settings, "{made:?}");
    let with_policy = made.ok()?.with_policy(policy);
    assert_eq!(with_policy.is_ok(), allowed, "{policy:?}");
    with_policy.ok()
}

/// A few steps, on any backend; with the crate's own choice, also compared with the reference.
fn steps<R: Rule<State = S> + Copy, S: RuleState>(
    u: &mut Unstructured,
    optimizer: Optimizer<R>,
    mut host: Host<S>,
    step_by_reference: impl Fn(&mut Host<S>, Step) -> core::result::Result<Report, Error>,
) -> Result<()> {
    for _ in 0..u.int_in_range(1..=4)? {
        host.config = input::layer(u)?;
        let step = input::step(u)?;
        let _ = match input::backend(u)? {
            None if !is_tiny(&host) => step_by_reference(&mut host, step),
            backend => host.step(&on(optimizer, backend), step),
        };
        next(u, &mut host)?;
    }
    Ok(())
}

/// Whether the rate of a step limited by the norm of the weights loses digits in `f32`. Then only the contract predicts
/// the result.
fn is_tiny<S>(host: &Host<S>) -> bool {
    l2_norm(host.weights.get()) < 1e-30
}

/// A layer for an optimizer. Now and then a length is wrong, or the state is arbitrary.
fn host<R: Rule<State = S>, S: RuleState>(
    u: &mut Unstructured,
    optimizer: &Optimizer<R>,
    state: impl Fn(&mut Unstructured) -> Result<S>,
) -> Result<Host<S>> {
    let len = input::len(u)?;
    let gradients = input::perhaps_other_len(u, len)?;
    let momentum = input::perhaps_other_len(u, if keeps_momentum(optimizer) { len } else { 0 })?;
    let offsets = input::offsets(u)?;
    let (w, g) = (input::numbers(u, len)?, input::numbers(u, gradients)?);
    let m = if u.arbitrary()? { vec![0.0; momentum] } else { input::numbers(u, momentum)? };
    let mut host = Host::new(&w, &g, &m, offsets);
    if keeps_second_moment(optimizer) || u.ratio(1, 16)? {
        let len = input::perhaps_other_len(u, len)?;
        let v = if u.arbitrary()? { vec![0.0; len] } else { input::second_moments(u, len)? };
        host = host.second_moment(&v, u.int_in_range(0..=15)?);
    }
    if u.ratio(1, 8)? {
        host.state = state(u)?;
    }
    if u.arbitrary()? {
        host.norms = Some(CarriedNorms::default());
    }
    Ok(host)
}

/// Prepares the next step: new gradients, whose norm may be known, and now and then a changed weight.
fn next<S: RuleState>(u: &mut Unstructured, host: &mut Host<S>) -> Result<()> {
    let (len, gradients) = (host.weights.get().len(), host.gradients.get().len());
    host.set_gradients(&input::numbers(u, gradients)?);
    let changed = len > 0 && u.ratio(1, 8)?;
    if changed {
        host.weights.get_mut()[u.choose_index(len)?] = u.arbitrary()?;
    }
    if let Some(norms) = &mut host.norms {
        norms.forget_gradient();
        if u.arbitrary()? {
            norms.set_gradient(sum_of_squares(host.gradients.get()));
        }
        // A host must do this. Debug assertions detect if it does not.
        if changed && (u.arbitrary()? || !cfg!(debug_assertions)) {
            norms.forget_weights();
        }
    }
    Ok(())
}

fn positive(x: f64) -> bool {
    non_negative(x) && x != 0.0
}

fn fraction(x: f64) -> bool {
    (0.0..1.0).contains(&x)
}

fn larc_is_valid(c: &LarcConfig) -> bool {
    let eps = if c.zero_norm == ZeroNorm::Formula { positive(c.eps) } else { non_negative(c.eps) };
    let max_update = c.max_update.is_none_or(positive);
    positive(c.eta) && eps && non_negative(c.min_update) && max_update && non_negative(c.min_norm)
}

fn sgd_is_valid(c: &SgdConfig) -> bool {
    fraction(c.momentum)
        && fraction(c.dampening)
        && non_negative(c.weight_decay)
        && c.larc.as_ref().is_none_or(larc_is_valid)
        && c.luc.as_ref().is_none_or(luc_is_valid)
}

fn novograd_is_valid(c: &NovoGradConfig) -> bool {
    let max_rate = if let DecayMode::Corrected { max_rate } = c.decay_mode { positive(max_rate) } else { true };
    fraction(c.beta1)
        && fraction(c.beta2)
        && [c.eps, c.eps_root, c.weight_decay].into_iter().all(non_negative)
        && max_rate
        && c.larc.as_ref().is_none_or(|larc| larc_is_valid(larc) && c.norm == MomentNorm::L2)
        && c.luc.as_ref().is_none_or(luc_is_valid)
}

fn adam_is_valid(c: &AdamConfig) -> bool {
    let max_rate = if let AdamDecay::Corrected { max_rate } = c.decay_mode { positive(max_rate) } else { true };
    let ratio = c.trust_ratio.is_none_or(|ratio| {
        non_negative(ratio.eps) && [ratio.max_weights, ratio.max_ratio].into_iter().flatten().all(positive)
    });
    fraction(c.beta1)
        && fraction(c.beta2)
        && [c.eps, c.eps_root, c.weight_decay].into_iter().all(non_negative)
        && max_rate
        && ratio
        && c.larc.as_ref().is_none_or(larc_is_valid)
        && c.luc.as_ref().is_none_or(luc_is_valid)
}

fn luc_is_valid(c: &Luc) -> bool {
    positive(c.trust) && non_negative(c.eps)
}

fn policy_is_valid(policy: &Policy, may_clip: bool) -> bool {
    policy.clip_norm.is_none_or(|clip| may_clip && positive(clip))
}
