//! The description is generated from the routes; here is what must be true of all of them.

use serde_json::Value;

fn api() -> Value {
    serde_json::to_value(bio_bff::routes::api(&bio_bff::routes::Limits::default()).1).unwrap()
}

#[test]
fn every_path_says_who_may_call_it_and_how_it_fails() {
    let api = api();
    let open = [
        "/livez",
        "/readyz",
        "/metrics",
        "/webhooks/scans/{token}",
        "/internal/storage-events",
    ];
    let mut seen = 0;
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            seen += 1;
            let what = format!("{method} {path}");
            assert!(
                operation["summary"].is_string() || operation["description"].is_string(),
                "{what} is not explained"
            );
            let responses = operation["responses"].as_object().unwrap();
            if open.contains(&path.as_str()) {
                assert_eq!(operation["security"], serde_json::json!([{}]), "{what}");
                continue;
            }
            assert!(operation.get("security").is_none(), "{what} must take the token");
            for status in ["401", "404", "429", "500", "503"] {
                assert!(responses.contains_key(status), "{what} lacks {status}");
            }
        }
    }
    assert!(seen >= 20, "{seen}");
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(v: &Value, found: &mut Vec<String>) {
        match v {
            Value::Object(map) => {
                if let Some(Value::String(r)) = map.get("$ref") {
                    found.push(r.clone());
                }
                map.values().for_each(|v| walk(v, found));
            }
            Value::Array(items) => items.iter().for_each(|v| walk(v, found)),
            _ => {}
        }
    }
    let api = api();
    let mut found = Vec::new();
    walk(&api, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(api.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn codes_are_named_as_they_are_sent() {
    use bio_bff::problem::Code;
    let all = api()["components"]["schemas"]["Code"]["enum"].clone();
    assert!(all.as_array().unwrap().len() >= 25);
    for code in [
        Code::TokenMissing,
        Code::NotEnoughLeft,
        Code::VersionStale,
        Code::IdentityProviderUnavailable,
    ] {
        assert!(all.as_array().unwrap().iter().any(|c| c == code.as_str()));
        assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
    }
}
