//! The driver's library, `libcuda.so.1`, looked for when it is first called and not by the loader.
//!
//! cudarc is linked against it by name, so that a binary would not even start where there is no driver, and could not say
//! so. This file defines the same functions as jumps: the first call of each finds its target with `dlsym`, or, without a
//! driver, one that answers `CUDA_ERROR_NO_DEVICE`. The linker then has no use for the library. On other platforms than
//! Linux on x86-64 nothing is defined, and the loader does it.
#![allow(unsafe_code)]

mod names;

use std::arch::global_asm;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

use names::for_each_function;

/// `CUDA_ERROR_NO_DEVICE`.
const NO_DEVICE: c_int = 100;
const RTLD_NOW: c_int = 2;
const RTLD_GLOBAL: c_int = 0x100;

// SAFETY: as glibc declares them.
unsafe extern "C" {
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// Whether there is a driver.
pub(super) fn present() -> bool {
    library() != 0
}

/// Handle of the library, 0 without one. Opened once, never closed.
fn library() -> usize {
    static LIBRARY: OnceLock<usize> = OnceLock::new();
    *LIBRARY.get_or_init(|| {
        // SAFETY: the name is a C string; what the library does when it is loaded is NVIDIA's.
        let handle = unsafe { dlopen(c"libcuda.so.1".as_ptr(), RTLD_NOW | RTLD_GLOBAL) };
        handle as usize
    })
}

extern "C" fn no_device() -> c_int {
    NO_DEVICE
}

/// Where the function is that a jump is to go to.
extern "C" fn find(name: *const c_char) -> *const c_void {
    let library = library();
    // SAFETY: `name` is one of the strings below, the handle is open.
    let found = match library {
        0 => std::ptr::null_mut(),
        handle => unsafe { dlsym(handle as *mut c_void, CStr::from_ptr(name).as_ptr()) },
    };
    if found.is_null() {
        // Any function may take its place: the result is an int, and arguments are the caller's to clean up.
        no_device as extern "C" fn() -> c_int as *const c_void
    } else {
        found
    }
}

// Arguments are in registers and on the stack and stay there: only what `find` may overwrite is kept aside.
macro_rules! jumps {
    ($($name:ident)*) => {
        global_asm!(
            ".macro dragunov_jump name",
            ".pushsection .bss.dragunov_driver, \"aw\", @nobits",
            ".balign 8",
            "dragunov_to_\\name: .skip 8",
            ".popsection",
            ".pushsection .rodata.dragunov_driver, \"a\", @progbits",
            "dragunov_name_\\name: .asciz \"\\name\"",
            ".popsection",
            ".pushsection .text.dragunov_driver, \"ax\", @progbits",
            ".globl \\name",
            ".type \\name, @function",
            "\\name:",
            "mov r11, qword ptr [rip + dragunov_to_\\name]",
            "test r11, r11",
            "jz 1f",
            "jmp r11",
            "1:",
            "push rdi",
            "push rsi",
            "push rdx",
            "push rcx",
            "push r8",
            "push r9",
            "sub rsp, 8",
            "lea rdi, [rip + dragunov_name_\\name]",
            "call {find}",
            "add rsp, 8",
            "pop r9",
            "pop r8",
            "pop rcx",
            "pop rdx",
            "pop rsi",
            "pop rdi",
            "mov qword ptr [rip + dragunov_to_\\name], rax",
            "jmp rax",
            ".size \\name, . - \\name",
            ".popsection",
            ".endm",
            $(concat!("dragunov_jump ", stringify!($name)),)*
            ".purgem dragunov_jump",
            find = sym find,
        );
    };
}
for_each_function!(jumps);
