//! Makes Rust types of the public ONNX schema, with a protobuf compiler that is itself in Rust.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const SCHEMA: &str = "src/onnx/onnx.proto";
    println!("cargo::rerun-if-changed={SCHEMA}");
    let descriptors = protox::compile([SCHEMA], ["src/onnx"])?;
    prost_build::Config::new()
        // Byte strings stay where they are: in the message that they were decoded from.
        .bytes(["."])
        .disable_comments(["."])
        .compile_fds(descriptors)?;
    Ok(())
}
