//! A sample user with forty days of measures and meals, put in through the service's own paths.

use jiff::civil::Time;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};

/// Subject of the sample user.
pub const SUBJECT: &str = "sample-user";
const DAYS: i64 = 40;

/// Speaks to the service as the sample user.
#[derive(Debug)]
pub struct Sample {
    pub base: String,
    pub token: String,
    pub http: reqwest::Client,
}

impl Sample {
    async fn call(
        &self,
        method: Method,
        path: &str,
        tag: Option<&str>,
        body: Option<Value>,
    ) -> anyhow::Result<(Value, Option<String>)> {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.token);
        if let Some(tag) = tag {
            request = request.header("if-match", tag);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?.error_for_status()?;
        let tag = response
            .headers()
            .get("etag")
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned);
        Ok((response.json().await?, tag))
    }

    /// Puts everything in, unless it is there.
    ///
    /// # Errors
    /// The service refused something.
    pub async fn fill(&self, now: Timestamp) -> anyhow::Result<()> {
        let (profile, tag) = self.call(Method::GET, "/profile", None, None).await?;
        if !profile["height_cm"].is_null() {
            return Ok(());
        }
        let body = json!({"height_cm": 168, "weight_kg": 64.5, "birth_date": "1994-04-12", "gender": "female",
            "primary_goal": "fat_loss", "dietary_preference": "pescatarian", "dislikes": ["mushrooms"],
            "is_fasting_enabled": true, "fasting_start_time": "20:00", "fasting_end_time": "10:00",
            "timezone": "Europe/Berlin"});
        self.call(Method::PATCH, "/profile", tag.as_deref(), Some(body))
            .await?;
        for day in (0..=DAYS).rev() {
            let records = day_of_records(now, day);
            self.call(
                Method::POST,
                "/sync/batch",
                None,
                Some(json!({"device": "Sample Watch", "records": records})),
            )
            .await?;
        }
        for (item, days) in [
            ("Sweet potatoes", 3),
            ("Salmon", 1),
            ("Rice", 200),
            ("Spinach", 2),
        ] {
            let expiry = (now + SignedDuration::from_hours(24 * days))
                .to_zoned(jiff::tz::TimeZone::UTC)
                .date();
            let body = json!({"item_name": item, "category": "food", "expiry_date": expiry.to_string()});
            self.call(Method::POST, "/pantry", None, Some(body)).await?;
        }
        let stew = json!({"recipe_name": "Lentil stew", "total_servings": 12, "calories_per_serving": 420,
            "macros_json": {"p": 22.5, "c": 58, "f": 9.5}});
        self.call(Method::POST, "/pantry/leftovers", None, Some(stew))
            .await?;
        for day in 0..7 {
            for (hours, name, kcal, p, c, f) in [
                (20, "Porridge with banana", 390, 13, 66, 8),
                (16, "Salmon with rice", 610, 38, 62, 22),
            ] {
                let at = now - SignedDuration::from_hours(24 * day + 24 - hours);
                let body = json!({"log_time": at.to_string(), "food_name": name, "calories": kcal, "protein_g": p, "carbs_g": c, "fats_g": f});
                self.call(Method::POST, "/food_logs", None, Some(body)).await?;
            }
        }
        self.call(Method::POST, "/feel", None, Some(json!({"value": 62})))
            .await?;
        Ok(())
    }
}

/// A day of a watch, `back` days before now: steps and energy by quarter hours, a night, heart rate variability.
fn day_of_records(now: Timestamp, back: i64) -> Vec<Value> {
    let zone = jiff::tz::db()
        .get("Europe/Berlin")
        .unwrap_or(jiff::tz::TimeZone::UTC);
    let date = (now - SignedDuration::from_hours(24 * back))
        .to_zoned(zone.clone())
        .date();
    let Ok(midnight) = date.to_datetime(Time::midnight()).to_zoned(zone) else {
        return Vec::new();
    };
    let midnight = midnight.timestamp();
    let minute = |m: i64| midnight + SignedDuration::from_mins(m);
    // Repeatable, and different from day to day.
    let wave = |i: i64| (i * 7919 + back * 104_729) % 97;
    let mut records = Vec::new();
    let mut add = |kind: &str, from: i64, to: i64, value: f64| {
        if minute(to) <= now {
            records.push(
                json!({"kind": kind, "start": minute(from).to_string(), "end": minute(to).to_string(),
                "value": value, "source": "watch"}),
            );
        }
    };
    for slot in 28..92 {
        add("steps", slot * 15, slot * 15 + 15, (wave(slot) * 3) as f64);
        add(
            "active_energy_kcal",
            slot * 15,
            slot * 15 + 15,
            wave(slot) as f64 / 12.0,
        );
    }
    for sample in 0..5 {
        add(
            "hrv_sdnn",
            300 + sample * 240,
            300 + sample * 240,
            (45 + wave(sample) % 25) as f64,
        );
    }
    add("resting_hr", 400, 400, (54 + wave(1) % 6) as f64);
    add("sleep_score", -60, 410, (62 + wave(2) % 35) as f64);
    records
}
