//! Every kernel against its plain f64 reference, on random, odd, empty and large shapes.
#![allow(clippy::unwrap_used)]

mod it {
    pub(crate) mod activation;
    pub(crate) mod argmax;
    pub(crate) mod attention;
    pub(crate) mod conv;
    pub(crate) mod halves;
    pub(crate) mod linear;
    pub(crate) mod masks;
    pub(crate) mod norm;
    #[cfg(feature = "cuda")]
    pub(crate) mod on_device;
    #[cfg(feature = "cuda")]
    pub(crate) mod on_device_convolutions;
    #[cfg(feature = "cuda")]
    pub(crate) mod on_device_results;
    pub(crate) mod pictures;
    pub(crate) mod products;
    pub(crate) mod sampling;
    pub(crate) mod support;
}
