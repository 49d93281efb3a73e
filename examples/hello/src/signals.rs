//! Signals, by the C library that the standard library links anyway: the only unsafe code of this
//! program.
//!
//! A container's first process gets no default signal actions from the kernel, so SIGTERM would be
//! ignored without a handler.
#![expect(
    unsafe_code,
    reason = "the standard library has no signal interface, and this program has no dependencies"
)]

use std::ffi::c_int;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

const SIGINT: c_int = 2;
const SIGTERM: c_int = 15;
const SIGCHLD: c_int = 17;
const WNOHANG: c_int = 1;
const STDERR: c_int = 2;

unsafe extern "C" {
    fn signal(number: c_int, handler: usize) -> usize;
    fn pause() -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn write(descriptor: c_int, bytes: *const u8, count: usize) -> isize;
    fn _exit(code: c_int) -> !;
}

static FAREWELL: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static FAREWELL_LENGTH: AtomicUsize = AtomicUsize::new(0);

extern "C" fn on_termination(_number: c_int) {
    let bytes = FAREWELL.load(Ordering::SeqCst);
    let count = FAREWELL_LENGTH.load(Ordering::SeqCst);
    if !bytes.is_null() {
        // SAFETY: `bytes` and `count` come from one `&'static str`; `write` is async-signal-safe.
        unsafe { write(STDERR, bytes, count) };
    }
    // SAFETY: `_exit` is async-signal-safe and ends the process.
    unsafe { _exit(0) }
}

extern "C" fn on_child(_number: c_int) {
    // SAFETY: `waitpid` is async-signal-safe; a null status is allowed.
    while unsafe { waitpid(-1, std::ptr::null_mut(), WNOHANG) } > 0 {}
}

/// Makes SIGTERM and SIGINT write `farewell` and end the process with code 0.
pub(crate) fn exit_on_termination(farewell: &'static str) {
    FAREWELL.store(farewell.as_ptr().cast_mut(), Ordering::SeqCst);
    FAREWELL_LENGTH.store(farewell.len(), Ordering::SeqCst);
    let handler = on_termination as extern "C" fn(c_int) as usize;
    // SAFETY: the handler touches only atomics and async-signal-safe functions.
    unsafe {
        signal(SIGTERM, handler);
        signal(SIGINT, handler);
    }
}

/// Reaps children that end, until SIGTERM or SIGINT ends the process.
pub(crate) fn reap_until_terminated() {
    exit_on_termination("");
    // SAFETY: the handler calls only `waitpid`, which is async-signal-safe.
    unsafe { signal(SIGCHLD, on_child as extern "C" fn(c_int) as usize) };
    loop {
        // SAFETY: `pause` has no preconditions.
        unsafe { pause() };
    }
}
