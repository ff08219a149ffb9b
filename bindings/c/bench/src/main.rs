//! Compares the time of a step called from C with the same step called from Rust, in nanoseconds per call. C pays for
//! checks of its settings and pointers.
//!
//! In Rust the compiler inlines the step into the loop that calls it, and leaves out what a default layer does not
//! need. So there is also a column for a Rust function that is not inlined: C cannot be faster than that.
//!
//! ```text
//! cargo run --release           # some seconds
//! cargo run --release -- 12     # layers of another length than 256
//! ```

use layerwise::rule::{Moments, Rule};
use layerwise::{
    Adam, AdamConfig, Error, LarcConfig, LayerMemory, NovoGrad, NovoGradConfig, Optimizer, Outcome, Report, Sgd,
    SgdConfig, Step,
};
use std::ffi::{c_int, c_uint, c_void};
use std::hint::black_box;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

/// The number of calls in a row, and how often to time them. The shortest time counts, because only noise makes it
/// longer.
const CALLS: c_uint = 500;
const TURNS: u32 = 4000;
const LR: f64 = 1e-6;

#[link(name = "calls", kind = "static")]
unsafe extern "C" {
    static c_optimizers: [*const c_void; 4];
    fn c_steps(
        calls: c_uint,
        optimizer: *const c_void,
        lr: f64,
        weights: *mut f32,
        gradients: *const f32,
        momentum: *mut f32,
        second_moment: *mut f32,
        len: usize,
    ) -> c_int;
}

/// The arrays of a step. C and Rust take turns on the same memory.
struct Arrays {
    weights: Vec<f32>,
    gradients: Vec<f32>,
    momentum: Vec<f32>,
    second_moment: Vec<f32>,
}

impl Arrays {
    fn new(len: usize) -> Self {
        let numbers = |scale: f32| (0..len).map(|i| scale * ((i * 7919 % 1000) as f32 / 500.0 - 1.0)).collect();
        Arrays {
            weights: numbers(1.0),
            gradients: numbers(0.1),
            momentum: vec![0.0; len],
            second_moment: vec![0.0; len],
        }
    }

    fn step_from_c(&mut self, optimizer: usize, second: bool) {
        let len = self.weights.len();
        let (w, g, m) = (self.weights.as_mut_ptr(), self.gradients.as_ptr(), self.momentum.as_mut_ptr());
        let v = if second { self.second_moment.as_mut_ptr() } else { null_mut() };
        // SAFETY: the pointers are to arrays of this length, and the optimizer is a C one.
        let status = unsafe { c_steps(CALLS, c_optimizers[optimizer], LR, w, g, m, v, len) };
        assert_eq!(status, 0, "a step from C");
    }

    fn step<R: Rule>(&mut self, optimizer: &Optimizer<R>, second: bool, step: impl StepLayer<R>) {
        let len = if second { self.weights.len() } else { 0 };
        let mut state = R::State::default();
        for _ in 0..CALLS {
            let layer = LayerMemory::new(&mut self.weights[..], &self.gradients[..], &mut state);
            let layer = layer.momentum(&mut self.momentum[..]).second_moment(&mut self.second_moment[..len]);
            let report = step(black_box(optimizer), Step::new(LR), layer).expect("memory as it should be");
            assert_eq!(report.outcome, Outcome::Applied);
        }
    }
}

/// A function that takes a step of a layer.
trait StepLayer<R: Rule>: Fn(&Optimizer<R>, Step, LayerMemory<'_, R::State>) -> Result<Report, Error> {}
impl<R: Rule, F: Fn(&Optimizer<R>, Step, LayerMemory<'_, R::State>) -> Result<Report, Error>> StepLayer<R> for F {}

/// A step that is not inlined into its caller.
#[inline(never)]
fn apart<R: Rule>(optimizer: &Optimizer<R>, step: Step, layer: LayerMemory<'_, R::State>) -> Result<Report, Error> {
    optimizer.step_layer(step, layer)
}

/// The shortest of many times in nanoseconds per call: from C, from Rust, and from Rust without inlining, in turns.
fn time<R: Rule>(optimizer: &Optimizer<R>, number: usize, arrays: &mut Arrays) -> [f64; 3] {
    let second = matches!(optimizer.moments(), Moments::FirstAndSecond);
    let mut shortest = [Duration::MAX; 3];
    for _ in 0..TURNS {
        let times = [
            timed(|| arrays.step_from_c(number, second)),
            timed(|| {
                arrays.step(optimizer, second, |o: &Optimizer<R>, step: Step, layer: LayerMemory<'_, _>| {
                    o.step_layer(step, layer)
                })
            }),
            timed(|| arrays.step(optimizer, second, black_box(apart as fn(&_, _, LayerMemory<'_, _>) -> _))),
        ];
        for (shortest, time) in shortest.iter_mut().zip(times) {
            *shortest = time.min(*shortest);
        }
    }
    shortest.map(|time| time.as_nanos() as f64 / f64::from(CALLS))
}

fn timed(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

fn main() {
    let len = std::env::args().nth(1).map_or(256, |len| len.parse().expect("a length"));
    let mut arrays = Arrays::new(len);
    let with_momentum = SgdConfig { momentum: 0.9, ..SgdConfig::DEFAULT };
    let momentum = Sgd::new(with_momentum).expect("good settings");
    let larc = Sgd::new(SgdConfig { larc: Some(LarcConfig::DEFAULT), ..with_momentum }).expect("good settings");
    let novograd = NovoGrad::new(NovoGradConfig::DEFAULT).expect("good settings");
    let adam = Adam::new(AdamConfig::DEFAULT).expect("good settings");

    println!("{len} elements: nanoseconds for a call");
    println!("{:20} {:>8} {:>8} {:>8} {:>8} {:>8}", "", "C", "Rust", "more", "apart", "more");
    let rows = [
        ("SGD with momentum", time(&momentum, 0, &mut arrays)),
        ("LARC with momentum", time(&larc, 1, &mut arrays)),
        ("NovoGrad", time(&novograd, 2, &mut arrays)),
        ("Adam", time(&adam, 3, &mut arrays)),
    ];
    for (name, [c, rust, apart]) in rows {
        println!("{name:20} {c:8.1} {rust:8.1} {:8.1} {apart:8.1} {:8.1}", c - rust, c - apart);
    }
}
