//! Where each layer of a model lies in its flat buffers.

use crate::error::{LayersError, is_non_negative};
use crate::rules::layer::LayerConfig;

/// The place of one layer in a flat buffer, and its configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct LayerSpan {
    /// The index of the first element.
    pub start: usize,
    /// The number of elements; it may be 0.
    pub len: usize,
    /// The configuration of the layer.
    #[cfg_attr(feature = "serde", serde(default))]
    pub config: LayerConfig,
}

impl LayerSpan {
    /// A layer of `len` elements from `start` on, with the default configuration.
    pub const fn new(start: usize, len: usize) -> Self {
        LayerSpan { start, len, config: LayerConfig::DEFAULT }
    }

    /// Sets the configuration.
    #[must_use]
    pub const fn config(self, config: LayerConfig) -> Self {
        LayerSpan { config, ..self }
    }

    /// The spans of layers that follow each other without gaps, for a constant.
    ///
    /// ```
    /// use layerwise::LayerSpan;
    ///
    /// const SPANS: [LayerSpan; 2] = LayerSpan::contiguous([100, 10]);
    /// assert_eq!(SPANS[1], LayerSpan::new(100, 10));
    /// ```
    pub const fn contiguous<const N: usize>(lengths: [usize; N]) -> [LayerSpan; N] {
        let mut spans = [LayerSpan::new(0, 0); N];
        let (mut i, mut start) = (0, 0_usize);
        while i < N {
            spans[i].start = start;
            spans[i].len = lengths[i];
            start = start.saturating_add(lengths[i]);
            i += 1;
        }
        spans
    }

    /// Like [`contiguous`](LayerSpan::contiguous), at run time: collect the spans into a `Vec`, or another container in
    /// firmware.
    ///
    /// ```
    /// use layerwise::{LayerSpan, Layers};
    ///
    /// let lengths = [100, 0, 10]; // of the tensors of a model
    /// let spans: Vec<LayerSpan> = LayerSpan::follow(lengths).collect();
    /// let layers = Layers::new(&spans, 110)?;
    /// # Ok::<(), layerwise::errors::LayersError>(())
    /// ```
    pub fn follow(lengths: impl IntoIterator<Item = usize>) -> impl Iterator<Item = LayerSpan> {
        lengths.into_iter().scan(0_usize, |next, len| {
            let start = *next;
            *next = start.saturating_add(len);
            Some(LayerSpan::new(start, len))
        })
    }
}

/// A checked table of the layers of a model in flat buffers of weights, gradients and momentum, for a
/// [`FlatModel`](crate::FlatModel).
///
/// The layers are in the order of the buffer. The table is borrowed and can be built at compile time. Then on a
/// microcontroller it takes flash but no RAM, and a wrong table does not compile:
///
/// ```
/// use layerwise::{LayerConfig, LayerSpan, Layers};
///
/// const SPANS: [LayerSpan; 3] = [
///     LayerSpan::new(0, 640),
///     LayerSpan::new(640, 10).config(LayerConfig::PLAIN),
///     LayerSpan::new(650, 100).config(LayerConfig::FROZEN),
/// ];
/// const LAYERS: Layers = match Layers::new(&SPANS, 750) {
///     Ok(layers) => layers,
///     Err(_) => panic!("a bad table"),
/// };
/// assert_eq!((LAYERS.count(), LAYERS.elements()), (3, 750));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layers<'a> {
    spans: &'a [LayerSpan],
    len: usize,
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

    /// Checks a table of layers that may have gaps between them, such as padding for alignment. A step neither reads
    /// nor writes the elements in gaps.
    ///
    /// # Errors
    ///
    /// A [`LayersError`] that names the first layer that does not fit.
    ///
    /// ```
    /// use layerwise::errors::LayersError;
    /// use layerwise::{LayerSpan, Layers};
    ///
    /// let aligned = [LayerSpan::new(0, 10), LayerSpan::new(16, 10)];
    /// assert_eq!(Layers::new(&aligned, 32), Err(LayersError::Gap { layer: 1 }));
    /// assert!(Layers::with_gaps(&aligned, 32).is_ok());
    /// ```
    pub const fn with_gaps(spans: &'a [LayerSpan], len: usize) -> Result<Self, LayersError> {
        Layers::check(spans, len, true)
    }

    const fn check(spans: &'a [LayerSpan], len: usize, gaps: bool) -> Result<Self, LayersError> {
        let (mut layer, mut end) = (0, 0);
        while layer < spans.len() {
            let span = &spans[layer];
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
            if !is_non_negative(span.config.rate) {
                return Err(LayersError::Rate { layer });
            }
            if !is_non_negative(span.config.decay) {
                return Err(LayersError::Decay { layer });
            }
            layer += 1;
        }
        if end < len && !gaps {
            return Err(LayersError::Gap { layer });
        }
        Ok(Layers { spans, len })
    }

    /// The table.
    pub const fn spans(&self) -> &'a [LayerSpan] {
        self.spans
    }

    /// The number of layers.
    pub const fn count(&self) -> usize {
        self.spans.len()
    }

    /// The number of elements of the buffer.
    pub const fn elements(&self) -> usize {
        self.len
    }

    /// Splits into the layers before `layer` and the rest.
    #[cfg(feature = "rayon")]
    pub(crate) fn split_at(&self, layer: usize) -> (Self, Self) {
        let (left, right) = self.spans.split_at(layer.min(self.spans.len()));
        (Layers { spans: left, ..*self }, Layers { spans: right, ..*self })
    }
}
