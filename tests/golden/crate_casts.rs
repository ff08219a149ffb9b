//! Casts by the crate. A step at a rate of 0 leaves weights as they are, and rounds their copy. A step at a rate of 1
//! adds gradients to zeros.

use crate::backends::on;
use half::{bf16, f16};
use layerwise::{Backend, Element, LayerMemory, Sgd, SgdConfig, SgdState, accumulate};

/// Every weight as it is copied to another type.
pub fn narrow(to_f16: bool, saturating: bool, backend: Option<Backend>, weights: &[u32]) -> Vec<u32> {
    let mut weights: Vec<f32> = weights.iter().map(|bits| f32::from_bits(*bits)).collect();
    match to_f16 {
        true => copied(f16::ZERO, saturating, backend, &mut weights).iter().map(|x| x.to_bits().into()).collect(),
        false => copied(bf16::ZERO, saturating, backend, &mut weights).iter().map(|x| x.to_bits().into()).collect(),
    }
}

fn copied<E: Element>(zero: E, saturating: bool, backend: Option<Backend>, weights: &mut [f32]) -> Vec<E> {
    let (gradients, mut copy, mut state) = (vec![0.0; weights.len()], vec![zero; weights.len()], SgdState::default());
    let layer = LayerMemory::new(weights, &gradients, &mut state);
    let layer = if saturating { layer.saturating_copy(&mut copy) } else { layer.copy(&mut copy) };
    on(Sgd::new(SgdConfig::DEFAULT).unwrap(), backend).step_layer(0.0, layer).unwrap();
    copy
}

/// Every number as the crate reads it.
pub fn widen(from_f16: bool, backend: Option<Backend>, numbers: &[u32]) -> Vec<u32> {
    let bits = numbers.iter().map(|bits| *bits as u16);
    match from_f16 {
        true => read(&bits.map(f16::from_bits).collect::<Vec<_>>(), |x| x.is_finite(), backend),
        false => read(&bits.map(bf16::from_bits).collect::<Vec<_>>(), |x| x.is_finite(), backend),
    }
}

fn read<E: Element>(numbers: &[E], is_finite: fn(&E) -> bool, backend: Option<Backend>) -> Vec<u32> {
    // Adding to -0 changes nothing, not even the sign of zero. A step takes only finite numbers.
    let mut all = vec![-0.0_f32; numbers.len()];
    accumulate(&mut all, numbers, 1.0).unwrap();
    let finite: Vec<E> = numbers.iter().copied().filter(is_finite).collect();
    let (mut sums, mut state) = (vec![-0.0_f32; finite.len()], SgdState::default());
    let adding = Sgd::new(SgdConfig { maximize: true, ..SgdConfig::DEFAULT }).unwrap();
    let report = on(adding, backend).step_layer(1.0, LayerMemory::new(&mut sums, &finite, &mut state)).unwrap();
    assert!(report.applied());
    for ((all, _), sum) in all.iter_mut().zip(numbers).filter(|(_, x)| is_finite(x)).zip(sums) {
        *all = sum;
    }
    all.iter().map(|x| x.to_bits()).collect()
}
