//! The components whose metrics make a page.

use std::sync::{Arc, Mutex, PoisonError};

use super::page::Page;

/// A component that has metrics.
pub(crate) trait Collect: Send + Sync {
    /// Puts its metrics on the page: always the same ones, whatever they stand at. May block for a moment.
    fn collect(&self, page: &mut Page);
}

/// See the module.
#[derive(Default)]
pub(crate) struct Registry {
    components: Mutex<Vec<Arc<dyn Collect>>>,
}

impl Registry {
    /// Adds a component, once.
    pub(crate) fn register(&self, component: Arc<dyn Collect>) {
        self.lock().push(component);
    }

    /// What all metrics stand at. Blocking.
    pub(crate) fn page(&self) -> Page {
        let components = self.lock().clone();
        let mut page = Page::default();
        for component in components {
            component.collect(&mut page);
        }
        page
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<dyn Collect>>> {
        self.components.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
