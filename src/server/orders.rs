//! Orders as they come, and what is done upon each.

use std::future::ready;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use sd_notify::NotifyState;

use super::drain::{Drain, Then};
use super::signals::{Order, Shutdown};
use super::successor::{Heir, Succession, Upgrade};
use crate::snapshot::Store;

/// What is done once, when the services have started and orders are heard.
pub type Started = Box<dyn FnOnce() + Send>;

/// pingora's source of shutdown signals, ours underneath.
pub struct Orders<R> {
    pub shutdown: Arc<dyn Shutdown>,
    pub started: Mutex<Option<Started>>,
    pub reload: R,
    pub snapshots: Arc<Store>,
    pub succession: Arc<Succession>,
    pub drain: Drain,
}

#[async_trait]
impl<R: Fn() + Send + Sync> ShutdownSignalWatch for Orders<R> {
    async fn recv(&self) -> ShutdownSignal {
        let mut upgrade = None;
        let mut started = self.started.lock().take();
        let heir = loop {
            tokio::select! {
                // Orders first: `started` tells others that they may be given.
                biased;
                order = self.shutdown.next() => match order {
                    Order::Reload => (self.reload)(),
                    Order::Upgrade => self.upgrade(&mut upgrade),
                    Order::Drain => match upgrade.take() {
                        Some(upgrade) => break upgrade.call_off().await.ok(),
                        None => break None,
                    },
                },
                () = ready(()), if started.is_some() => {
                    started.take().into_iter().for_each(|started| started());
                }
                ended = Upgrade::end_of(&mut upgrade) => match ended {
                    Ok(heir) => break Some(heir),
                    Err(why) => {
                        upgrade = None;
                        tracing::error!(why, "upgrade failed, this process serves on");
                    }
                },
            }
        };
        self.end(heir).await;
        ShutdownSignal::GracefulTerminate
    }
}

impl<R> Orders<R> {
    fn upgrade(&self, upgrade: &mut Option<Upgrade>) {
        if upgrade.is_some() {
            tracing::warn!("upgrade refused: one is under way");
            return;
        }
        if let Err(faults) = self.snapshots.rehearse() {
            for fault in &faults.0 {
                tracing::error!(%fault, "upgrade failed: the new process would begin with a broken edit");
            }
            return;
        }
        match self.succession.begin() {
            Ok(begun) => *upgrade = Some(begun),
            Err(why) => tracing::error!(why, "upgrade refused"),
        }
    }

    async fn end(&self, heir: Option<Heir>) {
        self.succession.close();
        let Some(heir) = heir else {
            notify(&[NotifyState::Stopping]);
            return self.drain.run(Then::Gone).await;
        };
        tracing::info!(
            pid = heir.pid,
            "upgrade: the new process serves, this one ends"
        );
        self.succession.succeeded_by(heir);
        self.drain.run(Then::Succeeded).await;
    }
}

/// Tells systemd, where it started this process.
pub fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd was not told");
    }
}
