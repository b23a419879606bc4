//! The stock command: `ophie-crypt`, which knows no models.

use ophie_crypt::{Models, memory::ZeroAlloc};

#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

fn main() -> std::process::ExitCode {
    ophie_crypt_cli::main(Models::new())
}
