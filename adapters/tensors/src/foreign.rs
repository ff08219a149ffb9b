//! Files of other programs.

use crate::error::Error;
use crate::form::{self, Numbers, Tensor};
use half::{bf16, f16};
use ndarray::ArrayD;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::path::Path;

/// Reads the tensors of any safetensors file into arrays, in the order of the file: for initial weights. `BF16` and
/// `F16` are converted to `F32`. Unlike [`Checkpoint`](crate::Checkpoint), it works with misaligned numbers and on any
/// machine.
///
/// # Errors
///
/// [`Error::Format`], and [`Error::Tensor`] if a tensor has another type.
pub fn read_weights(bytes: &[u8]) -> Result<Vec<(String, ArrayD<f32>)>, Error> {
    let file = SafeTensors::deserialize(bytes)?;
    let (_, metadata) = SafeTensors::read_metadata(bytes)?;
    let mut arrays = Vec::new();
    for name in metadata.offset_keys() {
        let array = array(&name, &file.tensor(&name)?)?;
        arrays.push((name, array));
    }
    Ok(arrays)
}

fn array(name: &str, tensor: &TensorView<'_>) -> Result<ArrayD<f32>, Error> {
    let bytes = tensor.data();
    let numbers: Vec<f32> = match tensor.dtype() {
        Dtype::F32 => form::numbers(bytes, f32::from_le_bytes).collect(),
        Dtype::BF16 => form::numbers(bytes, bf16::from_le_bytes).map(bf16::to_f32).collect(),
        Dtype::F16 => form::numbers(bytes, f16::from_le_bytes).map(f16::to_f32).collect(),
        _ => return Err(mismatch(name, tensor)),
    };
    ArrayD::from_shape_vec(tensor.shape(), numbers).map_err(|_| mismatch(name, tensor))
}

fn mismatch(name: &str, tensor: &TensorView<'_>) -> Error {
    let found = format!("{} of {:?}", tensor.dtype(), tensor.shape());
    Error::Tensor { name: name.to_string(), expected: "F32, BF16 or F16".to_string(), found }
}

/// Rewrites a safetensors file with the same tensors and metadata, but aligned numbers, which can be used in place. An
/// existing file is replaced only when the new one is complete and on disk.
///
/// # Errors
///
/// [`Error::Format`], [`Error::Locked`] if the existing file is mapped, and [`Error::Io`].
pub fn rewrite(bytes: &[u8], path: impl AsRef<Path>) -> Result<(), Error> {
    let (_, metadata) = SafeTensors::read_metadata(bytes)?;
    let tensors = SafeTensors::deserialize(bytes)?.tensors();
    let copies = tensors.iter().map(|(name, tensor)| {
        let numbers = Numbers::Bytes(tensor.dtype(), tensor.data());
        (name.clone(), Tensor { shape: tensor.shape().to_vec(), numbers })
    });
    form::write_tensors(path.as_ref(), copies.collect(), metadata.metadata().clone())
}
