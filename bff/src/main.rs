fn main() -> std::process::ExitCode {
    bio_bff::cli::main()
}
