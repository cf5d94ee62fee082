//! Files in both worlds: the functions, opening, reading, writing, seeking, and what is given up on the way.

mod common;
mod net_common;

use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use aqueduct::fs::{self, File, OpenOptions};
use aqueduct::{Wait, go};
use common::child::Child;
use common::life::Style;
use common::party::PARTIES;
use futures::{
    AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, FutureExt, StreamExt, TryStreamExt,
};
use net_common::{everywhere, pattern};

/// A folder of its own; removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("aqueduct-fs-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The same call in either style.
macro_rules! call {
    ($style:expr, $go:ident, $async:ident($($arg:expr),*)) => {
        match $style {
            Style::Go => fs::$go($($arg),*),
            Style::Async => fs::$async($($arg),*).await,
        }
    };
}

#[test]
fn the_functions_in_every_world() {
    let _dog = common::watchdog!(60);
    for party in PARTIES {
        let folder = Folder::new();
        let at = |name: &str| folder.at(name);
        let (deep, one, two) = (at("a/b/c"), at("one"), at("two"));
        let (link, soft, gone, top) = (at("link"), at("soft"), at("gone"), at("a"));
        let life = party.live(move |style| async move {
            call!(style, create_dir_all, create_dir_all_async(&deep)).unwrap();
            call!(style, write, write_async(&one, "text")).unwrap();
            assert_eq!(call!(style, read, read_async(&one)).unwrap(), b"text");
            assert_eq!(call!(style, copy, copy_async(&one, &two)).unwrap(), 4);
            call!(style, rename, rename_async(&two, &gone)).unwrap();
            assert!(!call!(style, exists, exists_async(&two)).unwrap());
            assert!(call!(style, exists, exists_async(&gone)).unwrap());
            call!(style, hard_link, hard_link_async(&one, &link)).unwrap();
            call!(style, symlink, symlink_async(&one, &soft)).unwrap();
            assert_eq!(call!(style, read_link, read_link_async(&soft)).unwrap(), one);
            let real = call!(style, canonicalize, canonicalize_async(&soft)).unwrap();
            assert!(real.ends_with("one"));
            assert!(call!(style, symlink_metadata, symlink_metadata_async(&soft)).unwrap().is_symlink());
            let metadata = call!(style, metadata, metadata_async(&soft)).unwrap();
            assert_eq!(metadata.len(), 4);
            let mut permissions = metadata.permissions();
            permissions.set_readonly(true);
            call!(style, set_permissions, set_permissions_async(&one, permissions)).unwrap();
            assert!(call!(style, metadata, metadata_async(&one)).unwrap().permissions().readonly());
            call!(style, remove_file, remove_file_async(&gone)).unwrap();
            call!(style, remove_dir, remove_dir_async(&deep)).unwrap();
            call!(style, create_dir, create_dir_async(&deep)).unwrap();
            call!(style, remove_dir_all, remove_dir_all_async(&top)).unwrap();
            let error = call!(style, read_to_string, read_to_string_async(&gone)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert_eq!(call!(style, read_to_string, read_to_string_async(&link)).unwrap(), "text");
        });
        life.join();
    }
}

#[test]
fn a_folder_of_many_files_is_iterated_and_streamed() {
    everywhere(|| {
        let folder = Folder::new();
        for i in 0..1_000 {
            std::fs::write(folder.at(&i.to_string()), []).unwrap();
        }
        let names = |entries: Vec<std::io::Result<fs::DirEntry>>| {
            let mut names: Vec<u32> = entries
                .into_iter()
                .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
                .collect();
            names.sort_unstable();
            names
        };
        let expected: Vec<u32> = (0..1_000).collect();
        assert_eq!(names(Iterator::collect(fs::read_dir(&folder.0).unwrap())), expected);
        let stream = async { fs::read_dir_async(&folder.0).await.unwrap().collect::<Vec<_>>().await };
        assert_eq!(names(stream.wait()), expected);

        // A step given up: nothing is missing.
        let mut dir = fs::read_dir_async(&folder.0).wait().unwrap();
        let first = dir.next().now_or_never().flatten();
        let rest: Vec<_> = dir.collect().wait();
        assert_eq!(names(first.into_iter().chain(rest).collect()), expected);
        assert_eq!(fs::read_dir(folder.at("none")).unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn files_are_written_sought_and_read_in_every_world() {
    let _dog = common::watchdog!(60);
    for party in PARTIES {
        let folder = Folder::new();
        let path = folder.at("file");
        let life = party.live(move |style| async move {
            let (bytes, mut read) = (pattern(2_000_000, 3), Vec::new());
            match style {
                Style::Go => {
                    let mut options = OpenOptions::new();
                    let mut file = options.read(true).write(true).create_new(true).open(&path).unwrap();
                    Write::write_all(&mut file, &bytes).unwrap();
                    assert_eq!(Seek::seek(&mut file, SeekFrom::Current(0)).unwrap(), 2_000_000);
                    Seek::rewind(&mut file).unwrap();
                    Read::read_to_end(&mut file, &mut read).unwrap();
                    file.sync_all().unwrap();
                    file.set_len(10).unwrap();
                    assert_eq!(file.metadata().unwrap().len(), 10);
                }
                Style::Async => {
                    let mut file = File::create_async(&path).await.unwrap();
                    AsyncWriteExt::write_all(&mut file, &bytes).await.unwrap();
                    AsyncWriteExt::close(&mut file).await.unwrap();
                    let mut file = File::open_async(&path).await.unwrap();
                    AsyncReadExt::read_to_end(&mut file, &mut read).await.unwrap();
                    AsyncSeekExt::seek(&mut file, SeekFrom::End(-5)).await.unwrap();
                    assert_eq!(AsyncReadExt::read(&mut file, &mut [0; 100]).await.unwrap(), 5);
                    file.sync_data_async().await.unwrap();
                }
            }
            assert!(read == bytes);
        });
        life.join();
    }
}

#[test]
fn lines_come_through_the_usual_buffered_readers() {
    everywhere(|| {
        let go: Vec<_> =
            BufReader::new(File::open("Cargo.toml").unwrap()).lines().map(Result::unwrap).collect();
        let future = async {
            let file = File::open_async("Cargo.toml").await.unwrap();
            futures::io::BufReader::new(file).lines().try_collect::<Vec<_>>().await.unwrap()
        };
        assert_eq!(go, future.wait());
        assert!(go.iter().any(|line| line == "[package]"));
    });
}

/// Runs `body` where the pool has one thread only, so that `begin_and_give_up` can hold it.
fn with_one_pool_thread(test: &'static str, body: fn()) {
    Child::new(test).with("BLOCKING_MAX_THREADS", "1").run("", || everywhere(body)).well();
}

/// Polls a future, so that what it does is on its way, and drops it before that can be done.
fn begin_and_give_up(future: impl Future) {
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let held = aqueduct::blocking(move || gate.recv());
    assert!(future.now_or_never().is_none(), "the pool's only thread is held");
    drop(open);
    held.wait().unwrap_err();
}

#[test]
fn what_a_given_up_read_has_read_is_the_next_reads() {
    with_one_pool_thread(common::test_path!(), || {
        let folder = Folder::new();
        let path = folder.at("file");
        fs::write(&path, "0123456789").unwrap();
        let mut file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut buffer = [0; 4];
        begin_and_give_up(AsyncReadExt::read(&mut file, &mut [0; 6]));
        assert_eq!(Read::read(&mut file, &mut buffer).unwrap(), 4);
        assert_eq!(&buffer, b"0123");
        // Two are held: positions count from before them.
        assert_eq!(Seek::stream_position(&mut file).unwrap(), 4);
        assert_eq!(Read::read(&mut file, &mut buffer).unwrap(), 4);
        assert_eq!(&buffer, b"4567");

        Seek::rewind(&mut file).unwrap();
        begin_and_give_up(AsyncReadExt::read(&mut file, &mut [0; 6]));
        assert_eq!(Read::read(&mut file, &mut buffer[..1]).unwrap(), 1);
        Write::write_all(&mut file, b"x").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"0x23456789");
        begin_and_give_up(AsyncReadExt::read(&mut file, &mut [0; 6]));
        let mut std = file.into_std().unwrap();
        assert_eq!(std.stream_position().unwrap(), 2);
    });
}

#[test]
fn a_given_up_write_is_written_once_and_in_order() {
    with_one_pool_thread(common::test_path!(), || {
        let folder = Folder::new();
        let path = folder.at("file");
        let mut file = File::create(&path).unwrap();
        begin_and_give_up(AsyncWriteExt::write(&mut file, b"one "));
        Write::write_all(&mut file, b"two ").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one two ");
        // The same again, and the same with more: as a buffering writer does.
        begin_and_give_up(AsyncWriteExt::write(&mut file, b"three "));
        Write::write_all(&mut file, b"three ").unwrap();
        begin_and_give_up(AsyncWriteExt::write(&mut file, b"four "));
        Write::write_all(&mut file, b"four five").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one two three four five");
        begin_and_give_up(AsyncWriteExt::write(&mut file, b"!"));
        Write::flush(&mut file).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one two three four five!");
        // Dropped meanwhile: written all the same.
        begin_and_give_up(AsyncWriteExt::write(&mut file, b"!"));
        drop(file);
        common::until(|| std::fs::read(&path).unwrap().ends_with(b"!!"));
    });
}

#[test]
fn a_buffered_writer_given_up_at_random_loses_and_doubles_nothing() {
    let _dog = common::watchdog!(60);
    let mut rng = common::Rng::new("a_buffered_writer_given_up_at_random_loses_and_doubles_nothing");
    let folder = Folder::new();
    let path = folder.at("file");
    let mut writer = futures::io::BufWriter::with_capacity(64, File::create(&path).unwrap());
    let mut expected = Vec::new();
    async {
        for i in 0..2_000_u32 {
            let line = format!("{i}\n");
            // A `write_all` of what fits is taken whole or not at all, so giving it up is seen by its being pending.
            let fits = writer.buffer().len() + line.len() <= 64;
            if !fits {
                while AsyncWriteExt::flush(&mut writer).now_or_never().is_none() {
                    if rng.one_in(3) {
                        AsyncWriteExt::flush(&mut writer).await.unwrap();
                    }
                }
            }
            AsyncWriteExt::write_all(&mut writer, line.as_bytes()).await.unwrap();
            expected.extend_from_slice(line.as_bytes());
            if rng.one_in(4) {
                // Given up after it has begun; more is put into the buffer then.
                drop(AsyncWriteExt::flush(&mut writer).now_or_never());
            }
        }
        AsyncWriteExt::close(&mut writer).await.unwrap();
    }
    .wait();
    assert!(std::fs::read(&path).unwrap() == expected);
}

#[test]
fn a_cancelled_coroutine_leaves_a_whole_file() {
    let _dog = common::watchdog!(30);
    aqueduct::run(|| {
        let folder = Folder::new();
        for i in 0..50 {
            let path = folder.at(&i.to_string());
            let task = go({
                let path = path.clone();
                move || fs::write(path, vec![7; 300_000])
            });
            if i % 2 == 0 {
                aqueduct::yield_now();
            }
            task.cancel();
            let _ = task.join();
            // Once begun, it is written to its end.
            common::until(|| std::fs::metadata(&path).map_or(true, |file| file.len() == 300_000));
        }
    });
}

#[test]
fn errors_are_those_of_the_operation_and_the_file_goes_on() {
    with_one_pool_thread(common::test_path!(), || {
        let folder = Folder::new();
        let path = folder.at("file");
        fs::write(&path, "abc").unwrap();
        let mut file = File::open(&path).unwrap();
        assert!(Write::write(&mut file, b"x").is_err(), "it is open for reading");
        assert_eq!(Seek::seek(&mut file, SeekFrom::Current(-1)).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(Read::read(&mut file, &mut [0; 8]).unwrap(), 3);
        assert_eq!(Read::read(&mut file, &mut [0; 8]).unwrap(), 0);
        assert_eq!(Read::read(&mut file, &mut []).unwrap(), 0);
        // The error of a write that was given up is told to whoever comes next.
        begin_and_give_up(AsyncWriteExt::write(&mut file, b"x"));
        assert!(Write::flush(&mut file).is_err());
        Write::flush(&mut file).unwrap();
        assert!(File::open(folder.at("none")).is_err());
        let mut full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert_eq!(Write::write_all(&mut full, b"x").unwrap_err().kind(), ErrorKind::StorageFull);
    });
}

#[test]
fn to_std_and_back() {
    everywhere(|| {
        let mut file = File::from(std::fs::File::open("Cargo.toml").unwrap());
        let mut head = [0; 11];
        Read::read_exact(&mut file, &mut head).unwrap();
        let mut std = std::fs::File::try_from(file).unwrap();
        assert_eq!(&head, b"[workspace]");
        assert_eq!(std.stream_position().unwrap(), 11);
    });
}

#[test]
fn no_worker_waits_for_a_file() {
    // A FIFO is a file that opens when its other end does: on a worker, nothing else would run.
    let _dog = common::watchdog!(30);
    let folder = Folder::new();
    let path = folder.at("fifo");
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: a string that ends in a zero.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let runtime = common::runtime(1);
    let reading = runtime.handle().go({
        let path = path.clone();
        move || fs::read_to_string(path).unwrap()
    });
    common::until_waiting(runtime.handle(), reading.id());
    let other = runtime.handle().go(move || fs::write(path, "through").unwrap());
    other.join().unwrap();
    assert_eq!(reading.join().unwrap(), "through");
}

#[test]
fn no_descriptor_is_left() {
    common::child::alone(common::test_path!(), || {
        let once = || {
            let mut file = File::open("Cargo.toml").unwrap();
            Read::read_to_end(&mut file, &mut Vec::new()).unwrap();
            Iterator::for_each(fs::read_dir("src").unwrap(), drop);
            drop(File::open_async("Cargo.toml").now_or_never());
        };
        once();
        let settled = || {
            // What was given up closes a moment later.
            aqueduct::time::sleep(std::time::Duration::from_millis(100));
            common::proc::descriptors()
        };
        let before = settled();
        (0..50).for_each(|_| once());
        common::until(|| settled() <= before);
    });
}
