//! The store's file and its folder: what may be opened, and what is put out of the way.

use std::ffi::OsString;
use std::fs::{File, FileType, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::failure::{ELSEWHERE, Failure, OTHER_VERSION};

/// Name of the file within `memory.path`.
pub const FILE: &str = "memory.redb";

/// What a redb file begins with, and where it tells its page size and the versions of its two
/// commits. Layout: redb 4.6, `tree_store/page_store/header.rs`.
const MAGIC: [u8; 9] = *b"redb\x1A\x0A\xA9\x0D\x0A";
const PAGE_SIZE_AT: usize = 12;
const PAGE_SIZE: [u8; 4] = 4096u32.to_le_bytes();
const VERSIONS_AT: [usize; 2] = [64, 192];
const VERSION: u8 = 3;
const HEAD: usize = 320;

/// Wrong bits of the magic number from which a file is not taken for one of ours.
const FLIPPED: u32 = 9;

/// A file that is open, and which it is.
pub struct Opened {
    pub file: File,
    pub identity: Identity,
}

/// Device and inode.
pub type Identity = (u64, u64);

/// Opens the file, or begins it.
pub fn open(path: &Path) -> Result<Opened, Failure> {
    match std::fs::metadata(path) {
        // To open a pipe could wait for ever.
        Ok(metadata) if !metadata.is_file() => return Err(no_file(metadata.file_type())),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    let identity = identity(&file.metadata()?);
    Ok(Opened { file, identity })
}

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

fn no_file(is: FileType) -> Failure {
    let is = if is.is_dir() {
        "a folder"
    } else if is.is_fifo() {
        "a pipe"
    } else if is.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Failure::Foreign {
        what: format!("it is {is} and no file"),
        mend: "move it away, or name another folder as memory.path",
    }
}

/// Looks at a file's head before redb does, which would take one of another kind or version for
/// a damaged one. Whether the file is still empty.
///
/// # Errors
///
/// [`Failure::Foreign`] for what is no file of this redb's, and [`Failure::Damaged`] for what was
/// one by all signs and cannot be read.
pub fn look(file: &File) -> Result<bool, Failure> {
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(true);
    }
    let mut head = vec![0; usize::try_from(length).unwrap_or(HEAD).min(HEAD)];
    file.read_exact_at(&mut head, 0)?;
    let wrong = head
        .iter()
        .zip(MAGIC)
        .map(|(is, ought)| (is ^ ought).count_ones());
    let wrong = wrong.sum::<u32>();
    if wrong > 0 || head.len() < MAGIC.len() {
        let nearly = wrong == 0 || (wrong < FLIPPED && head.len() >= MAGIC.len());
        return Err(if nearly || is_laid_out(&head) {
            Failure::Damaged("the first bytes of the file are damaged".into())
        } else if holds_nothing(file, length)? {
            // What a cut of the power may leave of a file that was just begun.
            Failure::Damaged("the file holds nothing but zeros".into())
        } else {
            let begins = head[..head.len().min(16)].escape_ascii();
            Failure::Foreign {
                what: format!("it is no store of yychat's: it begins with \"{begins}\""),
                mend: "move it away, or name another folder as memory.path",
            }
        });
    }
    match VERSIONS_AT.map(|at| head.get(at).copied().unwrap_or(VERSION)) {
        [VERSION, VERSION] => Ok(false),
        [VERSION, other] | [other, _] => Err(Failure::Foreign {
            what: format!(
                "it has version {other} of redb's format, and this yychat reads {VERSION}"
            ),
            mend: OTHER_VERSION,
        }),
    }
}

/// Whether the rest of the head is as redb has it.
fn is_laid_out(head: &[u8]) -> bool {
    head.get(PAGE_SIZE_AT..PAGE_SIZE_AT + PAGE_SIZE.len()) == Some(&PAGE_SIZE)
        && VERSIONS_AT.iter().all(|at| head.get(*at) == Some(&VERSION))
}

fn holds_nothing(file: &File, length: u64) -> io::Result<bool> {
    let mut part = vec![0; 1 << 16];
    let mut at = 0;
    while at < length {
        let read = file.read_at(&mut part, at)?;
        if read == 0 {
            break;
        }
        if part[..read].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += read as u64;
    }
    Ok(true)
}

/// Gives the file another name, under which it stays until somebody looks at it.
///
/// # Errors
///
/// [`Failure::InUse`] where the path leads to another file by now, or another process has this
/// one.
pub fn set_aside(path: &Path, damaged: Identity) -> Result<PathBuf, Failure> {
    let file = File::open(path)?;
    if identity(&file.metadata()?) != damaged {
        return Err(Failure::InUse(ELSEWHERE));
    }
    // As redb locks it. Whoever waits to open it is told so, and finds another file next time.
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Failure::InUse(ELSEWHERE)),
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%S%.3f").to_string();
    let names = (0..).map(|n: u32| match n {
        0 => beside(path, &time),
        n => beside(path, &format!("{time}-{n}")),
    });
    let mut free = names.filter(|name| !name.exists());
    let aside = free.next().unwrap_or_else(|| beside(path, &time));
    std::fs::rename(path, &aside)?;
    sync_folder(path.parent().unwrap_or(path))?;
    Ok(aside)
}

fn beside(path: &Path, mark: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".corrupt-{mark}"));
    name.into()
}

/// Makes a folder, and those above it that are missing, so that a cut of the power does not take
/// them back.
pub fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = match path.parent() {
        Some(above) if above.as_os_str().is_empty() => Path::new("."),
        Some(above) => above,
        None => path,
    };
    make_folder(above)?;
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made?,
    }
    sync_folder(above)
}

/// Has the names in a folder outlive a cut of the power.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // Not every file system can.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::InvalidInput | ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        synced => synced,
    }
}
