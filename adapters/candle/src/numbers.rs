//! The numbers of candle's tensors as slices.

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Storage, Tensor, Var, bail};
use layerwise::{Floats, FloatsMut};
use std::cell::Cell;

/// Lends the numbers of a tensor for reading.
pub(crate) fn read<T>(tensor: &Tensor, visit: impl FnOnce(Floats<'_>) -> T) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    let floats = match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(x)), Some((from, to))) => Floats::from(&x[from..to]),
        (Storage::Cpu(CpuStorage::BF16(x)), Some((from, to))) => Floats::from(&x[from..to]),
        (Storage::Cpu(CpuStorage::F16(x)), Some((from, to))) => Floats::from(&x[from..to]),
        _ => bail!("numbers that are not contiguous f32, bf16 or f16 on the CPU"),
    };
    Ok(visit(floats))
}

/// Lends the numbers of a variable for writing. Nothing else may hold its memory meanwhile.
pub(crate) fn write(var: &Var, visit: impl FnOnce(FloatsMut<'_>)) -> Result<()> {
    var.inplace_op1(&Write(Cell::new(Some(visit))))
}

/// The address of a tensor's memory: equal for tensors that share it.
pub(crate) fn address(tensor: &Tensor) -> usize {
    let (storage, _) = tensor.storage_and_layout();
    std::ptr::from_ref::<Storage>(&storage).addr()
}

/// candle lends writable memory only to operations, so this is one. It runs once.
struct Write<F>(Cell<Option<F>>);

impl<F: FnOnce(FloatsMut<'_>)> InplaceOp1 for Write<F> {
    fn name(&self) -> &'static str {
        "layerwise"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let floats = match (storage, layout.contiguous_offsets()) {
            (CpuStorage::F32(x), Some((from, to))) => FloatsMut::from(&mut x[from..to]),
            (CpuStorage::BF16(x), Some((from, to))) => FloatsMut::from(&mut x[from..to]),
            _ => bail!("a variable that is not contiguous f32 or bf16"),
        };
        if let Some(visit) = self.0.take() {
            visit(floats);
        }
        Ok(())
    }
}
