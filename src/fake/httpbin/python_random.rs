//! Python's `random`, as far as httpbin uses it: the bytes of a seed are the same here as there.

use rand_mt::Mt;

/// Digits of a seed; Python reads no more either, in its default settings.
const DIGITS_LIMIT: usize = 4300;

/// A generator that was seeded with a whole number.
pub(super) struct PythonRandom(Mt);

impl PythonRandom {
    /// `random.seed(int(text))`; nothing if the text is not a whole number as Python writes them.
    pub(super) fn seeded(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        let in_groups = digits.split('_').all(|group| !group.is_empty());
        let digits: Option<Vec<u32>> = digits
            .chars()
            .filter(|one| *one != '_')
            .map(|one| one.to_digit(10))
            .collect();
        let digits = digits.filter(|digits| in_groups && digits.len() <= DIGITS_LIMIT)?;
        Some(Self(Mt::new_with_key(words(&digits))))
    }

    /// `random.randint(0, 255)`, which draws nine bits until they are in range.
    pub(super) fn byte(&mut self) -> u8 {
        loop {
            if let Ok(byte) = u8::try_from(self.0.next_u32() >> 23) {
                return byte;
            }
        }
    }
}

/// The absolute value of a number in words of 32 bits, the lowest first, at least one: Python ignores the sign.
fn words(digits: &[u32]) -> Vec<u32> {
    let mut words = vec![0_u32];
    for digit in digits {
        let mut carry = u64::from(*digit);
        for word in &mut words {
            let product = u64::from(*word) * 10 + carry;
            *word = (product & 0xffff_ffff) as u32;
            carry = product >> 32;
        }
        if let Some(carry) = u32::try_from(carry).ok().filter(|carry| *carry > 0) {
            words.push(carry);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `random.seed(N); bytes(random.randint(0, 255) for _ in range(8))` of CPython 3.11.
    #[test]
    fn bytes_are_those_of_python() {
        for (seed, expected) in [
            ("0", [197, 215, 20, 132, 248, 207, 155, 244]),
            ("1", [68, 32, 130, 60, 253, 230, 241, 194]),
            ("-7", [165, 77, 202, 24, 37, 48, 187, 29]),
            (" +42 ", [57, 12, 140, 125, 114, 71, 52, 44]),
            ("1_000", [219, 50, 201, 180, 32, 239, 84, 223]),
            ("4294967296", [57, 179, 213, 8, 11, 169, 231, 7]),
            ("123456789012345678901234567890", [112, 81, 6, 137, 57, 125, 187, 134]),
        ] {
            let mut random = PythonRandom::seeded(seed).unwrap();
            let bytes: Vec<u8> = (0..8).map(|_| random.byte()).collect();
            assert_eq!(bytes, expected, "{seed}");
        }
        for wrong in ["", "x", "1.5", "_1", "1__0", "--1", &"9".repeat(4301)] {
            assert!(PythonRandom::seeded(wrong).is_none(), "{wrong}");
        }
    }
}
