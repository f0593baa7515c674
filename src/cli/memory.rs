//! `yychat memory list|export|import|delete|audit`: works on the store itself, with the gateway
//! stopped where the store is embedded.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::error::{ApiError, Fault, Faults};
use crate::memory::{Memory, Scope, Selection};
use crate::snapshot::Store;

/// What to do with the store.
#[derive(Subcommand)]
pub enum Command {
    /// Lists records, the newest first, one a line
    List {
        #[command(flatten)]
        whose: Whose,
        /// Records at most
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Writes records as JSONL: all, or those of a tenant, user or conversation
    Export {
        #[command(flatten)]
        whose: Whose,
        /// Where to [default: standard output]
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Reads JSONL as export writes it; a record that is there already is replaced
    Import {
        /// Where from [default: standard input]
        file: Option<PathBuf>,
        /// The tenant of lines that name none
        #[arg(long, default_value = "default")]
        tenant: String,
    },
    /// Deletes the records of a user or a conversation
    Delete {
        #[command(flatten)]
        whose: Whose,
        /// Deletes a whole tenant's, where neither user nor conversation is named
        #[arg(long)]
        all: bool,
    },
    /// Verifies every record, checksum and count, and says what it found
    Audit,
}

/// Which records.
#[derive(Args)]
pub struct Whose {
    /// The tenant [default: default; of an export, all]
    #[arg(long)]
    tenant: Option<String>,
    /// A user's
    #[arg(long)]
    user: Option<String>,
    /// A conversation's
    #[arg(long)]
    conversation: Option<String>,
}

impl Whose {
    fn tenant(&self) -> &str {
        self.tenant.as_deref().unwrap_or("default")
    }

    fn selection(&self) -> Selection {
        if let Some(id) = self.conversation.clone() {
            return Selection::Conversation {
                id,
                user: self.user.clone(),
            };
        }
        match Scope::of(self.tenant(), self.user.as_deref(), None) {
            Some(scope) => Selection::Scope(scope),
            None => Selection::All,
        }
    }

    fn is_everything(&self) -> bool {
        self.tenant.is_none() && self.user.is_none() && self.conversation.is_none()
    }
}

/// Opens the store that `configuration` names and does `command`.
///
/// # Errors
///
/// What the store, a file or a line of an import has against it.
pub fn run(configuration: &Store, command: Command) -> Result<(), Faults> {
    let memory = Memory::open(&configuration.load().config.memory, None)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::new("memory", error.to_string(), ""))?;
    runtime.block_on(act(&memory, command))?;
    Ok(())
}

async fn act(memory: &Memory, command: Command) -> Result<(), Fault> {
    match command {
        Command::List { whose, limit } => list(memory, &whose, limit).await,
        Command::Export { whose, output } => export(memory, &whose, output).await,
        Command::Import { file, tenant } => import(memory, file, &tenant).await,
        Command::Delete { whose, all } => delete(memory, &whose, all).await,
        Command::Audit => audit(memory).await,
    }
}

async fn list(memory: &Memory, whose: &Whose, limit: usize) -> Result<(), Fault> {
    let page = memory
        .list(whose.tenant(), &whose.selection(), None, limit)
        .await
        .map_err(of_store)?;
    for record in &page.records {
        let at = jiff::Timestamp::from_millisecond(record.created_at).unwrap_or_default();
        let user = record.scope.user().map_or("-", |user| user);
        println!(
            "{}  {at:.0}  {user}  {}: {}",
            record.id, record.role, record.text
        );
    }
    eprintln!("{} of {} records", page.records.len(), page.total);
    Ok(())
}

async fn export(memory: &Memory, whose: &Whose, output: Option<PathBuf>) -> Result<(), Fault> {
    let mut out: Box<dyn Write + Send> = match &output {
        Some(path) => Box::new(File::create(path).map_err(|error| of_file(path, &error))?),
        None => Box::new(io::stdout()),
    };
    let mut buffered = BufWriter::new(&mut out);
    let selection = whose.selection();
    let of = (!whose.is_everything()).then(|| (whose.tenant(), &selection));
    let written = memory.export(of, &mut buffered).await;
    let count = written.map_err(|error| Fault::new("memory export", error.to_string(), ""))?;
    buffered.flush().map_err(|error| {
        of_file(
            output.as_deref().unwrap_or("standard output".as_ref()),
            &error,
        )
    })?;
    eprintln!("{count} records exported");
    Ok(())
}

async fn import(memory: &Memory, file: Option<PathBuf>, tenant: &str) -> Result<(), Fault> {
    let mut lines: Box<dyn BufRead + Send> = match &file {
        Some(path) => {
            let opened = File::open(path).map_err(|error| of_file(path, &error))?;
            Box::new(BufReader::new(opened))
        }
        None => Box::new(BufReader::new(io::stdin())),
    };
    let origin = file.unwrap_or_else(|| "standard input".into());
    let now = jiff::Timestamp::now().as_millisecond();
    let count = memory
        .import(&mut *lines, tenant, now)
        .await
        .map_err(|error| {
            let mend = "mend that line and import again: what was read before it is stored";
            Fault::new(origin, error.to_string(), mend)
        })?;
    eprintln!("{count} records imported");
    Ok(())
}

async fn delete(memory: &Memory, whose: &Whose, all: bool) -> Result<(), Fault> {
    let selection = whose.selection();
    if selection == Selection::All && !all {
        return Err(Fault::new(
            "command line",
            "memory delete names neither a user nor a conversation",
            "add --user or --conversation, or --all for a whole tenant",
        ));
    }
    let count = memory
        .delete_all(whose.tenant(), selection)
        .await
        .map_err(of_store)?;
    eprintln!("{count} records deleted");
    Ok(())
}

async fn audit(memory: &Memory) -> Result<(), Fault> {
    let audit = memory
        .audit()
        .await
        .map_err(|error| Fault::new("memory audit", error.to_string(), ""))?;
    println!(
        "records {}\nscopes {}\ntenants {}\ntext_bytes {}\ncorrupt {}\norphans {}\nmiscounted {}\nduplicates {}",
        audit.records,
        audit.scopes,
        audit.tenants,
        audit.text_bytes,
        audit.corrupt,
        audit.orphans,
        audit.miscounted,
        audit.duplicates
    );
    if audit.corrupt + audit.orphans + audit.miscounted == 0 {
        Ok(())
    } else {
        Err(Fault::new(
            "memory audit",
            "the store is not sound",
            "export what can be read, move the store away and import into a fresh one",
        ))
    }
}

fn of_store(error: ApiError) -> Fault {
    Fault::new("memory", error.message, "")
}

fn of_file(path: &std::path::Path, error: &io::Error) -> Fault {
    Fault::new(path, error.to_string(), "name a file that can be opened")
}
