//! How the table of one photo lies against that of another.

/// A turn about the vertical, then a shift, cm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Turn {
    sin: f64,
    cos: f64,
    shift: [f64; 2],
}

/// How sure a turn is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    /// Where it is surest.
    middle: [f64; 2],
    /// Variance of a place there, cm2, and of the angle.
    place: f64,
    angle: f64,
}

/// A place that both photos show: where the first has it, where the second has it, variance of their difference in cm2.
pub(super) type Tie = ([f64; 2], [f64; 2], f64);

impl Default for Turn {
    fn default() -> Self {
        Self::anchored(0.0, [0.0; 2], [0.0; 2])
    }
}

impl Turn {
    pub(super) fn apply(&self, p: [f64; 2]) -> [f64; 2] {
        [
            self.cos * p[0] - self.sin * p[1] + self.shift[0],
            self.sin * p[0] + self.cos * p[1] + self.shift[1],
        ]
    }

    /// Undoes [`Self::apply`].
    pub(super) fn back(&self, p: [f64; 2]) -> [f64; 2] {
        let [x, y] = [p[0] - self.shift[0], p[1] - self.shift[1]];
        [self.cos * x + self.sin * y, self.cos * y - self.sin * x]
    }

    /// Brings `from` to `to`.
    pub(super) fn anchored(angle: f64, from: [f64; 2], to: [f64; 2]) -> Self {
        let (sin, cos) = angle.sin_cos();
        let mut turn = Self {
            sin,
            cos,
            shift: [0.0; 2],
        };
        let turned = turn.apply(from);
        turn.shift = [to[0] - turned[0], to[1] - turned[1]];
        turn
    }

    /// The one that brings the second places nearest to the first, by least squares; none without ties. One tie alone leaves the angle
    /// at nought and wholly unsure.
    pub(super) fn fitted(ties: &[Tie]) -> Option<(Self, Spread)> {
        let weight: f64 = ties.iter().map(|(.., variance)| 1.0 / variance).sum();
        if ties.is_empty() || !weight.is_finite() {
            return None;
        }
        let mean = |of: &dyn Fn(&Tie) -> [f64; 2]| -> [f64; 2] {
            [0, 1].map(|k| ties.iter().map(|tie| of(tie)[k] / tie.2).sum::<f64>() / weight)
        };
        let (to, from) = (mean(&|tie| tie.0), mean(&|tie| tie.1));
        let (mut along, mut across, mut reach) = (0.0, 0.0, 0.0);
        for (a, b, variance) in ties {
            let (a, b) = ([a[0] - to[0], a[1] - to[1]], [b[0] - from[0], b[1] - from[1]]);
            along += (a[0] * b[0] + a[1] * b[1]) / variance;
            across += (a[1] * b[0] - a[0] * b[1]) / variance;
            reach += (a[0] * a[0] + a[1] * a[1]) / variance;
        }
        let spread = Spread {
            middle: to,
            place: 1.0 / weight,
            angle: 1.0 / reach.max(1e-9),
        };
        Some((Self::anchored(across.atan2(along), from, to), spread))
    }
}

impl Spread {
    /// Of the photo to which the others are turned.
    pub(super) const NONE: Self = Self {
        middle: [0.0; 2],
        place: 0.0,
        angle: 0.0,
    };

    /// Standard deviation of a turned place, cm.
    pub(super) fn at(&self, place: [f64; 2]) -> f64 {
        let arm = (place[0] - self.middle[0]).powi(2) + (place[1] - self.middle[1]).powi(2);
        (self.place + arm * self.angle).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_fitted_and_undone() {
        let turn = Turn::anchored(2.2, [1.0, -3.0], [8.0, 2.0]);
        let from = [[0.0, 0.0], [6.0, 1.0], [-2.0, 5.0]];
        let ties: Vec<Tie> = from.iter().map(|&p| (turn.apply(p), p, 2.0)).collect();
        let Some((fitted, spread)) = Turn::fitted(&ties) else {
            panic!("three ties")
        };
        for p in [[3.0, 3.0], [-9.0, 4.0]] {
            let (a, b) = (turn.apply(p), fitted.apply(p));
            assert!((a[0] - b[0]).hypot(a[1] - b[1]) < 1e-9);
            let again = fitted.back(a);
            assert!((again[0] - p[0]).hypot(again[1] - p[1]) < 1e-9);
        }
        let near = spread.at(turn.apply([1.0, 2.0]));
        assert!(near > 0.7 && near < 1.0, "{near}");
        assert!(spread.at(turn.apply([20.0, 20.0])) > 3.0 * near);
        // One place says nothing of the angle.
        let Some((_, one)) = Turn::fitted(&ties[..1]) else {
            panic!("a tie")
        };
        assert!(one.at(turn.apply([5.0, 0.0])) > 1e3);
        assert!(Turn::fitted(&[]).is_none());
    }
}
