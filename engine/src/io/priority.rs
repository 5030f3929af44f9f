//! Threads that give way to everything else.

use rustix::process::{Pid, setpriority_process};

/// The lowest priority that a process has by itself (setpriority(2)).
const NICE_MAX: i32 = 19;

/// ioprio_set(2): who is meant, a thread.
const IOPRIO_WHO_PROCESS: libc::c_int = 1;
/// ioprio_set(2): the class of those that get the device when nobody else wants it.
const IOPRIO_CLASS_IDLE: libc::c_int = 3;
/// ioprio_set(2): where the class lies in the priority.
const IOPRIO_CLASS_SHIFT: libc::c_int = 13;

/// From now on the calling thread gets processor and device after everybody else, as far as the system
/// allows; what it refuses is not needed for anything to be right. Device priorities count with the
/// schedulers that know them (BFQ, mq-deadline).
pub fn lower_priority() {
    // On Linux a thread has a priority of its own, by its own number.
    let thread: Pid = rustix::thread::gettid();
    if let Err(error) = setpriority_process(Some(thread), NICE_MAX) {
        tracing::debug!(%error, "the thread keeps its processor priority");
    }
    let priority = IOPRIO_CLASS_IDLE << IOPRIO_CLASS_SHIFT;
    // SAFETY: the call takes numbers only and changes nothing but the calling thread (0).
    let outcome = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, priority) };
    if outcome != 0 {
        tracing::debug!(error = %std::io::Error::last_os_error(), "the thread keeps its device priority");
    }
}
