//! Byte buffers of any length at any address instead of numbers.

use crate::harness::{assert_same, assert_same_report, optimizers::keeps_momentum};
use crate::input;
use arbitrary::{Result, Unstructured};
use layerwise::{BytesError, LayerMemory, NovoGrad, NovoGradState, floats, floats_mut};

/// Bytes that begin somewhere after a multiple of 64.
struct Buffer {
    memory: Vec<u8>,
    start: usize,
}

impl Buffer {
    /// Mostly aligned to 4 bytes and a whole number of floats.
    fn new(u: &mut Unstructured, numbers: usize) -> Result<Self> {
        let (mut offset, mut len) = (4 * u.int_in_range(0..=3)?, 4 * numbers);
        if u.ratio(1, 8)? {
            offset = u.int_in_range(0..=15)?;
        }
        if u.ratio(1, 8)? {
            len = u.int_in_range(0..=len + 4)?;
        }
        let mut memory = vec![0; len + 80];
        let start = memory.as_ptr().align_offset(64).min(63) + offset;
        memory.truncate(start + len);
        // Any bytes, or ordinary numbers.
        if u.arbitrary()? {
            let bytes = u.bytes(u.len().min(len))?;
            memory[start..start + bytes.len()].copy_from_slice(bytes);
        } else {
            let numbers = input::numbers(u, len / 4)?;
            memory[start..start + len / 4 * 4].copy_from_slice(bytemuck::cast_slice(&numbers));
        }
        Ok(Buffer { memory, start })
    }

    fn get(&self) -> &[u8] {
        &self.memory[self.start..]
    }

    fn get_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..]
    }

    fn numbers(&self) -> Vec<f32> {
        self.get().chunks_exact(4).map(|x| f32::from_ne_bytes(x.try_into().unwrap())).collect()
    }

    fn fault(&self) -> Option<BytesError> {
        let (address, len) = (self.get().as_ptr().addr(), self.get().len());
        if len > 0 && !address.is_multiple_of(4) {
            return Some(BytesError::Misaligned { size: 4 });
        }
        (!len.is_multiple_of(4)).then_some(BytesError::PartialFloat { len, size: 4 })
    }
}

pub fn bytes(u: &mut Unstructured) -> Result<()> {
    let config = input::novograd(u)?;
    let Ok(novograd) = NovoGrad::new(config) else { return Ok(()) };
    let len = input::len(u)?;
    let [mut weights, gradients] = [Buffer::new(u, len)?, Buffer::new(u, len)?];
    let mut momentum = Buffer::new(u, if keeps_momentum(&novograd) { len } else { 0 })?;
    let (step, layer) = (input::step(u)?, input::layer(u)?);

    // Viewed as numbers or refused, both read-only and writable.
    for buffer in [&mut weights, &mut momentum] {
        let (numbers, fault) = (buffer.numbers(), buffer.fault());
        assert_eq!(floats(buffer.get()).err(), fault);
        match floats_mut(buffer.get_mut()) {
            Ok(found) => assert_same("number", found, &numbers),
            Err(error) => assert_eq!(Some(error), fault),
        }
    }
    if let Ok(found) = floats(gradients.get()) {
        assert_same("gradient", found, &gradients.numbers());
    }
    if [&weights, &gradients, &momentum].iter().any(|buffer| buffer.fault().is_some()) {
        return Ok(());
    }

    // A step in place equals the step on a copy.
    let (mut w, g, mut m) = (weights.numbers(), gradients.numbers(), momentum.numbers());
    let (mut state, mut expected_state) = (NovoGradState::default(), NovoGradState::default());
    let memory = LayerMemory::new(floats_mut(weights.get_mut()).unwrap(), floats(gradients.get()).unwrap(), &mut state);
    let result = novograd.step_layer(step, memory.momentum(floats_mut(momentum.get_mut()).unwrap()).config(layer));
    let memory = LayerMemory::new(&mut w, &g, &mut expected_state).momentum(&mut m).config(layer);
    match (&result, &novograd.step_layer(step, memory)) {
        (Ok(ours), Ok(theirs)) => assert_same_report(ours, theirs),
        (ours, theirs) => assert_eq!(format!("{ours:?}"), format!("{theirs:?}")),
    }
    assert_same("weight", &weights.numbers(), &w);
    assert_same("momentum", &momentum.numbers(), &m);
    assert_eq!(format!("{state:?}"), format!("{expected_state:?}"));
    Ok(())
}
