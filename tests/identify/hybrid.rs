//! The hybrid strategy: what boxes leave out is found, and the model is called twice at most, whatever it says.

use dragunov::ScanResult;
use dragunov::contract::result::MaskData;
use dragunov::eval::manifest::Sample;
use dragunov::identify::{Grounded, Groundings};
use dragunov::pipeline::{ModelSet, Scanner, ScannerConfig};
use dragunov::runtime::JobContext;
use dragunov_models::Mask;
use dragunov_models::device::DeviceChoice;

use super::grounded::{boxes, masks, plate, scan};
use super::*;

/// What was asked of the double, and with how many crops.
#[derive(Debug, Default)]
struct Calls {
    grounded: AtomicUsize,
    together: AtomicUsize,
    crops: AtomicUsize,
    single: AtomicUsize,
}

/// Gives these boxes, and calls every crop the same.
struct Double {
    calls: Arc<Calls>,
    boxes: Vec<Grounded>,
    label: String,
}

fn named(kind: Kind, label: &str) -> Identified {
    Identified {
        kind,
        label: label.into(),
        confidence: 0.9,
        alternatives: Vec::new(),
        grams: None,
        novelty: None,
    }
}

impl Identifier for Double {
    fn name(&self) -> String {
        "double".into()
    }

    fn identify(&mut self, crops: &[RgbImage], _: &dyn Fn() -> bool) -> Vec<Result<Identified, ScanError>> {
        self.calls.single.fetch_add(1, Ordering::SeqCst);
        crops.iter().map(|_| Ok(named(Kind::Food, &self.label))).collect()
    }

    fn identify_together(
        &mut self,
        crops: &[RgbImage],
        _: &dyn Fn() -> bool,
    ) -> Vec<Result<Identified, ScanError>> {
        self.calls.together.fetch_add(1, Ordering::SeqCst);
        self.calls.crops.store(crops.len(), Ordering::SeqCst);
        assert!(crops.iter().all(|c| c.width().max(c.height()) <= 224));
        crops.iter().map(|_| Ok(named(Kind::Food, &self.label))).collect()
    }

    fn set_foods(&mut self, _: Vec<String>) {}

    fn grounds(&self) -> bool {
        true
    }

    fn ground(&mut self, _: &RgbImage, _: &dyn Fn() -> bool) -> Result<Groundings, ScanError> {
        self.calls.grounded.fetch_add(1, Ordering::SeqCst);
        Ok(Groundings {
            items: self.boxes.clone(),
            ..Groundings::default()
        })
    }
}

/// How much of a true mask lies in the items of this name.
fn share_found(truth: &Mask, result: &ScanResult, label: &str) -> f64 {
    let found = result.items.iter().filter(|i| i.label == label);
    let inside = found.filter_map(|item| match &item.mask {
        Some(MaskData::Rle { size: [h, w], counts }) => Mask::from_coco_string(*w, *h, counts),
        _ => None,
    });
    inside.map(|m| truth.intersection_area(&m) as f64).sum::<f64>() / truth.area() as f64
}

fn truth_boxes(sample: &Sample, truth: &[Mask]) -> Vec<Grounded> {
    truth
        .iter()
        .enumerate()
        .map(|(i, mask)| Grounded {
            identity: sample
                .items
                .get(i)
                .map_or(named(Kind::Plate, "plate"), |t| named(Kind::Food, &t.label)),
            bbox: mask.bbox().unwrap(),
        })
        .collect()
}

/// The strategy that is used where none is named.
#[test]
fn the_model_is_called_twice_at_most_and_what_boxes_leave_out_is_found() {
    let (sample, photo, request) = plate("scene_015");
    let truth = masks(&sample);
    let all = truth_boxes(&sample, &truth);
    let label = sample.items[0].label.as_str();
    let set = ModelSet::bundled().unwrap();
    for (boxes, least_iou) in [(all.clone(), 0.0), (all[1..].to_vec(), 0.7), (Vec::new(), 0.0)] {
        let none = boxes.is_empty();
        let calls = Arc::new(Calls::default());
        let double = Double {
            calls: Arc::clone(&calls),
            boxes,
            label: label.into(),
        };
        let config = ScannerConfig::for_set(&set);
        let mut scanner = Scanner::load(&set, DeviceChoice::Cpu, config, Some(Box::new(double))).unwrap();
        assert!(scanner.finds().contains("left out"), "{}", scanner.finds());
        let seen = scanner
            .network_outputs(&photo, &request, &JobContext::detached())
            .unwrap()
            .detections
            .candidates;
        let count = |n: &AtomicUsize| n.load(Ordering::SeqCst);
        assert_eq!((count(&calls.grounded), count(&calls.single)), (1, 0));
        assert!(count(&calls.together) <= 1 && count(&calls.crops) <= 12);
        assert!(!none || count(&calls.together) == 1, "no box is no answer yet");
        let named = seen.iter().filter(|c| c.identity.label == label);
        let best = named.map(|c| c.mask.iou(&truth[0])).fold(0.0, f64::max);
        assert!(best >= least_iou && !seen.is_empty(), "{label}: {best}");
    }
}

/// What the client points at joins the second question.
#[test]
fn hints_are_named_within_the_two_calls() {
    let (sample, photo, mut request) = plate("scene_015");
    let truth = masks(&sample);
    let there = truth[0].bbox().unwrap();
    let point = [0.5 * (there.x0 + there.x1), 0.5 * (there.y0 + there.y1)];
    request.hints = serde_json::from_value(json!({"items": [{"point": point}]})).unwrap();
    let calls = Arc::new(Calls::default());
    let double = Double {
        calls: Arc::clone(&calls),
        boxes: truth_boxes(&sample, &truth)[1..].to_vec(),
        label: "cucumber".into(),
    };
    let set = ModelSet::bundled().unwrap();
    let config = ScannerConfig::for_set(&set);
    let mut scanner = Scanner::load(&set, DeviceChoice::Cpu, config, Some(Box::new(double))).unwrap();
    let (result, _) = scanner.scan(&photo, &request, &JobContext::detached()).unwrap();
    let count = |n: &AtomicUsize| n.load(Ordering::SeqCst);
    assert_eq!(
        (
            count(&calls.grounded),
            count(&calls.together),
            count(&calls.single)
        ),
        (1, 1, 0)
    );
    assert!(result.items.iter().any(|i| i.label == "cucumber"));
}

/// A model that cannot ground is asked crop by crop, as before.
#[test]
fn without_boxes_the_usual_strategy_is_automatic() {
    let set = ModelSet::bundled().unwrap();
    let scanner = Scanner::load(&set, DeviceChoice::Cpu, ScannerConfig::for_set(&set), None).unwrap();
    assert!(
        scanner.finds().starts_with("automatic masks"),
        "{}",
        scanner.finds()
    );
}

#[tokio::test]
async fn an_api_gets_two_requests_the_second_with_a_dozen_pictures_at_most() {
    let (sample, photo, request) = plate("scene_015");
    let truth = masks(&sample);
    let wanted = sample.items[0].label.clone();
    let (of_server, said, label) = (sample.clone(), truth.clone(), wanted.clone());
    let pictures = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&pictures);
    let (server, count) = server(move |_, body| {
        let asked = body["messages"][0]["content"].as_str().unwrap();
        if asked.contains("bbox_2d") {
            let text = boxes(&of_server, &said, body);
            let mut answer: Value = serde_json::from_str(&text).unwrap();
            answer["items"].as_array_mut().unwrap().remove(0);
            return says(&answer.to_string());
        }
        let n = body["messages"][1]["content"].as_array().unwrap().len() - 1;
        seen.store(n, Ordering::SeqCst);
        let items: Vec<Value> = (1..=n)
            .map(|i| json!({"picture": i, "kind": "food", "label": label, "confidence": 0.8}))
            .collect();
        says(&json!({"items": items}).to_string())
    })
    .await;
    let patient = OpenAiConfig {
        total_timeout: Duration::from_secs(60),
        ..config(&server)
    };
    let result = scan(patient, photo, request, None).await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 2, "{:?}", result.warnings);
    assert!((1..=12).contains(&pictures.load(Ordering::SeqCst)));
    let covered = share_found(&truth[0], &result, &wanted);
    assert!(covered > 0.7, "{wanted}: {covered}");
}

#[tokio::test]
async fn a_dozen_crops_are_one_request_and_an_odd_answer_costs_itself() {
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&bodies);
    let (server, count) = server(move |n, body| {
        kept.lock().unwrap().push(body.clone());
        match n {
            0 => says("I see food."),
            _ => says(
                r#"{"items": [{"picture": 2, "kind": "food", "label": "Peas", "confidence": 0.7},
                              {"picture": 1, "kind": "spaceship", "label": "x"}]}"#,
            ),
        }
    })
    .await;
    let config = config(&server);
    let crops = vec![crop(64), crop(200), crop(300)];
    let found = tokio::task::spawn_blocking(move || OpenAi::new(config).identify_together(&crops, &|| false))
        .await
        .unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 2, "asked again with what was wrong");
    assert_eq!(found.len(), 3);
    assert_eq!(found[1].as_ref().unwrap().label, "peas");
    assert!(found[0].is_err() && found[2].is_err());
    let bodies = bodies.lock().unwrap();
    assert_eq!(bodies[0]["messages"][1]["content"].as_array().unwrap().len(), 4);
    assert_eq!(
        bodies[0]["response_format"]["json_schema"]["schema"]["properties"]["items"]["items"]["required"][0],
        "picture"
    );
}
