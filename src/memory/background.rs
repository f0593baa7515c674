//! The runtimes that memory works on by itself.

use std::ops::Deref;

use tokio::runtime::Runtime;

use crate::error::Fault;

/// A runtime that ends with its owner and waits for nothing.
pub struct Background(Option<Runtime>);

impl Background {
    /// Starts one whose thread has that name.
    ///
    /// # Errors
    ///
    /// A fault when the system grants no threads.
    pub fn start(name: &str) -> Result<Self, Fault> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(4)
            .thread_name(name)
            .enable_all()
            .build()
            .map_err(|e| {
                let what = format!("memory cannot start its threads: {e}");
                Fault::new("memory", what, "raise the limit of processes")
            })?;
        Ok(Self(Some(runtime)))
    }
}

impl Deref for Background {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        self.0.as_ref().expect("it is taken when dropped")
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // A plain drop waits for the store, and panics within another runtime.
            runtime.shutdown_background();
        }
    }
}
