//! Intel AMX in `asm!`: its intrinsics are not stable (rust-lang/rust#126622), its instructions assemble. The compiler knows no
//! tile registers, so it neither uses nor moves them, and what one `asm!` leaves in them the next finds.
//!
//! A product of two tiles: Intel's Software Developer's Manual, volume 2, TDPBF16PS.
#![allow(unsafe_code)]

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(super) use native::{Session, permitted};

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub(super) use absent::{Session, permitted};

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod native {
    use std::arch::asm;
    use std::arch::x86_64::__cpuid_count;
    use std::marker::PhantomData;
    use std::sync::OnceLock;

    use super::super::{BLOCK, Line, Shape, Sums, TILE, Terms};
    use crate::cpu::prefetch::prefetch;

    /// Whether the CPU has the instructions and the kernel lets this process use them; asked once.
    pub(in super::super) fn permitted() -> bool {
        static PERMITTED: OnceLock<bool> = OnceLock::new();
        *PERMITTED.get_or_init(|| {
            // AMX-BF16 and AMX-TILE (leaf 7, EDX), and the vectors that `split.rs` needs, which all such CPUs have.
            let features = __cpuid_count(7, 0).edx;
            features & (1 << 22) != 0
                && features & (1 << 24) != 0
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512bf16")
                && ask_permission()
        })
    }

    /// `arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA)`: tiles enlarge every context of a thread, so Linux wants to be asked. A
    /// virtual machine may show the instructions and refuse them here.
    fn ask_permission() -> bool {
        const ARCH_PRCTL: i64 = 158;
        const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
        const XTILEDATA: u64 = 18;
        let result: i64;
        // SAFETY: a system call that takes numbers only, and clobbers what the calling convention of Linux says.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") ARCH_PRCTL => result,
                in("rdi") ARCH_REQ_XCOMP_PERM,
                in("rsi") XTILEDATA,
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        result == 0
    }

    /// What LDTILECFG reads: palette 1, eight tiles of 16 rows of 64 bytes.
    #[repr(C, align(64))]
    struct Configuration([u8; 64]);

    static CONFIGURATION: Configuration = {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        let mut tile = 0;
        while tile < 8 {
            bytes[16 + 2 * tile] = 64;
            bytes[48 + tile] = 16;
            tile += 1;
        }
        Configuration(bytes)
    };

    /// This thread's tile registers, set up; given up when dropped, so that a thread that computes no product carries none.
    #[derive(Debug)]
    pub(in super::super) struct Session {
        /// Of one thread.
        here: PhantomData<*const ()>,
    }

    impl Session {
        /// None where [`permitted`] is not.
        pub(in super::super) fn begin() -> Option<Self> {
            permitted().then(|| {
                // SAFETY: the instruction exists and may be used (`permitted`), and reads 64 bytes that are there.
                unsafe { asm!("ldtilecfg [{}]", in(reg) &CONFIGURATION, options(nostack, readonly)) };
                Self { here: PhantomData }
            })
        }

        /// [`super::super::Multiplier::multiply`], which checked the lengths.
        pub(in super::super) fn multiply(
            &self,
            shape: Shape,
            a: &[Line],
            b: &[Line],
            ahead: &[Line],
            sums: &mut Sums,
        ) {
            let Shape {
                rows,
                columns,
                terms,
                steps,
            } = shape;
            assert!(a.len() >= steps * terms.lines(rows) && b.len() >= steps * terms.lines(columns));
            let run = match (rows, columns, terms) {
                (1, 1, Terms::One) => block::<1, 1, 1>,
                (1, 2, Terms::One) => block::<1, 2, 1>,
                (2, 1, Terms::One) => block::<2, 1, 1>,
                (2, 2, Terms::One) => block::<2, 2, 1>,
                (1, 1, Terms::Two) => block::<1, 1, 2>,
                (1, 2, Terms::Two) => block::<1, 2, 2>,
                (2, 1, Terms::Two) => block::<2, 1, 2>,
                (2, 2, Terms::Two) => block::<2, 2, 2>,
                (1, 1, Terms::Three) => block::<1, 1, 3>,
                (1, 2, Terms::Three) => block::<1, 2, 3>,
                (2, 1, Terms::Three) => block::<2, 1, 3>,
                (2, 2, Terms::Three) => block::<2, 2, 3>,
                other => unreachable!("blocks are of 1 or 2 tiles either way, not {other:?}"),
            };
            // SAFETY: `self` is this thread's set-up, and `a` and `b` are as long as `block` reads.
            unsafe { run(a.as_ptr(), b.as_ptr(), (steps, ahead), sums) }
        }
    }

    impl Drop for Session {
        fn drop(&mut self) {
            // SAFETY: as in `begin`; nobody else of this thread uses tiles.
            unsafe { asm!("tilerelease", options(nostack, nomem)) };
        }
    }

    /// Tiles 0 to 3 are sums (row by row), 4 and 5 rows of `a`, 6 and 7 columns of `b`.
    ///
    /// # Safety
    /// A [`Session`] of this thread is alive; `a` and `b` hold `steps` steps of `R` and `C` tiles of `T` terms.
    unsafe fn block<const R: usize, const C: usize, const T: usize>(
        mut a: *const Line,
        mut b: *const Line,
        (steps, ahead): (usize, &[Line]),
        sums: &mut Sums,
    ) {
        let mut ahead = ahead.chunks(ahead.len().div_ceil(steps.max(1)).max(1));
        // SAFETY: every pointer stays inside the lines that the caller vouches for; 16 rows of 64 bytes are a tile.
        unsafe {
            zero::<0>();
            zero::<1>();
            zero::<2>();
            zero::<3>();
            for _ in 0..steps {
                ahead.next().unwrap_or_default().iter().for_each(prefetch);
                let a_term = |term: usize| a.add(term * R * TILE);
                let b_term = |term: usize| b.add(term * C * TILE);
                // In the order that loads each tile least often; the small products first, which loses none of them.
                match T {
                    1 => {
                        load_pair::<4, R>(a);
                        load_pair::<6, C>(b);
                        multiply_all::<R, C>();
                    }
                    2 => {
                        load_pair::<4, R>(a);
                        load_pair::<6, C>(b_term(1));
                        multiply_all::<R, C>();
                        load_pair::<6, C>(b);
                        multiply_all::<R, C>();
                        load_pair::<4, R>(a_term(1));
                        multiply_all::<R, C>();
                    }
                    _ => {
                        load_pair::<4, R>(a);
                        load_pair::<6, C>(b_term(2));
                        multiply_all::<R, C>();
                        load_pair::<6, C>(b_term(1));
                        multiply_all::<R, C>();
                        load_pair::<4, R>(a_term(1));
                        multiply_all::<R, C>();
                        load_pair::<6, C>(b);
                        multiply_all::<R, C>();
                        load_pair::<4, R>(a_term(2));
                        multiply_all::<R, C>();
                        load_pair::<4, R>(a);
                        multiply_all::<R, C>();
                    }
                }
                a = a.add(T * R * TILE);
                b = b.add(T * C * TILE);
            }
            let at = sums.0.as_mut_ptr();
            store::<0>(at);
            if C == 2 {
                store::<1>(at.add(TILE));
            }
            if R == 2 {
                store::<2>(at.add(TILE * BLOCK));
            }
            if R == 2 && C == 2 {
                store::<3>(at.add(TILE * BLOCK + TILE));
            }
        }
    }

    /// Tiles 4 and 5, or 6 and 7, from memory.
    ///
    /// # Safety
    /// As [`block`]; `N` tiles lie at `lines`.
    #[inline(always)]
    unsafe fn load_pair<const FIRST: usize, const N: usize>(lines: *const Line) {
        // SAFETY: by the caller.
        unsafe {
            match FIRST {
                4 => load::<4>(lines),
                _ => load::<6>(lines),
            }
            if N == 2 {
                match FIRST {
                    4 => load::<5>(lines.add(TILE)),
                    _ => load::<7>(lines.add(TILE)),
                }
            }
        }
    }

    /// # Safety
    /// As [`block`].
    #[inline(always)]
    unsafe fn multiply_all<const R: usize, const C: usize>() {
        // SAFETY: by the caller.
        unsafe {
            multiply::<0, 4, 6>();
            if R == 2 {
                multiply::<2, 5, 6>();
            }
            if C == 2 {
                multiply::<1, 4, 7>();
            }
            if R == 2 && C == 2 {
                multiply::<3, 5, 7>();
            }
        }
    }

    /// # Safety
    /// A [`Session`] of this thread is alive.
    #[inline(always)]
    unsafe fn zero<const TMM: usize>() {
        // SAFETY: by the caller.
        unsafe { asm!("tilezero tmm{}", const TMM, options(nostack, nomem, preserves_flags)) }
    }

    /// # Safety
    /// As [`zero`]; a tile lies at `lines`.
    #[inline(always)]
    unsafe fn load<const TMM: usize>(lines: *const Line) {
        // SAFETY: by the caller.
        unsafe {
            asm!(
                "tileloadd tmm{}, [{} + {}*1]",
                const TMM,
                in(reg) lines,
                in(reg) size_of::<Line>(),
                options(nostack, readonly, preserves_flags),
            );
        }
    }

    /// # Safety
    /// As [`zero`].
    #[inline(always)]
    unsafe fn multiply<const SUM: usize, const A: usize, const B: usize>() {
        // SAFETY: by the caller.
        unsafe {
            asm!(
                "tdpbf16ps tmm{}, tmm{}, tmm{}",
                const SUM,
                const A,
                const B,
                options(nostack, nomem, preserves_flags),
            );
        }
    }

    /// # Safety
    /// As [`zero`]; `to` is a tile of [`Sums`].
    #[inline(always)]
    unsafe fn store<const TMM: usize>(to: *mut f32) {
        // SAFETY: by the caller.
        unsafe {
            asm!(
                "tilestored [{} + {}*1], tmm{}",
                in(reg) to,
                in(reg) BLOCK * size_of::<f32>(),
                const TMM,
                options(nostack, preserves_flags),
            );
        }
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod absent {
    use super::super::{Line, Shape, Sums};

    pub(in super::super) fn permitted() -> bool {
        false
    }

    /// Nobody has one here.
    #[derive(Debug)]
    pub(in super::super) enum Session {}

    impl Session {
        pub(in super::super) fn begin() -> Option<Self> {
            None
        }

        pub(in super::super) fn multiply(&self, _: Shape, _: &[Line], _: &[Line], _: &[Line], _: &mut Sums) {
            match *self {}
        }
    }
}
