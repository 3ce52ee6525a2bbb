//! The cases, by letter: A addresses, B taking, C results, D streams and progress, E pings, F stopping, G ends, I
//! command line and log. (H, the job API, is another program's: `scripts/ci-clients.sh`.)

mod ends;
mod pings;
mod results;
mod streams;
mod takes;

use crate::case::Case;

pub(crate) fn all() -> Vec<Case> {
    [
        takes::addresses(),
        takes::taking(),
        results::all(),
        streams::all(),
        pings::all(),
        ends::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
