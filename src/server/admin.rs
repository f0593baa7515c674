//! The admin listener as one of pingora's services, so that it starts and ends with the other.

use std::net::TcpListener;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;

use crate::admin;
use crate::snapshot::Store;

/// Serves a router on a listener that is bound.
pub struct AdminService {
    /// Taken when it starts.
    listener: Option<TcpListener>,
    router: Router,
    store: Arc<Store>,
}

impl AdminService {
    pub fn new(listener: Option<TcpListener>, router: Router, store: Arc<Store>) -> Self {
        Self {
            listener,
            router,
            store,
        }
    }
}

#[async_trait]
impl Service for AdminService {
    async fn start_service(
        &mut self,
        _fds: Option<ListenFds>,
        mut shutdown: ShutdownWatch,
        _listeners_per_fd: usize,
    ) {
        let Some(listener) = self.listener.take() else {
            return;
        };
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "the admin listener cannot be used"),
        };
        let serving = admin::serve(listener, self.router.clone(), self.store.clone());
        tokio::select! {
            never = serving => match never {},
            // An error means that the drain is gone, and the process with it.
            _ = shutdown.wait_for(|close| *close) => {}
        }
    }

    fn name(&self) -> &str {
        "admin"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}
