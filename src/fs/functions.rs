//! The functions of `std::fs`, on the pool.
#![forbid(unsafe_code)]

use std::fs::{Metadata, Permissions};
use std::io;
use std::path::{Path, PathBuf};

use crate::blocking::blocking;
use crate::wait::block_on;

/// Both faces of functions of `std` that take paths.
macro_rules! both {
    ($($(#[$doc:meta])* $name:ident, $name_async:ident($($path:ident: $param:ident),+) -> $output:ty = $std:path;)*) => {$(
        $(#[$doc])*
        ///
        /// # Blocking
        /// This coroutine; outside the scheduler, this thread. Cancelled, it *completes anyway*.
        ///
        /// # Errors
        #[doc = concat!("Those of [`", stringify!($std), "`].")]
        #[track_caller]
        pub fn $name<$($param: AsRef<Path>),+>($($path: $param),+) -> io::Result<$output> {
            block_on($name_async($($path),+))
        }

        #[doc = concat!("The future form of [`", stringify!($name), "`](", stringify!($name), "()).")]
        ///
        /// # Cancel safety
        /// Dropped once polled: *completes anyway*.
        ///
        /// # Errors
        #[doc = concat!("Those of [`", stringify!($std), "`].")]
        pub async fn $name_async<$($param: AsRef<Path>),+>($($path: $param),+) -> io::Result<$output> {
            let paths = ($(PathBuf::from($path.as_ref()),)+);
            drop(($($path,)+));
            blocking(move || {
                let ($($path,)+) = paths;
                $std($($path),+)
            })
            .await
        }
    )*};
}

both! {
    /// The bytes of a file, all of them.
    ///
    /// # Examples
    /// ```
    /// assert!(!aqueduct::fs::read("Cargo.toml")?.is_empty());
    /// # std::io::Result::Ok(())
    /// ```
    read, read_async(path: P) -> Vec<u8> = std::fs::read;
    /// The text of a file, all of it, which must be UTF-8.
    ///
    /// # Examples
    /// ```
    /// assert!(aqueduct::fs::read_to_string("Cargo.toml")?.contains("[package]"));
    /// # std::io::Result::Ok(())
    /// ```
    read_to_string, read_to_string_async(path: P) -> String = std::fs::read_to_string;
    /// What the system knows of a file; of what a symbolic link leads to.
    ///
    /// # Examples
    /// ```
    /// assert!(aqueduct::fs::metadata("src")?.is_dir());
    /// # std::io::Result::Ok(())
    /// ```
    metadata, metadata_async(path: P) -> Metadata = std::fs::metadata;
    /// What the system knows of a file; of a symbolic link itself.
    symlink_metadata, symlink_metadata_async(path: P) -> Metadata = std::fs::symlink_metadata;
    /// Whether there is something at the path.
    ///
    /// # Examples
    /// ```
    /// assert!(!aqueduct::fs::exists("no such file")?);
    /// # std::io::Result::Ok(())
    /// ```
    exists, exists_async(path: P) -> bool = std::fs::exists;
    /// The absolute path, without symbolic links.
    canonicalize, canonicalize_async(path: P) -> PathBuf = std::fs::canonicalize;
    /// Where a symbolic link leads.
    read_link, read_link_async(path: P) -> PathBuf = std::fs::read_link;
    /// Makes a folder.
    create_dir, create_dir_async(path: P) -> () = std::fs::create_dir;
    /// Makes a folder and those it is in, as far as they are missing.
    create_dir_all, create_dir_all_async(path: P) -> () = std::fs::create_dir_all;
    /// Removes a file.
    remove_file, remove_file_async(path: P) -> () = std::fs::remove_file;
    /// Removes an empty folder.
    remove_dir, remove_dir_async(path: P) -> () = std::fs::remove_dir;
    /// Removes a folder with all that is in it. Symbolic links are not followed.
    remove_dir_all, remove_dir_all_async(path: P) -> () = std::fs::remove_dir_all;
    /// Gives a file another name; one that has this name already is replaced.
    rename, rename_async(from: P, to: Q) -> () = std::fs::rename;
    /// Copies a file with its permissions. Returns its length in bytes.
    copy, copy_async(from: P, to: Q) -> u64 = std::fs::copy;
    /// Gives a file one more name.
    hard_link, hard_link_async(original: P, link: Q) -> () = std::fs::hard_link;
    /// Makes a symbolic link.
    symlink, symlink_async(original: P, link: Q) -> () = std::os::unix::fs::symlink;
}

/// Makes a file of these bytes; what was at the path before is replaced.
///
/// # Blocking
/// This coroutine; outside the scheduler, this thread. Cancelled, it *completes anyway*.
///
/// # Errors
/// Those of [`std::fs::write`].
#[track_caller]
pub fn write<P: AsRef<Path>, C: AsRef<[u8]>>(path: P, contents: C) -> io::Result<()> {
    block_on(write_async(path, contents))
}

/// The future form of [`write`](write()).
///
/// # Cancel safety
/// Dropped once polled: *completes anyway*.
///
/// # Errors
/// Those of [`std::fs::write`].
pub async fn write_async<P: AsRef<Path>, C: AsRef<[u8]>>(path: P, contents: C) -> io::Result<()> {
    let (path_buf, bytes) = (path.as_ref().to_path_buf(), contents.as_ref().to_vec());
    drop((path, contents));
    blocking(move || std::fs::write(path_buf, bytes)).await
}

/// Sets who may do what with a file.
///
/// # Blocking
/// This coroutine; outside the scheduler, this thread. Cancelled, it *completes anyway*.
///
/// # Errors
/// Those of [`std::fs::set_permissions`].
#[track_caller]
pub fn set_permissions<P: AsRef<Path>>(path: P, permissions: Permissions) -> io::Result<()> {
    block_on(set_permissions_async(path, permissions))
}

/// The future form of [`set_permissions`].
///
/// # Cancel safety
/// Dropped once polled: *completes anyway*.
///
/// # Errors
/// Those of [`std::fs::set_permissions`].
pub async fn set_permissions_async<P: AsRef<Path>>(path: P, permissions: Permissions) -> io::Result<()> {
    let path_buf = path.as_ref().to_path_buf();
    drop(path);
    blocking(move || std::fs::set_permissions(path_buf, permissions)).await
}
