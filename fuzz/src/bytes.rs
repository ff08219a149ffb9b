//! Bytes of any length at any address in the place of numbers.

use crate::input;
use crate::reference::oracle::assert_same_report;
use arbitrary::{Result, Unstructured};
use layerwise::{BytesError, Error, LayerBytes, LayerView, NovoGrad, NovoGradState, Slice};

/// Bytes that begin somewhere behind a multiple of 64.
struct Buffer {
    memory: Vec<u8>,
    start: usize,
}

impl Buffer {
    /// Whole numbers at a multiple of 4, mostly.
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
            return Some(BytesError::Misaligned);
        }
        (!len.is_multiple_of(4)).then_some(BytesError::PartialFloat { len })
    }
}

pub fn bytes(u: &mut Unstructured) -> Result<()> {
    let config = input::novograd(u)?;
    let Ok(novograd) = NovoGrad::new(config) else { return Ok(()) };
    let len = input::len(u)?;
    let [mut weights, gradients] = [Buffer::new(u, len)?, Buffer::new(u, len)?];
    let mut momentum = Buffer::new(u, novograd.momentum_len(len))?;
    let (lr, layer) = (input::rate(u)?, input::layer(u)?);

    let faults = [(Slice::Weights, &weights), (Slice::Gradients, &gradients), (Slice::Momentum, &momentum)]
        .map(|(slice, buffer)| buffer.fault().map(|error| Error::Bytes { slice, error }));
    let fault = faults.into_iter().flatten().next();
    let (mut w, g, mut m) = (weights.numbers(), gradients.numbers(), momentum.numbers());
    let (before_w, before_m) = (weights.get().to_vec(), momentum.get().to_vec());
    let (mut state, mut expected_state) = (NovoGradState::default(), NovoGradState::default());

    let result = novograd.step_bytes(
        lr,
        LayerBytes {
            layer,
            weights: weights.get_mut(),
            gradients: gradients.get(),
            momentum: momentum.get_mut(),
            state: &mut state,
            norms: None,
        },
    );
    let expected = match fault {
        Some(error) => Err(error),
        None => {
            let (weights, momentum, state) = (&mut w, &mut m, &mut expected_state);
            novograd.step_view(lr, LayerView { layer, weights, gradients: &g, momentum, state, norms: None })
        }
    };
    match (&result, &expected) {
        (Ok(ours), Ok(theirs)) => assert_same_report(ours, theirs),
        _ => assert_eq!(format!("{result:?}"), format!("{expected:?}")),
    }
    if result.is_err() {
        assert!(weights.get() == before_w && momentum.get() == before_m);
    } else {
        let bits = |x: &[f32]| x.iter().map(|x| if x.is_nan() { 0 } else { x.to_bits() }).collect::<Vec<_>>();
        assert_eq!((bits(&weights.numbers()), bits(&momentum.numbers())), (bits(&w), bits(&m)));
        assert_eq!(state, expected_state);
    }
    Ok(())
}
