//! What ships for containers, clusters and machines, in `compose/`: that those who run it accept it,
//! by their own parsers, and that its parts fit each other, the repository and the binary.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests; clippy only excuses the tests themselves"
)]

#[path = "deployment/image.rs"]
mod image;
#[path = "deployment/kubernetes.rs"]
mod kubernetes;
#[path = "deployment/natively.rs"]
mod natively;
#[expect(dead_code, reason = "of the support for running landfall only the waiting is needed")]
#[path = "support/landfall.rs"]
mod process;
#[path = "deployment/reader.rs"]
mod reader;
#[path = "deployment/stack.rs"]
mod stack;
#[path = "deployment/stacks.rs"]
mod stacks;
#[expect(dead_code, reason = "of the real systems only the starting is needed")]
#[path = "support/systems.rs"]
mod systems;
#[path = "deployment/unit.rs"]
mod unit;
