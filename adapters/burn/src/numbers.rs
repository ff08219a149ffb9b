//! The numbers of a tensor as a slice, in place if possible.

#[cfg(feature = "flex")]
use burn::backend::{Flex, flex::FlexTensor};
use burn::tensor::{DType, Device, Shape, Tensor, TensorData};

/// The `f32` numbers of a tensor in its order of elements, taken from burn for a step.
pub(crate) enum Numbers {
    /// In the memory of the tensor.
    #[cfg(feature = "flex")]
    InPlace(FlexTensor),
    /// Copied out of a device, and back into it.
    Copied { numbers: Vec<f32>, shape: Shape, device: Device },
}

impl Numbers {
    /// Takes the numbers of a tensor of `f32` on this device, which has been checked.
    pub(crate) fn of<const D: usize>(tensor: Tensor<D>, device: &Device) -> Self {
        #[cfg(feature = "flex")]
        if *device == Device::flex() {
            let tensor = tensor.try_into_primitive::<Flex>().expect("a tensor of floats on this device");
            return Numbers::InPlace(if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() });
        }
        let (shape, device) = (tensor.shape(), device.clone());
        let numbers = tensor.into_data().try_into_vec().expect("a tensor of f32");
        Numbers::Copied { numbers, shape, device }
    }

    pub(crate) fn get(&self) -> &[f32] {
        match self {
            #[cfg(feature = "flex")]
            Numbers::InPlace(tensor) => tensor.as_slice().expect("f32, and contiguous"),
            Numbers::Copied { numbers, .. } => numbers,
        }
    }

    /// The numbers, writable. If another tensor shares them, they are copied first.
    pub(crate) fn get_mut(&mut self) -> &mut [f32] {
        match self {
            #[cfg(feature = "flex")]
            Numbers::InPlace(tensor) => {
                // The tensor may be a part of a larger storage.
                let (start, end) = tensor.layout().contiguous_offsets().expect("contiguous");
                &mut tensor.storage_mut()[start..end]
            }
            Numbers::Copied { numbers, .. } => numbers,
        }
    }

    /// Gives the numbers back.
    pub(crate) fn into_tensor<const D: usize>(self) -> Tensor<D> {
        match self {
            #[cfg(feature = "flex")]
            Numbers::InPlace(tensor) => Tensor::from_primitive::<Flex>(tensor),
            Numbers::Copied { numbers, shape, device } => {
                Tensor::from_data(TensorData::new(numbers, shape), (&device, DType::F32))
            }
        }
    }
}
