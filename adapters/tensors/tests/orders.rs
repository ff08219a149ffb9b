//! A step over arrays has the bits of a step over plain slices in the same memory order, for every order.

mod common;

use common::{bits, numbers, optimizers};
use half::{bf16, f16};
use layerwise::rule::Moments;
use layerwise::{Element, LayerConfig, LayerMemory, Sgd, SgdConfig};
use layerwise_tensors::{Error, Gradient, Layerwise, Pair, gradient, in_order_of, pair};
use ndarray::{Array, Array1, Array2, ArrayD, Axis, IxDyn, ShapeBuilder};

/// Arrays of a shape in every memory order: axes permuted, each forwards or backwards.
fn every_order(shape: [usize; 3], seed: usize) -> Vec<ArrayD<f32>> {
    let mut all = Vec::new();
    for axes in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for backwards in 0..8 {
            // An array of the permuted shape in C order, which gets the shape when its axes are permuted back.
            let mut back = [0; 3];
            axes.iter().enumerate().for_each(|(to, from)| back[*from] = to);
            let permuted = axes.map(|axis| shape[axis]);
            let numbers = numbers(shape.iter().product(), seed);
            let mut array = Array::from_shape_vec(permuted, numbers).unwrap().permuted_axes(back);
            (0..3).filter(|axis| backwards >> axis & 1 == 1).for_each(|axis| array.invert_axis(Axis(axis)));
            assert_eq!(array.shape(), shape);
            all.push(array.into_dyn());
        }
    }
    all
}

fn memory(array: &ArrayD<f32>) -> Vec<f32> {
    array.as_slice_memory_order().unwrap().to_vec()
}

#[test]
fn every_order_of_memory_has_the_bits_of_slices() -> Result<(), Error> {
    let mut orders = every_order([3, 5, 4], 1);
    orders.push(ArrayD::from_shape_vec(IxDyn(&[]), numbers(1, 1)).unwrap());
    orders.push(ArrayD::from_shape_vec(IxDyn(&[7]), numbers(7, 1)).unwrap());
    orders.push(ArrayD::from_shape_vec(IxDyn(&[2, 0, 3]), vec![]).unwrap());
    orders.push(ArrayD::from_shape_vec(IxDyn(&[2, 3, 2, 2, 2, 3]).f(), numbers(144, 1)).unwrap());
    for (name, optimizer) in optimizers() {
        for start in &orders {
            let mut weights = start.clone();
            let mut ours = Layerwise::new(optimizer, [("w", weights.view())])?;
            let moment = |kept| vec![0.0; if optimizer.moments() >= kept { start.len() } else { 0 }];
            let (mut slice, mut momentum, mut second_moment) =
                (memory(&weights), moment(Moments::First), moment(Moments::FirstAndSecond));
            let (mut state, config) = ([0.0; 3], LayerConfig::of_rank(weights.ndim()));
            for t in 0..3 {
                let mut gradients = weights.map(|_| 0.0);
                gradients.iter_mut().zip(numbers(start.len(), 10 + t)).for_each(|(to, x)| *to = x);
                let report = ours.step(0.1, &mut [pair(&mut weights, &gradients)?])?;

                let layer = LayerMemory::new(&mut slice, gradients.as_slice_memory_order().unwrap(), &mut state);
                let layer = layer.config(config).momentum(&mut momentum).second_moment(&mut second_moment);
                let mut reports = [layerwise::Report::ABSENT];
                let expected = optimizer.step(0.1, &mut [layer], &mut reports)?;
                let found = weights.as_slice_memory_order().unwrap();
                assert_eq!(bits(found), bits(&slice), "{name} {:?} {:?}", start.shape(), start.strides());
                assert_eq!((report.applied, report.gradient_norm), (1, expected.gradient_norm));
            }
            assert_eq!(ours.steps(), 3);
            assert!(start.is_empty() || weights != *start);
        }
    }
    Ok(())
}

/// The same elements in C and in Fortran order: a norm adds up in memory order, so its last bits differ. Element-wise
/// results do not.
#[test]
fn the_bits_of_a_norm_belong_to_the_order_of_memory() -> Result<(), Error> {
    // Small and large numbers, so that the order of the sum matters.
    let numbers = numbers(37 * 41, 5).into_iter().enumerate().map(|(i, x)| x * f32::powi(10.0, i as i32 % 9));
    let c = Array2::from_shape_vec((37, 41), numbers.collect()).unwrap();
    let mut fortran = Array2::zeros((37, 41).f());
    fortran.assign(&c);
    assert_eq!(c, fortran);
    assert_ne!(c.strides(), fortran.strides());

    let momentum = SgdConfig { momentum: 0.9, ..SgdConfig::DEFAULT };
    let [(of_c, norm), (of_fortran, other)] = [&c, &fortran].map(|gradients| {
        let mut weights = gradients.map(|_| 1.0);
        let mut ours = Layerwise::new(Sgd::new(momentum).unwrap(), [("w", weights.view().into_dyn())]).unwrap();
        let summary = ours.step(0.1, &mut [pair(&mut weights, gradients).unwrap()]).unwrap();
        (bits(&weights), summary.gradient_norm)
    });
    assert_eq!(of_c, of_fortran);
    assert_ne!(norm.to_bits(), other.to_bits());
    assert!((norm / other - 1.0).abs() < 1e-6);
    Ok(())
}

/// The weights after three steps.
fn trained<G: Element>(gradients: &Array2<G>) -> Result<Vec<u32>, Error> {
    let (_, novograd) = optimizers()[3];
    let mut weights = gradients.map(|_| 0.5);
    let mut ours = Layerwise::new(novograd, [("w", weights.view().into_dyn())])?;
    for _ in 0..3 {
        ours.step(0.1, &mut [pair(&mut weights, gradients)?])?;
    }
    Ok(bits(&weights))
}

#[test]
fn gradients_of_16_bits_have_the_bits_of_the_same_numbers() -> Result<(), Error> {
    let numbers = Array2::from_shape_vec((6, 10).f(), numbers(60, 3)).unwrap();
    let (upper, half) = (numbers.map(|x| bf16::from_f32(*x)), numbers.map(|x| f16::from_f32(*x)));
    assert_eq!(trained(&upper)?, trained(&upper.map(|x| x.to_f32()))?);
    assert_eq!(trained(&half)?, trained(&half.map(|x| x.to_f32()))?);
    assert_ne!(trained(&upper)?, trained(&half)?);
    Ok(())
}

#[test]
fn copies_in_the_order_of_the_weights() -> Result<(), Error> {
    for weights in every_order([3, 5, 4], 1) {
        for gradients in every_order([3, 5, 4], 2) {
            let copy = in_order_of(&gradients, &weights)?;
            assert_eq!(copy, gradients);
            assert_eq!(copy.strides(), weights.strides());
            assert_eq!(copy.is_view(), gradients.strides() == weights.strides());
            let _: Pair<'_> = pair(&mut weights.clone(), &copy)?;
            let standard = gradients.as_standard_layout();
            let _: Gradient<'_> = gradient(&standard)?;
        }
    }
    // A slice is copied too.
    let wide = Array2::from_shape_fn((4, 6), |(i, j)| (i * 6 + j) as f32);
    let slice = wide.slice(ndarray::s![.., ..3]);
    assert_eq!(in_order_of(&slice, &Array2::<f32>::zeros((4, 3)))?, slice);
    Ok(())
}

/// The strides of axes of length 1, and of empty arrays, mean nothing.
#[test]
fn strides_that_are_never_used_may_differ() -> Result<(), Error> {
    let column = Array1::from_vec(numbers(5, 1)).insert_axis(Axis(1));
    let mut weights = Array2::from_shape_vec((5, 1).f(), numbers(5, 2)).unwrap();
    let row = Array2::from_shape_vec((1, 5), numbers(5, 1)).unwrap().reversed_axes();
    assert!(column.strides() != row.strides() || weights.strides() != row.strides());
    for gradients in [column, row] {
        pair(&mut weights, &gradients).map(|_| ())?;
    }
    pair(&mut Array2::zeros((0, 3)), &Array2::<f32>::zeros((0, 3).f())).map(|_| ())?;
    Ok(())
}
