//! Models with 16-bit floats: in one buffer and in many, on several threads and in pieces.

use crate::backends::Case;
use crate::host::{bits, joined, lower, random, upper};
use half::{bf16, f16};
use layerwise::pieces::{LEAF, LayerView, SUMS};
use layerwise::rule::{Moments, Rule, RuleState};
use layerwise::{
    Adam, AdamConfig, FlatModel, LarcConfig, LayerMemory, LayerSpan, Layers, Luc, NonFinite, NovoGrad, NovoGradConfig,
    Optimizer, Policy, Report, Sgd, SgdConfig, Step,
};
use std::mem::take;
use std::ops::Range;

/// Layers that are cut into tiles, leaves and parts of vectors.
const LENGTHS: [usize; 6] = [37, 0, 1100, 5000, 3, 70_001];
const COUNT: usize = LENGTHS.len();
const STEPS: u64 = 3;

fn spans() -> [LayerSpan; COUNT] {
    let mut start = 0;
    LENGTHS.map(|len| {
        start += len;
        LayerSpan::new(start - len, len)
    })
}

/// A model with split weights, `f16` gradients, an `f16` copy and `bf16` momentum.
#[derive(Clone)]
struct Halves<S> {
    upper: Vec<bf16>,
    lower: Vec<u16>,
    gradients: Vec<f16>,
    momentum: Vec<bf16>,
    second: Vec<f32>,
    copy: Vec<f16>,
    states: Vec<S>,
    reports: [Report; COUNT],
}

/// A range of an array that may be empty instead.
fn part<T>(x: &mut [T], range: Range<usize>) -> &mut [T] {
    x.get_mut(range).unwrap_or_default()
}

/// Takes the first elements off an array.
fn first<'a, T>(x: &mut &'a mut [T], len: usize) -> &'a mut [T] {
    let (first, rest) = take(x).split_at_mut_checked(len).unwrap_or_default();
    *x = rest;
    first
}

impl<S: RuleState + Default> Halves<S> {
    fn new<R: Rule<State = S>>(optimizer: &Optimizer<R>, weights: &[f32]) -> Self {
        let len = |least| if optimizer.moments() >= least { weights.len() } else { 0 };
        Halves {
            upper: upper(weights),
            lower: lower(weights),
            gradients: vec![f16::ZERO; weights.len()],
            momentum: vec![bf16::ZERO; len(Moments::First)],
            second: vec![0.0; len(Moments::FirstAndSecond)],
            copy: vec![f16::ZERO; weights.len()],
            states: vec![S::default(); COUNT],
            reports: [Report::ABSENT; COUNT],
        }
    }

    fn flat<'a>(&'a mut self, layers: &Layers<'a>) -> (FlatModel<'a, S>, &'a mut [Report]) {
        let model = FlatModel::new(layers, &mut self.upper, &self.gradients, &mut self.states).lower(&mut self.lower);
        let model = model.momentum(&mut self.momentum).second_moment(&mut self.second);
        (model.saturating_copy(&mut self.copy), &mut self.reports)
    }

    fn layers(&mut self) -> (Vec<LayerMemory<'_, S>>, &mut [Report]) {
        let Halves { upper, lower, gradients, momentum, second, copy, states, reports } = self;
        let (mut upper, mut lower, mut copy) = (&mut upper[..], &mut lower[..], &mut copy[..]);
        let (mut momentum, mut second) = (&mut momentum[..], &mut second[..]);
        let layer = |(span, state): (LayerSpan, _)| {
            let (upper, lower) = (first(&mut upper, span.len), first(&mut lower, span.len));
            LayerMemory::new(upper, &gradients[span.start..span.start + span.len], state)
                .lower(lower)
                .saturating_copy(first(&mut copy, span.len))
                .momentum(first(&mut momentum, span.len))
                .second_moment(first(&mut second, span.len))
        };
        (spans().into_iter().zip(states).map(layer).collect(), reports)
    }

    /// A chunk of a layer, to be written.
    fn chunk(&mut self, layer: usize, chunk: Range<usize>) -> LayerMemory<'_, S> {
        let start = spans()[layer].start;
        let range = start + chunk.start..start + chunk.end;
        LayerMemory::new(&mut self.upper[range.clone()], &self.gradients[range.clone()], &mut self.states[layer])
            .lower(&mut self.lower[range.clone()])
            .saturating_copy(&mut self.copy[range.clone()])
            .momentum(part(&mut self.momentum, range.clone()))
            .second_moment(part(&mut self.second, range))
    }

    /// A chunk of a layer, to be read.
    fn view(&self, layer: usize, chunk: Range<usize>) -> LayerView<'_> {
        let start = spans()[layer].start;
        let range = start + chunk.start..start + chunk.end;
        LayerView::new(&self.upper[range.clone()], &self.gradients[range.clone()])
            .lower(&self.lower[range.clone()])
            .momentum(self.momentum.get(range.clone()).unwrap_or_default())
            .second_moment(self.second.get(range).unwrap_or_default())
    }

    /// A step in which every layer is measured and updated in chunks.
    fn step_in_chunks<R: Rule<State = S>>(&mut self, optimizer: &Optimizer<R>, step: Step) {
        let mut pass = optimizer.pass(step).unwrap();
        let mut measured = vec![];
        for (i, span) in spans().into_iter().enumerate() {
            let mut sums = vec![[f64::NAN; SUMS]; span.len.div_ceil(LEAF)];
            for leaf in (0..sums.len()).rev() {
                let chunk = leaf * LEAF..span.len.min((leaf + 1) * LEAF);
                pass.leaf_sums(self.view(i, chunk), leaf * LEAF, &mut sums[leaf..=leaf]).unwrap();
            }
            measured.push(pass.fold(&span.config, span.len, &sums).unwrap());
        }
        let decided = pass.decide();
        for (i, (span, measured)) in spans().into_iter().zip(measured).enumerate() {
            let mut planned = decided.plan(measured, &span.config, self.states[i]).unwrap();
            if planned.needs_step() {
                let mut sums = vec![f64::NAN; span.len.div_ceil(LEAF)];
                planned.step_leaf_sums(self.view(i, 0..span.len), 0, &mut sums).unwrap();
                planned = decided.limit(planned, &sums).unwrap();
            }
            let cuts = [0, span.len / 3, span.len / 2 + 1, span.len].map(|cut| cut.min(span.len));
            for cut in cuts.windows(2).rev() {
                assert!(planned.apply(self.chunk(i, cut[0]..cut[1])).unwrap());
            }
            (self.reports[i], self.states[i]) = planned.report();
        }
    }
}

/// The same model in `f32`, with momentum rounded to `bf16` after each step.
struct Whole<S> {
    weights: Vec<f32>,
    momentum: Vec<f32>,
    second: Vec<f32>,
    states: Vec<S>,
    reports: [Report; COUNT],
}

impl<S: RuleState + Default> Whole<S> {
    fn step<R: Rule<State = S>>(&mut self, optimizer: &Optimizer<R>, step: Step, gradients: &[f16]) {
        let spans = spans();
        let layers = Layers::new(&spans, self.weights.len()).unwrap();
        let gradients: Vec<f32> = gradients.iter().map(|g| g.to_f32()).collect();
        let model = FlatModel::new(&layers, &mut self.weights, &gradients, &mut self.states);
        let mut model = model.momentum(&mut self.momentum).second_moment(&mut self.second);
        optimizer.step(step, &mut model, &mut self.reports).unwrap();
        for m in &mut self.momentum {
            *m = bf16::from_f32(*m).to_f32();
        }
    }

    fn assert_same(&self, halves: &Halves<S>) {
        assert_eq!(format!("{:?}", halves.reports), format!("{:?}", self.reports));
        assert_eq!(bits(&joined(&halves.upper, &halves.lower)), bits(&self.weights));
        let momentum: Vec<f32> = halves.momentum.iter().map(|m| m.to_f32()).collect();
        assert_eq!([bits(&momentum), bits(&halves.second)], [bits(&self.momentum), bits(&self.second)]);
        let largest = f16::MAX.to_f32();
        let copy = self.weights.iter().map(|w| f16::from_f32(w.clamp(-largest, largest)).to_bits());
        assert!(halves.copy.iter().map(|w| w.to_bits()).eq(copy));
        assert!(halves.states == self.states);
    }
}

/// Takes steps in one way, and fails unless they match those in `f32`.
fn check_way<R: Rule + Copy + Sync>(
    name: &str,
    optimizer: Optimizer<R>,
    way: impl Fn(&mut Halves<R::State>, &Layers<'_>, Step),
) {
    let _case = Case(|| name.to_string());
    let spans = spans();
    let len = LENGTHS.iter().sum();
    let layers = Layers::new(&spans, len).unwrap();
    // Some are beyond the range of f16.
    let weights = random(len, 1, 1e5);
    let mut ours = Halves::new(&optimizer, &weights);
    let moment = |least| vec![0.0; if optimizer.moments() >= least { len } else { 0 }];
    let mut theirs = Whole {
        weights,
        momentum: moment(Moments::First),
        second: moment(Moments::FirstAndSecond),
        states: vec![R::State::default(); COUNT],
        reports: [Report::ABSENT; COUNT],
    };
    for step in 0..STEPS {
        ours.gradients = random(len, 2 + step, 1.0).into_iter().map(f16::from_f32).collect();
        let step = Step::new(0.1).gradient_scale(0.5);
        way(&mut ours, &layers, step);
        theirs.step(&optimizer, step, &ours.gradients);
        theirs.assert_same(&ours);
    }
}

fn check<R: Rule + Copy + Sync>(name: &str, optimizer: Optimizer<R>) {
    check_way(&format!("{name} in one buffer"), optimizer, |halves, layers, step| {
        let (mut model, reports) = halves.flat(layers);
        optimizer.step(step, &mut model, reports).unwrap();
    });
    check_way(&format!("{name} in slices"), optimizer, |halves, _, step| {
        let (mut layers, reports) = halves.layers();
        optimizer.step(step, &mut layers[..], reports).unwrap();
    });
    check_way(&format!("{name} in chunks"), optimizer, |halves, _, step| halves.step_in_chunks(&optimizer, step));
    #[cfg(feature = "rayon")]
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        check_way(&format!("{name} in one buffer on {threads} threads"), optimizer, |halves, layers, step| {
            let (mut model, reports) = halves.flat(layers);
            pool.install(|| optimizer.step_parallel(step, &mut model, reports)).unwrap();
        });
        check_way(&format!("{name} in slices on {threads} threads"), optimizer, |halves, _, step| {
            let (mut layers, reports) = halves.layers();
            pool.install(|| optimizer.step_parallel(step, &mut layers[..], reports)).unwrap();
        });
    }
}

#[test]
fn models_are_stepped_as_those_of_f32() {
    let larc = SgdConfig { momentum: 0.9, larc: Some(LarcConfig::DEFAULT), weight_decay: 0.01, ..SgdConfig::DEFAULT };
    let luc = NovoGradConfig { luc: Some(Luc::DEFAULT), weight_decay: 0.01, ..NovoGradConfig::DEFAULT };
    let skipping = Policy { non_finite: NonFinite::SkipStep, ..Policy::DEFAULT };
    let clipping = Policy { clip_norm: Some(1.0), ..Policy::DEFAULT };
    check("SGD", Sgd::new(SgdConfig::DEFAULT).unwrap().with_policy(clipping).unwrap());
    check("LARC", Sgd::new(larc).unwrap());
    check("NovoGrad", NovoGrad::new(luc).unwrap().with_policy(skipping).unwrap());
    check("LAMB", Adam::new(AdamConfig::TIMM_LAMB).unwrap());
}
