//! Steps on 16-bit floats, compared with the same step on the same numbers in `f32`; now and then with types and
//! lengths that must be refused.

use crate::harness::optimizers::{keeps_momentum, keeps_second_moment};
use crate::harness::{assert_same, assert_same_report, on, same};
use crate::input::{self, AnyOptimizer};
use crate::reference::cast;
use arbitrary::{Result, Unstructured};
use half::{bf16, f16};
use layerwise::rule::{Rule, RuleState};
use layerwise::{
    Argument, Backend, CarriedNorms, Error, Floats, FloatsMut, LayerConfig, LayerMemory, Optimizer, Outcome, Report,
    Step,
};
use std::ffi::c_void;
use std::ops::Range;

pub fn halves(u: &mut Unstructured) -> Result<()> {
    match input::optimizer(u)? {
        Some(AnyOptimizer::Sgd(sgd)) => steps(u, sgd),
        Some(AnyOptimizer::NovoGrad(novograd)) => steps(u, novograd),
        Some(AnyOptimizer::Adam(adam)) => steps(u, adam),
        None => Ok(()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Type {
    F32,
    Bf16,
    F16,
}

/// Mostly a usual type, or one of the others.
fn type_of(u: &mut Unstructured, usual: &[Type], others: &[Type]) -> Result<Type> {
    let types = if others.is_empty() || u.ratio(15, 16)? { usual } else { others };
    u.choose(types).copied()
}

/// An array of any type between guards.
#[derive(Clone)]
pub struct Array {
    elements: Elements,
    start: usize,
    len: usize,
}

#[derive(Clone)]
enum Elements {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

const GUARD: f32 = 42.0;
const GUARDS: usize = 17;

impl Array {
    pub fn new(of: Type, numbers: &[f32], start: usize) -> Self {
        let before = std::iter::repeat_n(GUARD, start);
        let all = before.chain(numbers.iter().copied()).chain([GUARD; GUARDS]);
        let elements = match of {
            Type::F32 => Elements::F32(all.collect()),
            Type::Bf16 => Elements::Bf16(all.map(bf16::from_f32).collect()),
            Type::F16 => Elements::F16(all.map(f16::from_f32).collect()),
        };
        Array { elements, start, len: numbers.len() }
    }

    fn get(&self) -> Floats<'_> {
        self.range(0..self.len)
    }

    fn get_mut(&mut self) -> FloatsMut<'_> {
        self.range_mut(0..self.len)
    }

    pub fn range(&self, range: Range<usize>) -> Floats<'_> {
        let range = self.start + range.start..self.start + range.end;
        match &self.elements {
            Elements::F32(x) => (&x[range]).into(),
            Elements::Bf16(x) => (&x[range]).into(),
            Elements::F16(x) => (&x[range]).into(),
        }
    }

    pub fn range_mut(&mut self, range: Range<usize>) -> FloatsMut<'_> {
        let range = self.start + range.start..self.start + range.end;
        match &mut self.elements {
            Elements::F32(x) => (&mut x[range]).into(),
            Elements::Bf16(x) => (&mut x[range]).into(),
            Elements::F16(x) => (&mut x[range]).into(),
        }
    }

    /// Other numbers of the same type at the same alignment.
    pub fn with(&self, numbers: &[f32]) -> Self {
        Array::new(self.of(), numbers, self.start)
    }

    fn of(&self) -> Type {
        match &self.elements {
            Elements::F32(_) => Type::F32,
            Elements::Bf16(_) => Type::Bf16,
            Elements::F16(_) => Type::F16,
        }
    }

    /// The type as C numbers it.
    pub fn number(&self) -> u32 {
        self.of() as u32
    }

    /// A pointer to an element.
    pub fn pointer(&mut self, element: usize) -> *mut c_void {
        let at = self.start + element;
        match &mut self.elements {
            Elements::F32(x) => x.as_mut_ptr().wrapping_add(at).cast(),
            Elements::Bf16(x) => x.as_mut_ptr().wrapping_add(at).cast(),
            Elements::F16(x) => x.as_mut_ptr().wrapping_add(at).cast(),
        }
    }

    /// All numbers, including guards. All NaNs count as equal.
    pub fn bits(&self) -> Vec<u32> {
        self.all().into_iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
    }

    /// The numbers, by the casts of the reference.
    fn widened(&self) -> Vec<f32> {
        let range = self.start..self.start + self.len;
        let all = self.all();
        assert!(all[..range.start].iter().chain(&all[range.end..]).all(|x| *x == GUARD), "a guard has changed");
        all[range].to_vec()
    }

    fn all(&self) -> Vec<f32> {
        match &self.elements {
            Elements::F32(x) => x.clone(),
            Elements::Bf16(x) => x.iter().map(|x| f32::from_bits(cast::bf16_to_f32(x.to_bits()))).collect(),
            Elements::F16(x) => x.iter().map(|x| f32::from_bits(cast::f16_to_f32(x.to_bits()))).collect(),
        }
    }
}

/// A number as the reference rounds it.
fn rounded(of: Type, saturating: bool, x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits(match (of, saturating) {
        (Type::F32, _) => bits,
        (Type::Bf16, false) => cast::bf16_to_f32(cast::f32_to_bf16(bits)),
        (Type::Bf16, true) => cast::bf16_to_f32(cast::f32_to_bf16_saturating(bits)),
        (Type::F16, false) => cast::f16_to_f32(cast::f32_to_f16(bits)),
        (Type::F16, true) => cast::f16_to_f32(cast::f32_to_f16_saturating(bits)),
    })
}

/// A layer as a host lends it.
#[derive(Clone)]
struct Lent<S> {
    types: [Type; 5],
    weights: Array,
    lower: Option<Vec<u16>>,
    gradients: Array,
    momentum: Array,
    second: Array,
    copy: Option<Array>,
    saturating: bool,
    state: S,
    norms: CarriedNorms,
}

impl<S: RuleState> Lent<S> {
    fn new<R: Rule<State = S>>(u: &mut Unstructured, optimizer: &Optimizer<R>) -> Result<Self> {
        let (len, offsets) = (input::len(u)?, input::offsets(u)?);
        let split = u.arbitrary()?;
        let types = [
            if split {
                type_of(u, &[Type::Bf16], &[Type::F32, Type::F16])?
            } else {
                type_of(u, &[Type::F32], &[Type::Bf16, Type::F16])?
            },
            type_of(u, &[Type::Bf16, Type::F16, Type::F32], &[])?,
            type_of(u, &[Type::F32, Type::Bf16], &[Type::F16])?,
            type_of(u, &[Type::F32], &[Type::Bf16, Type::F16])?,
            type_of(u, &[Type::F16, Type::Bf16], &[Type::F32])?,
        ];
        let w = input::numbers(u, len)?;
        let lower = match split {
            true => {
                let len = input::perhaps_other_len(u, len)?;
                Some(input::numbers(u, len)?.iter().map(|x| x.to_bits() as u16).collect())
            }
            false => None,
        };
        let copy = match u.arbitrary()? {
            true => Some(Array::new(types[4], &vec![1.0; input::perhaps_other_len(u, len)?], offsets[2])),
            false => None,
        };
        let moment = |keeps: bool| vec![0.0; if keeps { len } else { 0 }];
        Ok(Lent {
            types,
            weights: Array::new(types[0], &w, offsets[0]),
            lower,
            gradients: Array::new(types[1], &vec![0.0; len], offsets[1]),
            momentum: Array::new(types[2], &moment(keeps_momentum(optimizer)), offsets[2]),
            second: Array::new(types[3], &moment(keeps_second_moment(optimizer)), offsets[0]),
            copy,
            saturating: u.arbitrary()?,
            state: S::default(),
            norms: CarriedNorms::new(),
        })
    }

    fn memory(&mut self) -> LayerMemory<'_, S> {
        let mut layer = LayerMemory::new(self.weights.get_mut(), self.gradients.get(), &mut self.state);
        if let Some(lower) = &mut self.lower {
            layer = layer.lower(lower);
        }
        if let Some(copy) = &mut self.copy {
            let copy = copy.get_mut();
            layer = if self.saturating { layer.saturating_copy(copy) } else { layer.copy(copy) };
        }
        layer.momentum(self.momentum.get_mut()).second_moment(self.second.get_mut()).norms(&mut self.norms)
    }

    /// Whether a type or a length must be refused.
    fn is_wrong(&self) -> bool {
        let len = self.weights.len;
        let weights = match &self.lower {
            Some(lower) => self.types[0] != Type::Bf16 || lower.len() != len,
            None => self.types[0] != Type::F32,
        };
        let copy = self.copy.as_ref().is_some_and(|copy| self.types[4] == Type::F32 || copy.len != len);
        weights || copy || self.types[2] == Type::F16 || self.types[3] != Type::F32
    }

    /// The weights in `f32`, if they are valid.
    fn joined(&self) -> Vec<f32> {
        let (widened, join) = (self.weights.widened(), |(u, l): (&f32, &u16)| u.to_bits() | u32::from(*l));
        match (&self.lower, &self.weights.elements) {
            // (Not by a cast, which may change the bits of a NaN.)
            (Some(lower), Elements::Bf16(upper)) => {
                let upper = upper[self.weights.start..][..self.weights.len].iter();
                let upper: Vec<f32> = upper.map(|x| f32::from_bits(u32::from(x.to_bits()) << 16)).collect();
                upper.iter().zip(lower).map(join).map(f32::from_bits).collect()
            }
            _ => widened,
        }
    }

    fn assert_same(&self, other: &Self) {
        assert_same("weight", &self.joined(), &other.joined());
        assert_same("momentum", &self.momentum.widened(), &other.momentum.widened());
        assert_same("second moment", &self.second.widened(), &other.second.widened());
        let copies = [&self.copy, &other.copy].map(|copy| copy.as_ref().map_or(vec![], Array::widened));
        assert_same("copy", &copies[0], &copies[1]);
        assert_eq!(self.state, other.state);
    }
}

fn steps<R: Rule<State = S> + Copy, S: RuleState>(u: &mut Unstructured, optimizer: Optimizer<R>) -> Result<()> {
    let mut lent = Lent::new(u, &optimizer)?;
    for _ in 0..u.int_in_range(1..=3)? {
        let gradients = input::numbers(u, lent.gradients.len)?;
        lent.gradients = Array::new(lent.types[1], &gradients, lent.gradients.start);
        one_step(&mut lent, &optimizer, input::backend(u)?, input::step(u)?, input::layer(u)?);
    }
    Ok(())
}

fn one_step<R: Rule<State = S> + Copy, S: RuleState>(
    lent: &mut Lent<S>,
    optimizer: &Optimizer<R>,
    backend: Option<Backend>,
    step: Step,
    config: LayerConfig,
) {
    let before = lent.clone();
    let (mut weights, gradients) = (before.joined(), before.gradients.widened());
    let (mut momentum, mut second) = (before.momentum.widened(), before.second.widened());
    let (mut state, mut norms) = (before.state, before.norms);
    let layer = LayerMemory::new(&mut weights, &gradients, &mut state).momentum(&mut momentum);
    let layer = layer.second_moment(&mut second).norms(&mut norms).config(config);
    let expected = optimizer.step_layer(step, layer);
    let found = on(*optimizer, backend).step_layer(step, lent.memory().config(config));
    match (found, expected) {
        (Ok(report), Ok(expected)) => {
            // Nothing checks a frozen layer.
            assert!(!before.is_wrong() || config.frozen);
            assert_same_report(&report, &expected);
            if before.is_wrong() {
                return lent.assert_same(&before);
            }
            assert_same("weight", &lent.joined(), &weights);
            let momentum: Vec<f32> = momentum.iter().map(|m| rounded(lent.types[2], false, *m)).collect();
            assert_same("momentum", &lent.momentum.widened(), &momentum);
            assert_same("second moment", &lent.second.widened(), &second);
            assert_eq!(lent.state, state);
            assert!(same(lent.norms.weights().unwrap_or(-1.0), norms.weights().unwrap_or(-1.0)));
            assert_copy(lent, &before, &report, &weights);
        }
        (Err(error), expected) => {
            let wrong = before.is_wrong() && is_of_16_bits(&error);
            assert!(wrong || expected.is_err_and(|e| format!("{e:?}") == format!("{error:?}")), "{error:?}");
            lent.assert_same(&before);
        }
        (Ok(report), Err(error)) => panic!("{report:?} instead of {error:?}"),
    }
}

/// Whether an error is specific to 16-bit floats.
fn is_of_16_bits(error: &Error) -> bool {
    matches!(error, Error::Type { .. } | Error::Length { what: Argument::Lower | Argument::Copy, .. })
}

/// Fails unless the copy is of the new weights, or unchanged if none were written.
fn assert_copy<S: RuleState>(lent: &Lent<S>, before: &Lent<S>, report: &Report, weights: &[f32]) {
    let (Some(copy), Some(old)) = (&lent.copy, &before.copy) else { return };
    let expected = match report.outcome {
        Outcome::Applied | Outcome::Overflowed => {
            weights.iter().map(|w| rounded(lent.types[4], lent.saturating, *w)).collect()
        }
        _ => old.widened(),
    };
    assert_same("copy", &copy.widened(), &expected);
}
