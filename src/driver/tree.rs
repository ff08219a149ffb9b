//! The tree along which sums are added: who computes which part of a sum, and in which order the parts combine.

use crate::error::Error;
use crate::kernel::shape::LEAF;
use core::iter::FusedIterator;
use core::ops::Range;

/// The tree of rule 5 of the [contract](crate::docs::numeric_contract): the number of leaves in the left part of a node
/// of `n` leaves is the largest power of two below `n`.
///
/// ```text
///              0..6
///            /      \
///         0..4      4..6
///        /    \     /  \
///      0..2  2..4  4    5
///      / \   / \
///     0   1 2   3
/// ```
///
/// Use it to divide a sum between workers so that the result does not depend on their number. Each worker computes some
/// nodes of the tree, and the nodes are [folded](Tree::fold). For norms a leaf is the sum of squares of [`LEAF`]
/// elements. For gradients it is the gradient of a micro-batch.
///
/// Nodes are ranges of leaves. A node of `n` leaves is the tree of `n` leaves.
///
/// ```
/// use layerwise::pieces::{Tree, add};
///
/// // Five micro-batches, each with a gradient. Two workers compute one or two nodes each.
/// let tree = Tree::new(5);
/// let gradient = |leaf: usize| [0.1 * leaf as f32, 1e8];
/// let sum_of = |node: std::ops::Range<usize>| {
///     let mut sums: Vec<[f32; 2]> = Vec::new();
///     for leaf in node.clone() {
///         sums.push(gradient(leaf));
///         for _ in 0..Tree::new(node.len()).merges(leaf - node.start) {
///             let right = sums.pop().unwrap();
///             add(sums.last_mut().unwrap(), &right).unwrap();
///         }
///     }
///     sums[0]
/// };
/// let of_two = [0..3, 3..5].into_iter().flat_map(|range| tree.cover(range)).map(|node| (node.clone(), sum_of(node)));
/// let sum = tree.fold(of_two, |mut left, right| {
///     add(&mut left, &right).unwrap();
///     left
/// })?;
/// assert_eq!(sum, Some(sum_of(0..5)));
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// [`LEAF`]: super::pieces::LEAF
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    leaves: usize,
}

impl Tree {
    /// The tree with this number of leaves.
    pub const fn new(leaves: usize) -> Self {
        Tree { leaves }
    }

    /// The tree of the sum of squares of an array of this length.
    pub const fn of_len(elements: usize) -> Self {
        Tree { leaves: elements.div_ceil(LEAF) }
    }

    /// The number of leaves.
    #[must_use]
    pub const fn leaves(&self) -> usize {
        self.leaves
    }

    /// The number of leaves in the left part of the root; `None` if there are fewer than two leaves.
    #[must_use]
    pub const fn left(&self) -> Option<usize> {
        if self.leaves < 2 { None } else { Some(left_part(self.leaves)) }
    }

    /// The largest nodes that lie within a range of leaves, from left to right. Together they make up the range, or the
    /// part of it that exists.
    ///
    /// A range of `n` leaves has at most `2·⌊log2 n⌋` of them, and 1 if it is a node.
    ///
    /// ```
    /// use layerwise::pieces::Tree;
    ///
    /// assert!(Tree::new(24).cover(5..24).eq([5..6, 6..8, 8..16, 16..24]));
    /// assert!(Tree::new(6).cover(0..6).eq([0..6]));
    /// ```
    pub const fn cover(&self, range: Range<usize>) -> Cover {
        let end = if range.end < self.leaves { range.end } else { self.leaves };
        Cover { at: range.start, end, leaves: self.leaves, leaf_by_leaf: false }
    }

    /// The node that goes to the worker `part` of `parts`. Each worker gets one node, the nodes together cover
    /// all leaves, and their sizes are as equal as the tree allows.
    ///
    /// The largest node is split, the rightmost if there are several, until there are enough. The largest share has at
    /// most `2^⌈log2(leaves / parts)⌉` leaves, and exactly `leaves / parts` if that is a power of two. If there are
    /// more workers than leaves, the last ones get none. If `part` is not below `parts`, the range is empty.
    ///
    /// ```
    /// use layerwise::pieces::Tree;
    ///
    /// let shares = |leaves, parts| (0..parts).map(|part| Tree::new(leaves).share(part, parts)).collect::<Vec<_>>();
    /// assert_eq!(shares(24, 3), [0..8, 8..16, 16..24]);
    /// assert_eq!(shares(24, 4), [0..8, 8..16, 16..20, 20..24]);
    /// assert_eq!(shares(2, 3), [0..1, 1..2, 2..2]);
    /// ```
    #[must_use]
    pub fn share(&self, part: usize, parts: usize) -> Range<usize> {
        let leaves = self.leaves;
        if part >= parts || part >= leaves {
            return leaves..leaves;
        }
        let parts = parts.min(leaves);
        let largest = largest_share(leaves, parts);
        // How many of the largest nodes, counted from the right, are split once more.
        let mut divided = parts.saturating_sub(division(leaves, largest).parts);
        let (mut node, mut before) = (0..leaves, part);
        while leaves_of(&node) > 1 && division(leaves_of(&node), largest).parts + divided > 1 {
            if leaves_of(&node) == largest {
                divided = 0;
            }
            let left = left_part(leaves_of(&node));
            let middle = node.start + left;
            let on_the_right = divided.min(division(leaves_of(&node) - left, largest).of_largest);
            let on_the_left = divided - on_the_right;
            let parts_on_the_left = division(left, largest).parts + on_the_left;
            if before < parts_on_the_left {
                (node, divided) = (node.start..middle, on_the_left);
            } else {
                before -= parts_on_the_left;
                (node, divided) = (middle..node.end, on_the_right);
            }
        }
        node
    }

    /// How many times to add the last two sums on a stack after pushing the sum of the leaf `leaf`. If leaves are
    /// pushed in order, the stack never holds more than `⌊log2 leaves⌋ + 1` sums, and one at the end.
    ///
    /// ```
    /// use layerwise::pieces::Tree;
    ///
    /// // 0, 1, add both; 2, 3, add both, add the two pairs; then 4, added to all others.
    /// assert!((0..5).map(|leaf| Tree::new(5).merges(leaf)).eq([0, 1, 0, 2, 1]));
    /// ```
    #[must_use]
    pub const fn merges(&self, leaf: usize) -> u32 {
        if leaf >= self.leaves {
            0
        } else if leaf + 1 == self.leaves {
            leaf.count_ones()
        } else {
            leaf.trailing_ones()
        }
    }

    /// Adds up the values of nodes along the tree. The nodes come from left to right and together cover all leaves;
    /// `add` takes the left value first. A tree without leaves has no value.
    ///
    /// # Errors
    ///
    /// [`Error::Pieces`] unless each piece is a node of the tree, and begins where the previous one ends.
    ///
    /// ```
    /// use layerwise::Error;
    /// use layerwise::pieces::Tree;
    ///
    /// let tree = Tree::new(6);
    /// assert_eq!(tree.fold([(0..4, 1.0), (4..5, 2.0), (5..6, 3.0)], |a, b| a + b), Ok(Some(6.0)));
    /// assert_eq!(tree.fold([(0..4, 1.0), (5..6, 3.0)], |a, b| a + b), Err(Error::Pieces { leaf: 4 }));
    /// ```
    pub fn fold<T>(
        &self,
        pieces: impl IntoIterator<Item = (Range<usize>, T)>,
        mut add: impl FnMut(T, T) -> T,
    ) -> Result<Option<T>, Error> {
        let mut pieces = Pieces { next: None, rest: pieces.into_iter() };
        pieces.next = pieces.rest.next();
        let sum = if self.leaves == 0 { None } else { Some(pieces.fold(0..self.leaves, &mut add)?) };
        if pieces.next.is_some() { Err(Error::Pieces { leaf: self.leaves }) } else { Ok(sum) }
    }
}

/// Values of nodes, with the next one peeked.
struct Pieces<T, I> {
    next: Option<(Range<usize>, T)>,
    rest: I,
}

impl<T, I: Iterator<Item = (Range<usize>, T)>> Pieces<T, I> {
    /// The value of a node: the next piece, or the sum of the next pieces.
    fn fold(&mut self, node: Range<usize>, add: &mut impl FnMut(T, T) -> T) -> Result<T, Error> {
        if let Some((_, value)) = self.next.take_if(|(piece, _)| *piece == node) {
            self.next = self.rest.next();
            return Ok(value);
        }
        if leaves_of(&node) < 2 {
            return Err(Error::Pieces { leaf: node.start });
        }
        let middle = node.start + left_part(leaves_of(&node));
        let left = self.fold(node.start..middle, add)?;
        let right = self.fold(middle..node.end, add)?;
        Ok(add(left, right))
    }
}

/// The nodes of [`Tree::cover`].
#[derive(Clone, Debug)]
pub struct Cover {
    at: usize,
    end: usize,
    leaves: usize,
    leaf_by_leaf: bool,
}

impl Cover {
    /// This number of leaves, one by one.
    pub(super) const fn leaf_by_leaf(leaves: usize) -> Self {
        Cover { at: 0, end: leaves, leaves, leaf_by_leaf: true }
    }
}

impl Iterator for Cover {
    type Item = Range<usize>;

    #[inline]
    fn next(&mut self) -> Option<Range<usize>> {
        let (at, rest) = (self.at, self.end.checked_sub(self.at)?);
        // A complete subtree has a power of two of leaves, begins at a multiple of its size, and lies within the range.
        let aligned = if at == 0 { usize::MAX } else { at & at.wrapping_neg() };
        let size = if self.leaf_by_leaf {
            1
        } else if self.end == self.leaves && rest <= aligned {
            // The rest at the end of the tree is a node too: its size is the low bits of `leaves`.
            rest
        } else {
            aligned.min(1 << rest.checked_ilog2()?)
        };
        if rest == 0 {
            return None;
        }
        self.at = at + size;
        Some(at..self.at)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = self.len();
        (count, Some(count))
    }
}

impl ExactSizeIterator for Cover {
    // (The provided method asserts that both bounds of `size_hint` are equal; the compiler cannot prove that, and keeps
    // the panic.)
    fn len(&self) -> usize {
        if self.leaf_by_leaf { self.end.saturating_sub(self.at) } else { self.clone().count() }
    }
}

impl FusedIterator for Cover {}

/// The leaves of a node. (`Range::len` has an assertion that the compiler does not always remove.)
pub(super) const fn leaves_of(node: &Range<usize>) -> usize {
    node.end.saturating_sub(node.start)
}

/// The largest power of two below `leaves`, which is at least 2.
const fn left_part(leaves: usize) -> usize {
    match leaves.saturating_sub(1).checked_ilog2() {
        Some(height) => 1 << height,
        None => 0,
    }
}

/// A tree whose nodes are split while they have more than `largest` leaves.
struct Division {
    parts: usize,
    /// How many of the parts have exactly `largest` leaves.
    of_largest: usize,
}

/// Splits a tree of at least one leaf; `largest` is at least 1.
fn division(mut leaves: usize, largest: usize) -> Division {
    let height = largest.checked_ilog2().unwrap_or(0);
    let mut division = Division { parts: 1, of_largest: 0 };
    while leaves > largest {
        // The left part is a complete subtree, the right part is the rest.
        let left = left_part(leaves);
        let parts = (left >> height).max(1);
        division.parts += parts;
        if largest.is_power_of_two() && left >= largest {
            division.of_largest += parts;
        }
        leaves -= left;
    }
    division.of_largest += usize::from(leaves == largest);
    division
}

/// The smallest `largest` for which a division has at most `parts` parts.
fn largest_share(leaves: usize, parts: usize) -> usize {
    let (mut low, mut high) = (1, leaves);
    while low < high {
        let middle = low + (high - low) / 2;
        if division(leaves, middle).parts <= parts {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}
