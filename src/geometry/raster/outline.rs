//! The outer edge of a mask, as pixel positions.

use dragunov_models::Mask;

/// Outermost edge points by column and by row, without those on the photo's border. Sub-pixel: an edge lies between
/// the last pixel in and the first pixel out.
pub(crate) fn outline(mask: &Mask) -> Vec<[f64; 2]> {
    let (width, height) = (mask.width(), mask.height());
    let Some(bbox) = mask.bbox() else {
        return Vec::new();
    };
    let (x0, x1) = (bbox.x0 as usize, bbox.x1 as usize);
    let (y0, y1) = (bbox.y0 as usize, bbox.y1 as usize);
    let mut columns = vec![(usize::MAX, 0usize); x1 - x0];
    let mut rows = vec![(usize::MAX, 0usize); y1 - y0];
    mask.for_each_run(|x, a, b| {
        let c = &mut columns[x - x0];
        c.0 = c.0.min(a);
        c.1 = c.1.max(b);
    });
    // Row extremes need only the ends of runs that open or close a row.
    mask.for_each_run(|x, a, b| {
        for row in &mut rows[a - y0..b - y0] {
            if row.0 == usize::MAX {
                row.0 = x;
            }
            row.1 = x + 1;
        }
    });
    let (mx, my) = ((bbox.x0 + bbox.x1) / 2.0, (bbox.y0 + bbox.y1) / 2.0);
    let (hw, hh) = (bbox.width() / 2.0, bbox.height() / 2.0);
    // Each point is taken by the scan that crosses the edge steeply.
    let steep = |x: f64, y: f64| (y - my).abs() * hw > (x - mx).abs() * hh;
    let mut points = Vec::with_capacity(2 * (columns.len() + rows.len()));
    for (i, &(a, b)) in columns.iter().enumerate() {
        if a == usize::MAX {
            continue;
        }
        let x = (x0 + i) as f64 + 0.5;
        if a > 0 && steep(x, a as f64) {
            points.push([x, a as f64]);
        }
        if b < height && steep(x, b as f64) {
            points.push([x, b as f64]);
        }
    }
    for (i, &(a, b)) in rows.iter().enumerate() {
        if a == usize::MAX {
            continue;
        }
        let y = (y0 + i) as f64 + 0.5;
        if a > 0 && !steep(a as f64, y) {
            points.push([a as f64, y]);
        }
        if b < width && !steep(b as f64, y) {
            points.push([b as f64, y]);
        }
    }
    points
}

/// Length of the edge all round, holes included, in pixels: a quarter of pi of the crossings of rows and columns with
/// it (Cauchy and Crofton with two directions; exact on average over directions).
pub(crate) fn perimeter(mask: &Mask) -> f64 {
    let mut crossings = 0usize;
    let (mut before, mut here): (Vec<[usize; 2]>, Vec<[usize; 2]>) = (Vec::new(), Vec::new());
    let mut column = usize::MAX;
    let length = |runs: &[[usize; 2]]| runs.iter().map(|r| r[1] - r[0]).sum::<usize>();
    let shared = |a: &[[usize; 2]], b: &[[usize; 2]]| {
        let (mut i, mut j, mut sum) = (0, 0, 0);
        while i < a.len() && j < b.len() {
            sum += a[i][1].min(b[j][1]).saturating_sub(a[i][0].max(b[j][0]));
            if a[i][1] < b[j][1] { i += 1 } else { j += 1 }
        }
        sum
    };
    mask.for_each_run(|x, a, b| {
        if x != column {
            crossings += length(&before) + length(&here) - 2 * shared(&before, &here);
            std::mem::swap(&mut before, &mut here);
            here.clear();
            if x != column.wrapping_add(1) {
                crossings += length(&before);
                before.clear();
            }
            column = x;
        }
        here.push([a, b]);
        crossings += 2;
    });
    crossings += length(&before) + 2 * length(&here) - 2 * shared(&before, &here);
    std::f64::consts::FRAC_PI_4 * crossings as f64
}

/// Set pixels in the outermost two rows and columns of the photo, as a share of the mask's bounding perimeter.
pub(crate) fn border_share(mask: &Mask) -> f64 {
    let (width, height) = (mask.width(), mask.height());
    let Some(bbox) = mask.bbox() else { return 0.0 };
    let mut on_border = 0usize;
    mask.for_each_run(|x, a, b| {
        if x == 0 || x + 1 == width {
            on_border += b - a;
        } else {
            on_border += usize::from(a == 0) + usize::from(b == height);
        }
    });
    on_border as f64 / (2.0 * (bbox.width() + bbox.height()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_disc_has_its_radius_all_round() {
        let mask = Mask::from_fn(200, 160, |x, y| {
            (x as f64 + 0.5 - 90.3).hypot(y as f64 + 0.5 - 80.1) < 60.0
        });
        let points = outline(&mask);
        let mean = points
            .iter()
            .map(|p| (p[0] - 90.3).hypot(p[1] - 80.1))
            .sum::<f64>()
            / points.len() as f64;
        assert!((mean - 60.0).abs() < 0.1, "{mean}");
        assert!(points.len() > 200);
        assert_eq!(border_share(&mask), 0.0);
    }

    #[test]
    fn the_perimeter_of_discs_and_of_a_ring() {
        let disc = |x: usize, y: usize, r: f64| (x as f64 - 60.2).hypot(y as f64 - 50.7) < r;
        let mask = Mask::from_fn(200, 110, |x, y| disc(x, y, 40.0));
        assert!((perimeter(&mask) / (80.0 * std::f64::consts::PI) - 1.0).abs() < 0.02);
        let ring = Mask::from_fn(200, 110, |x, y| disc(x, y, 40.0) && !disc(x, y, 20.0));
        assert!((perimeter(&ring) / (120.0 * std::f64::consts::PI) - 1.0).abs() < 0.02);
        let two = Mask::from_fn(200, 110, |x, y| {
            disc(x, y, 30.0) || disc(x.saturating_sub(90), y, 30.0)
        });
        assert!((perimeter(&two) / (120.0 * std::f64::consts::PI) - 1.0).abs() < 0.03);
        assert_eq!(perimeter(&Mask::empty(9, 9)), 0.0);
    }

    #[test]
    fn the_photo_border_is_no_edge() {
        let mask = Mask::from_fn(100, 100, |x, y| x < 40 && y < 50);
        assert!(outline(&mask).iter().all(|p| p[0] > 0.0 && p[1] > 0.0));
        assert!(border_share(&mask) > 0.4);
    }
}
