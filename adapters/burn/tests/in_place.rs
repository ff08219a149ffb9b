//! On Flex a step allocates nothing that grows with the parameter, and does not move the weights.

#![cfg(feature = "flex")]

use burn::backend::Flex;
use burn::module::{Module, Param};
use burn::optim::{GradientsParams, ModuleOptimizer, Optimizer};
use burn::tensor::{Device, Tensor, TensorData};
use layerwise::rule::Rule;
use layerwise::{Adam, AdamConfig, NovoGrad, NovoGradConfig, Sgd, SgdConfig};
use layerwise_burn::Layerwise;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// An allocator that counts bytes per thread.
struct Counting;

thread_local! {
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

#[allow(unsafe_code)]
// SAFETY: every call is forwarded unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.set(BYTES.get() + layout.size());
        // SAFETY: the caller upholds the contract of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract of `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LEN: usize = 1 << 20;
/// Shapes, strides, and what burn needs to visit a module: little compared with 4 MiB.
const FEW: usize = 16384;

fn allocated<T>(call: impl FnOnce() -> T) -> (T, usize) {
    let before = BYTES.get();
    let result = call();
    (result, BYTES.get() - before)
}

fn tensor(device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(vec![0.5_f32; LEN], [LEN / 64, 64]), device)
}

fn address(tensor: &Tensor<2>) -> *const u8 {
    tensor.clone().try_into_primitive::<Flex>().expect("a tensor of Flex").bytes().as_ptr()
}

fn steps_in_place<R: Rule + Clone + Send + Sync + 'static>(optimizer: layerwise::Optimizer<R>) {
    let optimizer = Layerwise::new(optimizer).expect("the default policy");
    let device = Device::flex();
    let (weights, gradients) = (tensor(&device), tensor(&device));
    let place = address(&weights);
    // The first step makes the moments.
    let (weights, state) = optimizer.step(0.1, weights, gradients.clone(), None);
    let ((weights, _), bytes) = allocated(|| optimizer.step(0.1, weights, gradients, state));
    assert!(bytes < FEW, "{bytes} bytes in a step");
    assert_eq!(address(&weights), place);
    assert_ne!(weights.into_data().as_slice::<f32>().expect("f32")[0], 0.5);
}

#[test]
fn a_step_stays_in_place() {
    steps_in_place(Sgd::new(SgdConfig { momentum: 0.9, ..SgdConfig::DEFAULT }).expect("valid settings"));
    steps_in_place(NovoGrad::new(NovoGradConfig::DEFAULT).expect("valid settings"));
    steps_in_place(Adam::new(AdamConfig::DEFAULT).expect("valid settings"));
}

#[derive(Module, Debug)]
struct One {
    weights: Param<Tensor<2>>,
}

/// After a backward pass only the module has its weights, so a whole training step is in place.
#[test]
fn a_step_of_a_module_stays_in_place() {
    let device = Device::flex().autodiff();
    let mut model = One { weights: Param::from_tensor(tensor(&device)) };
    let novograd = NovoGrad::new(NovoGradConfig::DEFAULT).expect("valid settings");
    let mut optimizer = ModuleOptimizer::from(Layerwise::new(novograd).expect("the default policy"));
    for i in 0..3 {
        let loss = model.weights.val().square().sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        let place = address(&model.weights.val().inner());
        let (next, bytes) = allocated(|| optimizer.step(0.1, model, gradients));
        model = next;
        assert_eq!(address(&model.weights.val().inner()), place);
        assert!(i == 0 || bytes < FEW, "{bytes} bytes in a step");
    }
}

/// If other code shares the weights, they are copied once, and nothing else is.
#[test]
fn shared_weights_are_copied_once() {
    let optimizer = Layerwise::new(NovoGrad::new(NovoGradConfig::DEFAULT).expect("valid settings")).expect("no policy");
    let device = Device::flex();
    let (weights, state) = optimizer.step(0.1, tensor(&device), tensor(&device), None);
    let (held, gradients) = (weights.clone(), tensor(&device));
    let ((weights, _), bytes) = allocated(|| optimizer.step(0.1, weights, gradients, state));
    assert!((4 * LEN..4 * LEN + FEW).contains(&bytes), "{bytes} bytes in a step");
    assert_ne!(address(&weights), address(&held));
}
