//! Points and boxes that know which pixel grid they belong to.

use std::marker::PhantomData;

/// Pixels of the upright photo. Pixel (i, j) covers [i, i+1) x [j, j+1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImagePx;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point<S> {
    pub x: f64,
    pub y: f64,
    space: PhantomData<S>,
}

impl<S> Point<S> {
    pub fn new(x: f64, y: f64) -> Self {
        Self {
            x,
            y,
            space: PhantomData,
        }
    }
}

/// Axis-aligned box, `x0 <= x1`, `y0 <= y1`, upper edges exclusive where it bounds pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect<S> {
    pub x0: f64,
    pub y0: f64,
    pub x1: f64,
    pub y1: f64,
    space: PhantomData<S>,
}

impl<S> Rect<S> {
    pub fn new(x0: f64, y0: f64, x1: f64, y1: f64) -> Self {
        Self {
            x0,
            y0,
            x1,
            y1,
            space: PhantomData,
        }
    }

    pub fn width(&self) -> f64 {
        self.x1 - self.x0
    }

    pub fn height(&self) -> f64 {
        self.y1 - self.y0
    }

    pub fn area(&self) -> f64 {
        self.width() * self.height()
    }

    /// The same box on a grid scaled by `sx`, `sy`.
    pub fn scaled_to<T>(&self, sx: f64, sy: f64) -> Rect<T> {
        Rect::new(self.x0 * sx, self.y0 * sy, self.x1 * sx, self.y1 * sy)
    }

    /// Intersection over union; 0 when both are empty.
    pub fn iou(&self, other: &Self) -> f64 {
        let w = (self.x1.min(other.x1) - self.x0.max(other.x0)).max(0.0);
        let h = (self.y1.min(other.y1) - self.y0.max(other.y0)).max(0.0);
        let inter = w * h;
        let union = self.area() + other.area() - inter;
        if union > 0.0 { inter / union } else { 0.0 }
    }
}
