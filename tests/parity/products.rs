//! All golden tensors once more, with products of f32 as three numbers of bf16, at the same tolerances.

use std::io::Write;
use std::process::Command;

const VARIABLE: &str = "DRAGUNOV_CPU_PRODUCTS";

#[test]
fn three_numbers_of_bf16_are_as_good_as_f32() {
    if std::env::var_os(VARIABLE).is_some() || std::env::var_os("DRAGUNOV_TEST_DEVICE").is_some() {
        return;
    }
    let mode = match dragunov_models::nn::Products::has_matrix_unit() {
        true => "bf16x6",
        false => {
            // Past the test harness, which keeps what passing tests print.
            writeln!(
                std::io::stderr(),
                "NOT RUN: golden tensors by AMX, which is not here; emulated"
            )
            .unwrap();
            "bf16x6-emulated"
        }
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
