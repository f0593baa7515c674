//! `yychat memory list|export|import|delete|extract|audit`: works on the store itself, with the gateway
//! stopped where the store is embedded.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::error::{ApiError, Fault, Faults};
use crate::memory::extraction::{self, Extraction};
use crate::memory::{Extracted, Fact, Memory, Scope, Selection};
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
    /// Extracts facts from stored turns, as memory.extraction says: a user's, a conversation's, or
    /// all; without any of them from what is queued
    Extract {
        #[command(flatten)]
        whose: Whose,
        /// Of every tenant, or with --tenant of all of that one's users
        #[arg(long)]
        all: bool,
        /// Queues them for the gateway, and asks no model
        #[arg(long)]
        queue: bool,
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
    let snapshot = configuration.load();
    let config = &snapshot.config;
    let memory = Memory::open(&config.memory, None)?;
    let extraction = match &command {
        Command::Extract { queue: false, .. } => Some(extraction::open(config)?.ok_or_else(off)?),
        _ => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::new("memory", error.to_string(), ""))?;
    runtime.block_on(act(&memory, extraction, command))?;
    Ok(())
}

async fn act(
    memory: &Memory,
    extraction: Option<Extraction>,
    command: Command,
) -> Result<(), Fault> {
    match command {
        Command::List { whose, limit } => list(memory, &whose, limit).await,
        Command::Export { whose, output } => export(memory, &whose, output).await,
        Command::Import { file, tenant } => import(memory, file, &tenant).await,
        Command::Delete { whose, all } => delete(memory, &whose, all).await,
        Command::Extract { whose, all, .. } => {
            if all || !whose.is_everything() {
                queue(memory, &whose).await?;
            }
            match extraction {
                Some(extraction) => extract(memory, &extraction).await,
                None => Ok(()),
            }
        }
        Command::Audit => audit(memory).await,
    }
}

fn off() -> Fault {
    Fault::new(
        "memory.extraction",
        "memory.extraction.enabled is false, so there is no model to ask",
        "enable it and name an upstream and a model, or add --queue",
    )
}

async fn queue(memory: &Memory, whose: &Whose) -> Result<(), Fault> {
    let selection = whose.selection();
    let of = (!whose.is_everything()).then(|| (whose.tenant(), &selection));
    let queued = memory.queue_again(of).await;
    let count = queued.map_err(|error| Fault::new("memory extract", error.to_string(), ""))?;
    eprintln!("{count} exchanges queued");
    Ok(())
}

/// Works off the queue, and says what came of it, whether or not it comes to the end.
async fn extract(memory: &Memory, extraction: &Extraction) -> Result<(), Fault> {
    let done = memory.extract_due(extraction).await;
    let stats = memory.stats();
    let exchanges = Extracted::ALL
        .map(Extracted::name)
        .into_iter()
        .zip(stats.extracted);
    let facts = Fact::ALL.map(Fact::name).into_iter().zip(stats.facts);
    let show = |(name, count): (&str, u64)| format!("{count} {name}");
    println!(
        "exchanges: {}\nfacts: {}",
        exchanges.map(show).collect::<Vec<_>>().join(", "),
        facts.map(show).collect::<Vec<_>>().join(", ")
    );
    let backlog = memory.backlog().await.map_err(of_store)?;
    if backlog.waiting > 0 {
        println!("still queued: {}", backlog.waiting);
    }
    done.map_err(|why| {
        let mend = "see to the upstream and run it again, or leave the rest to the gateway";
        Fault::new("memory.extraction.upstream", why, mend)
    })
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
