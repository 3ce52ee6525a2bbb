//! Bounded decimal numbers, byte by byte: a prefix is allowed exactly if some completion lies within the bounds.

/// Bounds in units of the last decimal.
#[derive(Debug, Clone, Copy)]
pub(super) struct NumberSpec {
    min: i128,
    max: i128,
    decimals: u8,
}

/// The digits written so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Digits {
    negative: bool,
    /// Digits before the point.
    whole: u8,
    point: bool,
    /// Digits behind the point.
    fraction: u8,
    /// All digits as one integer.
    value: i64,
}

/// More digits than any bound has.
const MAX_WHOLE: u8 = 13;

fn power(exponent: u8) -> i128 {
    10i128.pow(u32::from(exponent))
}

impl NumberSpec {
    /// `min ..= max` (within 1e12) with at most `decimals` (up to 6) digits behind the point.
    pub(super) fn new(min: f64, max: f64, decimals: u8) -> Self {
        let scale = 10f64.powi(i32::from(decimals));
        // 0.1 * 10 must not become 2 through rounding: bounds that are a hair off a unit are that unit.
        let snap = |x: f64, to: fn(f64) -> f64| {
            let (exact, near) = (x * scale, (x * scale).round());
            if (exact - near).abs() < 1e-6 {
                near as i128
            } else {
                to(exact) as i128
            }
        };
        Self {
            min: snap(min, f64::ceil),
            max: snap(max, f64::floor),
            decimals,
        }
    }

    /// Whether some number with this sign has its magnitude in `low ..= high` (units) and lies within the bounds.
    fn reaches(&self, negative: bool, low: i128, high: i128) -> bool {
        let (low, high) = if negative { (-high, -low) } else { (low, high) };
        low <= self.max && high >= self.min
    }

    /// Whether the digits may go on to a number within the bounds, or are one.
    fn viable(&self, d: Digits) -> bool {
        let value = i128::from(d.value);
        if d.point {
            let unit = power(self.decimals - d.fraction);
            return self.reaches(d.negative, value * unit, value * unit + unit - 1);
        }
        let one = power(self.decimals);
        if d.whole == 0 {
            return self.reaches(d.negative, 0, power(MAX_WHOLE) * one);
        }
        // A leading zero takes no further digits before the point.
        let more = if d.value == 0 { 0 } else { MAX_WHOLE - d.whole };
        (0..=more).any(|k| {
            let low = value * power(k) * one;
            self.reaches(d.negative, low, low + power(k) * one - 1)
        })
    }

    /// Whether the digits are a number within the bounds.
    pub(super) fn complete(&self, d: Digits) -> bool {
        if d.whole == 0 || (d.point && d.fraction == 0) {
            return false;
        }
        let value = i128::from(d.value) * power(self.decimals - d.fraction);
        self.reaches(d.negative, value, value)
    }

    /// The digits with one more byte; `None` if no number within the bounds starts like that.
    pub(super) fn step(&self, d: Digits, byte: u8) -> Option<Digits> {
        let mut next = d;
        match byte {
            b'-' if d == Digits::default() => next.negative = true,
            b'.' if d.whole > 0 && !d.point && self.decimals > 0 => next.point = true,
            b'0'..=b'9' => {
                let leading_zero = d.whole == 1 && d.value == 0 && !d.point;
                if leading_zero
                    || (!d.point && d.whole == MAX_WHOLE)
                    || (d.point && d.fraction == self.decimals)
                {
                    return None;
                }
                next.value = d.value * 10 + i64::from(byte - b'0');
                if d.point {
                    next.fraction += 1;
                } else {
                    next.whole += 1;
                }
            }
            _ => return None,
        }
        self.viable(next).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(spec: &NumberSpec, text: &str) -> bool {
        text.bytes()
            .try_fold(Digits::default(), |d, b| spec.step(d, b))
            .is_some_and(|d| spec.complete(d))
    }

    /// Every text of up to five of these characters is accepted exactly if it is JSON and within the bounds.
    #[test]
    fn agrees_with_parsing() {
        for (min, max, decimals) in [
            (0., 12.5, 1),
            (-3.2, 0.4, 2),
            (7., 7., 0),
            (95., 130., 0),
            (0.1, 0.3, 1),
        ] {
            let spec = NumberSpec::new(min, max, decimals);
            let alphabet = b"-0123579.";
            let mut texts = vec![String::new()];
            for start in 0.. {
                if start == texts.len() {
                    break;
                }
                if texts[start].len() < 4 {
                    for &c in alphabet {
                        let text = format!("{}{}", texts[start], char::from(c));
                        texts.push(text);
                    }
                }
            }
            let mut accepted = 0;
            for text in &texts {
                let json = serde_json::from_str::<serde_json::Number>(text)
                    .ok()
                    .and_then(|n| n.as_f64());
                let places = text.split_once('.').map_or(0, |(_, f)| f.len());
                let right = json.is_some_and(|v| (min - 1e-9..=max + 1e-9).contains(&v))
                    && places <= usize::from(decimals)
                    && !text.contains(['e', 'E']);
                assert_eq!(accepts(&spec, text), right, "{text} in {min} ..= {max}");
                accepted += usize::from(right);
            }
            assert!(accepted > 0);
        }
    }

    /// No allowed prefix is a dead end.
    #[test]
    fn prefixes_can_be_finished() {
        let spec = NumberSpec::new(95., 130., 1);
        let mut open = vec![Digits::default()];
        while let Some(d) = open.pop() {
            let next: Vec<_> = (0..=u8::MAX).filter_map(|b| spec.step(d, b)).collect();
            assert!(spec.complete(d) || !next.is_empty(), "{d:?}");
            open.extend(next);
        }
    }
}
