//! The `botfarm` command.
fn main() {}
