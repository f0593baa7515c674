//! The variables that configuration is read from: the process's own, and those of `.env`.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;

use crate::error::{Fault, Faults};
use crate::reading::Reading;

/// The file of variables in the working directory; it may be absent.
const FILE: &str = ".env";

/// The process's variables over those of `.env`, as most programs have it (YYChat let the file
/// win). Variables that are not UTF-8 are left out.
///
/// # Errors
///
/// Each line of `.env` that cannot be read, by number; its text is left out, since it may be
/// secret.
pub fn environment() -> Result<BTreeMap<String, String>, Faults> {
    let path = Path::new(FILE);
    let mut variables = match path.try_exists() {
        Ok(false) => BTreeMap::new(),
        _ => {
            let text = Reading::default().text(path);
            parse(path, &text.map_err(|unread| unread.fault(path))?)?
        }
    };
    variables.extend(
        env::vars_os()
            .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?))),
    );
    Ok(variables)
}

/// The variables of one file in the usual `.env` syntax.
pub(super) fn parse(path: &Path, text: &str) -> Result<BTreeMap<String, String>, Faults> {
    let mut variables = BTreeMap::new();
    let mut faults = Faults::default();
    for item in dotenvy::from_read_iter(text.as_bytes()) {
        match item {
            Ok((name, text)) => {
                variables.insert(name, text);
            }
            Err(error) => {
                let mut fault = Fault::new(
                    path,
                    "is not a variable",
                    "write NAME=value, in quotes where the value holds spaces",
                );
                if let dotenvy::Error::LineParse(bad, _) = &error {
                    // A quote left open makes one line of several.
                    let first = bad.lines().next().unwrap_or_default();
                    fault.line = text.lines().position(|line| line == first).map(|n| n + 1);
                }
                faults.push(fault);
            }
        }
    }
    faults.or(variables)
}
