//! Named settings: Rust's constants, under the same names.

use crate::pointer;
use crate::refusal::{Refusal, end, lw_error, lw_status, status};
use crate::settings::{lw_larc, lw_luc, lw_optimizer};
use core::ffi::c_char;
use lw::{Adam, AdamConfig, ConfigError, LarcConfig, Luc, NovoGrad, NovoGradConfig, Optimizer, Policy, Sgd, SgdConfig};

const SGD: [(&str, SgdConfig); 7] = [
    ("sgd", SgdConfig::DEFAULT),
    ("sgd.timm_lars", SgdConfig::TIMM_LARS),
    ("sgd.bolts_lars", SgdConfig::BOLTS_LARS),
    ("sgd.pytorch_optimizer_lars", SgdConfig::PYTORCH_OPTIMIZER_LARS),
    ("sgd.pytorch_optimizer_3_lars", SgdConfig::PYTORCH_OPTIMIZER_3_LARS),
    ("sgd.optax_lars", SgdConfig::OPTAX_LARS),
    ("sgd.lars_paper", SgdConfig::LARS_PAPER),
];

const NOVOGRAD: [(&str, NovoGradConfig); 10] = [
    ("novograd", NovoGradConfig::DEFAULT),
    ("novograd.openseq2seq", NovoGradConfig::OPENSEQ2SEQ),
    ("novograd.openseq2seq_larc", NovoGradConfig::OPENSEQ2SEQ_LARC),
    ("novograd.nemo", NovoGradConfig::NEMO),
    ("novograd.timm", NovoGradConfig::TIMM),
    ("novograd.optax", NovoGradConfig::OPTAX),
    ("novograd.tfa", NovoGradConfig::TFA),
    ("novograd.pytorch_optimizer", NovoGradConfig::PYTORCH_OPTIMIZER),
    ("novograd.pytorch_optimizer_3", NovoGradConfig::PYTORCH_OPTIMIZER_3),
    ("novograd.apex", NovoGradConfig::APEX),
];

const ADAM: [(&str, AdamConfig); 10] = [
    ("adam", AdamConfig::DEFAULT),
    ("adam.torch_adam", AdamConfig::TORCH_ADAM),
    ("adam.torch_adamw", AdamConfig::TORCH_ADAMW),
    ("adam.tensorflow", AdamConfig::TENSORFLOW),
    ("adam.optax_adam", AdamConfig::OPTAX_ADAM),
    ("adam.optax_adamw", AdamConfig::OPTAX_ADAMW),
    ("adam.optax_lamb", AdamConfig::OPTAX_LAMB),
    ("adam.timm_lamb", AdamConfig::TIMM_LAMB),
    ("adam.apex_lamb", AdamConfig::APEX_LAMB),
    ("adam.pytorch_optimizer_lamb", AdamConfig::PYTORCH_OPTIMIZER_LAMB),
];

const LARC: [(&str, LarcConfig); 9] = [
    ("larc", LarcConfig::DEFAULT),
    ("larc.openseq2seq", LarcConfig::OPENSEQ2SEQ),
    ("larc.apex", LarcConfig::APEX),
    ("larc.timm", LarcConfig::TIMM),
    ("larc.bolts", LarcConfig::BOLTS),
    ("larc.pytorch_optimizer", LarcConfig::PYTORCH_OPTIMIZER),
    ("larc.pytorch_optimizer_3", LarcConfig::PYTORCH_OPTIMIZER_3),
    ("larc.optax", LarcConfig::OPTAX),
    ("larc.lars_paper", LarcConfig::LARS_PAPER),
];

const LUC: [(&str, Luc); 2] = [("luc", Luc::DEFAULT), ("luc.nemo", Luc::NEMO)];

/// Whether a C string is this name. It is read only as far as both agree.
///
/// # Safety
///
/// `text` points to a null-terminated string.
unsafe fn is(text: *const c_char, name: &str) -> bool {
    let mut at = text;
    for byte in name.bytes() {
        // SAFETY: all bytes before have been read, and were not the terminator.
        unsafe {
            if *at != byte as c_char {
                return false;
            }
            at = at.add(1);
        }
    }
    // SAFETY: as above.
    unsafe { *at == 0 }
}

/// # Safety
///
/// That of [`is`].
unsafe fn find<T: Copy>(text: *const c_char, of: &[(&str, T)]) -> Option<T> {
    // SAFETY: guaranteed by the caller.
    of.iter().find(|(name, _)| unsafe { is(text, name) }).map(|(_, value)| *value)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn lw_preset(
    name: *const c_char,
    settings: *mut lw_optimizer,
    error: *mut lw_error,
) -> lw_status {
    // SAFETY: the C caller guarantees the pointers.
    end(unsafe { preset(name, settings) }, error)
}

unsafe fn preset(name: *const c_char, settings: *mut lw_optimizer) -> Result<lw_status, Refusal<'static>> {
    pointer::check("name", name, 1)?;
    // SAFETY: the C caller guarantees each pointer.
    unsafe {
        let settings = pointer::change("optimizer", settings)?;
        if let Some(config) = find(name, &LARC) {
            settings.larc = lw_larc::of(Some(&config));
        } else if let Some(luc) = find(name, &LUC) {
            settings.luc = lw_luc::of(Some(&luc));
        } else {
            *settings = rule(name)?;
        }
    }
    Ok(status::APPLIED)
}

/// # Safety
///
/// That of [`is`].
unsafe fn rule(name: *const c_char) -> Result<lw_optimizer, Refusal<'static>> {
    // SAFETY: guaranteed by the caller.
    unsafe {
        if let Some(config) = find(name, &SGD) {
            of(Sgd::new(config).map(Optimizer::any))
        } else if let Some(config) = find(name, &NOVOGRAD) {
            of(NovoGrad::new(config).map(Optimizer::any))
        } else if let Some(config) = find(name, &ADAM) {
            of(Adam::new(config).map(Optimizer::any))
        } else {
            Err(Refusal::setting("name", f64::NAN, "one of the named settings"))
        }
    }
}

fn of(optimizer: Result<lw::AnyOptimizer, ConfigError>) -> Result<lw_optimizer, Refusal<'static>> {
    Ok(lw_optimizer::of(optimizer?.rule(), Policy::DEFAULT))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each constant of the crate with settings of a peer has its name here.
    #[test]
    fn every_constant_has_a_name() {
        let constants = include_str!("../../../src/rules/presets.rs").lines().filter_map(|line| {
            let (name, rest) = line.trim().strip_prefix("pub const ")?.split_once(": ")?;
            let of = match rest.split_once(' ')?.0 {
                "LarcConfig" => "larc",
                "SgdConfig" => "sgd",
                "Luc" => "luc",
                "NovoGradConfig" => "novograd",
                "AdamConfig" => "adam",
                other => panic!("{other} is no settings"),
            };
            Some(format!("{of}.{}", name.to_lowercase()))
        });
        let constants: Vec<String> = constants.collect();
        assert!(constants.len() > 20);
        let names = SGD.map(|named| named.0).into_iter().chain(NOVOGRAD.map(|named| named.0));
        let names =
            names.chain(ADAM.map(|named| named.0)).chain(LARC.map(|named| named.0)).chain(LUC.map(|named| named.0));
        let mut names: Vec<&str> = names.filter(|name| name.contains('.')).collect();
        assert!(constants.iter().all(|constant| names.contains(&constant.as_str())), "{constants:?}");
        names.retain(|name| !constants.iter().any(|constant| constant == name));
        assert_eq!(names, [""; 0]);
    }

    /// The header lists the same names.
    #[test]
    fn the_header_lists_every_name() {
        let header = include_str!("../include/layerwise.h");
        let names = SGD.map(|named| named.0).into_iter().chain(NOVOGRAD.map(|named| named.0));
        for name in
            names.chain(ADAM.map(|named| named.0)).chain(LARC.map(|named| named.0)).chain(LUC.map(|named| named.0))
        {
            assert!(header.contains(&format!("\"{name}\"")), "{name}");
        }
    }
}
