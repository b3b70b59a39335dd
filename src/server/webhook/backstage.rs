//! Threads for work that gives way to everything else: what takes long must not keep waiting what
//! does not.

use std::io;

use rustix::process::nice;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// How much its threads give way, as of nice(1): beside another one each has a tenth of its share.
const NICENESS: i32 = 10;

/// Threads that give way. They come with the work and go with it.
pub(in crate::server) struct Backstage {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Backstage {
    /// So many threads.
    pub(in crate::server) fn new(threads: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(threads)
            .thread_name("backstage")
            // Linux gives each thread a priority of its own, and everybody may lower it.
            .on_thread_start(|| {
                let _ = nice(NICENESS);
            })
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Does something there.
    pub(in crate::server) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.handle.spawn_blocking(work)
    }
}

impl Drop for Backstage {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Nobody waits for what is still under way.
            runtime.shutdown_background();
        }
    }
}
