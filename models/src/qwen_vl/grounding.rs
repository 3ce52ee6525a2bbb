//! Boxes and points in answers, mapped to the photo.
//!
//! Qwen2.5-VL answers pixels of the smart-resized image, `[{"bbox_2d": [x1, y1, x2, y2], "label": "..."}]`, mostly
//! inside a Markdown fence. Other Qwen generations answer 0 ..= 1000: do not use this for them.

use serde_json::Value;

use super::preprocess::{ImageInfo, ResizedPx};
use crate::space::{ImagePx, Point, Rect};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    Rect(Rect<ImagePx>),
    Point(Point<ImagePx>),
}

/// Something found in the photo.
#[derive(Debug, Clone, PartialEq)]
pub struct Grounded {
    pub label: String,
    pub shape: Shape,
}

/// Boxes and points of an answer about `image`, inside the photo.
///
/// Tolerates a missing or open fence, a single object, the key `bbox`, and an answer cut off by its length. Boxes
/// are clamped; those without area are dropped, as are objects that are neither.
pub fn parse(answer: &str, image: &ImageInfo) -> Vec<Grounded> {
    let mut found = Vec::new();
    let mut rest = answer;
    // Objects are read one by one, so that what follows a cut does not cost what came before it.
    while let Some(start) = rest.find('{') {
        rest = &rest[start..];
        let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        match stream.next() {
            Some(Ok(value)) => {
                rest = &rest[stream.byte_offset()..];
                collect(&value, image, &mut found);
            }
            _ => rest = &rest[1..],
        }
    }
    found
}

fn collect(value: &Value, image: &ImageInfo, found: &mut Vec<Grounded>) {
    let shape = numbers::<4>(value.get("bbox_2d").or_else(|| value.get("bbox")))
        .and_then(|b| rect(b, image))
        .or_else(|| numbers::<2>(value.get("point_2d")).and_then(|p| point(p, image)));
    if let Some(shape) = shape {
        let label = value.get("label").and_then(Value::as_str).unwrap_or_default();
        found.push(Grounded {
            label: label.to_owned(),
            shape,
        });
        return;
    }
    let inner: Vec<&Value> = match value {
        Value::Object(map) => map.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    for value in inner {
        collect(value, image, found);
    }
}

fn numbers<const N: usize>(value: Option<&Value>) -> Option<[f64; N]> {
    let items = value?.as_array()?;
    let all: Vec<f64> = items
        .iter()
        .filter_map(Value::as_f64)
        .filter(|v| v.is_finite())
        .collect();
    if items.len() == N {
        all.try_into().ok()
    } else {
        None
    }
}

fn rect([x0, y0, x1, y1]: [f64; 4], image: &ImageInfo) -> Option<Shape> {
    let (w, h) = (image.resized_width as f64, image.resized_height as f64);
    let clamped = Rect::<ResizedPx>::new(x0.clamp(0., w), y0.clamp(0., h), x1.clamp(0., w), y1.clamp(0., h));
    (clamped.width() > 0. && clamped.height() > 0.).then(|| Shape::Rect(image.to_photo(&clamped)))
}

fn point([x, y]: [f64; 2], image: &ImageInfo) -> Option<Shape> {
    let inside =
        (0. ..=image.resized_width as f64).contains(&x) && (0. ..=image.resized_height as f64).contains(&y);
    inside.then(|| Shape::Point(image.point_to_photo(&Point::new(x, y))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> ImageInfo {
        ImageInfo::new((1120, 840), (560, 280), 14)
    }

    fn rects(answer: &str) -> Vec<(String, [f64; 4])> {
        parse(answer, &image())
            .into_iter()
            .filter_map(|g| match g.shape {
                Shape::Rect(r) => Some((g.label, [r.x0, r.y0, r.x1, r.y1])),
                Shape::Point(_) => None,
            })
            .collect()
    }

    #[test]
    fn published_format_and_its_accidents() {
        let one = r#"{"bbox_2d": [10, 20, 110, 60], "label": "rice"}"#;
        let expected = ("rice".to_owned(), [20., 60., 220., 180.]);
        for answer in [
            format!("```json\n[\n\t{one}\n]\n```"),
            format!("Here: [{one}, {{\"bbox_2d\": [1, 2, 3"),
            one.to_owned(),
            one.replace("bbox_2d", "bbox"),
            format!("{{\"items\": [{one}]}}"),
            format!("{one} {{\"bbox_2d\": [50, 50, 50, 90], \"label\": \"flat\"}} {{\"label\": \"none\"}}"),
        ] {
            assert_eq!(rects(&answer), std::slice::from_ref(&expected), "{answer}");
        }
        assert!(rects("no boxes {here}").is_empty());
        assert!(rects(r#"{"bbox_2d": [1, "a", 3, 4]}"#).is_empty());
    }

    #[test]
    fn boxes_are_clamped_and_points_are_mapped() {
        let all = rects(r#"[{"bbox_2d": [-5, 0, 9999, 280], "label": "table"}]"#);
        assert_eq!(all[0].1, [0., 0., 1120., 840.]);
        let points = parse(
            r#"[{"point_2d": [280, 140], "label": "a"}, {"point_2d": [600, 1]}]"#,
            &image(),
        );
        assert_eq!(points.len(), 1);
        assert_eq!(points[0].shape, Shape::Point(Point::new(560., 420.)));
    }
}
