//! The other functions: each with valid arguments, compared with Rust, and with nulls.

use super::{check_told, settings, told};
use crate::halves::{Array, Type};
use crate::harness::compare::non_negative;
use crate::harness::same;
use crate::{input, schedules};
use arbitrary::{Result, Unstructured};
use layerwise::pieces::{LEAF, fold_leaf_sums, leaf_sums};
use layerwise::recipe::Recipe;
use layerwise::rule::Moments;
use layerwise::schedule::{LossScaling, Schedule};
use layerwise_c::{
    self as c, lw_array, lw_const_array, lw_loss_scaler, lw_loss_state, lw_optimizer, lw_schedule, lw_status,
    lw_training,
};
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::ptr;

pub(super) fn others(u: &mut Unstructured) -> Result<()> {
    match u.int_in_range(0..=6)? {
        0 => norms(u),
        1 => accumulate(u),
        2 => checks(u),
        3 => preset(u),
        4 => schedule(u),
        5 => loss(u),
        _ => recipe(u),
    }
}

fn array(u: &mut Unstructured, len: usize) -> Result<Array> {
    let of = *u.choose(&[Type::F32, Type::F32, Type::Bf16, Type::F16])?;
    Ok(Array::new(of, &input::numbers(u, len)?, u.int_in_range(0..=15)?))
}

fn of_c(array: &mut Array) -> lw_const_array {
    lw_const_array { data: array.pointer(0), r#type: array.number() }
}

fn norms(u: &mut Unstructured) -> Result<()> {
    let len = input::len(u)?;
    let mut array = array(u, len)?;
    let (x, before) = (of_c(&mut array), array.bits());
    let numbers = array.range(0..len);
    let expected =
        [layerwise::sum_of_squares(numbers), layerwise::l2_norm(numbers), layerwise::max_norm(numbers).into()];
    for (norm, expected) in [c::lw_sum_of_squares, c::lw_l2_norm, c::lw_max_norm].into_iter().zip(expected) {
        let (mut result, mut error) = (-1.0, told());
        // SAFETY: an array of this length, and places for the results.
        let status = unsafe { norm(x, len, &mut result, &mut error) };
        check_told(status, &error);
        assert!(status == 0 && same(result, expected), "{result} instead of {expected}");
        // SAFETY: the same; nulls must be refused.
        let statuses = unsafe {
            let nothing = lw_const_array { data: ptr::null(), ..x };
            let unknown = lw_const_array { r#type: 3 + u.arbitrary::<u16>()? as u32, ..x };
            [
                norm(x, len, ptr::null_mut(), &mut error),
                norm(unknown, len, &mut result, &mut error),
                norm(nothing, len.max(1), &mut result, &mut error),
            ]
        };
        assert_eq!(statuses, [c::status::NULL, c::status::BAD_TYPE, c::status::NULL]);
    }

    let start = LEAF * u.int_in_range(0..=2)? + usize::from(u.ratio(1, 4)?);
    let leaves = len.div_ceil(LEAF);
    let mut sums = vec![[-1.0; 2]; leaves].concat();
    let mut error = told();
    // SAFETY: there is a sum for each leaf.
    let status = unsafe { c::lw_array_leaf_sums(x, len, start, sums.as_mut_ptr(), &mut error) };
    check_told(status, &error);
    assert_eq!(status, if start.is_multiple_of(LEAF) { 0 } else { c::status::OFF_LEAF });
    let mut expected = vec![[-1.0; 2]; leaves].concat();
    let _ = leaf_sums(numbers, start, &mut expected[..leaves]);
    assert!(sums.iter().zip(&expected).all(|(ours, theirs)| same(*ours, *theirs)), "sums of leaves");
    let mut result = -1.0;
    // SAFETY: as many sums as leaves.
    let status = unsafe { c::lw_fold_leaf_sums(sums.as_ptr(), leaves, &mut result, ptr::null_mut()) };
    assert!(status == 0 && same(result, fold_leaf_sums(&sums[..leaves])));
    assert!(array.bits() == before, "a norm has written");
    Ok(())
}

fn accumulate(u: &mut Unstructured) -> Result<()> {
    let (len, scale, finite_only) = (input::len(u)?, input::scale(u)?, u.arbitrary::<bool>()?);
    let mut sum = Array::new(Type::F32, &input::numbers(u, len)?, u.int_in_range(0..=15)?);
    let mut gradients = array(u, len)?;
    let mut expected = sum.clone();
    let (before, of_gradients) = (sum.bits(), gradients.bits());
    let (to, from) = (expected.range_mut(0..len), gradients.range(0..len));
    let squares = match finite_only {
        true => layerwise::accumulate_finite(to, from, scale),
        false => layerwise::accumulate(to, from, scale).map(Some),
    };
    let (of_sum, of_type) = (sum.pointer(0), if u.ratio(1, 16)? { 1 } else { 0 });
    let to = lw_array { data: of_sum, r#type: of_type };
    let (mut result, mut error) = (-1.0, told());
    // SAFETY: both arrays have this length (one of the wrong type has half of the bytes), and are apart.
    let status =
        unsafe { c::lw_accumulate(to, of_c(&mut gradients), len, scale, finite_only.into(), &mut result, &mut error) };
    check_told(status, &error);
    match (squares, status) {
        (Ok(Some(squares)), 0) => assert!(same(result, squares) && sum.bits() == expected.bits()),
        (Ok(None), 2) | (Err(_), ..0) => assert!(sum.bits() == before && result == -1.0),
        (_, ..0) if of_type != 0 => assert!(sum.bits() == before && result == -1.0),
        (squares, status) => panic!("{status} instead of {squares:?}"),
    }
    // The same buffer twice is refused.
    let both = lw_const_array { data: of_sum, r#type: 0 };
    let now = sum.bits();
    // SAFETY: as above.
    let status = unsafe { c::lw_accumulate(to, both, len, scale, 0, ptr::null_mut(), ptr::null_mut()) };
    assert!(status == c::status::OVERLAP || len == 0 || of_type != 0, "{status}");
    assert!(sum.bits() == now && gradients.bits() == of_gradients);
    Ok(())
}

/// Settings from Rust are valid in C too, and any others get a status.
fn checks(u: &mut Unstructured) -> Result<()> {
    let optimizer = match input::optimizer(u)? {
        Some(input::AnyOptimizer::Sgd(sgd)) => sgd.any(),
        Some(input::AnyOptimizer::NovoGrad(novograd)) => novograd.any(),
        Some(input::AnyOptimizer::Adam(adam)) => adam.any(),
        None => return Ok(()),
    };
    let mut settings = settings::optimizer(&optimizer);
    assert_eq!(check(&settings), 0, "{optimizer:?}");
    let moments = match optimizer.moments() {
        Moments::None => 0,
        Moments::First => 1,
        _ => 2,
    };
    // SAFETY: settings.
    assert_eq!(unsafe { c::lw_moments(&settings, ptr::null_mut()) }, moments);
    // Any bytes at all.
    for _ in 0..u.int_in_range(1..=8)? {
        let at = u.choose_index(size_of::<lw_optimizer>())?;
        // SAFETY: within the settings, for which any bytes are valid.
        unsafe { (&raw mut settings).cast::<u8>().add(at).write(u.arbitrary()?) };
    }
    let status = check(&settings);
    // SAFETY: settings.
    let moments = unsafe { c::lw_moments(&settings, ptr::null_mut()) };
    assert!(if status == 0 { (0..=2).contains(&moments) } else { moments == status }, "{status} and {moments}");
    assert!(status == 0 || status == c::status::BAD_SETTING, "{status}");
    Ok(())
}

fn check(settings: &lw_optimizer) -> lw_status {
    let mut error = told();
    // SAFETY: settings, and a place for an error.
    let status = unsafe { c::lw_check(settings, &mut error) };
    check_told(status, &error);
    status
}

/// Named settings pass the check, and other names write nothing.
fn preset(u: &mut Unstructured) -> Result<()> {
    const NAMES: [&str; 8] =
        ["sgd", "novograd.tfa", "adam.apex_lamb", "larc", "luc.nemo", "sgd.timm_lars", "adam.", "larcs"];
    let mut name = u.choose(&NAMES)?.as_bytes().to_vec();
    let altered = u.ratio(1, 4)?;
    if altered {
        name[0] = u.int_in_range(1..=255)?;
    }
    let name = CString::new(name).unwrap();
    let optimizer = layerwise::Sgd::new(layerwise::SgdConfig::DEFAULT).map(|sgd| sgd.any()).unwrap();
    let mut settings = settings::optimizer(&optimizer);
    let before = bytes(&settings);
    let mut error = told();
    // SAFETY: a text that ends with 0, settings, and a place for an error.
    let status = unsafe { c::lw_preset(name.as_ptr(), &mut settings, &mut error) };
    check_told(status, &error);
    if status == 0 {
        assert_eq!(check(&settings), 0, "{name:?}");
    } else {
        assert!(bytes(&settings) == before && (altered || ["adam.", "larcs"].contains(&name.to_str().unwrap())));
    }
    // SAFETY: nulls must be refused.
    let statuses = unsafe {
        [
            c::lw_preset(ptr::null(), &mut settings, ptr::null_mut()),
            c::lw_preset(name.as_ptr(), ptr::null_mut(), ptr::null_mut()),
        ]
    };
    assert_eq!(statuses, [c::status::NULL; 2]);
    Ok(())
}

/// The bytes of a C struct without padding.
fn bytes<T>(value: &T) -> Vec<u8> {
    // SAFETY: C's structs here have no padding that has not been written.
    unsafe { std::slice::from_raw_parts(ptr::from_ref(value).cast(), size_of::<T>()) }.to_vec()
}

/// A struct of any bytes.
fn any<T: Copy>(u: &mut Unstructured) -> Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let len = u.int_in_range(0..=size_of::<T>())?;
    let bytes = u.bytes(len.min(u.len()))?;
    // SAFETY: no more bytes than fit, and any bytes are valid for C structs.
    unsafe {
        ptr::copy_nonoverlapping(bytes.as_ptr(), value.as_mut_ptr().cast(), bytes.len());
        Ok(value.assume_init())
    }
}

/// A policy with its defaults, then with any bytes: it gives rates or is refused.
fn schedule(u: &mut Unstructured) -> Result<()> {
    let mut schedule: lw_schedule = any(u)?;
    let (policy, learning_rate) = (u.int_in_range(0..=8)?, input::rate(u)?);
    if u.arbitrary()? {
        let mut error = told();
        // SAFETY: places for the results.
        let status = unsafe { c::lw_schedule_default(policy, learning_rate, &mut schedule, &mut error) };
        check_told(status, &error);
        assert_eq!(status == 0, (1..=7).contains(&policy));
    }
    let before = bytes(&schedule);
    let mut error = told();
    let (steps, per_epoch) = (schedules::steps(u)?, schedules::steps(u)?);
    // SAFETY: a schedule, and a place for an error.
    let filled = unsafe { c::lw_schedule_fill(&mut schedule, steps, per_epoch, &mut error) };
    check_told(filled, &error);
    assert!(filled == 0 || bytes(&schedule) == before, "refused, and changed");
    let (mut rate, mut error) = (-1.0, told());
    // SAFETY: as above.
    let status = unsafe { c::lw_rate(&schedule, schedules::steps(u)?, &mut rate, &mut error) };
    check_told(status, &error);
    assert!(if status == 0 { rate.is_nan() || rate >= 0.0 } else { rate == -1.0 }, "{status}: {rate}");
    assert!(filled == 0 || status < 0, "no policy, and a rate");
    // SAFETY: nulls must be refused.
    assert_eq!(unsafe { c::lw_rate(&schedule, 0, ptr::null_mut(), ptr::null_mut()) }, c::status::NULL);
    Ok(())
}

/// A series of steps of a loss scaler as in Rust; then any settings and any state.
fn loss(u: &mut Unstructured) -> Result<()> {
    let scaling = schedules::scaling(u)?;
    let (scaler, mut ours) = (layerwise::schedule::LossScaler::new(scaling), scaler(&scaling));
    let (mut state, mut expected) = (lw_loss_state { numbers: [0.0; 4] }, Default::default());
    for _ in 0..u.int_in_range(1..=8)? {
        let (finite, max_norm) = (u.ratio(3, 4)?, input::setting(u, &[16.0, 0.0, 1e-3])?);
        let (mut scale, mut error) = (-1.0, told());
        // SAFETY: settings, a state, and places for the results.
        let status = unsafe { c::lw_loss_scale(&ours, &state, &mut scale, &mut error) };
        check_told(status, &error);
        let Ok(scaler) = &scaler else {
            assert_eq!((status, scale), (c::status::BAD_SETTING, -1.0));
            break;
        };
        // (OpenSeq2Seq's own code may leave an invalid state.)
        if scaler.restore(state.numbers).is_none() {
            assert_eq!((status, scale), (c::status::BAD_STATE, -1.0));
            break;
        }
        assert!(status == 0 && same(scale, scaler.scale(&expected)));
        let update = scaler.update(&mut expected, finite, max_norm);
        // SAFETY: the same.
        let status = unsafe { c::lw_loss_update(&ours, &mut state, finite.into(), max_norm, &mut error) };
        assert_eq!(status, if update.skip { 6 } else { 0 });
        assert_eq!(state.numbers.map(f64::to_bits), expected.to_numbers().map(f64::to_bits));
    }
    ours = any(u)?;
    state = any(u)?;
    let (before, mut scale, mut error) = (state.numbers.map(f64::to_bits), -1.0, told());
    // SAFETY: the same.
    let status = unsafe { c::lw_loss_update(&ours, &mut state, 1, 1.0, &mut error) };
    check_told(status, &error);
    assert!(status >= 0 || state.numbers.map(f64::to_bits) == before);
    // SAFETY: the same.
    let status = unsafe { c::lw_loss_scale(&ours, &state, &mut scale, ptr::null_mut()) };
    assert!(status == 0 || scale == -1.0);
    Ok(())
}

/// The numbers of the header.
fn scaler(scaling: &LossScaling) -> lw_loss_scaler {
    let empty = lw_loss_scaler {
        scale: 0.0,
        scale_min: 0.0,
        scale_max: 0.0,
        step_factor: 0.0,
        log_max: 0.0,
        beta1: 0.0,
        beta2: 0.0,
        overflow_std_dev: 0.0,
        step_window: 0,
        kind: 1,
        as_executed: 0,
        reserved: [0; 2],
    };
    match *scaling {
        LossScaling::Static(scale) => lw_loss_scaler { scale, ..empty },
        LossScaling::Backoff(of) => lw_loss_scaler {
            kind: 2,
            scale_min: of.scale_min,
            scale_max: of.scale_max,
            step_factor: of.step_factor,
            step_window: of.step_window,
            ..empty
        },
        LossScaling::LogMax(of) => lw_loss_scaler {
            kind: 3,
            scale_min: of.scale_min,
            scale_max: of.scale_max,
            log_max: of.log_max,
            beta1: of.beta1,
            beta2: of.beta2,
            overflow_std_dev: of.overflow_std_dev,
            as_executed: of.as_executed.into(),
            ..empty
        },
        other => panic!("no scaling of the header: {other:?}"),
    }
}

/// A recipe is read as in Rust, or refused with a reason.
fn recipe(u: &mut Unstructured) -> Result<()> {
    const TEXTS: [&str; 3] = [
        r#"{"optimizer": "AdamW", "optimizer_params": {"weight_decay": 0.01}, "lr_policy": "fixed_lr",
            "lr_policy_params": {"learning_rate": 0.001}, "max_steps": 7, "dtype": "mixed",
            "loss_scaling": "Backoff"}"#,
        r#"{"optimizer": "NovoGrad", "lr_policy": "piecewise_constant", "num_epochs": 3, "iter_size": 2,
            "dtype": "mixed", "loss_scaling": "LogMax", "loss_scaling_params": {"beta1": 0.5, "log_max": 12},
            "lr_policy_params": {"learning_rate": 1, "boundaries": [1], "decay_rates": [0.5]}}"#,
        r#"{"optimizer": "SGD", "larc_params": {"larc_eta": 0.01}, "lr_policy": "cosine_decay", "max_steps": 9,
            "lr_policy_params": {"learning_rate": 2}}"#,
    ];
    let mut text = u.choose(&TEXTS)?.as_bytes().to_vec();
    if u.arbitrary()? {
        let at = u.choose_index(text.len())?;
        text[at] = u.arbitrary()?;
    }
    let batches = schedules::steps(u)?;
    let expected = serde_json::from_slice::<Recipe>(&text).ok().and_then(|recipe| recipe.training(batches).ok());
    let mut error = told();
    let mut training = MaybeUninit::<lw_training>::zeroed();
    // SAFETY: a text of this length, and places for the results.
    let status = unsafe { c::lw_recipe(text.as_ptr().cast(), text.len(), batches, training.as_mut_ptr(), &mut error) };
    check_told(status, &error);
    assert_eq!(status, if expected.is_some() { 0 } else { c::status::BAD_RECIPE });
    // SAFETY: zeroed.
    let training = unsafe { training.assume_init() };
    let Some(expected) = expected else {
        assert!(training.steps == 0 && training.optimizer.rule == 0, "refused, and written");
        return Ok(());
    };
    let counts = (expected.steps, expected.steps_per_epoch, expected.iter_size);
    assert_eq!((training.steps, training.steps_per_epoch, training.iter_size), counts);
    let scaling = expected.loss_scaler.map(|expected| scaler(expected.scaling()));
    let none = lw_loss_scaler { kind: 0, ..scaler(&LossScaling::Static(0.0)) };
    assert!(bytes(&training.loss_scaler) == bytes(&scaling.unwrap_or(none)));
    assert!(bytes(&training.optimizer) == bytes(&settings::optimizer(&expected.optimizer())));
    let mut rate = -1.0;
    // SAFETY: a schedule, and a place for the result.
    let status = unsafe { c::lw_rate(&training.schedule, 3, &mut rate, ptr::null_mut()) };
    assert!(status == 0 && same(rate, expected.schedule.rate(3)) && non_negative(rate));
    assert_eq!(Schedule::try_from(expected.schedule.policy().clone()).as_ref(), Ok(&expected.schedule));
    Ok(())
}
