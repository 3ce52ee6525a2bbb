use std::collections::BTreeMap;
use std::sync::Arc;

use super::Vision;

/// The usual vision service, and others by the name of their model set.
#[derive(Debug, Clone)]
pub struct Services {
    usual: Arc<dyn Vision>,
    others: BTreeMap<String, Arc<dyn Vision>>,
}

impl Services {
    pub fn new(usual: Arc<dyn Vision>, others: BTreeMap<String, Arc<dyn Vision>>) -> Self {
        Self { usual, others }
    }

    /// `None` is the usual one; a name that is not configured (any more) is nobody.
    pub fn named(&self, set: Option<&str>) -> Option<&Arc<dyn Vision>> {
        match set {
            None => Some(&self.usual),
            Some(name) => self.others.get(name),
        }
    }
}
