//! Items and photos that are reported together: by what hides their lower part, by the view, and by what their scale rests on.

use super::scale_group::ScaleGroup;
use super::score::{Outcome, PhotoOutcome};

/// What decides which groups something belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    in_bowl: bool,
    near_nadir: Option<bool>,
    scale: Option<ScaleGroup>,
}

impl From<&Outcome> for Place {
    fn from(o: &Outcome) -> Self {
        Self {
            in_bowl: o.in_bowl,
            near_nadir: o.near_nadir,
            scale: o.scale,
        }
    }
}

impl From<&PhotoOutcome> for Place {
    fn from(o: &PhotoOutcome) -> Self {
        Self {
            in_bowl: o.in_bowl,
            near_nadir: o.near_nadir,
            scale: o.scale,
        }
    }
}

/// A group and whether something belongs to it.
pub(super) struct Group {
    pub(super) name: String,
    keep: Box<dyn Fn(Place) -> bool>,
}

impl Group {
    fn new(name: impl Into<String>, keep: impl Fn(Place) -> bool + 'static) -> Self {
        Self {
            name: name.into(),
            keep: Box::new(keep),
        }
    }

    /// Whether this one belongs to it.
    pub(super) fn holds<'a, T>(&self, one: &'a T) -> bool
    where
        Place: From<&'a T>,
    {
        (self.keep)(Place::from(one))
    }

    /// Those of these that belong to it.
    pub(super) fn of<'a, T>(&self, all: &'a [T]) -> Vec<&'a T>
    where
        Place: From<&'a T>,
    {
        all.iter().filter(|one| self.holds(*one)).collect()
    }
}

/// Everything, then in bowls and off bowls.
pub(super) fn by_bowl() -> Vec<Group> {
    vec![
        Group::new("all", |_| true),
        Group::new("off bowls", |p| !p.in_bowl),
        Group::new("in bowls", |p| p.in_bowl),
    ]
}

/// [`by_bowl`], then by the view, then by the scale, each of these in bowls apart. What was refused has no scale.
pub(super) fn all() -> Vec<Group> {
    let mut out = by_bowl();
    out.push(Group::new("off bowls, tilted 12 degrees or more", |p| {
        !p.in_bowl && p.near_nadir == Some(false)
    }));
    out.push(Group::new("off bowls, near nadir", |p| {
        !p.in_bowl && p.near_nadir == Some(true)
    }));
    for scale in ScaleGroup::ALL {
        for (name, bowl) in [("off bowls", false), ("in bowls", true)] {
            let keep = move |p: Place| p.scale == Some(scale) && p.in_bowl == bowl;
            out.push(Group::new(format!("{}, {name}", scale.title()), keep));
        }
    }
    out
}
