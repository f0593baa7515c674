//! `yychat memory delete` and `erase`: what is gone for everybody, and what is gone from the disk.

use std::io::{self, IsTerminal, Write};

use super::{Whose, of_store};
use crate::error::Fault;
use crate::memory::{Memory, Selection};

/// Deletes what is named.
pub async fn delete(memory: &Memory, whose: &Whose, (all, yes): (bool, bool)) -> Result<(), Fault> {
    let selection = whose.selection();
    if selection == Selection::All {
        if !all {
            return Err(Fault::new(
                "command line",
                "memory delete names neither a user nor a conversation",
                "add --user or --conversation, or --all for a whole tenant",
            ));
        }
        let page = memory.list(whose.tenant(), &selection, None, 1).await;
        let total = page.map_err(of_store)?.total;
        let question = format!("Delete all {total} records of tenant {}?", whose.tenant());
        sure(&question, yes)?;
    }
    remove(memory, whose, selection).await
}

async fn remove(memory: &Memory, whose: &Whose, selection: Selection) -> Result<(), Fault> {
    let erased = memory.erase(whose.tenant(), selection).await;
    eprintln!("{} records deleted", erased.map_err(of_store)?.records);
    Ok(())
}

/// What `erase` may leave.
pub struct Leaving {
    pub all: bool,
    pub yes: bool,
    pub set_aside: bool,
}

/// Deletes what is named, if anything is, and then rewrites the store and destroys what was set
/// aside, so that nothing deleted is left on the disk.
pub async fn erase(memory: &Memory, whose: &Whose, leaving: Leaving) -> Result<(), Fault> {
    let set_aside = match leaving.set_aside {
        true => Vec::new(),
        false => memory.set_aside(),
    };
    let what = match (whose.selection(), leaving.all) {
        (Selection::All, true) => format!("all records of tenant {}", whose.tenant()),
        (Selection::All, false) => "what was deleted before".to_owned(),
        (Selection::Scope(_), _) => "the user's records".to_owned(),
        (Selection::Conversation { .. }, _) => "the conversation's records".to_owned(),
    };
    for file in &set_aside {
        eprintln!("damaged file, set aside: {}", file.display());
    }
    let with = match set_aside.len() {
        0 => String::new(),
        1 => ", and destroy that file with all that is in it".to_owned(),
        count => format!(", and destroy these {count} files with all that is in them"),
    };
    sure(
        &format!("Erase {what} from the store's disk{with}?"),
        leaving.yes,
    )?;
    let selection = whose.selection();
    if selection != Selection::All || leaving.all {
        remove(memory, whose, selection).await?;
    }
    let failed = |error: crate::memory::StoreError| {
        let mend = "mend that and run it again: what was deleted stays deleted";
        Fault::new("memory erase", error.to_string(), mend)
    };
    memory.scrub().await.map_err(failed)?;
    eprintln!("store rewritten");
    for file in &set_aside {
        memory.destroy(file).await.map_err(failed)?;
        eprintln!("{} destroyed", file.display());
    }
    Ok(())
}

/// Asks, where somebody is there to be asked.
pub fn sure(question: &str, yes: bool) -> Result<(), Fault> {
    if yes || !io::stdin().is_terminal() {
        return Ok(());
    }
    eprint!("{question} [y/N] ");
    // Whoever cannot be asked does not answer either.
    let _ = io::stderr().flush();
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    match read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
        true => Ok(()),
        false => Err(Fault::new(
            "command line",
            "not confirmed: nothing was done",
            "answer y, or add --yes",
        )),
    }
}
