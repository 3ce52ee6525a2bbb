//! How good is it: a data set with truth, the pipeline with chosen oracles, and honest figures.

pub mod convert;
pub mod load;
pub mod manifest;
pub mod oracle;
pub mod shapes;
pub mod truth;
