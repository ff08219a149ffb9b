//! Steps of one layer, with any settings and any memory.

use crate::input::{self, non_negative};
use crate::reference::oracle::Host;
use arbitrary::{Result, Unstructured};
use layerwise::{
    CarriedNorms, DecayMode, LarcConfig, MomentNorm, NovoGrad, NovoGradConfig, NovoGradState, Policy, Sgd, SgdConfig,
    SgdState, ZeroNorm, sum_of_squares,
};
use std::fmt::Debug;

pub fn sgd(u: &mut Unstructured) -> Result<()> {
    let config = input::larc(u)?;
    assert_eq!(layerwise::Larc::new(config).is_ok(), larc_is_valid(&config), "{config:?}");

    let (config, policy) = (input::sgd(u)?, input::policy(u)?);
    let sgd = Sgd::new(config);
    assert_eq!(sgd.is_ok(), sgd_is_valid(&config), "{config:?}");
    let Ok(sgd) = sgd else { return Ok(()) };
    assert_eq!(sgd.with_policy(policy).is_ok(), policy_is_valid(&policy, config.larc.is_none()), "{policy:?}");
    if sgd.with_policy(policy).is_err() {
        return Ok(());
    }
    let mut host = host(u, config.momentum != 0.0, |u| Ok(SgdState { steps: u.arbitrary()? }))?;
    for _ in 0..u.int_in_range(1..=4)? {
        let _ = host.step_sgd(&config, policy, input::rate(u)?, input::layer(u)?);
        next_gradients(u, &mut host)?;
    }
    Ok(())
}

pub fn novograd(u: &mut Unstructured) -> Result<()> {
    let (config, policy) = (input::novograd(u)?, input::policy(u)?);
    let novograd = NovoGrad::new(config);
    assert_eq!(novograd.is_ok(), novograd_is_valid(&config), "{config:?}");
    let Ok(novograd) = novograd else { return Ok(()) };
    let may_clip = config.norm == MomentNorm::L2;
    assert_eq!(novograd.with_policy(policy).is_ok(), policy_is_valid(&policy, may_clip), "{policy:?}");
    if novograd.with_policy(policy).is_err() {
        return Ok(());
    }
    let mut host = host(u, config.beta1 != 0.0, |u| {
        let [second_moment, max_second_moment] = [u.arbitrary()?, u.arbitrary()?];
        Ok(NovoGradState { second_moment, max_second_moment, steps: u.arbitrary()? })
    })?;
    for _ in 0..u.int_in_range(1..=4)? {
        let _ = host.step_novograd(&config, policy, input::rate(u)?, input::layer(u)?);
        next_gradients(u, &mut host)?;
    }
    Ok(())
}

/// A layer of a rule that keeps momentum or not. Now and then a length is wrong, or the state is any.
fn host<S: Copy + Default + PartialEq + Debug>(
    u: &mut Unstructured,
    keeps_momentum: bool,
    state: impl Fn(&mut Unstructured) -> Result<S>,
) -> Result<Host<S>> {
    let len = input::len(u)?;
    let gradients = input::perhaps_other_len(u, len)?;
    let momentum = input::perhaps_other_len(u, if keeps_momentum { len } else { 0 })?;
    let offsets = input::offsets(u)?;
    let (w, g) = (input::numbers(u, len)?, input::numbers(u, gradients)?);
    let m = if u.arbitrary()? { vec![0.0; momentum] } else { input::numbers(u, momentum)? };
    let mut host = Host::new(&w, &g, &m, offsets);
    if u.ratio(1, 8)? {
        host.state = state(u)?;
    }
    if u.arbitrary()? {
        host.norms = Some(CarriedNorms::default());
    }
    Ok(host)
}

/// The gradients of the next step, of which the norm may be known.
fn next_gradients<S>(u: &mut Unstructured, host: &mut Host<S>) -> Result<()> {
    let len = host.gradients.get().len();
    host.gradients.get_mut().copy_from_slice(&input::numbers(u, len)?);
    if let Some(norms) = &mut host.norms {
        norms.forget_gradient();
        if u.arbitrary()? {
            norms.set_gradient(sum_of_squares(host.gradients.get()));
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
    positive(c.eta) && eps && non_negative(c.min_update) && non_negative(c.min_norm)
}

fn sgd_is_valid(c: &SgdConfig) -> bool {
    fraction(c.momentum) && fraction(c.dampening) && non_negative(c.weight_decay)
}

fn novograd_is_valid(c: &NovoGradConfig) -> bool {
    let max_rate = if let DecayMode::Corrected { max_rate } = c.decay_mode { positive(max_rate) } else { true };
    let luc = c.luc.is_none_or(|luc| positive(luc.trust) && non_negative(luc.eps));
    fraction(c.beta1)
        && fraction(c.beta2)
        && [c.eps, c.eps_root, c.weight_decay].into_iter().all(non_negative)
        && max_rate
        && luc
}

fn policy_is_valid(policy: &Policy, may_clip: bool) -> bool {
    policy.clip_norm.is_none_or(|clip| may_clip && positive(clip))
}
