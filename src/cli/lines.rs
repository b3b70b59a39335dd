//! Output that never blocks: lines go to a stream through a queue and a thread of its own. If the
//! stream stalls, is slow or is full, lines are lost and counted, and nothing else happens.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tracing_subscriber::fmt::MakeWriter;

/// How much may wait to be written, in bytes.
const MOST_QUEUED: usize = 4 << 20;
/// How much is written by one call, in bytes, unless a single line is longer.
const AT_ONCE: usize = 64 << 10;
/// How long lines gather after a write, so that the writing thread is not woken, nor the stream
/// written to, for each line.
const GATHERING: Duration = Duration::from_millis(5);
/// How long the end of the process waits for what is queued.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A stream that lines are written to, by whichever thread. Each write is one line.
#[derive(Clone)]
pub(super) struct Lines {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    written: Condvar,
    lost: Counter,
}

#[derive(Default)]
struct Queue {
    /// The lines that the writing thread has yet to take.
    text: Vec<u8>,
    /// How much was ever queued, in bytes, and how much of that is over.
    accepted: usize,
    done: usize,
}

impl Lines {
    /// Writes to a stream, for as long as the process lives.
    pub(super) fn to(stream: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("lines".to_owned());
        thread.spawn(move || write_out(&of_thread, stream))?;
        Ok(Self { shared })
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
        let queue = self.shared.queue();
        let end = queue.accepted;
        let is_unwritten = |queue: &mut Queue| queue.done < end;
        let _ = self.shared.written.wait_timeout_while(queue, LAST_WORDS, is_unwritten);
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
        let mut queue = self.shared.queue();
        if queue.accepted - queue.done + line.len() > MOST_QUEUED {
            drop(queue);
            self.shared.lost.inc();
            return Ok(line.len());
        }
        let is_first = queue.text.is_empty();
        queue.text.extend_from_slice(line);
        queue.accepted += line.len();
        drop(queue);
        if is_first {
            self.shared.filled.notify_one();
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

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all lines that wait, once there are some, in exchange for an empty buffer.
    fn take(&self, text: &mut Vec<u8>) {
        text.clear();
        text.shrink_to(AT_ONCE);
        let queue = self.filled.wait_while(self.queue(), |queue| queue.text.is_empty());
        std::mem::swap(&mut queue.unwrap_or_else(PoisonError::into_inner).text, text);
    }
}

fn write_out(shared: &Shared, mut stream: impl Write) {
    let (mut text, mut reported) = (Vec::new(), 0);
    loop {
        shared.take(&mut text);
        let mut rest = text.as_slice();
        while !rest.is_empty() {
            let lines = rest.split_off(..first_lines(rest)).unwrap_or_default();
            if stream.write_all(lines).and_then(|()| stream.flush()).is_err() {
                let lines = lines.split_inclusive(|byte| *byte == b'\n').count();
                shared.lost.inc_by(u64::try_from(lines).unwrap_or(u64::MAX));
            }
            shared.queue().done += lines.len();
            shared.written.notify_all();
        }
        let lost = shared.lost.get();
        if lost > reported {
            tracing::warn!(lines = lost - reported, "log lines were lost");
            reported = lost;
        }
        thread::sleep(GATHERING);
    }
}

/// The length of the first lines of a text, to write at once.
fn first_lines(text: &[u8]) -> usize {
    let end = |byte: &u8| *byte == b'\n';
    let most = &text[..text.len().min(AT_ONCE)];
    let last = most.iter().rposition(end).or_else(|| text.iter().position(end));
    last.map_or(text.len(), |at| at + 1)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

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
        let line = [[b'x'; 999].as_slice(), b"\n"].concat();
        let fitting = MOST_QUEUED / line.len();
        for _ in 0..3 * fitting {
            writer.write_all(&line).unwrap();
        }
        assert_eq!(lines.lost().get(), 2 * fitting as u64);
        let queued = || {
            let queue = lines.shared.queue();
            queue.accepted - queue.done
        };
        assert!(queued() <= MOST_QUEUED);
        // The process waits for it for a limited time only.
        lines.finish();
        // Every line that had room is written once the stream continues.
        for _ in 0..=fitting {
            permit.send(()).unwrap();
        }
        lines.finish();
        assert_eq!(written.try_iter().map(|text| text.len()).sum::<usize>(), fitting * line.len());
        assert_eq!(queued(), 0);
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
