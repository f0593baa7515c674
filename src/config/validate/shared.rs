//! `[shared]`.

use secrecy::ExposeSecret;
use url::Url;

use super::{MILLISECOND, MINUTE};
use crate::config::check::Check;
use crate::config::model::{OnFailure, Shared, SharedStore};
use crate::config::raw;

/// The schemes of Valkey and Redis, without and with TLS.
const SCHEMES: [&str; 4] = ["valkey", "valkeys", "redis", "rediss"];

pub(super) fn shared(raw: &raw::Shared, check: &mut Check<'_>) -> Shared {
    Shared {
        store: store(raw, check),
        deadline: check.duration("shared.deadline", &raw.deadline, MILLISECOND..=MINUTE),
        on_failure: check.choice(
            "shared.on_failure",
            &raw.on_failure,
            [
                ("local", OnFailure::Local),
                ("open", OnFailure::Open),
                ("closed", OnFailure::Closed),
            ],
        ),
    }
}

/// The secret of a store that is not chosen is left unread: it need not exist.
fn store(raw: &raw::Shared, check: &mut Check<'_>) -> SharedStore {
    let choices = [("process", false), ("valkey", true)];
    if !check.choice("shared.store", &raw.store, choices) {
        return SharedStore::Process;
    }
    let url = check.secret("shared.url", &raw.url);
    let leads = Url::parse(url.expose_secret()).is_ok_and(|url| match url.scheme() {
        "redis+unix" | "valkey+unix" | "unix" => url.path().len() > 1,
        scheme => SCHEMES.contains(&scheme) && url.has_host(),
    });
    if !leads {
        check.fault(
            "shared.url",
            "does not lead to Valkey",
            "write it as in \"valkey://user:password@host:6379/0\", or with valkeys:// for TLS",
        );
    }
    SharedStore::Valkey { url }
}
