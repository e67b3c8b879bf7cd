//! Values that no two records share, guaranteed: the numbers of the records are permuted, not drawn.

use std::ops::{Range, RangeInclusive};

/// Values of which each record gets another one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no space of unique values",
    note = "a range of integers, a slice or an array is one: `#[factory(unique = 1_000..10_000)]`"
)]
pub trait UniqueSpace {
    /// What the values are.
    type Item;

    /// How many there are.
    fn size(&self) -> u64;

    /// The one at this place, below `size`.
    fn at(&self, place: u64) -> Self::Item;
}

macro_rules! integers {
    ($($integer:ty as $wide:ty),*) => {$(
        impl UniqueSpace for Range<$integer> {
            type Item = $integer;

            fn size(&self) -> u64 {
                if self.is_empty() { 0 } else { (self.end as $wide).wrapping_sub(self.start as $wide) as u64 }
            }

            fn at(&self, place: u64) -> $integer {
                (self.start as $wide).wrapping_add(place as $wide) as $integer
            }
        }

        impl UniqueSpace for RangeInclusive<$integer> {
            type Item = $integer;

            fn size(&self) -> u64 {
                let size = (*self.end() as $wide).wrapping_sub(*self.start() as $wide) as u64;
                if self.is_empty() { 0 } else { size.saturating_add(1) }
            }

            fn at(&self, place: u64) -> $integer {
                (*self.start() as $wide).wrapping_add(place as $wide) as $integer
            }
        }
    )*};
}

integers!(u8 as u64, u16 as u64, u32 as u64, u64 as u64, i8 as i64, i16 as i64, i32 as i64, i64 as i64);

impl<T: Clone> UniqueSpace for [T] {
    type Item = T;

    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn at(&self, place: u64) -> T {
        self[place as usize].clone()
    }
}

impl<T: Clone, const N: usize> UniqueSpace for [T; N] {
    type Item = T;

    fn size(&self) -> u64 {
        N as u64
    }

    fn at(&self, place: u64) -> T {
        self[place as usize].clone()
    }
}

impl<S: UniqueSpace + ?Sized> UniqueSpace for &S {
    type Item = S::Item;

    fn size(&self) -> u64 {
        (**self).size()
    }

    fn at(&self, place: u64) -> S::Item {
        (**self).at(place)
    }
}

/// Where `place` goes in the permutation of `0..size` that `key` names: a Feistel network of four rounds over the next larger power of
/// four, walked until it comes back into the space (Black and Rogaway, *Ciphers with Arbitrary Finite Domains*, 2002).
pub(crate) fn permuted(key: u64, size: u64, place: u64) -> u64 {
    if size <= 1 {
        return 0;
    }
    debug_assert!(place < size);
    let bits = u64::BITS - (size - 1).leading_zeros();
    let half = bits.div_ceil(2);
    let mask = (1u64 << half) - 1;
    let mut at = place;
    loop {
        let (mut left, mut right) = (at >> half, at & mask);
        for round in 0..4u64 {
            let mixed = mix(key ^ (round << 56) ^ right.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            (left, right) = (right, left ^ (mixed & mask));
        }
        at = left << half | right;
        if at < size {
            return at;
        }
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_place_goes_to_another_one_within_the_space(key: u64, size in 1u64..3_000) {
            let places: BTreeSet<u64> = (0..size).map(|place| permuted(key, size, place)).collect();
            prop_assert_eq!(places.len() as u64, size);
            prop_assert!(places.last() < Some(&size));
        }

        #[test]
        fn the_largest_spaces_are_permuted_too(key: u64, place: u64) {
            prop_assert!(permuted(key, u64::MAX, place.min(u64::MAX - 1)) < u64::MAX);
        }

        #[test]
        fn a_range_over_zero_has_all_its_integers(start in -100i8..=0, end in 1i8..100) {
            let range = start..end;
            let all: Vec<i8> = (0..range.size()).map(|place| range.at(place)).collect();
            prop_assert_eq!(all, range.collect::<Vec<_>>());
        }
    }

    #[test]
    fn whole_integers_and_empty_ranges_have_their_sizes() {
        assert_eq!((u64::MIN..=u64::MAX).size(), u64::MAX);
        assert_eq!((i8::MIN..=i8::MAX).size(), 256);
        #[expect(clippy::reversed_empty_ranges)]
        let empty = 5..3;
        assert_eq!(empty.size(), 0);
        assert_eq!(["a", "b"].as_slice().size(), 2);
    }
}
