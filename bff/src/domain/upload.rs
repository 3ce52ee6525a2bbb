//! Photos on their way in: what their keys look like, and what storage says of them.

use serde_json::Value;
use uuid::Uuid;

/// Kinds of photos that are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhotoKind {
    Jpeg,
    Png,
    Webp,
    Heic,
}

impl PhotoKind {
    const ALL: [Self; 4] = [Self::Jpeg, Self::Png, Self::Webp, Self::Heic];

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Webp => "image/webp",
            Self::Heic => "image/heic",
        }
    }

    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::Webp => "webp",
            Self::Heic => "heic",
        }
    }

    pub fn of_content_type(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.content_type() == text)
    }

    /// By the first [`SNIFFED`] bytes: what a client says it sends is only a claim.
    pub fn sniff(head: &[u8]) -> Option<Self> {
        let brand = |b: &[u8]| {
            [b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"]
                .iter()
                .any(|known| b == *known)
        };
        match head {
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Some(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::Webp),
            [_, _, _, _, b'f', b't', b'y', b'p', rest @ ..] if rest.get(..4).is_some_and(brand) => {
                Some(Self::Heic)
            }
            _ => None,
        }
    }
}

/// Bytes that [`PhotoKind::sniff`] wants.
pub const SNIFFED: u64 = 16;

/// Photos of one meal.
pub const PHOTOS: usize = 6;

/// Where the photo of a meal is: `user_<user>/<meal>/<position>.<extension>`. Made here, never from what a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhotoKey {
    pub user: Uuid,
    pub meal_group: Uuid,
    /// 1 to 6.
    pub position: u8,
}

impl PhotoKey {
    pub fn text(&self, kind: PhotoKind) -> String {
        let Self {
            user,
            meal_group,
            position,
        } = self;
        format!("user_{user}/{meal_group}/{position}.{}", kind.extension())
    }

    /// Only keys that [`PhotoKey::text`] writes: no other spelling of an id, no `..`, nothing behind it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let (user, meal, file) = (parts.next()?, parts.next()?, parts.next()?);
        let (position, extension) = file.split_once('.')?;
        let key = Self {
            user: user.strip_prefix("user_")?.parse().ok()?,
            meal_group: meal.parse().ok()?,
            position: position.parse().ok()?,
        };
        let kind = PhotoKind::ALL.into_iter().find(|k| k.extension() == extension)?;
        let good = (1..=PHOTOS as u8).contains(&key.position) && key.text(kind) == text;
        (parts.next().is_none() && good).then_some(key)
    }
}

/// An object that storage says it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadSeen {
    pub bucket: String,
    /// Decoded.
    pub key: String,
}

/// Records of one notification.
const RECORDS: usize = 1000;

/// The uploads in a notification of S3 or EventBridge, wrapped by SNS or not; nothing for test events, other events and
/// what is no notification at all.
pub fn uploads_seen(body: &Value) -> Vec<UploadSeen> {
    if let Some(inner) = body.get("Message").and_then(Value::as_str) {
        return serde_json::from_str::<Value>(inner).map_or_else(|_| Vec::new(), |v| of_notice(&v));
    }
    of_notice(body)
}

fn of_notice(body: &Value) -> Vec<UploadSeen> {
    if let Some(records) = body.get("Records").and_then(Value::as_array) {
        return records.iter().take(RECORDS).filter_map(of_record).collect();
    }
    of_event_bridge(body).into_iter().collect()
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

fn of_record(record: &Value) -> Option<UploadSeen> {
    let name = text(record, "/eventName")?;
    name.trim_start_matches("s3:").strip_prefix("ObjectCreated:")?;
    Some(UploadSeen {
        bucket: text(record, "/s3/bucket/name")?.to_owned(),
        key: decoded(text(record, "/s3/object/key")?)?,
    })
}

/// EventBridge does not encode the key.
fn of_event_bridge(body: &Value) -> Option<UploadSeen> {
    (text(body, "/source")? == "aws.s3" && text(body, "/detail-type")? == "Object Created").then_some(())?;
    Some(UploadSeen {
        bucket: text(body, "/detail/bucket/name")?.to_owned(),
        key: text(body, "/detail/object/key")?.to_owned(),
    })
}

/// As in forms: `+` is a space, servers differ in whether they encode `/`.
fn decoded(key: &str) -> Option<String> {
    let spaced = key.replace('+', " ");
    let mut out = Vec::with_capacity(spaced.len());
    let mut bytes = spaced.bytes();
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn record(name: &str, key: &str) -> Value {
        json!({"eventVersion": "2.6", "eventName": name,
            "s3": {"bucket": {"name": "up"}, "object": {"key": key, "size": 3, "eTag": "e", "sequencer": "00A1"}}})
    }

    #[test]
    fn both_forms_of_one_upload_are_one_thing() {
        let key = "user_5c0b6f4e-51f4-4ab1-b0b0-6d5ae0c1a6b1/5c0b6f4e-51f4-4ab1-b0b0-6d5ae0c1a6b2/1.jpg";
        let expected = vec![UploadSeen {
            bucket: "up".into(),
            key: key.into(),
        }];
        for encoded in [key.to_owned(), key.replace('/', "%2F"), key.replace('-', "%2d")] {
            let notice = json!({"Records": [record("ObjectCreated:Put", &encoded)]});
            assert_eq!(uploads_seen(&notice), expected);
            let wrapped = json!({"Type": "Notification", "Message": notice.to_string()});
            assert_eq!(uploads_seen(&wrapped), expected);
        }
        let bridge = json!({"source": "aws.s3", "detail-type": "Object Created",
            "detail": {"bucket": {"name": "up"}, "object": {"key": key, "size": 3, "etag": "e"}, "reason": "PutObject"}});
        assert_eq!(uploads_seen(&bridge), expected);
        assert_eq!(
            uploads_seen(&json!({"Records": [record("s3:ObjectCreated:Post", key)]})),
            expected
        );
    }

    #[test]
    fn what_is_no_upload_is_nothing() {
        for body in [
            json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "up"}),
            json!({"Records": [record("ObjectRemoved:Delete", "x")]}),
            json!({"Records": [record("ObjectCreated:Put", "%zz"), record("ObjectCreated:Put", "%ff"), 7, null]}),
            json!({"Records": {}}),
            json!({"Message": "{"}),
            json!(null),
            json!([1]),
        ] {
            assert_eq!(uploads_seen(&body), vec![], "{body}");
        }
        assert_eq!(decoded("a+b%2Bc").as_deref(), Some("a b+c"));
    }

    #[test]
    fn kinds_are_seen_in_the_bytes() {
        assert_eq!(PhotoKind::sniff(&[0xff, 0xd8, 0xff, 0xe0]), Some(PhotoKind::Jpeg));
        assert_eq!(PhotoKind::sniff(b"\0\0\0\x18ftypheic"), Some(PhotoKind::Heic));
        assert_eq!(PhotoKind::sniff(b"RIFF\0\0\0\0WEBPVP8 "), Some(PhotoKind::Webp));
        assert_eq!(PhotoKind::sniff(b"Dear diary, today"), None);
        assert_eq!(PhotoKind::sniff(b""), None);
    }

    proptest! {
        #[test]
        fn keys_come_back_and_only_ours_do(user: u128, meal: u128, position in 1u8..=6, kind in 0usize..4, junk in ".{0,60}") {
            let key = PhotoKey { user: Uuid::from_u128(user), meal_group: Uuid::from_u128(meal), position };
            let text = key.text(PhotoKind::ALL[kind]);
            prop_assert_eq!(PhotoKey::parse(&text), Some(key));
            prop_assert_eq!(PhotoKey::parse(&text.to_uppercase()), None);
            let (behind, before) = (format!("{text}/x"), format!("../{text}"));
            prop_assert_eq!(PhotoKey::parse(&behind), None);
            prop_assert_eq!(PhotoKey::parse(&before), None);
            prop_assert_eq!(PhotoKey::parse(&junk), None);
        }
    }
}
