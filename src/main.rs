use std::process::ExitCode;

fn main() -> ExitCode {
    dragunov::cli::main()
}
