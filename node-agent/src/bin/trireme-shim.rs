//! The process runtime's shim as a program of its own, for tests. The `trireme` program has the same
//! behind its hidden `shim` subcommand.

fn main() {
    trireme_node_agent::shim_main(std::env::args_os().skip(1));
}
