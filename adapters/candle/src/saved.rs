//! The state of variables in safetensors files.
//!
//! A variable `x` has `x.state`, three 64-bit floats, and, if they exist, `x.momentum`, `x.second_moment`, and
//! `x.lower`, the bits of the lower halves as `i16` (candle has no `u16`).

use crate::optimizer::Layerwise;
use crate::parameter::{Kept, Parameter};
use candle_core::{Error, Result, bail};
use layerwise::rule::{Rule, RuleState};
use safetensors::tensor::{Dtype, SafeTensors, View, serialize_to_file};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// The format of these files, named in the metadata.
const FORM: (&str, &str) = ("layerwise-candle", "1");

impl<R: Rule> Layerwise<R> {
    /// Saves moments and states, and the lower halves of `bf16` weights, in a safetensors file. Save the weights too,
    /// say with [`VarMap::save`](candle_nn::VarMap::save). Set the learning rate and configurations again after
    /// loading.
    ///
    /// # Errors
    ///
    /// If the variables have no names, or the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        if !self.has_names {
            bail!("variables without names cannot be saved: make the optimizer by `of_map` or `named`");
        }
        let arrays = self.parameters.iter().flat_map(arrays);
        let form = HashMap::from([(FORM.0.to_string(), FORM.1.to_string())]);
        Ok(serialize_to_file(arrays, Some(form), path.as_ref())?)
    }

    /// Loads what [`save`](Layerwise::save) saved for variables with these names and shapes.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or is of other variables or another rule; then nothing is changed.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<()> {
        if !self.has_names {
            bail!("variables without names cannot be loaded: make the optimizer by `of_map` or `named`");
        }
        let bytes = fs::read(&path).map_err(|error| Error::from(error).with_path(&path))?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes)?;
        if metadata.metadata().as_ref().and_then(|form| form.get(FORM.0)).map(String::as_str) != Some(FORM.1) {
            bail!("{}: not saved by this version of layerwise-candle", path.as_ref().display());
        }
        let file = SafeTensors::deserialize(&bytes)?;
        let kept = self.parameters.iter().map(|parameter| read(&file, parameter)).collect::<Result<Vec<_>>>()?;
        for (parameter, kept) in self.parameters.iter().zip(&kept) {
            if !self.optimizer.rule().accepts(kept.state) {
                bail!("{}.state: cannot come from a step of this rule", parameter.name);
            }
        }
        let expected: usize = self.parameters.iter().map(|parameter| arrays(parameter).count()).sum();
        if file.len() != expected {
            bail!("{}: has {} arrays, {expected} are expected", path.as_ref().display(), file.len());
        }
        for (parameter, kept) in self.parameters.iter_mut().zip(kept) {
            parameter.kept = kept;
        }
        Ok(())
    }
}

/// The saved arrays of a variable, with their names.
fn arrays<S: RuleState>(parameter: &Parameter<S>) -> impl Iterator<Item = (String, Array<'_>)> {
    let Parameter { name, var, kept, .. } = parameter;
    let moment = |of: &'static str, numbers| (of, var.dims(), Numbers::F32(numbers));
    let arrays = [
        Some(("state", &[3][..], Numbers::F64(kept.state.to_numbers()))),
        (kept.momentum.len() == var.elem_count()).then(|| moment("momentum", &kept.momentum)),
        (kept.second_moment.len() == var.elem_count()).then(|| moment("second_moment", &kept.second_moment)),
        kept.lower.as_deref().map(|lower| ("lower", var.dims(), Numbers::Bits(lower))),
    ];
    arrays.into_iter().flatten().map(move |(of, shape, numbers)| (format!("{name}.{of}"), Array { shape, numbers }))
}

/// Reads the state of a variable from a file.
fn read<S: RuleState>(file: &SafeTensors<'_>, parameter: &Parameter<S>) -> Result<Kept<S>> {
    let Parameter { name, var, kept, .. } = parameter;
    let moment = |of, like: &[f32]| match like.len() {
        0 => Ok(Vec::new()),
        _ => numbers(file, name, of, Dtype::F32, var.dims(), f32::from_le_bytes),
    };
    let state = numbers(file, name, "state", Dtype::F64, &[3], f64::from_le_bytes)?;
    let state = <[f64; 3]>::try_from(state).ok().and_then(S::from_numbers);
    let Some(state) = state else { bail!("{name}.state: no state of this rule") };
    let lower = |_: &Vec<u16>| numbers(file, name, "lower", Dtype::I16, var.dims(), u16::from_le_bytes);
    Ok(Kept {
        momentum: moment("momentum", &kept.momentum)?,
        second_moment: moment("second_moment", &kept.second_moment)?,
        lower: kept.lower.as_ref().map(lower).transpose()?,
        state,
    })
}

/// The numbers of an array in a file, which must have this type and shape.
fn numbers<T, const N: usize>(
    file: &SafeTensors<'_>,
    name: &str,
    of: &str,
    dtype: Dtype,
    shape: &[usize],
    number: fn([u8; N]) -> T,
) -> Result<Vec<T>> {
    let name = format!("{name}.{of}");
    let array = file.tensor(&name)?;
    if (array.dtype(), array.shape()) != (dtype, shape) {
        bail!("{name}: is {:?} of {:?}, not {dtype:?} of {shape:?}", array.dtype(), array.shape());
    }
    Ok(array.data().as_chunks().0.iter().map(|bytes| number(*bytes)).collect())
}

/// An array to save.
struct Array<'a> {
    shape: &'a [usize],
    numbers: Numbers<'a>,
}

enum Numbers<'a> {
    F64([f64; 3]),
    F32(&'a [f32]),
    Bits(&'a [u16]),
}

impl View for Array<'_> {
    fn dtype(&self) -> Dtype {
        match self.numbers {
            Numbers::F64(_) => Dtype::F64,
            Numbers::F32(_) => Dtype::F32,
            Numbers::Bits(_) => Dtype::I16,
        }
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match self.numbers {
            Numbers::F64(x) => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Numbers::F32(x) => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Numbers::Bits(x) => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }

    fn data_len(&self) -> usize {
        match self.numbers {
            Numbers::F64(x) => size_of_val(&x),
            Numbers::F32(x) => size_of_val(x),
            Numbers::Bits(x) => size_of_val(x),
        }
    }
}
