//! Layers of C, and chunks of them.

use crate::choice::{flag, reserved};
use crate::pointer::{self, Extent};
use crate::refusal::{Refusal, status};
use half::{bf16, f16};
use lw::pieces::LayerView;
use lw::{CarriedNorms, Floats, FloatsMut, LayerConfig, LayerMemory};

#[repr(C)]
#[derive(Clone, Copy)]
pub struct lw_array {
    pub data: *mut core::ffi::c_void,
    pub r#type: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct lw_const_array {
    pub data: *const core::ffi::c_void,
    pub r#type: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct lw_layer_config {
    pub rate: f64,
    pub decay: f64,
    pub adapt: u8,
    pub frozen: u8,
    pub reserved: [u8; 6],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct lw_state {
    pub numbers: [f64; 4],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct lw_norms {
    pub weights: f64,
    pub gradients: f64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct lw_layer {
    pub len: usize,
    pub weights: lw_array,
    pub gradients: lw_const_array,
    pub momentum: lw_array,
    pub second_moment: lw_array,
    pub lower: *mut u16,
    pub copy: lw_array,
    pub config: *const lw_layer_config,
    pub norms: *mut lw_norms,
    pub saturate: u32,
    pub state: lw_state,
}

pub(crate) const F32: u32 = 0;
const BF16: u32 = 1;
const F16: u32 = 2;

/// What Rust's rules remember about a layer.
pub(crate) type State = [f64; 3];

// `lw_norms` is used as its Rust type.
const _: () = assert!(size_of::<lw_norms>() == size_of::<CarriedNorms>());

impl lw_array {
    pub(crate) fn as_const(self) -> lw_const_array {
        lw_const_array { data: self.data, r#type: self.r#type }
    }

    /// # Safety
    ///
    /// If the array passes the checks, only the caller reads or writes its `len` elements during `'a`.
    #[inline(always)]
    pub(crate) unsafe fn floats<'a>(self, what: &'static str, len: usize) -> Result<FloatsMut<'a>, Refusal<'static>> {
        // SAFETY: guaranteed by the caller.
        unsafe {
            match self.r#type {
                F32 => pointer::elements_mut(what, self.data.cast::<f32>(), len).map(FloatsMut::F32),
                BF16 => pointer::elements_mut(what, self.data.cast::<bf16>(), len).map(FloatsMut::Bf16),
                F16 => pointer::elements_mut(what, self.data.cast::<f16>(), len).map(FloatsMut::F16),
                _ => Err(no_type(what)),
            }
        }
    }

    /// Like [`floats`](Self::floats), but `None` if there is no array.
    #[inline(always)]
    unsafe fn optional<'a>(self, what: &'static str, len: usize) -> Result<Option<FloatsMut<'a>>, Refusal<'static>> {
        if self.data.is_null() {
            return Ok(None);
        }
        // SAFETY: guaranteed by the caller.
        unsafe { self.floats(what, len) }.map(Some)
    }
}

impl lw_const_array {
    /// # Safety
    ///
    /// If the array passes the checks, its `len` elements can be read during `'a`, and are not written meanwhile.
    #[inline(always)]
    pub(crate) unsafe fn floats<'a>(self, what: &'static str, len: usize) -> Result<Floats<'a>, Refusal<'static>> {
        // SAFETY: guaranteed by the caller.
        unsafe {
            match self.r#type {
                F32 => pointer::elements(what, self.data.cast::<f32>(), len).map(Floats::F32),
                BF16 => pointer::elements(what, self.data.cast::<bf16>(), len).map(Floats::Bf16),
                F16 => pointer::elements(what, self.data.cast::<f16>(), len).map(Floats::F16),
                _ => Err(no_type(what)),
            }
        }
    }

    #[inline(always)]
    unsafe fn optional<'a>(self, what: &'static str, len: usize) -> Result<Option<Floats<'a>>, Refusal<'static>> {
        if self.data.is_null() {
            return Ok(None);
        }
        // SAFETY: guaranteed by the caller.
        unsafe { self.floats(what, len) }.map(Some)
    }

    #[inline]
    pub(crate) fn extent(self, len: usize) -> Extent {
        match self.r#type {
            F32 => Extent::of(self.data.cast::<f32>(), len),
            _ => Extent::of(self.data.cast::<u16>(), len),
        }
    }
}

/// The configuration of a layer; the default if the pointer is null.
///
/// # Safety
///
/// If the pointer is neither null nor misaligned, it can be read.
#[inline(always)]
pub(crate) unsafe fn config(config: *const lw_layer_config) -> Result<LayerConfig, Refusal<'static>> {
    if config.is_null() {
        return Ok(LayerConfig::DEFAULT);
    }
    // SAFETY: guaranteed by the caller.
    let config = unsafe { pointer::read("config", config) }?;
    let adapt = flag("adapt", config.adapt)?;
    let frozen = flag("frozen", config.frozen)?;
    reserved(config.reserved)?;
    // (A NaN fails these comparisons.)
    if !(config.rate >= 0.0 && config.rate < f64::INFINITY) {
        return Err(Refusal {
            value: config.rate,
            ..Refusal::new(status::BAD_RATE, "rate", "must be finite and >= 0")
        });
    }
    if !(config.decay >= 0.0 && config.decay < f64::INFINITY) {
        return Err(Refusal {
            value: config.decay,
            ..Refusal::new(status::BAD_DECAY, "decay", "must be finite and >= 0")
        });
    }
    Ok(LayerConfig { adapt, rate: config.rate, decay: config.decay, frozen })
}

/// The part of C's state that a rule uses.
#[inline(always)]
pub(crate) fn state(state: &mut lw_state) -> Result<&mut State, Refusal<'static>> {
    match &mut state.numbers {
        [numbers @ .., fourth] if *fourth == 0.0 => Ok(numbers),
        _ => Err(Refusal::new(status::BAD_STATE, "state", "must have a fourth number of 0")),
    }
}

impl lw_layer {
    /// Whether the layer takes part in a step.
    #[inline]
    pub(crate) fn is_there(&self) -> bool {
        self.len == 0 || !self.gradients.data.is_null()
    }

    /// Refuses buffers that overlap each other or the extents `around`.
    #[inline(always)]
    pub(crate) fn check_overlaps<const N: usize>(&self, around: [Extent; N]) -> Result<(), Refusal<'static>> {
        let array = |array: lw_array| array.as_const().extent(self.len);
        let common = [
            ("weights", array(self.weights)),
            ("gradients", self.gradients.extent(self.len)),
            ("momentum", array(self.momentum)),
            ("config", Extent::of(self.config, 1)),
        ];
        check_apart(&common, &around)?;
        // Most layers have no more arrays; one comparison finds that out.
        if self.second_moment.data.is_null() && self.lower.is_null() && self.copy.data.is_null() && self.norms.is_null()
        {
            return Ok(());
        }
        let others = [
            ("second_moment", array(self.second_moment)),
            ("lower", Extent::of(self.lower, self.len)),
            ("copy", array(self.copy)),
            ("norms", Extent::of(self.norms, 1)),
        ];
        check_apart(&others, &around)?;
        check_apart(&others, &common.map(|(_, extent)| extent))
    }

    /// The layer as a Rust layer, with a state kept elsewhere. Its buffers must have passed
    /// [`check_overlaps`](Self::check_overlaps).
    ///
    /// # Safety
    ///
    /// During `'a` only the caller reads or writes what the layer's pointers point to.
    #[inline(always)]
    pub(crate) unsafe fn memory<'a, S>(&self, state: &'a mut S) -> Result<LayerMemory<'a, S>, Refusal<'static>> {
        let len = self.len;
        // SAFETY: the caller guarantees each pointer.
        unsafe {
            // Read before anything can be written.
            let config = config(self.config)?;
            let weights = self.weights.floats("weights", len)?;
            let mut layer = LayerMemory::new(weights, self.gradients.floats("gradients", len)?, state).config(config);
            if let Some(momentum) = self.momentum.optional("momentum", len)? {
                layer = layer.momentum(momentum);
            }
            if let Some(second_moment) = self.second_moment.optional("second_moment", len)? {
                layer = layer.second_moment(second_moment);
            }
            if !self.lower.is_null() {
                layer = layer.lower(pointer::elements_mut("lower", self.lower, len)?);
            }
            if let Some(copy) = self.copy.optional("copy", len)? {
                let saturate = flag("saturate", u8::try_from(self.saturate).unwrap_or(u8::MAX))?;
                layer = if saturate { layer.saturating_copy(copy) } else { layer.copy(copy) };
            }
            if !self.norms.is_null() {
                layer = layer.norms(pointer::change("norms", self.norms.cast::<CarriedNorms>())?);
            }
            Ok(layer)
        }
    }

    /// A read-only view of the layer.
    ///
    /// # Safety
    ///
    /// During `'a` what the layer's pointers point to can be read, and is not written.
    #[inline]
    pub(crate) unsafe fn view<'a>(&self) -> Result<LayerView<'a>, Refusal<'static>> {
        let len = self.len;
        // SAFETY: the caller guarantees each pointer.
        unsafe {
            let weights = self.weights.as_const().floats("weights", len)?;
            let mut layer =
                LayerView::new(weights, self.gradients.floats("gradients", len)?).config(config(self.config)?);
            if let Some(momentum) = self.momentum.as_const().optional("momentum", len)? {
                layer = layer.momentum(momentum);
            }
            if let Some(second_moment) = self.second_moment.as_const().optional("second_moment", len)? {
                layer = layer.second_moment(second_moment);
            }
            if !self.lower.is_null() {
                layer = layer.lower(pointer::elements("lower", self.lower, len)?);
            }
            if !self.norms.is_null() {
                layer = layer.norms(pointer::read("norms", self.norms.cast::<CarriedNorms>())?);
            }
            Ok(layer)
        }
    }
}

#[cold]
fn no_type(what: &'static str) -> Refusal<'static> {
    Refusal::new(status::BAD_TYPE, what, "must be of LW_F32, LW_BF16 or LW_F16")
}

#[cold]
pub(crate) fn no_state() -> Refusal<'static> {
    Refusal::new(status::BAD_STATE, "state", "cannot come from a step of this rule")
}

/// Refuses extents that overlap each other or those `around`.
#[inline(always)]
pub(crate) fn check_apart(extents: &[(&'static str, Extent)], around: &[Extent]) -> Result<(), Refusal<'static>> {
    for (i, (what, extent)) in extents.iter().enumerate() {
        let before = extents.iter().take(i).map(|(_, other)| other);
        if before.chain(around).any(|other| extent.overlaps(*other)) {
            return Err(overlap(what));
        }
    }
    Ok(())
}

#[cold]
pub(crate) fn overlap(what: &'static str) -> Refusal<'static> {
    Refusal::new(status::OVERLAP, what, "must not overlap another buffer")
}
