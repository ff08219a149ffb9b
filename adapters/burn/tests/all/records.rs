//! Records: saved training resumes with the same bits, also in another process.

use super::groups::Small;
use super::*;
use burn::module::{Module, ParamGroup};
use burn::optim::{AdamConfig as BurnAdamConfig, ModuleOptimizer, RecordState, StateSink, StateSource};
use layerwise::LayerConfig;
use layerwise_burn::State;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Where the first process leaves its files for the second.
const FOLDER: &str = "LAYERWISE_BURN_FOLDER";

/// Every kind of state, in groups: two moments, one, none.
fn optimizer() -> ModuleOptimizer {
    ModuleOptimizer::from(wrap(lamb()))
        .with_group(ParamGroup::from_predicate("bias"), wrap(novograd()).with_config(LayerConfig::PLAIN), None)
        .with_group(ParamGroup::from_predicate("scale"), wrap(sgd()), None)
}

/// Some steps, and the bits of the weights after them.
fn train(mut model: Small, optimizer: &mut ModuleOptimizer, steps: std::ops::Range<usize>) -> Small {
    for i in steps {
        let gradients = model.gradients(i);
        model = optimizer.step(0.02, model, gradients);
    }
    model
}

fn files(folder: &Path) -> [PathBuf; 3] {
    ["model.bpk", "optimizer.bpk", "result"].map(|name| folder.join(name))
}

fn text(model: &Small) -> String {
    format!("{:x?}", model.bits())
}

/// Runs itself once more, as the second process.
#[test]
fn another_process_goes_on_with_the_same_bits() {
    let device = Device::flex().autodiff();
    if let Ok(folder) = env::var(FOLDER) {
        let [model, optimizer_file, result] = files(Path::new(&folder));
        let model = Small::new(&device).load_file(model);
        let mut optimizer = optimizer().load(optimizer_file).expect("a record");
        fs::write(result, text(&train(model, &mut optimizer, 5..10))).expect("a folder to write to");
        return;
    }

    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("resume");
    fs::create_dir_all(&folder).expect("a folder to write to");
    let [model_file, optimizer_file, result] = files(&folder);
    let _ = fs::remove_file(&result);
    let mut one = optimizer();
    let model = train(Small::new(&device), &mut one, 0..5);
    model.clone().save_file(model_file).expect("a folder to write to");
    one.save(optimizer_file).expect("a folder to write to");

    let mut command = Command::new(env::current_exe().expect("this program"));
    command.args(["--exact", "records::another_process_goes_on_with_the_same_bits"]).env(FOLDER, &folder);
    let output = command.output().expect("this program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let whole = train(model.clone(), &mut one, 5..10);
    assert_eq!(fs::read_to_string(result).expect("what the other process has written"), text(&whole));
    // Without the record it would have been another training.
    assert_ne!(text(&train(model, &mut optimizer(), 5..10)), text(&whole));
}

/// A record from Flex works on a backend that copies, and the other way round.
#[test]
fn another_backend_goes_on_with_the_same_bits() {
    let [one, other] = devices();
    for (from, to) in [(&one, &other), (&other, &one)] {
        // A linear loss: matrix products differ from backend to backend.
        let step = |optimizer: &Layerwise<_>, weights, i, state| {
            let device = Tensor::device(&weights);
            optimizer.step(0.1, weights, tensor(&numbers(i, 12), [3, 4], &device), state)
        };
        let optimizer = wrap(lamb());
        let (mut weights, mut state) = (tensor(&numbers(0, 12), [3, 4], from), None);
        for i in 0..3 {
            (weights, state) = step(&optimizer, weights, i, state);
        }
        let moved_weights = Tensor::from_data(weights.to_data(), (to, DType::F32));
        let moved_state = state.clone().map(|state| Layerwise::<layerwise::rule::AdamRule>::to_device(state, to));
        let here = step(&optimizer, weights, 3, state).0;
        let there = step(&optimizer, moved_weights, 3, moved_state).0;
        assert_eq!(bits(&here), bits(&there));
    }
}

fn flat(state: &State<2>) -> StateSink {
    let mut sink = StateSink::default();
    state.state_flatten("p", &mut sink);
    sink
}

fn rebuilt(sink: StateSink, device: &Device) -> Option<State<2>> {
    let mut source = StateSource::new(sink.scalars.into_iter().collect::<BTreeMap<_, _>>());
    for (name, data) in sink.tensors {
        source.insert_tensor(name, data);
    }
    State::state_unflatten("p", &mut source, device)
}

/// Each name and each tensor of a record is required: if one is missing, the state is not invented.
#[test]
fn an_incomplete_state_is_none() {
    let device = Device::flex();
    let square = || tensor(&numbers(0, 16), [4, 4], &device);
    let state = wrap(lamb()).step(0.1, square(), square(), None).1.expect("a state");
    assert!(rebuilt(flat(&state), &device).is_some());
    for i in 0..flat(&state).scalars.len() {
        let mut sink = flat(&state);
        sink.scalars.remove(i);
        assert!(rebuilt(sink, &device).is_none());
    }
    for i in 0..flat(&state).tensors.len() {
        let mut sink = flat(&state);
        sink.tensors.remove(i);
        assert!(rebuilt(sink, &device).is_none());
    }
}

/// As with burn's own records: state that cannot be read starts from zero.
#[test]
fn a_record_of_another_optimizer_begins_anew() {
    let device = Device::flex().autodiff();
    let mut adam = BurnAdamConfig::new().init();
    let model = train(Small::new(&device), &mut adam, 0..3);
    let mut loaded = optimizer().from_bytes(adam.into_bytes().expect("bytes")).expect("a record");
    let fresh = text(&train(model.clone(), &mut optimizer(), 3..6));
    assert_eq!(text(&train(model, &mut loaded, 3..6)), fresh);
}
