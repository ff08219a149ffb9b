//! Where each layer of a model lies in its flat buffers.

use crate::Layer;
use crate::error::is_non_negative;
use core::fmt;

/// The place of one layer in a flat buffer, and its switches.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct LayerSpan {
    /// The index of the first element.
    pub start: usize,
    /// The number of elements.
    pub len: usize,
    /// The switches.
    #[cfg_attr(feature = "serde", serde(default))]
    pub layer: Layer,
}

impl LayerSpan {
    /// The spans of layers that follow each other without gaps, with the default switches.
    ///
    /// ```
    /// use layerwise::{Layer, LayerSpan};
    ///
    /// const SPANS: [LayerSpan; 2] = LayerSpan::contiguous([100, 10]);
    /// assert_eq!(SPANS[1], LayerSpan { start: 100, len: 10, layer: Layer::DEFAULT });
    /// ```
    pub const fn contiguous<const N: usize>(lengths: [usize; N]) -> [LayerSpan; N] {
        let mut spans = [LayerSpan { start: 0, len: 0, layer: Layer::DEFAULT }; N];
        let (mut i, mut start) = (0, 0_usize);
        while i < N {
            spans[i].start = start;
            spans[i].len = lengths[i];
            start = start.saturating_add(lengths[i]);
            i += 1;
        }
        spans
    }
}

/// A checked table of the layers of a model in flat buffers of weights, gradients and momentum.
///
/// The layers are in the order of the buffer. The table is borrowed and can be made at compile time, so that on a
/// microcontroller it costs flash and no RAM, and a bad one does not compile:
///
/// ```
/// use layerwise::{Layer, LayerSpan, Layers};
///
/// const SPANS: [LayerSpan; 3] = [
///     LayerSpan { start: 0, len: 640, layer: Layer::DEFAULT },
///     LayerSpan { start: 640, len: 10, layer: Layer::PLAIN },
///     LayerSpan { start: 650, len: 100, layer: Layer::FROZEN },
/// ];
/// const LAYERS: Layers = match Layers::new(&SPANS, 750) {
///     Ok(layers) => layers,
///     Err(_) => panic!("a bad table"),
/// };
/// assert_eq!((LAYERS.count(), LAYERS.len()), (3, 750));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layers<'a> {
    spans: &'a [LayerSpan],
    len: usize,
    max_rate: f64,
}

impl<'a> Layers<'a> {
    /// Checks a table of layers that together fill a buffer of `len` elements.
    ///
    /// # Errors
    ///
    /// A [`LayersError`] that names the first layer that does not fit.
    pub const fn new(spans: &'a [LayerSpan], len: usize) -> Result<Self, LayersError> {
        Layers::check(spans, len, false)
    }

    /// Checks a table of layers between which there may be gaps, as padding for alignment makes them. A step neither reads
    /// nor writes the elements in gaps.
    ///
    /// # Errors
    ///
    /// A [`LayersError`] that names the first layer that does not fit.
    ///
    /// ```
    /// use layerwise::{Layer, LayerSpan, Layers, LayersError};
    ///
    /// let aligned = [(0, 10), (16, 10)].map(|(start, len)| LayerSpan { start, len, layer: Layer::DEFAULT });
    /// assert_eq!(Layers::new(&aligned, 32), Err(LayersError::Gap { layer: 1 }));
    /// assert!(Layers::with_gaps(&aligned, 32).is_ok());
    /// ```
    pub const fn with_gaps(spans: &'a [LayerSpan], len: usize) -> Result<Self, LayersError> {
        Layers::check(spans, len, true)
    }

    const fn check(spans: &'a [LayerSpan], len: usize, gaps: bool) -> Result<Self, LayersError> {
        if spans.is_empty() {
            return Err(LayersError::NoLayers);
        }
        let (mut layer, mut end, mut max_rate) = (0, 0, 0.0);
        while layer < spans.len() {
            let span = &spans[layer];
            if span.len == 0 {
                return Err(LayersError::EmptyLayer { layer });
            }
            if span.start < end {
                return Err(LayersError::Overlap { layer });
            }
            if span.start > end && !gaps {
                return Err(LayersError::Gap { layer });
            }
            end = match span.start.checked_add(span.len) {
                Some(end) if end <= len => end,
                _ => return Err(LayersError::OutOfBounds { layer }),
            };
            let rate = span.layer.rate;
            if !is_non_negative(rate) {
                return Err(LayersError::Rate { layer });
            }
            if rate > max_rate {
                max_rate = rate;
            }
            layer += 1;
        }
        if end < len && !gaps {
            return Err(LayersError::Gap { layer });
        }
        Ok(Layers { spans, len, max_rate })
    }

    /// The table.
    pub const fn spans(&self) -> &'a [LayerSpan] {
        self.spans
    }

    /// The number of layers.
    pub const fn count(&self) -> usize {
        self.spans.len()
    }

    /// The number of elements of the buffer. It is never 0.
    #[allow(clippy::len_without_is_empty)]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// The largest multiplier of the learning rate.
    pub(crate) const fn max_rate(&self) -> f64 {
        self.max_rate
    }
}

/// What is wrong with a table of layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayersError {
    /// The table has no layers.
    NoLayers,
    /// A layer has no elements.
    EmptyLayer {
        /// The index of the layer.
        layer: usize,
    },
    /// A layer begins before the end of the one before it.
    Overlap {
        /// The index of the layer.
        layer: usize,
    },
    /// There are elements between a layer and the one before it, or after the last layer.
    Gap {
        /// The index of the layer behind the gap, or the number of layers.
        layer: usize,
    },
    /// A layer ends behind the end of the buffer.
    OutOfBounds {
        /// The index of the layer.
        layer: usize,
    },
    /// A layer's multiplier of the learning rate is negative, infinite or not a number.
    Rate {
        /// The index of the layer.
        layer: usize,
    },
}

impl fmt::Display for LayersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayersError::NoLayers => f.write_str("the table has no layers"),
            LayersError::EmptyLayer { layer } => write!(f, "layer {layer} has no elements"),
            LayersError::Overlap { layer } => write!(f, "layer {layer} begins before the end of the one before it"),
            LayersError::Gap { layer } => write!(f, "there is a gap before layer {layer}"),
            LayersError::OutOfBounds { layer } => write!(f, "layer {layer} ends behind the end of the buffer"),
            LayersError::Rate { layer } => write!(f, "the rate of layer {layer} is not a finite number >= 0"),
        }
    }
}

impl core::error::Error for LayersError {}
