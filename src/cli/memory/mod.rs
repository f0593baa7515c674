//! `yychat memory list|export|import|delete|erase|extract|audit|doctor`: works on the store itself, with the
//! gateway stopped where the store is embedded.

mod doctor;
mod erase;
mod transfer;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::{one_line, print};
use crate::error::{ApiError, Fault, Faults};
use crate::memory::extraction::{self, Extraction};
use crate::memory::{Extracted, Fact, Memory, Scope, Selection};
use crate::purpose::Rules;
use crate::server;
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
        /// The first line to read, to go on where an import stopped
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        from_line: usize,
    },
    /// Deletes the records of a user or a conversation
    Delete {
        #[command(flatten)]
        whose: Whose,
        /// Deletes a whole tenant's, where neither user nor conversation is named; asks first where
        /// there is a terminal to ask on
        #[arg(long)]
        all: bool,
        /// Asks nothing
        #[arg(long)]
        yes: bool,
    },
    /// Deletes the same, or nothing more than was deleted before, and rewrites the store without it;
    /// files that were set aside as damaged are destroyed
    Erase {
        #[command(flatten)]
        whose: Whose,
        /// Erases a whole tenant's, where neither user nor conversation is named
        #[arg(long)]
        all: bool,
        /// Asks nothing
        #[arg(long)]
        yes: bool,
        /// Leaves files that were set aside as damaged, and what is in them
        #[arg(long)]
        keep_set_aside: bool,
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
    /// Lists what earlier versions stored and nobody said: errands of front ends with their answers,
    /// what templates put around the user's words, a model's thinking
    Doctor {
        #[command(flatten)]
        whose: Whose,
        /// Takes it out
        #[arg(long)]
        remove: bool,
        /// Asks nothing
        #[arg(long)]
        yes: bool,
    },
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
    // An empty list, or a backup of nothing, hides that this is not the gateway's folder.
    let open = match &command {
        Command::Import { .. } => Memory::open,
        _ => Memory::open_existing,
    };
    let memory = open(&config.memory, None)?;
    if matches!(command, Command::Delete { .. } | Command::Erase { .. }) {
        // What gateways left of it there goes too.
        memory.share(server::shared_notes(config)?);
    }
    let extraction = match &command {
        Command::Extract { queue: false, .. } => Some(extraction::open(config)?.ok_or_else(off)?),
        _ => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::new("memory", error.to_string(), ""))?;
    runtime.block_on(act(&memory, (extraction, &snapshot.purposes), command))?;
    Ok(())
}

async fn act(
    memory: &Memory,
    (extraction, rules): (Option<Extraction>, &Rules),
    command: Command,
) -> Result<(), Fault> {
    match command {
        Command::List { whose, limit } => list(memory, &whose, limit).await,
        Command::Export { whose, output } => transfer::export(memory, &whose, output).await,
        Command::Import {
            file,
            tenant,
            from_line: line,
        } => transfer::import(memory, transfer::From { file, tenant, line }).await,
        Command::Delete { whose, all, yes } => erase::delete(memory, &whose, (all, yes)).await,
        Command::Erase {
            whose,
            all,
            yes,
            keep_set_aside: set_aside,
        } => {
            let leaving = erase::Leaving {
                all,
                yes,
                set_aside,
            };
            erase::erase(memory, &whose, leaving).await
        }
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
        Command::Doctor { whose, remove, yes } => {
            doctor::doctor(memory, rules, &whose, (remove, yes)).await
        }
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
    print(&format!(
        "exchanges: {}\nfacts: {}\n",
        exchanges.map(show).collect::<Vec<_>>().join(", "),
        facts.map(show).collect::<Vec<_>>().join(", ")
    ))?;
    let backlog = memory.backlog().await.map_err(of_store)?;
    if backlog.waiting > 0 {
        print(&format!("still queued: {}\n", backlog.waiting))?;
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
    let lines = page.records.iter().map(|record| {
        let at = jiff::Timestamp::from_millisecond(record.created_at).unwrap_or_default();
        let user = record.scope.user().map_or("-", |user| user);
        let [user, role, text] = [user, &record.role, &record.text].map(one_line);
        format!("{}  {at:.0}  {user}  {role}: {text}\n", record.id)
    });
    print(&lines.collect::<String>())?;
    eprintln!("{} of {} records", page.records.len(), page.total);
    Ok(())
}

async fn audit(memory: &Memory) -> Result<(), Fault> {
    let audit = memory
        .audit()
        .await
        .map_err(|error| Fault::new("memory audit", error.to_string(), ""))?;
    print(&format!(
        "records {}\nscopes {}\ntenants {}\ntext_bytes {}\ncorrupt {}\norphans {}\nmiscounted {}\nduplicates {}\n",
        audit.records,
        audit.scopes,
        audit.tenants,
        audit.text_bytes,
        audit.corrupt,
        audit.orphans,
        audit.miscounted,
        audit.duplicates
    ))?;
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
