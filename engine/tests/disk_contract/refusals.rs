//! What happens where the kernel, the file system or a sandbox refuses something. Each test runs
//! again in a child process that first puts a system call filter on itself.

use super::*;

/// Set in the child processes.
const CHILD: &str = "ORLOP_TEST_REFUSALS";

/// One refused system call: its number, bits of an argument that make it refused (`None`:
/// always), and the answer.
struct Refused(libc::c_long, Option<(u32, i32)>, i32);

#[cfg(feature = "ring")]
#[tokio::test]
async fn auto_uses_threads_without_io_uring() {
    if !is_child("refusals::auto_uses_threads_without_io_uring") {
        return;
    }
    refuse(&[Refused(libc::SYS_io_uring_setup, None, libc::EPERM)]);
    let root = tempfile::tempdir().expect("a temporary directory");
    let forced = open_disk(root.path(), Backend::Ring).map(drop).expect_err("io_uring is refused");
    assert_eq!(forced.raw_os_error(), Some(libc::EPERM));
    let opened = open_disk(root.path(), Backend::Auto).expect("a disk opens");
    assert_eq!(opened.backend, Backend::Threads);
    let note = opened.note.expect("the reason is told");
    assert!(note.contains("os error 1") && note.contains("kernel.io_uring_disabled is "), "{note}");
    let fixture = Fixture { disk: opened.disk, pool: Pool::new(POOL_BYTES), root: Some(root) };
    contract::linked_file_reads_back(fixture).await;
}

#[cfg(feature = "ring")]
#[tokio::test]
async fn auto_does_not_hide_a_broken_device() {
    if !is_child("refusals::auto_does_not_hide_a_broken_device") {
        return;
    }
    refuse(&[Refused(libc::SYS_io_uring_setup, None, libc::EIO)]);
    let root = tempfile::tempdir().expect("a temporary directory");
    let error = open_disk(root.path(), Backend::Auto).map(drop).expect_err("not a refusal");
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
}

/// No openat2, no unnamed files, no direct writes, no link without /proc, no allocation and
/// no reading of the page cache alone.
#[tokio::test]
async fn everything_works_on_an_old_system() {
    if !is_child("refusals::everything_works_on_an_old_system") {
        return;
    }
    refuse(&[
        Refused(libc::SYS_openat2, None, libc::ENOSYS),
        // O_TMPFILE includes O_DIRECTORY, which is no reason to refuse.
        Refused(libc::SYS_openat, Some((2, libc::O_TMPFILE & !libc::O_DIRECTORY)), libc::EOPNOTSUPP),
        Refused(libc::SYS_openat, Some((2, libc::O_DIRECT)), libc::EINVAL),
        Refused(libc::SYS_linkat, Some((4, libc::AT_EMPTY_PATH)), libc::ENOENT),
        Refused(libc::SYS_fallocate, None, libc::EOPNOTSUPP),
        Refused(libc::SYS_preadv2, None, libc::ENOSYS),
    ]);
    temporary_names_go_away().await;
    contract::linked_file_reads_back(Fixture::real(Backend::Threads)).await;
    contract::linking_over_a_name_changes_nothing(Fixture::real(Backend::Threads)).await;
    contract::reads_are_short_at_the_end_only(Fixture::real(Backend::Threads)).await;
    contract::reserved_files_hold_what_is_written(Fixture::real(Backend::Threads)).await;
    contract::an_upload_is_taken_up_again(Fixture::real(Backend::Threads)).await;
    contract::directories_are_made_and_listed(Fixture::real(Backend::Threads)).await;
    contract::a_file_is_no_directory(Fixture::real(Backend::Threads)).await;
    contract::writes_in_any_order_all_arrive(Fixture::real(Backend::Threads)).await;
    real_tree::refuses_what_is_foreign(Fixture::real(Backend::Threads)).await;
}

async fn temporary_names_go_away() {
    let fixture = Fixture::real(Backend::Threads);
    let left = fixture.outside("tmp").expect("a real disk");
    std::fs::create_dir(&left).expect("mkdir");
    std::fs::write(left.join("unnamed-0123456789abcdef"), b"left by a crash").expect("write");
    std::fs::write(left.join("foreign"), b"not ours").expect("write");
    let names = async || fixture.list(&path("tmp")).await.into_iter().map(|entry| entry.name).collect::<Vec<_>>();
    let (kept, dropped) = (fixture.file(b"kept").await, fixture.file(b"dropped").await);
    assert_eq!(names().await.len(), 3, "two temporary names, and what is not ours");
    assert_eq!(fixture.disk.link(&kept, &path("kept")).await.expect("link"), Linked::New);
    drop(dropped);
    assert_eq!(names().await, ["foreign"]);
    assert_eq!(fixture.read(&kept, 0, 100).await, b"kept");
}

/// Whether this is the child. Otherwise runs `test` in one, which must succeed.
fn is_child(test: &str) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let output = std::process::Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("the child runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}{err}");
    false
}

/// Puts a filter on this thread and those that it starts from now on.
#[expect(unsafe_code, reason = "prctl(2) is the only way to install a filter")]
fn refuse(calls: &[Refused]) {
    let mut program = filter(calls);
    let len = u16::try_from(program.len()).expect("a short program");
    let filter = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    // SAFETY: the arguments are those of prctl(2); the kernel copies the program during the
    // call, while `program` lives.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter, 0, 0), 0);
    }
}

/// The program over `struct seccomp_data` (seccomp(2)): the call's number at offset 0, its
/// arguments of 8 bytes each from offset 16.
fn filter(calls: &[Refused]) -> Vec<libc::sock_filter> {
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let answer = libc::BPF_RET | libc::BPF_K;
    let mut program = Vec::new();
    for Refused(call, bits, errno) in calls {
        let refusal = libc::SECCOMP_RET_ERRNO | errno.cast_unsigned();
        let number = u32::try_from(*call).expect("a system call's number");
        program.push(instruction(load, 0, 0));
        match bits {
            None => program.push(instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number, 1)),
            Some((argument, mask)) => {
                program.push(instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number, 3));
                program.push(instruction(load, 16 + 8 * argument, 0));
                let test = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
                program.push(instruction(test, mask.cast_unsigned(), 1));
            }
        }
        program.push(instruction(answer, refusal, 0));
    }
    program.push(instruction(answer, libc::SECCOMP_RET_ALLOW, 0));
    program
}

/// `skip`: how many instructions a jump leaves out if its condition does not hold.
fn instruction(code: u32, k: u32, skip: u8) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).expect("16 bits"), jt: 0, jf: skip, k }
}
