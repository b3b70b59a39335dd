//! Output that never blocks: lines go to a stream through a queue and a thread of its own. If the
//! stream stalls, is slow or is full, lines are lost and counted, and nothing else happens.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tracing_subscriber::fmt::MakeWriter;

/// How much may wait to be written, in bytes.
const MOST_QUEUED: usize = 4 << 20;
/// What a line in the queue takes besides its text, in bytes.
const OF_A_LINE: usize = 64;
/// How much is written by one call where so much waits, in bytes.
const AT_ONCE: usize = 64 << 10;
/// How long lines gather after a write, so that the writing thread is not woken, nor the stream
/// written to, for each line.
const GATHERING: Duration = Duration::from_millis(5);
/// How long the end of the process waits for what is queued.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A stream that lines are written to, by whichever thread. Each write is one line.
#[derive(Clone)]
pub(super) struct Lines {
    queue: Sender<Message>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// What waits to be written, in bytes.
    queued: AtomicUsize,
    lost: Counter,
}

enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

impl Lines {
    /// Begins to write to a stream.
    pub(super) fn to(stream: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, lines) = channel();
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        thread::Builder::new()
            .name("lines".to_owned())
            .spawn(move || write_out(&lines, stream, &of_thread))?;
        Ok(Self { queue, shared })
    }

    /// Counts the lines that were not written: there was no room for them, or the stream has failed.
    pub(super) fn lost(&self) -> Counter {
        self.shared.lost.clone()
    }

    /// Writes a text for people, and ignores errors.
    pub(super) fn print(&self, text: &str) {
        let mut lines = self;
        let _ = lines.write(text.as_bytes());
    }

    /// Returns once all lines so far are written, or a stream that takes none was waited for long
    /// enough.
    fn finish(&self) {
        let (written, all_written) = sync_channel(1);
        if self.queue.send(Message::Flush(written)).is_ok() {
            let _ = all_written.recv_timeout(LAST_WORDS);
        }
    }
}

/// Lines of which the last ones are waited for, for a moment, when it is dropped.
pub(super) struct ToTheLast(pub(super) Lines);

impl Drop for ToTheLast {
    fn drop(&mut self) {
        self.0.finish();
    }
}

impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let room = line.len() + OF_A_LINE;
        let queued = self.shared.queued.fetch_add(room, Ordering::Relaxed);
        let has_room = queued + room <= MOST_QUEUED;
        if !has_room || self.queue.send(Message::Line(line.to_vec())).is_err() {
            self.shared.queued.fetch_sub(room, Ordering::Relaxed);
            self.shared.lost.inc();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

fn write_out(queue: &Receiver<Message>, mut stream: impl Write, shared: &Shared) {
    let (mut next, mut told) = (None, 0);
    while let Some(message) = next.take().or_else(|| queue.recv().ok()) {
        let mut text = match message {
            Message::Line(line) => line,
            Message::Flush(written) => {
                let _ = written.send(());
                continue;
            }
        };
        let mut lines = 1;
        while text.len() < AT_ONCE {
            match queue.try_recv() {
                Ok(Message::Line(line)) => {
                    text.extend(line);
                    lines += 1;
                }
                other => {
                    next = other.ok();
                    break;
                }
            }
        }
        let written = stream.write_all(&text).and_then(|()| stream.flush());
        shared.queued.fetch_sub(text.len() + lines * OF_A_LINE, Ordering::Relaxed);
        if written.is_err() {
            shared.lost.inc_by(u64::try_from(lines).unwrap_or(u64::MAX));
            continue;
        }
        let lost = shared.lost.get();
        if lost > told {
            tracing::warn!(lines = lost - told, "log lines were lost");
            told = lost;
        }
        if next.is_none() && text.len() < AT_ONCE {
            thread::sleep(GATHERING);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that takes a line for each word of permission.
    struct Permitted(Receiver<()>, Sender<Vec<u8>>);

    impl Write for Permitted {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.send(text.to_owned()).map_err(io::Error::other)?;
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stalled_stream_costs_lines_and_a_bounded_memory() {
        let (permit, permitted) = channel();
        let (sent, written) = channel();
        let lines = Lines::to(Permitted(permitted, sent)).unwrap();
        let mut writer = &lines;
        let line = [b'x'; 1000];
        let fitting = MOST_QUEUED / (line.len() + OF_A_LINE);
        for _ in 0..3 * fitting {
            writer.write_all(&line).unwrap();
        }
        assert_eq!(lines.lost().get(), 2 * fitting as u64);
        assert!(lines.shared.queued.load(Ordering::Relaxed) <= MOST_QUEUED);
        // The process waits for it for a limited time only.
        lines.finish();
        // Every line that had room is written once the stream continues.
        for _ in 0..=fitting {
            permit.send(()).unwrap();
        }
        lines.finish();
        assert_eq!(written.try_iter().map(|text| text.len()).sum::<usize>(), fitting * line.len());
        assert_eq!(lines.shared.queued.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn lines_that_a_stream_rejects_are_counted() {
        struct Full;

        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let lines = Lines::to(Full).unwrap();
        let mut writer = &lines;
        for _ in 0..100 {
            writer.write_all(b"a line\n").unwrap();
        }
        lines.finish();
        assert_eq!(lines.lost().get(), 100);
    }
}
