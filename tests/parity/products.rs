//! All golden tensors once more, with products of f32 as three numbers of bf16 (or, where that is how they are computed anyway, as
//! f32), at the same tolerances.

use std::io::Write;
use std::process::Command;

use dragunov_models::nn::Products;

const VARIABLE: &str = "DRAGUNOV_CPU_PRODUCTS";

#[test]
fn three_numbers_of_bf16_are_as_good_as_f32() {
    if std::env::var_os(VARIABLE).is_some() || std::env::var_os("DRAGUNOV_TEST_DEVICE").is_some() {
        return;
    }
    let mode = match (Products::current(), Products::has_matrix_unit()) {
        (Products::F32, true) => "bf16x6",
        (Products::F32, false) => {
            // Past the test harness, which keeps what passing tests print.
            let mut past = std::io::stderr();
            past.write_all(b"NOT RUN: golden tensors by AMX, which is not here; emulated\n")
                .unwrap();
            "bf16x6-emulated"
        }
        _ => "f32",
    };
    let run = Command::new(std::env::current_exe().unwrap())
        .env(VARIABLE, mode)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success() && text.contains("test result: ok"),
        "{mode}:\n{text}"
    );
}
