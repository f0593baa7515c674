//! A personality's file, to be read and mended on the page.
//!
//! What would be no personality is refused before it is written, and what was edited meanwhile by
//! somebody else is not written over.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Admin;
use crate::api::reply::{self, Name};
use crate::error::ApiError;
use crate::personality::Personalities;
use crate::reading::Reading;
use crate::shipped;
use crate::snapshot::Snapshot;

/// `GET /personalities/{id}`: `{id,file,text,sha256,fault}`, of one whose file is broken too. `text`
/// is null where the file is none that a page can edit, and `read_only` says why.
pub async fn show(State(admin): State<Admin>, Name(id): Name) -> Result<Json<Value>, ApiError> {
    let snapshot = admin.snapshots.load();
    let path = file_of(&snapshot, &id)?;
    let read = match why_fixed(&path) {
        Some(why) => Err(why.to_owned()),
        None => read(path.clone()).await,
    };
    let file = path.display().to_string();
    let fault = snapshot.personalities.why_not(&id);
    let fault = fault.map(|fault| fault.to_string());
    Ok(Json(match read {
        Ok(text) => json!({
            "id": id, "file": file, "text": text, "sha256": digest(&text), "read_only": null,
            "fault": fault,
        }),
        Err(why) => json!({
            "id": id, "file": file, "text": null, "sha256": null, "read_only": why, "fault": fault,
        }),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    text: String,
    /// Of the text that was edited.
    sha256: String,
}

/// `PUT /personalities/{id}` `{text,sha256}`: writes the file and has it read, and answers what came
/// of that: `{id,sha256,generation,faults}`.
pub async fn edit(
    State(admin): State<Admin>,
    Name(id): Name,
    bytes: Bytes,
) -> Result<Json<Value>, ApiError> {
    let Edit { text, sha256 } = reply::body(&bytes)?;
    let path = file_of(&admin.snapshots.load(), &id)?;
    if let Some(why) = why_fixed(&path) {
        return Err(ApiError::new(StatusCode::CONFLICT, why).code("personality_read_only"));
    }
    let before = read(path.clone()).await.map_err(unwritten)?;
    if digest(&before) != sha256 {
        let message = "The file was edited meanwhile: read it again.";
        return Err(ApiError::new(StatusCode::CONFLICT, message).code("personality_changed"));
    }
    let written = digest(&text);
    let store = admin.snapshots.clone();
    let done = tokio::task::spawn_blocking(move || {
        judge(&path, &text)?;
        replace(&path, &text)
            .map_err(|error| unwritten(format!("It cannot be written: {error}.")))?;
        store.reload();
        Ok::<_, ApiError>(())
    });
    done.await.map_err(|error| unwritten(error.to_string()))??;
    let status = admin.snapshots.status();
    let faults: Vec<String> = status.wrong().map(ToString::to_string).collect();
    Ok(Json(json!({
        "id": id, "sha256": written, "generation": status.generation, "faults": faults,
    })))
}

/// The file of a personality, whether it gives one or is broken.
fn file_of(snapshot: &Snapshot, id: &str) -> Result<PathBuf, ApiError> {
    let personalities = &snapshot.personalities;
    let mut broken = personalities.broken().iter();
    let broken = broken.find(|broken| broken.id == id);
    let broken = broken.and_then(|broken| broken.faults.0.first());
    match broken {
        Some(fault) => Ok(fault.origin.clone()),
        None => Ok(personalities.find(id)?.origin.clone()),
    }
}

/// Why a file is none that is edited here.
fn why_fixed(path: &Path) -> Option<&'static str> {
    let ending = path.extension().and_then(|ending| ending.to_str());
    let ending = ending.unwrap_or_default().to_ascii_lowercase();
    if shipped::holds(path) {
        Some("It comes with the program: `yychat init` writes files of your own.")
    } else if !["json", "toml"].contains(&&*ending) {
        Some("The card is in a picture: edit it where it comes from, and export it again.")
    } else {
        None
    }
}

async fn read(path: PathBuf) -> Result<String, String> {
    let read = tokio::fs::read_to_string(&path).await;
    read.map_err(|error| format!("It cannot be read: {error}."))
}

fn unwritten(what: String) -> ApiError {
    ApiError::new(StatusCode::CONFLICT, what).code("personality_read_only")
}

fn digest(text: &str) -> String {
    format!("{:x}", Sha256::digest(text))
}

/// Has the text read as the file of that name would be.
fn judge(path: &Path, text: &str) -> Result<(), ApiError> {
    let name = path.file_name().unwrap_or_default();
    let tried = tempfile::tempdir().and_then(|folder| {
        std::fs::write(folder.path().join(name), text)?;
        Ok(folder)
    });
    let tried = tried.map_err(|error| unwritten(format!("It cannot be tried: {error}.")))?;
    let loaded = Personalities::load(tried.path(), None, &Reading::default());
    let faults = match loaded {
        Ok(loaded) => loaded.broken().first().map(|broken| broken.faults.clone()),
        Err(faults) => Some(faults),
    };
    let Some(mut fault) = faults.and_then(|faults| faults.0.into_iter().next()) else {
        return Ok(());
    };
    fault.origin = name.into();
    let message = format!("It is not written, since it would be no personality: {fault}.");
    Err(ApiError::bad_request(message)
        .param("text")
        .code("personality_invalid"))
}

/// Writes beside the file and then in its place, so that nobody reads half of it.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    // What a link leads to, not the link.
    let path = path.canonicalize()?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    let permissions = path.metadata()?.permissions();
    file.as_file().set_permissions(permissions)?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(())
}
