//! Invalid arguments are refused, and then nothing is written.

mod common;

use common::{Directory, bits, numbers, optimizers};
use layerwise::rule::{Moments, Needs, Norms, Plan, Rule, Update};
use layerwise::{AnyOptimizer, Argument, LayerConfig, Optimizer};
use layerwise_tensors::{Checkpoint, Error, Layerwise, Mapped, gradient, pair, read_weights, rewrite};
use ndarray::{Array1, Array2, ArrayD, ArrayViewD, ArrayViewMutD, Axis, ShapeBuilder, s};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use std::fs;
use std::path::Path;

fn adam() -> AnyOptimizer {
    optimizers()[4].1
}

fn arrays() -> (Array2<f32>, Array1<f32>) {
    (Array2::from_shape_vec((4, 3), numbers(12, 1)).unwrap(), Array1::from_vec(numbers(3, 2)))
}

fn views<'a>((w, b): &'a (Array2<f32>, Array1<f32>)) -> [ArrayViewD<'a, f32>; 2] {
    [w.view().into_dyn(), b.view().into_dyn()]
}

fn views_mut<'a>((w, b): &'a mut (Array2<f32>, Array1<f32>)) -> [ArrayViewMutD<'a, f32>; 2] {
    [w.view_mut().into_dyn(), b.view_mut().into_dyn()]
}

fn optimizer(of: AnyOptimizer, arrays: &(Array2<f32>, Array1<f32>)) -> Layerwise<layerwise::AnyRule> {
    Layerwise::new(of, ["w", "b"].into_iter().zip(views(arrays))).unwrap()
}

#[test]
fn pairs_of_unlike_arrays() {
    let (c, fortran) = (Array2::<f32>::ones((4, 6)), Array2::<f32>::ones((4, 6).f()));
    let refused = |weights: &Array2<f32>, gradients: &dyn Fn(&mut Array2<f32>) -> Option<Error>| {
        let mut weights = weights.clone();
        gradients(&mut weights).unwrap()
    };
    let error = refused(&c, &|w| pair(w, &fortran).err());
    assert!(matches!(error, Error::Order { what: Argument::Gradients, .. }));
    let message = "gradients: strides [6, 1] expected, [1, 4] found: another order of memory";
    assert_eq!(error.to_string(), message);
    assert!(matches!(refused(&fortran, &|w| pair(w, &c).err()), Error::Order { .. }));
    // The same shape and order, but one axis backwards.
    let mut backwards = c.clone();
    backwards.invert_axis(Axis(1));
    assert!(matches!(refused(&c, &|w| pair(w, &backwards).err()), Error::Order { .. }));
    // A transposed square array has the same shape.
    let square = Array2::<f32>::ones((4, 4));
    assert!(matches!(refused(&square, &|w| pair(w, &square.t()).err()), Error::Order { .. }));
    let error = refused(&c, &|w| pair(w, &c.t()).err());
    assert_eq!(error.to_string(), "gradients: shape [4, 6] expected, [6, 4] found");
    assert!(matches!(refused(&c, &|w| pair(w, &Array1::<f32>::ones(24)).err()), Error::Shape { .. }));
}

#[test]
fn arrays_that_are_not_contiguous() {
    let wide = Array2::<f32>::ones((4, 6));
    let (slice, stepped) = (wide.slice(s![.., ..3]), wide.slice(s![.., ..;2]));
    let row = Array1::<f32>::ones(3);
    let broadcast = row.broadcast((4, 3)).unwrap();
    for gradients in [slice, stepped, broadcast] {
        let error = pair(&mut Array2::zeros((4, 3)), &gradients).map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::NotContiguous { what: Argument::Gradients, .. }));
        assert!(matches!(gradient(&gradients), Err(Error::NotContiguous { .. })));
    }
    let mut wide = wide.clone();
    let mut weights = wide.slice_mut(s![.., ..3]);
    let of_weights = pair(&mut weights, &Array2::<f32>::ones((4, 3))).map(|_| ()).unwrap_err();
    let message = "weights: an array of shape [4, 3] with strides [6, 1] is not contiguous";
    assert_eq!(of_weights.to_string(), message);
    let of_optimizer = Layerwise::new(adam(), [("w", weights.view().into_dyn())]).map(|_| ()).unwrap_err();
    assert_eq!(of_optimizer.to_string(), format!("w: {message}"));
    assert!(matches!(gradient(&Array2::<f32>::ones((4, 3).f())), Err(Error::Order { .. })));
}

#[test]
fn steps_that_do_not_fit() {
    let (mut arrays, gradients) = (arrays(), arrays());
    let before = (bits(&arrays.0), bits(&arrays.1));
    let mut ours = optimizer(adam(), &arrays);
    let (w, b) = &mut arrays;

    let error = ours.step(0.1, &mut [pair(w, &gradients.0).unwrap()]).unwrap_err();
    assert!(matches!(error, Error::Layers { expected: 2, found: 1 }));
    let swapped = &mut [pair(b, &gradients.1).unwrap(), pair(w, &gradients.0).unwrap()];
    assert_eq!(ours.step(0.1, swapped).unwrap_err().to_string(), "w: weights: shape [4, 3] expected, [3] found");
    // Weights that are now in Fortran order, with matching gradients: the moments are not.
    let mut fortran = Array2::zeros((4, 3).f());
    fortran.assign(w);
    let of_fortran = fortran.clone();
    let pairs = &mut [pair(&mut fortran, &of_fortran).unwrap(), pair(b, &gradients.1).unwrap()];
    let message = "w: weights: strides [3, 1] expected, [1, 4] found: another order of memory";
    assert_eq!(ours.step(0.1, pairs).unwrap_err().to_string(), message);
    assert_eq!(fortran, of_fortran);
    for rate in [-1.0, f64::NAN] {
        let pairs = &mut [pair(w, &gradients.0).unwrap(), pair(b, &gradients.1).unwrap()];
        let error = ours.step(rate, pairs).unwrap_err();
        assert!(matches!(error, Error::Step(layerwise::Error::LearningRate { .. })));
    }
    assert_eq!((bits(&*w), bits(&*b), ours.steps()), (before.0, before.1, 0));

    for (config, message) in [
        (LayerConfig { rate: -1.0, ..LayerConfig::DEFAULT }, "b: learning rate -1 is not a finite number >= 0"),
        (LayerConfig { decay: f64::NAN, ..LayerConfig::DEFAULT }, "b: weight decay NaN is not a finite number >= 0"),
    ] {
        let configured = ours.configure(|name, _| if name == "b" { config } else { LayerConfig::FROZEN });
        assert_eq!(configured.unwrap_err().to_string(), message);
    }
    // After all that, steps still work, with no layer frozen.
    let summary = ours.step(0.1, &mut [pair(w, &gradients.0).unwrap(), pair(b, &gradients.1).unwrap()]).unwrap();
    assert_eq!((summary.applied, ours.steps()), (2, 1));
}

#[test]
fn names_that_are_the_same() {
    let arrays = arrays();
    let [w, b] = views(&arrays);
    let twice = Layerwise::new(adam(), [("x", w.clone()), ("x", b.clone())]);
    assert!(matches!(twice, Err(Error::Name(name)) if name == "x"));
    let directory = Directory::new();
    for (names, taken) in [(["x", "x.momentum"], "x.momentum"), (["layerwise.steps", "x"], "layerwise.steps")] {
        let ours = Layerwise::new(adam(), [(names[0], w.clone()), (names[1], b.clone())]).unwrap();
        let saved = ours.save(directory.file("x"), views(&arrays));
        assert!(matches!(saved, Err(Error::Name(name)) if name == taken));
        assert!(!directory.file("x").exists() && !directory.file("x.new").exists());
    }
}

/// A training file of two layers after two steps, and its weights.
fn saved(path: &Path, of: AnyOptimizer) -> (Array2<f32>, Array1<f32>) {
    let (mut now, gradients) = (arrays(), arrays());
    let mut ours = optimizer(of, &now);
    for _ in 0..2 {
        let (w, b) = &mut now;
        ours.step(0.1, &mut [pair(w, &gradients.0).unwrap(), pair(b, &gradients.1).unwrap()]).unwrap();
    }
    ours.save(path, views(&now)).unwrap();
    now
}

fn checkpoint(bytes: Vec<u8>) -> Result<Checkpoint<layerwise::AnyRule, Vec<u8>>, Error> {
    Checkpoint::new(bytes)
}

/// The same file with a header padded to a multiple of 8 plus `more` bytes.
fn with_longer_header(bytes: &[u8], more: usize) -> Vec<u8> {
    let (len, _) = SafeTensors::read_metadata(bytes).unwrap();
    let mut longer = ((len + more) as u64).to_le_bytes().to_vec();
    longer.extend(&bytes[8..8 + len]);
    longer.extend(vec![b' '; more]);
    longer.extend(&bytes[8 + len..]);
    longer
}

#[test]
fn misaligned_files_can_be_copied() {
    let directory = Directory::new();
    let (path, copy) = (directory.file("saved"), directory.file("copy"));
    let weights = saved(&path, adam());
    let bytes = fs::read(&path).unwrap();
    assert!(checkpoint(bytes.clone()).is_ok());
    assert!(checkpoint(with_longer_header(&bytes, 4)).is_ok()); // f32 need no more
    for more in [1, 2, 3, 5] {
        let foreign = with_longer_header(&bytes, more);
        let error = checkpoint(foreign.clone()).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "w does not begin at a multiple of 4 bytes");
        assert!(matches!(error, Error::Misaligned { size: 4, .. }));
        // In a mapped file too, of course.
        fs::write(&copy, &foreign).unwrap();
        // SAFETY: nobody else knows the file.
        #[allow(unsafe_code, reason = "a mapped file")]
        let mapped = unsafe { Mapped::open(&copy) }.unwrap();
        assert!(matches!(Checkpoint::new(mapped), Err(Error::Misaligned { .. })));
        rewrite(&foreign, &copy).unwrap();
        let copied = checkpoint(fs::read(&copy).unwrap()).unwrap();
        assert_eq!(copied.weights(0).unwrap(), weights.0.view().into_dyn());
        // Or it is loaded into arrays.
        fs::write(&copy, &foreign).unwrap();
        let mut loaded = arrays();
        optimizer(adam(), &loaded).load(&copy, views_mut(&mut loaded)).unwrap();
        assert_eq!(loaded, weights);
    }
}

#[test]
fn files_of_weights_only() {
    let (upper, lower) = ([0x80, 0x3f, 0x00, 0xc0], [0x00, 0x3c]);
    let view = |dtype, shape: &[usize], bytes| TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
    let tensors = [("b", view(Dtype::BF16, &[2, 1], &upper)), ("h", view(Dtype::F16, &[1], &lower))];
    let bytes = with_longer_header(&serialize(tensors, None).unwrap(), 1);
    assert!(matches!(checkpoint(bytes.clone()), Err(Error::NoState)));
    let weights = read_weights(&bytes).unwrap();
    let expected = ArrayD::from_shape_vec(vec![2, 1], vec![1.0, -2.0]).unwrap();
    assert!(weights.contains(&("b".to_string(), expected)));
    assert!(weights.contains(&("h".to_string(), ArrayD::from_elem(vec![1], 1.0))));
    let bytes = serialize([("i", view(Dtype::I32, &[1], &upper))], None).unwrap();
    let message = read_weights(&bytes).unwrap_err().to_string();
    assert_eq!(message, "i: F32, BF16 or F16 expected, I32 of [1] found");
    assert!(matches!(read_weights(&bytes[1..]), Err(Error::Format(_))));
}

#[test]
fn files_that_are_damaged_or_of_other_rules() {
    let directory = Directory::new();
    let path = directory.file("saved");
    saved(&path, adam());
    let bytes = fs::read(&path).unwrap();
    let (len, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let at = |name: &str| 8 + len + metadata.info(name).unwrap().data_offsets.0;
    let with = |at: usize, number: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + number.len()].copy_from_slice(number);
        bytes
    };

    assert!(matches!(checkpoint(bytes[..bytes.len() - 1].to_vec()), Err(Error::Format(_))));
    assert!(matches!(checkpoint(Vec::new()), Err(Error::Format(_))));
    let torn = with(at("layerwise.steps"), &3_u64.to_le_bytes());
    let error = checkpoint(torn.clone()).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "training in this file ended within step 2: go back to a copy");
    let state = with(at("b.state"), &f64::NAN.to_le_bytes());
    assert!(matches!(checkpoint(state.clone()), Err(Error::State(name)) if name == "b.state"));
    // The name of a setting, and of the version.
    let of = |text: &[u8]| bytes.windows(text.len()).position(|window| window == text).unwrap();
    assert!(matches!(checkpoint(with(of(b"beta1"), b"gamma")), Err(Error::Settings(_))));
    assert!(matches!(checkpoint(with(of(b"layerwise-tensors"), b"layerwise-others!")), Err(Error::NoState)));
    assert!(matches!(checkpoint(with(of(b"version"), br#"version\":2"#)), Err(Error::NoState)));
    assert!(matches!(checkpoint(with(of(b"b.momentum"), b"b.momentun")), Err(Error::Missing(_))));
    let name = br#"name\":\"b\""#;
    assert!(matches!(checkpoint(with(of(name), br#"name\":\"w\""#)), Err(Error::Name(name)) if name == "w"));

    // None of them is loaded either.
    let mut now = arrays();
    let before = now.clone();
    let mut ours = optimizer(adam(), &now);
    for bytes in [torn, state] {
        fs::write(&path, bytes).unwrap();
        ours.load(&path, views_mut(&mut now)).unwrap_err();
        assert_eq!(now, before);
    }
    fs::write(&path, &bytes).unwrap();
    let mut other = optimizer(optimizers()[1].1, &now);
    assert!(
        matches!(other.load(&path, views_mut(&mut now)), Err(Error::Unexpected(name)) if name == "w.second_moment")
    );
    let other = Checkpoint::with_optimizer(bytes.clone(), optimizers()[1].1);
    assert!(matches!(other, Err(Error::Unexpected(_))));
    let [w, b] = views(&before);
    let mut renamed = Layerwise::new(adam(), [("w", w.clone()), ("c", b.clone())]).unwrap();
    assert!(matches!(renamed.load(&path, views_mut(&mut now)), Err(Error::Missing(name)) if name == "c"));
    let mut fewer = Layerwise::new(adam(), [("w", w)]).unwrap();
    assert!(matches!(fewer.load(&path, [now.0.view_mut().into_dyn()]), Err(Error::Layers { expected: 1, found: 2 })));
    let mut reshaped = (Array2::zeros((3, 4)), Array1::zeros(3));
    let mut other = optimizer(adam(), &reshaped);
    let message = other.load(&path, views_mut(&mut reshaped)).unwrap_err().to_string();
    assert_eq!(message, "w: weights: shape [3, 4] expected, [4, 3] found");
    assert!(matches!(ours.load(directory.file("none"), views_mut(&mut now)), Err(Error::Io(_))));
    assert_eq!(now, before);
}

#[test]
fn a_checkpoint_refuses_steps_that_do_not_fit() {
    let directory = Directory::new();
    saved(&directory.file("saved"), adam());
    let bytes = fs::read(directory.file("saved")).unwrap();
    let gradients = arrays();
    let (w, b) = (gradient(&gradients.0).unwrap(), gradient(&gradients.1).unwrap());
    let mut file = checkpoint(bytes.clone()).unwrap();
    assert!(matches!(file.step(0.1, &[w]), Err(Error::Layers { expected: 2, found: 1 })));
    let message = file.step(0.1, &[b, w]).unwrap_err().to_string();
    assert_eq!(message, "w: gradients: shape [4, 3] expected, [3] found");
    assert!(matches!(file.step(-0.1, &[w, b]), Err(Error::Step(_))));
    assert!(file.weights(2).is_none());
    assert!(file.into_bytes() == bytes);
}

#[test]
#[allow(unsafe_code, reason = "a mapped file")]
fn a_file_is_mapped_once() {
    let directory = Directory::new();
    let path = directory.file("saved");
    saved(&path, adam());
    // SAFETY: nobody else knows the file.
    let open = || unsafe { Mapped::open(&path) };
    let first = open().unwrap();
    assert!(matches!(open(), Err(Error::Locked)));
    // Nor is it replaced with another file, in which nobody would train.
    let file = Checkpoint::new(first).unwrap();
    assert!(matches!(file.copy_to(&path), Err(Error::Locked)));
    assert!(matches!(optimizer(adam(), &arrays()).save(&path, views(&arrays())), Err(Error::Locked)));
    assert!(!directory.file("saved.new").exists());
    file.copy_to(directory.file("copy")).unwrap();
    assert!(fs::read(directory.file("copy")).unwrap() == fs::read(&path).unwrap());
    drop(file);
    open().unwrap();
    saved(&path, adam());
}

/// A custom rule, which a file cannot name.
#[derive(Clone, Copy)]
struct Own;

impl Rule for Own {
    type State = u32;
    const MOMENTS: Moments = Moments::None;

    fn needs(&self, _: &LayerConfig) -> Needs {
        Needs::GRADIENT
    }

    fn plan(&self, lr: f64, _: &LayerConfig, norms: &Norms, count: u32) -> (Plan, u32) {
        assert!(norms.gradient > 0.0, "a mistake of the rule");
        (Plan::new(Update { gradient: 1.0, rate: lr, ..Update::ZERO }, lr), count + 1)
    }
}

#[test]
fn a_rule_of_ones_own_is_given_again() {
    let directory = Directory::new();
    let (path, mut now) = (directory.file("saved"), arrays());
    let mut ours = Layerwise::new(Optimizer::from_rule(Own), ["w", "b"].into_iter().zip(views(&now))).unwrap();
    let gradients = arrays();
    let (w, b) = &mut now;
    ours.step(0.5, &mut [pair(w, &gradients.0).unwrap(), pair(b, &gradients.1).unwrap()]).unwrap();
    ours.save(&path, views(&now)).unwrap();
    let bytes = fs::read(&path).unwrap();
    assert!(matches!(checkpoint(bytes.clone()), Err(Error::NoRule)));
    let mut file = Checkpoint::with_optimizer(bytes, Optimizer::from_rule(Own)).unwrap();
    assert_eq!((file.steps(), file.weights(1).unwrap()), (1, (&gradients.1 * 0.5).view().into_dyn()));
    file.step(0.5, &[gradient(&gradients.0).unwrap(), gradient(&gradients.1).unwrap()]).unwrap();
    assert_eq!(file.weights(1).unwrap(), Array1::<f32>::zeros(3).view().into_dyn());

    // The first layer has been updated when the rule panics on the second.
    let zeros = Array1::<f32>::zeros(3);
    let panics = || file.step(0.5, &[gradient(&gradients.0).unwrap(), gradient(&zeros).unwrap()]);
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).unwrap_err();
    let after = file.step(0.5, &[gradient(&gradients.0).unwrap(), gradient(&gradients.1).unwrap()]);
    assert!(matches!(after, Err(Error::Torn { step: 2 })));
    let again = Checkpoint::with_optimizer(file.into_bytes(), Optimizer::from_rule(Own));
    assert!(matches!(again, Err(Error::Torn { step: 2 })));
}
