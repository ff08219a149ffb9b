//! The data set, and the order in which it is used.

/// Pixels of an image.
pub const PIXELS: usize = 64;
/// Digits that there are.
pub const CLASSES: usize = 10;
/// Images in the data set.
pub const DIGITS: usize = 1797;

/// A row of the data set: pixels from 0 to 16, and the label.
pub type Digit = [u8; PIXELS + 1];
/// The whole data set, in the order of its file.
pub type Digits = [Digit; DIGITS];

/// Whether these can be digits.
pub fn are_digits(digits: &Digits) -> bool {
    digits.iter().all(|digit| digit[..PIXELS].iter().all(|&pixel| pixel <= 16) && label(digit) < CLASSES)
}

/// The brightness of each pixel, from 0 to 1.
pub fn pixels(digit: &Digit) -> impl Iterator<Item = f32> {
    digit[..PIXELS].iter().map(|&pixel| f32::from(pixel) / 16.0)
}

/// What the image shows.
pub fn label(digit: &Digit) -> usize {
    usize::from(digit[PIXELS])
}

/// Random numbers that are the same everywhere: SplitMix64 (Steele, Lea and Flood, 2014).
pub struct Random(pub u64);

impl Random {
    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from -1 to 1.
    pub fn signed(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Shuffles `order` (Fisher and Yates).
    pub fn shuffle(&mut self, order: &mut [u16]) {
        for i in (1..order.len()).rev() {
            order.swap(i, (self.next() % (i as u64 + 1)) as usize);
        }
    }
}
