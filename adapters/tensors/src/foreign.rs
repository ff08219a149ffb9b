//! Files of other programs.

use crate::error::Error;
use crate::form::{self, Numbers, Tensor};
use half::{bf16, f16};
use ndarray::ArrayD;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::path::Path;

/// The tensors of any safetensors file as arrays, in the order of the file: the initial weights of a training. `F32` is
/// taken as it is; `BF16` and `F16` are widened. It works where [`Checkpoint`](crate::Checkpoint) does not: with
/// misaligned numbers, and on any machine.
///
/// # Errors
///
/// [`Error::Format`], and [`Error::Tensor`] if one has numbers of another type.
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

/// Writes a safetensors file once more, with the same tensors and metadata, and with its numbers where they can be used
/// in place. It replaces another of its name when it is complete and on the disk, not before.
///
/// # Errors
///
/// [`Error::Format`], [`Error::Locked`] if there is such a file and it is mapped, and whatever the system says.
pub fn rewrite(bytes: &[u8], path: impl AsRef<Path>) -> Result<(), Error> {
    let (_, metadata) = SafeTensors::read_metadata(bytes)?;
    let tensors = SafeTensors::deserialize(bytes)?.tensors();
    let copies = tensors.iter().map(|(name, tensor)| {
        let numbers = Numbers::Bytes(tensor.dtype(), tensor.data());
        (name.clone(), Tensor { shape: tensor.shape().to_vec(), numbers })
    });
    form::write_tensors(path.as_ref(), copies.collect(), metadata.metadata().clone())
}
