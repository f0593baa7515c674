//! Turns on their way to the store, by whose they are: who asks a moment after he told something finds it.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::kept::Turn;
use super::scope::Scope;
use super::similar::fingerprint;

/// The turns of all scopes.
#[derive(Default)]
pub struct Unsaved {
    /// What users say in them, as fingerprints.
    said: Mutex<HashMap<Scope, Vec<u64>>>,
    /// One has arrived, or will not.
    over: Notify,
}

/// A turn that is on its way for as long as this is there.
pub struct Underway {
    of: Arc<Unsaved>,
    scope: Scope,
    said: u64,
}

impl Unsaved {
    pub fn begin(self: &Arc<Self>, turn: &Turn) -> Underway {
        let (scope, said) = (turn.scope.clone(), fingerprint(&turn.user_text));
        self.said
            .lock()
            .entry(scope.clone())
            .or_default()
            .push(said);
        Underway {
            of: self.clone(),
            scope,
            said,
        }
    }

    /// Waits until none of the scope's turns is underway but those that say what is `known`. While it
    /// waits, the writer is told to `hurry`.
    pub async fn settle(&self, scope: &Scope, known: &[u64], hurry: &Notify) {
        loop {
            let mut over = pin!(self.over.notified());
            over.as_mut().enable();
            let wanted = |said: &Vec<u64>| said.iter().any(|print| !known.contains(print));
            if !self.said.lock().get(scope).is_some_and(wanted) {
                return;
            }
            hurry.notify_one();
            over.await;
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let mut all = self.of.said.lock();
        if let Some(said) = all.get_mut(&self.scope) {
            if let Some(at) = said.iter().position(|print| *print == self.said) {
                said.swap_remove(at);
            }
            if said.is_empty() {
                all.remove(&self.scope);
            }
        }
        drop(all);
        self.of.over.notify_waiters();
    }
}
