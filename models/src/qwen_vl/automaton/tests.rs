#![allow(clippy::unwrap_used)]
use super::*;

fn accepts(schema: &Schema, text: &str) -> bool {
    let automaton = Automaton::new(schema).unwrap();
    automaton
        .step_all(automaton.start(), text.as_bytes())
        .is_some_and(|s| automaton.is_end(s))
}

fn food() -> Schema {
    Schema::object([
        ("kind", Schema::one_of(["food", "plate"])),
        ("label", Schema::one_of(["rice", "rice cake", "crème \"x\""])),
    ])
}

#[test]
fn objects_and_enums() {
    assert!(accepts(&food(), r#"{"kind":"food","label":"rice"}"#));
    assert!(accepts(&food(), r#"{"kind":"plate","label":"rice cake"}"#));
    assert!(accepts(&food(), r#"{"kind":"food","label":"crème \"x\""}"#));
    for wrong in [
        r#"{"kind":"food","label":"rice"#,
        r#"{"kind":"food", "label":"rice"}"#,
        r#"{"label":"rice","kind":"food"}"#,
        r#"{"kind":"fool","label":"rice"}"#,
        r#"{"kind":"food","label":"rice"}}"#,
    ] {
        assert!(!accepts(&food(), wrong), "{wrong}");
    }
}

#[test]
fn texts() {
    let text = Schema::Text {
        min_chars: 1,
        max_chars: 4,
    };
    for right in [r#""a""#, r#""äöü€""#, r#""\"\\ab""#, r#""😀""#] {
        assert!(accepts(&text, right), "{right}");
    }
    for wrong in [r#""""#, r#""abcde""#, "\"a\nb\"", r#""\u0041""#, r#""a"#] {
        assert!(!accepts(&text, wrong), "{wrong}");
    }
    let automaton = Automaton::new(&text).unwrap();
    for broken in [
        &[b'"', 0xC0, 0x80][..],
        &[b'"', 0xED, 0xA0],
        &[b'"', 0xF5],
        &[b'"', 0x80],
    ] {
        assert!(
            automaton.step_all(automaton.start(), broken).is_none(),
            "{broken:?}"
        );
    }
}

#[test]
fn arrays_and_numbers() {
    let numbers = |min_len, max_len| Schema::Array {
        items: Box::new(Schema::Integer { min: -5, max: 120 }),
        min_len,
        max_len,
    };
    for (schema, right) in [
        (numbers(0, 2), "[]"),
        (numbers(0, 2), "[7]"),
        (numbers(0, 2), "[-5,120]"),
        (numbers(0, 0), "[]"),
        (Schema::Boolean, "true"),
    ] {
        assert!(accepts(&schema, right), "{right}");
    }
    for (schema, wrong) in [
        (numbers(1, 2), "[]"),
        (numbers(0, 2), "[1,2,3]"),
        (numbers(0, 2), "[121]"),
        (numbers(0, 2), "[07]"),
        (numbers(0, 2), "[1,]"),
        (numbers(0, 2), "[-6]"),
    ] {
        assert!(!accepts(&schema, wrong), "{wrong}");
    }
    let nested = Schema::Array {
        items: Box::new(numbers(0, 3)),
        min_len: 0,
        max_len: 2,
    };
    assert!(accepts(&nested, "[[1,2,3],[]]") && !accepts(&nested, "[[],[],[]]"));
}

#[test]
fn forced_bytes_and_options() {
    let automaton = Automaton::new(&food()).unwrap();
    let (forced, state) = automaton.forced(automaton.start());
    assert_eq!(forced, br#"{"kind":""#);
    let Branch::Options { options, .. } = automaton.branch(state) else {
        panic!()
    };
    let words: Vec<_> = options
        .iter()
        .map(|o| String::from_utf8_lossy(&o.bytes).into_owned())
        .collect();
    assert_eq!(words, ["food\"", "plate\""]);
    let (forced, state) = automaton.forced(options[0].then);
    assert_eq!(forced, br#","label":""#);
    assert_eq!(automaton.pointer(1, state), "/label");
}

#[test]
fn refuses_empty_shapes() {
    for schema in [
        Schema::one_of::<String>([]),
        Schema::one_of(["a", "a"]),
        Schema::Array {
            items: Box::new(Schema::Integer { min: 2, max: 1 }),
            min_len: 0,
            max_len: 1,
        },
        Schema::Integer { min: 0, max: 1 },
        Schema::object([(
            "n",
            Schema::Number {
                min: f64::NAN,
                max: 1.,
                decimals: 1,
            },
        )]),
        Schema::object([("a", Schema::Boolean), ("a", Schema::Boolean)]),
    ] {
        assert!(Automaton::new(&schema).is_err(), "{schema:?}");
    }
}
