//! Calories and protein of a day. Mifflin et al. 1990 (Am J Clin Nutr 51:241-7) for the resting rate; protein after the
//! ISSN's position stand (Jaeger et al. 2017, 14:20); goals and floors are this service's choice.

use jiff::civil::Date;

/// What the targets are made of.
#[derive(Debug, Clone, Default)]
pub struct Body<'a> {
    pub height_cm: Option<i32>,
    pub weight_kg: Option<f64>,
    pub birth_date: Option<Date>,
    pub gender: Option<&'a str>,
    pub goal: Option<&'a str>,
    /// kcal; the median of active days, if it is known.
    pub usual_active_kcal: Option<f64>,
}

/// Targets of a day; null where the profile does not say enough.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Targets {
    /// kcal.
    pub calories: Option<i32>,
    pub protein_g: Option<i32>,
    /// Fields of the profile that are missing.
    pub missing: Vec<&'static str>,
    /// `floor`, `no_deficit_minor`, `no_deficit_underweight`: why the target is not the goal's plain one.
    pub notes: Vec<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    FatLoss,
    Maintain,
    Hypertrophy,
}

/// Without data on activity.
pub const LIGHTLY_ACTIVE: f64 = 1.375;

/// Full years at `today`.
pub fn age(birth: Date, today: Date) -> i32 {
    let years = i32::from(today.year()) - i32::from(birth.year());
    years - i32::from((today.month(), today.day()) < (birth.month(), birth.day()))
}

/// Resting energy, kcal a day. An unknown gender takes the mean of the two constants.
pub fn resting_kcal(kg: f64, cm: i32, years: i32, gender: Option<&str>) -> f64 {
    let constant = match gender {
        Some("male") => 5.0,
        Some("female") => -161.0,
        _ => -78.0,
    };
    10.0 * kg + 6.25 * f64::from(cm) - 5.0 * f64::from(years) + constant
}

/// Targets on a date, with the activity factor from data or [`LIGHTLY_ACTIVE`]. Fixed for the day: what is burnt today is
/// partial and late, and measured activity is never added on top of a factor.
pub fn targets(body: &Body<'_>, today: Date) -> Targets {
    targets_with(body, today, None)
}

/// The same with a factor that is given.
pub fn targets_with(body: &Body<'_>, today: Date, factor: Option<f64>) -> Targets {
    let mut missing = Vec::new();
    for (name, absent) in [
        ("height_cm", body.height_cm.is_none()),
        ("weight_kg", body.weight_kg.is_none()),
        ("birth_date", body.birth_date.is_none()),
        ("primary_goal", body.goal.is_none()),
    ] {
        if absent {
            missing.push(name);
        }
    }
    let (Some(cm), Some(kg), Some(birth), Some(goal)) =
        (body.height_cm, body.weight_kg, body.birth_date, body.goal)
    else {
        return Targets {
            missing,
            ..Targets::default()
        };
    };
    let goal = match goal {
        "fat_loss" => Goal::FatLoss,
        "hypertrophy" => Goal::Hypertrophy,
        _ => Goal::Maintain,
    };
    let years = age(birth, today);
    let resting = resting_kcal(kg, cm, years, body.gender);
    let from_data = body
        .usual_active_kcal
        .map(|b| (1.0 + 1.1 * b / resting.max(1.0)).clamp(1.2, 1.9));
    let spent = resting * factor.or(from_data).unwrap_or(LIGHTLY_ACTIVE);
    let mut notes = Vec::new();
    let bmi = kg / (f64::from(cm) / 100.0).powi(2);
    let raw = match goal {
        Goal::FatLoss if years < 18 => {
            notes.push("no_deficit_minor");
            spent
        }
        Goal::FatLoss if bmi < 18.5 => {
            notes.push("no_deficit_underweight");
            spent
        }
        Goal::FatLoss => spent * 0.8,
        Goal::Maintain => spent,
        Goal::Hypertrophy => spent * 1.1,
    };
    let floor: f64 = match body.gender {
        Some("female") => 1200.0,
        Some("male") => 1500.0,
        _ => 1350.0,
    };
    let floor = floor.min(spent);
    if raw < floor {
        notes.push("floor");
    }
    let protein = kg * if goal == Goal::Maintain { 1.4 } else { 1.8 };
    Targets {
        calories: Some(whole(raw.max(floor))),
        protein_g: Some(whole(protein)),
        missing,
        notes,
    }
}

/// Half up.
fn whole(x: f64) -> i32 {
    // The small term takes back what binary fractions lose (1.8 * 55).
    (x + 0.5 + 1e-9).floor() as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn worked_rows() {
        let today = date(2026, 6, 10);
        let rows = [
            (
                Some("male"),
                80.0,
                180,
                30,
                1.55,
                "fat_loss",
                1780.0,
                2759.0,
                2207,
                144,
            ),
            (
                Some("female"),
                62.0,
                165,
                28,
                1.375,
                "maintain",
                1350.25,
                1856.6,
                1857,
                87,
            ),
            (
                Some("female"),
                55.0,
                158,
                45,
                1.2,
                "fat_loss",
                1151.5,
                1381.8,
                1200,
                99,
            ),
            (
                Some("male"),
                70.0,
                175,
                22,
                1.725,
                "hypertrophy",
                1688.75,
                2913.1,
                3204,
                126,
            ),
            (None, 90.0, 170, 50, 1.375, "fat_loss", 1634.5, 2247.4, 1798, 162),
        ];
        for (gender, kg, cm, years, factor, goal, bmr, tdee, kcal, protein) in rows {
            let body = Body {
                height_cm: Some(cm),
                weight_kg: Some(kg),
                birth_date: Some(date(2026 - years as i16, 6, 10)),
                gender,
                goal: Some(goal),
                usual_active_kcal: None,
            };
            let resting = resting_kcal(kg, cm, years, gender);
            assert!((resting - bmr).abs() < 1e-9, "{resting} {bmr}");
            assert!((resting * factor - tdee).abs() < 0.06);
            let t = targets_with(&body, today, Some(factor));
            assert_eq!((t.calories, t.protein_g), (Some(kcal), Some(protein)));
            assert_eq!(t.notes.contains(&"floor"), kcal == 1200);
        }
    }

    #[test]
    fn age_by_month_and_day() {
        assert_eq!(age(date(2000, 6, 11), date(2026, 6, 10)), 25);
        assert_eq!(age(date(2000, 6, 10), date(2026, 6, 10)), 26);
        assert_eq!(age(date(2000, 2, 29), date(2026, 2, 28)), 25);
    }

    #[test]
    fn an_incomplete_profile_says_what_is_missing() {
        let t = targets(
            &Body {
                weight_kg: Some(70.0),
                ..Body::default()
            },
            date(2026, 1, 1),
        );
        assert_eq!((t.calories, t.protein_g), (None, None));
        assert_eq!(t.missing, ["height_cm", "birth_date", "primary_goal"]);
    }

    #[test]
    fn no_deficit_for_minors_and_underweight() {
        let body = Body {
            height_cm: Some(170),
            weight_kg: Some(60.0),
            birth_date: Some(date(2010, 1, 1)),
            goal: Some("fat_loss"),
            ..Body::default()
        };
        let t = targets(&body, date(2026, 1, 1));
        assert_eq!(t.notes, ["no_deficit_minor"]);
        let thin = Body {
            weight_kg: Some(50.0),
            birth_date: Some(date(1990, 1, 1)),
            ..body
        };
        assert_eq!(targets(&thin, date(2026, 1, 1)).notes, ["no_deficit_underweight"]);
    }

    #[test]
    fn activity_from_data_stays_in_bounds() {
        let body = |b| Body {
            height_cm: Some(180),
            weight_kg: Some(80.0),
            birth_date: Some(date(1996, 6, 10)),
            gender: Some("male"),
            goal: Some("maintain"),
            usual_active_kcal: b,
        };
        let of = |b| targets(&body(b), date(2026, 6, 10)).calories;
        assert_eq!(of(None), Some(2448)); // 1780 * 1.375 = 2447.5
        assert_eq!(of(Some(500.0)), Some(2330)); // 1780 + 550
        assert_eq!(of(Some(0.0)), Some(2136)); // 1.2
        assert_eq!(of(Some(9000.0)), Some(3382)); // 1.9
    }
}
