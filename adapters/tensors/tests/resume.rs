//! Training that is saved, and resumed in another process, has the bits of uninterrupted training: loaded into arrays,
//! or inside the file. A killed process leaves a file that is either right or refused.

#![cfg_attr(target_endian = "big", allow(dead_code, unused_imports, reason = "files are refused there"))]

mod common;

use common::{Directory, bits, numbers, optimizers};
use layerwise::{AnyOptimizer, AnyRule, Step};
use layerwise_tensors::{Checkpoint, Error, Layerwise, Mapped, gradient, pair};
use ndarray::{Array, Array2, ArrayD, IxDyn, ShapeBuilder};
use safetensors::SafeTensors;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Tells the test what the other process does, and where the files are.
const PART: &str = "LAYERWISE_TENSORS_PART";
const DIRECTORY: &str = "LAYERWISE_TENSORS_DIRECTORY";
const STEPS: usize = 40;
const SAVED_AFTER: usize = 15;

/// The arrays of a model, the first and third in C order, the second in Fortran order if it is `fortran`.
fn model(fortran: bool) -> Vec<ArrayD<f32>> {
    let array = |shape: &[usize], fortran, seed| {
        let numbers = numbers(shape.iter().product(), seed);
        let mut array = ArrayD::zeros(IxDyn(shape).set_f(fortran));
        array.assign(&Array::from_shape_vec(IxDyn(shape), numbers).unwrap());
        array
    };
    vec![array(&[30, 50], false, 1), array(&[20, 3, 20], fortran, 2), array(&[17], false, 3)]
}

/// A gradient that depends on the weights and the step, in the order of the weights.
fn gradients(weights: &ArrayD<f32>, t: u64) -> ArrayD<f32> {
    let mut gradients = weights.clone();
    gradients.iter_mut().zip(numbers(weights.len(), t as usize)).for_each(|(g, x)| *g = 0.1 * (*g - x));
    gradients
}

fn rate(t: u64) -> Step {
    Step::new(0.01 * (1.0 - t as f64 / STEPS as f64)).gradient_scale(0.5)
}

/// Trains arrays until the given step.
fn train(ours: &mut Layerwise<AnyRule>, weights: &mut [ArrayD<f32>], until: usize) -> Result<(), Error> {
    while ours.steps() < until as u64 {
        let t = ours.steps();
        let gradients: Vec<_> = weights.iter().map(|weights| gradients(weights, t)).collect();
        let mut pairs = Vec::new();
        for (weights, gradients) in weights.iter_mut().zip(&gradients) {
            pairs.push(pair(weights, gradients)?);
        }
        assert_eq!(ours.step(rate(t), &mut pairs)?.applied, 3);
    }
    Ok(())
}

/// Trains inside a file until the given step.
fn train_inside(path: &Path, until: usize) -> Result<(), Error> {
    // SAFETY: no other process has this file now.
    #[allow(unsafe_code, reason = "a mapped file")]
    let mut file = Checkpoint::new(unsafe { Mapped::open(path)? })?;
    while file.steps() < until as u64 {
        let t = file.steps();
        let weights = (0..3).filter_map(|layer| file.weights(layer));
        let gradients: Vec<_> = weights.map(|weights| gradients(&weights.to_owned(), t)).collect();
        let gradients = gradients.iter().map(gradient_of).collect::<Result<Vec<_>, Error>>()?;
        assert_eq!(file.step(rate(t), &gradients)?.applied, 3);
    }
    file.flush()
}

fn gradient_of(array: &ArrayD<f32>) -> Result<layerwise_tensors::Gradient<'_>, Error> {
    gradient(array)
}

fn optimizer(of: AnyOptimizer, weights: &[ArrayD<f32>]) -> Layerwise<AnyRule> {
    let names = ["first", "second", "third"];
    let mut ours = Layerwise::new(of, names.into_iter().zip(weights.iter().map(|weights| weights.view()))).unwrap();
    let config = layerwise::LayerConfig { rate: 1.0 / 3.0, ..layerwise::LayerConfig::DEFAULT };
    ours.configure(|name, _| if name == "second" { config } else { layerwise::LayerConfig::DEFAULT }).unwrap();
    ours
}

/// What the other process does.
fn other_process(part: &str, directory: &Path) -> Result<(), Error> {
    for (name, of) in optimizers() {
        match part {
            "arrays" => {
                let mut weights = model(true);
                weights.iter_mut().for_each(|weights| weights.fill(0.0));
                let mut ours = optimizer(of, &weights);
                // The settings of layers are those of the file.
                ours.configure(|_, _| layerwise::LayerConfig::FROZEN)?;
                ours.load(directory.join(format!("{name}.half")), weights.iter_mut().map(|w| w.view_mut()))?;
                assert_eq!(ours.steps(), SAVED_AFTER as u64);
                train(&mut ours, &mut weights, STEPS)?;
                ours.save(directory.join(format!("{name}.resumed")), weights.iter().map(|w| w.view()))?;
            }
            _ => train_inside(&directory.join(format!("{name}.resumed")), STEPS)?,
        }
    }
    Ok(())
}

fn spawn(part: &str, test: &str, directory: &Directory) -> Command {
    let mut other = Command::new(std::env::current_exe().unwrap());
    other.args(["--exact", test]).env(PART, part).env(DIRECTORY, directory.file(""));
    other
}

/// Trains to the end, and once more to the middle, where another process takes over.
fn resumes(part: &str, fortran: bool, test: &str) -> Result<(), Error> {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return other_process(part, Path::new(&directory));
    }
    let directory = Directory::new();
    for (name, of) in optimizers() {
        let file = |of: &str| directory.file(&format!("{name}.{of}"));
        let mut weights = model(fortran);
        let mut ours = optimizer(of, &weights);
        train(&mut ours, &mut weights, SAVED_AFTER)?;
        ours.save(file("half"), weights.iter().map(|w| w.view()))?;
        fs::copy(file("half"), file("resumed"))?;
        train(&mut ours, &mut weights, STEPS)?;
        ours.save(file("whole"), weights.iter().map(|w| w.view()))?;
    }
    let output = spawn(part, test, &directory).output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    for (name, _) in optimizers() {
        let file = |of: &str| fs::read(directory.file(&format!("{name}.{of}"))).unwrap();
        assert!(file("whole") == file("resumed"), "{name}: other bits");
        assert!(file("whole") != file("half"), "{name}: nothing was learnt after it was saved");
    }
    Ok(())
}

#[test]
fn arrays_of_any_order_go_on_in_another_process() -> Result<(), Error> {
    resumes("arrays", true, "arrays_of_any_order_go_on_in_another_process")
}

#[test]
#[cfg(target_endian = "little")]
fn a_mapped_file_goes_on_in_another_process() -> Result<(), Error> {
    resumes("inside", false, "a_mapped_file_goes_on_in_another_process")
}

#[test]
#[cfg(target_endian = "big")]
fn a_mapped_file_is_refused() -> Result<(), Error> {
    let (directory, weights) = (Directory::new(), model(false));
    let file = directory.file("file");
    optimizer(optimizers()[0].1, &weights).save(&file, weights.iter().map(|w| w.view()))?;
    assert!(matches!(train_inside(&file, STEPS), Err(Error::BigEndian)));
    Ok(())
}

/// Without the moments of the file, bits differ: so the tests above are able to fail.
#[test]
fn moments_matter() -> Result<(), Error> {
    let (directory, (_, momentum)) = (Directory::new(), optimizers()[1]);
    let (file, mut weights) = (directory.file("half"), model(true));
    let mut ours = optimizer(momentum, &weights);
    train(&mut ours, &mut weights, SAVED_AFTER)?;
    ours.save(&file, weights.iter().map(|w| w.view()))?;
    train(&mut ours, &mut weights, STEPS)?;

    let mut bytes = fs::read(&file)?;
    let (head, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let (start, end) = metadata.info("second.momentum").unwrap().data_offsets;
    for is_forgotten in [false, true] {
        if is_forgotten {
            bytes[8 + head + start..8 + head + end].fill(0);
            fs::write(&file, &bytes)?;
        }
        let mut again = model(true);
        let mut ours = optimizer(momentum, &again);
        ours.load(&file, again.iter_mut().map(|w| w.view_mut()))?;
        train(&mut ours, &mut again, STEPS)?;
        assert_eq!(bits(&again[0]), bits(&weights[0]));
        assert_eq!(bits(&again[1]) != bits(&weights[1]), is_forgotten);
    }
    Ok(())
}

/// A process that trains in a file until it is killed: usually within a step, or, if `is_idle`, between two steps.
fn train_until_killed(path: &Path, is_idle: bool) -> Result<(), Error> {
    // SAFETY: no other process has this file now.
    #[allow(unsafe_code, reason = "a mapped file")]
    let mut file = Checkpoint::new(unsafe { Mapped::open(path)? })?;
    let ones = Array2::<f32>::ones((1000, 500));
    loop {
        file.step(1.0, &[gradient(&ones)?])?;
        if is_idle {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Each step subtracts 1 from half a million weights, so after any number of whole steps they are all the same.
#[test]
#[cfg(target_endian = "little")]
fn a_killed_process_leaves_whole_steps_or_says_so() -> Result<(), Error> {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return train_until_killed(
            &Path::new(&directory).join("file"),
            std::env::var(PART).is_ok_and(|part| part == "idle"),
        );
    }
    let directory = Directory::new();
    let (path, weights) = (directory.file("file"), Array2::zeros((1000, 500)));
    let (mut torn, mut whole, mut most) = (0, 0, 0);
    for wait in 0..12 {
        let mut ours = Layerwise::new(optimizers()[0].1, [("w", weights.view().into_dyn())])?;
        ours.configure(|_, _| layerwise::LayerConfig::PLAIN)?;
        ours.save(&path, [weights.view().into_dyn()])?;
        let mut other = spawn(
            if wait % 2 == 0 { "idle" } else { "busy" },
            "a_killed_process_leaves_whole_steps_or_says_so",
            &directory,
        );
        let mut other = other.stdout(Stdio::null()).spawn()?;
        // The last weight is at the end of the file.
        while fs::read(&path)?.ends_with(&0_f32.to_le_bytes()) {
            assert!(other.try_wait()?.is_none(), "the other process has ended by itself");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(300 * wait));
        other.kill()?;
        other.wait()?;
        // SAFETY: the other process has ended.
        #[allow(unsafe_code, reason = "a mapped file")]
        match Checkpoint::new(unsafe { Mapped::open(&path)? }) {
            Ok(file) => {
                let steps = file.steps() as f32;
                assert!(file.weights(0).unwrap().iter().all(|w| *w == -steps), "not all weights took {steps} steps");
                (whole, most) = (whole + 1, most.max(file.steps()));
            }
            Err(Error::Torn { step }) => (torn, most) = (torn + 1, most.max(step)),
            Err(error) => return Err(error),
        }
    }
    // How many of each depends on the machine.
    println!("{torn} torn, {whole} whole, at most {most} steps");
    assert!(most > 0);
    Ok(())
}
