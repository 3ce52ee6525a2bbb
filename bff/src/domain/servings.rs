//! Servings with one decimal, exactly: counted in tenths.

use serde::{Serialize, Serializer};

/// Tenths of a serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Servings(i32);

/// Why a number is no number of servings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotServings {
    NotPositive,
    /// More than one decimal: it would be rounded silently.
    TooFine,
    /// Above 999.9.
    TooMany,
}

impl NotServings {
    pub fn code(self) -> &'static str {
        match self {
            Self::NotPositive => "not_positive",
            Self::TooFine => "more_than_one_decimal",
            Self::TooMany => "too_large",
        }
    }
}

impl Servings {
    pub const NONE: Self = Self(0);

    pub fn from_tenths(tenths: i32) -> Self {
        Self(tenths)
    }

    pub fn tenths(self) -> i32 {
        self.0
    }

    /// A positive number in steps of 0.1, up to 999.9. The last bits of a binary fraction (`0.1 + 0.2`) are forgiven.
    ///
    /// # Errors
    /// [`NotServings`].
    pub fn positive(servings: f64) -> Result<Self, NotServings> {
        if servings.is_nan() || servings <= 0.0 {
            return Err(NotServings::NotPositive);
        }
        if servings > 999.9 + 1e-9 {
            return Err(NotServings::TooMany);
        }
        let tenths = (servings * 10.0).round();
        if (servings * 10.0 - tenths).abs() > 1e-9 * servings.max(1.0) || tenths < 1.0 {
            return Err(NotServings::TooFine);
        }
        Ok(Self(tenths as i32))
    }

    /// `per_serving` for this many, rounded half up. Not negative.
    pub fn of_whole(self, per_serving: i32) -> i32 {
        let product = i64::from(per_serving) * i64::from(self.0);
        i32::try_from((product + 5).div_euclid(10)).unwrap_or(i32::MAX)
    }

    /// The same for a number kept with one decimal.
    pub fn of_tenths(self, per_serving_tenths: i64) -> i32 {
        let product = per_serving_tenths * i64::from(self.0);
        i32::try_from((product + 50).div_euclid(100)).unwrap_or(i32::MAX)
    }
}

impl Serialize for Servings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / 10.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_decimal_and_above_zero() {
        assert_eq!(Servings::positive(0.1), Ok(Servings(1)));
        assert_eq!(Servings::positive(0.1 + 0.2), Ok(Servings(3)));
        assert_eq!(Servings::positive(999.9), Ok(Servings(9999)));
        assert_eq!(Servings::positive(0.25), Err(NotServings::TooFine));
        assert_eq!(Servings::positive(0.04), Err(NotServings::TooFine));
        assert_eq!(Servings::positive(1e-12), Err(NotServings::TooFine));
        for bad in [0.0, -1.0, -0.04, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(Servings::positive(bad), Err(NotServings::NotPositive), "{bad}");
        }
        assert_eq!(Servings::positive(1000.0), Err(NotServings::TooMany));
        assert_eq!(Servings::positive(f64::INFINITY), Err(NotServings::TooMany));
    }

    #[test]
    fn scaling_rounds_half_up() {
        let half = Servings(5);
        assert_eq!(half.of_whole(301), 151); // 150.5
        assert_eq!(half.of_whole(300), 150);
        assert_eq!(Servings(3).of_tenths(125), 4); // 12.5 * 0.3 = 3.75
        assert_eq!(Servings(1).of_tenths(50), 1); // 0.5
        assert_eq!(Servings(1).of_tenths(49), 0); // 0.49
    }

    proptest::proptest! {
        #[test]
        fn every_tenth_is_itself(tenths in 1..=9999i32) {
            proptest::prop_assert_eq!(Servings::positive(f64::from(tenths) / 10.0), Ok(Servings(tenths)));
        }
    }
}
